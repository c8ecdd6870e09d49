//! TCP sockets as every carrier over them has it: parameters, dialling, listening, and what goes wrong.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use seam_core::{Endpoint, Error, Host, Kind, Parameter, Result};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, lookup_host};

/// The parameters of sockets, for [`parameters_with`](crate::parameters_with).
pub const PARAMETERS: [Parameter; 3] = [NAGLE, KEEP_ALIVE, USER_TIMEOUT];

const NAGLE: Parameter = Parameter::new("nagle", Kind::Flag)
    .with_about("let the operating system gather small writes: leaves TCP_NODELAY unset");

const KEEP_ALIVE: Parameter = Parameter::new("tcp_keep_alive", Kind::Duration)
    .with_default("30s")
    .with_about("after this time of silence the operating system asks whether the peer is there");

const USER_TIMEOUT: Parameter =
    Parameter::new("tcp_user_timeout", Kind::Duration).with_default("30s").with_about(
        "after this time without an answer of the peer's host the connection is lost (Linux)",
    );

/// How sockets are set up.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    nagle: bool,
    keep_alive: Duration,
    user_timeout: Duration,
}

impl Options {
    /// What `endpoint` asks for.
    #[must_use]
    pub fn new(endpoint: &Endpoint) -> Self {
        let half_a_minute = Duration::from_secs(30);
        Self {
            nagle: endpoint.flag("nagle"),
            keep_alive: endpoint.duration("tcp_keep_alive").unwrap_or(half_a_minute),
            user_timeout: endpoint.duration("tcp_user_timeout").unwrap_or(half_a_minute),
        }
    }

    /// Sets a socket up, and says where its other end is.
    ///
    /// # Errors
    ///
    /// Those of the operating system, when the connection is gone already.
    pub fn set_up(self, stream: &TcpStream) -> io::Result<SocketAddr> {
        stream.set_nodelay(!self.nagle)?;
        let socket = SockRef::from(stream);
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(self.keep_alive))?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.user_timeout))?;
        stream.peer_addr()
    }
}

/// Connects to the host of this index, and sets the socket up; where its other end is.
///
/// # Errors
///
/// [`Error::Disconnected`] where the name is not known, or nobody answers.
pub async fn dial(endpoint: &Endpoint, place: usize) -> Result<(TcpStream, SocketAddr)> {
    let lost = |error: io::Error| Error::disconnected(endpoint.to_string(), error);
    let host = host(endpoint, place)?;
    let found = addresses(endpoint, host).await?;
    let stream = TcpStream::connect(&*found).await.map_err(|error| lost(undialled(host, error)))?;
    let address = Options::new(endpoint).set_up(&stream).map_err(lost)?;
    Ok((stream, address))
}

/// The addresses of a host.
///
/// # Errors
///
/// [`Error::Disconnected`] where its name is not known.
pub async fn addresses(endpoint: &Endpoint, host: &Host) -> Result<Vec<SocketAddr>> {
    match lookup_host((&*host.name, host.port)).await {
        Ok(found) => Ok(found.collect()),
        Err(error) => {
            let text = format!("the name {} is not known ({error}); is it spelt right?", host.name);
            Err(Error::disconnected(endpoint.to_string(), io::Error::new(error.kind(), text)))
        }
    }
}

/// Listens at the endpoint's first host.
///
/// # Errors
///
/// Why nobody can listen there.
pub async fn listen(endpoint: &Endpoint) -> Result<TcpListener> {
    let host = host(endpoint, 0)?;
    let bound = TcpListener::bind((&*host.name, host.port)).await;
    bound.map_err(|error| cannot_listen(endpoint, host, &error))
}

/// The host of this index.
///
/// # Errors
///
/// [`Error::InvalidEndpoint`] where there is none.
pub fn host(endpoint: &Endpoint, place: usize) -> Result<&Host> {
    let host = endpoint.hosts().get(place);
    host.ok_or_else(|| {
        let scheme = endpoint.scheme();
        Error::invalid_endpoint(format!("no host; write {scheme}://host:port/address"))
    })
}

/// What names a listener of an endpoint: the host that it is at.
#[must_use]
pub fn listener_name(endpoint: &Endpoint) -> String {
    endpoint.hosts().first().map(Host::to_string).unwrap_or_default()
}

/// Whether nobody reaches a listener there but from this machine.
#[must_use]
pub fn is_loopback(endpoint: &Endpoint) -> bool {
    endpoint.hosts().iter().all(|host| {
        let name = &*host.name;
        name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

/// Why nobody can listen at `host`, as whoever asked for it can mend it.
#[must_use]
pub fn cannot_listen(endpoint: &Endpoint, host: &Host, error: &io::Error) -> Error {
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
            io::Error::new(error.kind(), error.to_string()),
        ),
    }
}

fn undialled(host: &Host, error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            let text = format!("nobody listens at {host}; is the server started?");
            io::Error::new(error.kind(), text)
        }
        _ => error,
    }
}
