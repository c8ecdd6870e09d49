//! TCP as a carrier of links.

use async_trait::async_trait;
use seam_core::{Endpoint, Error, Result};
use seam_link::tcp::{self, Options};
use seam_link::{Arrival, Carrier, Link, Links, Listener};
use tokio::net::TcpListener;

use crate::config::SCHEMES;

/// The transport of `tcp://`. Clones share the sockets that listen.
///
/// ```
/// use seam_core::{Capability, Registry, Side};
/// use seam_tcp::Tcp;
///
/// let registry = Registry::new().with(Tcp::new());
/// let session = registry.check("tcp://localhost/orders", Side::Client)?;
/// assert!(session.has(Capability::Redelivery));
/// let plain = registry.check("tcp://localhost?wire=connect", Side::Client)?;
/// assert!(!plain.has(Capability::Redelivery));
/// # Ok::<(), seam_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tcp(Links);

impl Tcp {
    /// A transport that listens nowhere yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Links::new(&SCHEMES, Sockets))
    }
}

impl Default for Tcp {
    fn default() -> Self {
        Self::new()
    }
}

seam_link::transport!(Tcp);

/// What dials and listens.
#[derive(Debug)]
struct Sockets;

#[async_trait]
impl Carrier for Sockets {
    async fn dial(&self, endpoint: &Endpoint, place: usize) -> Result<Link> {
        let (stream, address) = tcp::dial(endpoint, place).await?;
        Ok(Link::new(stream, address.to_string()))
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Box<dyn Listener>> {
        let listener = tcp::listen(endpoint).await?;
        Ok(Box::new(Socket { listener, options: Options::new(endpoint) }))
    }

    fn listener_name(&self, endpoint: &Endpoint) -> String {
        tcp::listener_name(endpoint)
    }

    fn is_sheltered(&self, endpoint: &Endpoint) -> bool {
        tcp::is_loopback(endpoint)
    }
}

/// A socket that listens.
struct Socket {
    listener: TcpListener,
    options: Options,
}

#[async_trait]
impl Listener for Socket {
    async fn accept(&self) -> Result<Arrival> {
        let lost = |error: std::io::Error| Error::disconnected("the listener", error);
        let (stream, _) = self.listener.accept().await.map_err(lost)?;
        let address = self.options.set_up(&stream).map_err(lost)?;
        Ok(Arrival::ready(Link::new(stream, address.to_string())))
    }
}
