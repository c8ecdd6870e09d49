//! Unix domain sockets as a carrier of links.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use seam_core::{Endpoint, Error, Result};
use seam_link::{Arrival, Carrier, Link, Links, Listener};
use tokio::net::{UnixListener, UnixStream};

use crate::config::{SCHEMES, mode};
use crate::place::{self, Place};

/// The transport of `unix://`. Clones share the sockets that listen.
///
/// ```
/// use seam_core::{Capability, Registry, Side};
/// use seam_unix::Unix;
///
/// let registry = Registry::new().with(Unix::new());
/// let session = registry.check("unix:///run/shop.sock?address=orders", Side::Client)?;
/// assert!(session.has(Capability::Redelivery) && session.has(Capability::Peers));
/// # Ok::<(), seam_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Unix(Links);

impl Unix {
    /// A transport that listens nowhere yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Links::new(&SCHEMES, Sockets))
    }
}

impl Default for Unix {
    fn default() -> Self {
        Self::new()
    }
}

seam_link::transport!(Unix);

/// What dials and listens.
#[derive(Debug)]
struct Sockets;

#[async_trait]
impl Carrier for Sockets {
    fn check(&self, endpoint: &Endpoint) -> Result<()> {
        place::address(path(endpoint)?)?;
        mode(endpoint).map(drop)
    }

    async fn dial(&self, endpoint: &Endpoint, _: usize) -> Result<Link> {
        let path = path(endpoint)?;
        let stream = UnixStream::connect(path).await;
        let stream = stream.map_err(|error| undialled(endpoint, path, error))?;
        link(stream, path.display().to_string())
            .map_err(|error| Error::disconnected(endpoint.to_string(), error))
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Box<dyn Listener>> {
        let (place, socket) = Place::take(endpoint, path(endpoint)?, mode(endpoint)?)?;
        let listener = UnixListener::from_std(socket.into());
        let listener =
            listener.map_err(|error| Error::disconnected(endpoint.to_string(), error))?;
        Ok(Box::new(Listening { listener, count: AtomicU64::new(0), _place: place }))
    }

    fn listener_name(&self, endpoint: &Endpoint) -> String {
        path(endpoint).map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// Nobody comes from another machine, and who may connect is up to the mode of the file.
    fn is_sheltered(&self, _: &Endpoint) -> bool {
        true
    }
}

/// A socket that listens.
struct Listening {
    listener: UnixListener,
    /// Connections so far, since they have no address that tells them apart.
    count: AtomicU64,
    /// Given up with the socket.
    _place: Place,
}

#[async_trait]
impl Listener for Listening {
    async fn accept(&self) -> Result<Arrival> {
        let lost = |error: io::Error| Error::disconnected("the listener", error);
        let (stream, _) = self.listener.accept().await.map_err(lost)?;
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        link(stream, format!("connection {number}")).map(Arrival::ready).map_err(lost)
    }
}

fn link(stream: UnixStream, address: String) -> io::Result<Link> {
    let who = stream.peer_cred()?;
    let link = Link::new(stream, address)
        .with_privacy()
        .with_identity(format!("uid:{}", who.uid()))
        .with_attribute("uid", who.uid().to_string())
        .with_attribute("gid", who.gid().to_string());
    Ok(match who.pid() {
        Some(pid) => link.with_attribute("pid", pid.to_string()),
        None => link,
    })
}

fn path(endpoint: &Endpoint) -> Result<&Path> {
    let complaint = "no path; write unix:///path.sock?address=name";
    endpoint.file().ok_or_else(|| Error::invalid_endpoint(complaint))
}

fn undialled(endpoint: &Endpoint, path: &Path, error: io::Error) -> Error {
    let path = path.display();
    match error.kind() {
        ErrorKind::PermissionDenied => Error::Denied {
            endpoint: endpoint.to_string(),
            reason: format!(
                "this user may not connect to {path}; the listener's `mode` says who may"
            ),
        },
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            let text = format!("nobody listens at {path}; is the server started?");
            Error::disconnected(endpoint.to_string(), io::Error::new(error.kind(), text))
        }
        _ => Error::disconnected(endpoint.to_string(), error),
    }
}
