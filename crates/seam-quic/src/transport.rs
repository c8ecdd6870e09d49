//! QUIC as a carrier of links.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use rustls::{ClientConfig, ServerConfig};
use seam_certificates::{Dialling, Settings};
use seam_core::{Endpoint, Result};
use seam_link::{Carrier, Link, Links, Listener, tcp};

use crate::config::{Options, PROTOCOLS, SCHEMES};
use crate::dialled::Dialled;
use crate::listening::Listening;
use crate::socket::Sockets;

/// The transport of `quic://`. Clones share connections and the sockets that listen.
///
/// ```
/// use seam_core::{Capability, Registry, Side};
/// use seam_quic::Quic;
///
/// let registry = Registry::new().with(Quic::new());
/// let session = registry.check("quic://shop.example/orders?ca=ca.pem", Side::Client)?;
/// assert!(session.has(Capability::Redelivery));
/// # Ok::<(), seam_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Quic(Links);

impl Quic {
    /// A transport that listens nowhere yet, with certificates as URIs name them.
    #[must_use]
    pub fn new() -> Self {
        let dialled = Dialled::new(Dialling::default());
        Self(Links::new(&SCHEMES, Lanes { dialled, sockets: Sockets::default(), given: None }))
    }

    /// One with configurations of rustls instead, for what no URI can say: keys in hardware, verifiers of one's own. The
    /// first is for whoever dials, the second for whoever listens; ALPN is set to `seam/2`.
    #[must_use]
    pub fn with_configs(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Self {
        let dialled = Dialled::new(Dialling::with_config(client));
        Self(Links::new(
            &SCHEMES,
            Lanes { dialled, sockets: Sockets::default(), given: Some(server) },
        ))
    }
}

impl Default for Quic {
    fn default() -> Self {
        Self::new()
    }
}

seam_link::transport!(Quic);

/// What dials and listens.
struct Lanes {
    dialled: Dialled,
    sockets: Sockets,
    given: Option<Arc<ServerConfig>>,
}

#[async_trait]
impl Carrier for Lanes {
    fn check(&self, endpoint: &Endpoint) -> Result<()> {
        Options::new(endpoint)?;
        let settings = Settings::new(endpoint)?;
        endpoint.hosts().iter().try_for_each(|host| settings.name_of(&host.name).map(drop))
    }

    async fn dial(&self, endpoint: &Endpoint, place: usize) -> Result<Link> {
        self.dialled.link(endpoint, place).await
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Box<dyn Listener>> {
        let (settings, options) = (Settings::new(endpoint)?, Options::new(endpoint)?);
        let config = settings.listener(self.given.as_deref(), PROTOCOLS)?;
        let host = tcp::host(endpoint, 0)?;
        let unknown = || io::Error::from(io::ErrorKind::AddrNotAvailable);
        let address = tcp::addresses(endpoint, host).await?.into_iter().next();
        let address = address.ok_or_else(|| tcp::cannot_listen(endpoint, host, &unknown()))?;
        let (name, closing) = (endpoint.to_string().into(), self.dialled.closing.clone());
        let listening =
            Listening::new(&self.sockets, address, name, config, &options, closing).await?;
        Ok(Box::new(listening.map_err(|error| tcp::cannot_listen(endpoint, host, &error))?))
    }

    /// Endpoints that show or trust something else are no neighbours at one socket.
    fn listener_name(&self, endpoint: &Endpoint) -> String {
        let host = tcp::listener_name(endpoint);
        format!("{host} {:?} {:?}", Settings::new(endpoint), Options::new(endpoint))
    }

    fn is_sheltered(&self, endpoint: &Endpoint) -> bool {
        let proof = Settings::new(endpoint).is_ok_and(|settings| settings.wants_clients_proof());
        proof || tcp::is_loopback(endpoint)
    }

    fn proof(&self) -> Option<&'static str> {
        Some("client_ca=")
    }

    async fn finish(&self) {
        self.dialled.closing.wait().await;
    }
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes").field("given", &self.given.is_some()).finish_non_exhaustive()
    }
}
