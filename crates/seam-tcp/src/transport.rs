//! TCP as a carrier of links.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use seam_core::driver::{self, OpenContext, Transport};
use seam_core::{Capabilities, Endpoint, Error, Host, Result, Scheme, Side};
use seam_link::{Arrival, Carrier, Link, Links, Listener};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, lookup_host};

use crate::config::{Options, SCHEMES};

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

#[async_trait]
impl Transport for Tcp {
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
    ) -> Result<std::sync::Arc<dyn driver::Connection>> {
        self.0.open(endpoint, context).await
    }
}

/// What dials and listens.
#[derive(Debug)]
struct Sockets;

#[async_trait]
impl Carrier for Sockets {
    async fn dial(&self, endpoint: &Endpoint, place: usize) -> Result<Link> {
        let host = host(endpoint, place)?;
        let lost = |error: std::io::Error| Error::disconnected(endpoint.to_string(), error);
        let found = lookup_host((&*host.name, host.port)).await.map_err(|error| {
            let text = format!("the name {} is not known ({error}); is it spelt right?", host.name);
            lost(std::io::Error::new(error.kind(), text))
        })?;
        let found: Vec<SocketAddr> = found.collect();
        let stream =
            TcpStream::connect(&*found).await.map_err(|error| lost(undialled(host, error)))?;
        link(stream, Options::new(endpoint)).map_err(lost)
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Box<dyn Listener>> {
        let host = host(endpoint, 0)?;
        let bound = TcpListener::bind((&*host.name, host.port)).await;
        let listener = bound.map_err(|error| cannot_listen(endpoint, host, &error))?;
        Ok(Box::new(Socket { listener, options: Options::new(endpoint) }))
    }

    fn listener_name(&self, endpoint: &Endpoint) -> String {
        endpoint.hosts().first().map(Host::to_string).unwrap_or_default()
    }

    fn is_sheltered(&self, endpoint: &Endpoint) -> bool {
        endpoint.hosts().iter().all(|host| {
            let name = &*host.name;
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        })
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
        link(stream, self.options).map(Arrival::ready).map_err(lost)
    }
}

fn link(stream: TcpStream, options: Options) -> std::io::Result<Link> {
    stream.set_nodelay(!options.nagle)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(options.keep_alive))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(options.user_timeout))?;
    let address = stream.peer_addr()?.to_string();
    Ok(Link::new(stream, address))
}

fn host(endpoint: &Endpoint, place: usize) -> Result<&Host> {
    let host = endpoint.hosts().get(place);
    host.ok_or_else(|| Error::invalid_endpoint("no host; write tcp://host:port/address"))
}

fn undialled(host: &Host, error: std::io::Error) -> std::io::Error {
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            let text = format!("nobody listens at {host}; is the server started?");
            std::io::Error::new(error.kind(), text)
        }
        _ => error,
    }
}

fn cannot_listen(endpoint: &Endpoint, host: &Host, error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::AddrInUse => Error::invalid_endpoint(format!(
            "{host} is in use by another program; stop that one, or choose another port"
        )),
        ErrorKind::AddrNotAvailable => Error::invalid_endpoint(format!(
            "{host} is no address of this machine; a server listens at its own, \
             or with `role=dial` dials another's"
        )),
        ErrorKind::PermissionDenied => Error::Denied {
            endpoint: endpoint.to_string(),
            reason: format!("this program may not listen at {host}; choose a port from 1024 on"),
        },
        _ => Error::disconnected(
            endpoint.to_string(),
            std::io::Error::new(error.kind(), error.to_string()),
        ),
    }
}
