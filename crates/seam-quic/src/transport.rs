//! QUIC as a carrier of links.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use rustls::{ClientConfig, ServerConfig};
use seam_certificates::{Dialling, Reloaded, Settings};
use seam_core::driver::{self, OpenContext, Transport};
use seam_core::{Capabilities, Endpoint, Host, Result, Scheme, Side};
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

#[async_trait]
impl Transport for Quic {
    fn schemes(&self) -> &'static [Scheme] {
        self.0.schemes()
    }

    fn check(&self, endpoint: &Endpoint, side: Side) -> Result<Capabilities> {
        self.0.check(endpoint, side)
    }

    async fn open(
        &self,
        endpoint: &Endpoint,
        context: OpenContext,
    ) -> Result<Arc<dyn driver::Connection>> {
        self.0.open(endpoint, context).await
    }
}

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
        let config = match &self.given {
            Some(server) => {
                let mut server = ServerConfig::clone(server);
                server.alpn_protocols =
                    PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
                Reloaded::new(Vec::new(), move || Ok(server.clone()))?
            }
            None => Reloaded::new(settings.files(), move || settings.server(PROTOCOLS))?,
        };
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
        let host = endpoint.hosts().first().map(Host::to_string).unwrap_or_default();
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
