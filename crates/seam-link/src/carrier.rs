//! What a transport crate writes to become a link: what dials, what listens, and one connection of bytes.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use async_trait::async_trait;
use seam_core::{Endpoint, Error, Event, Peer, Result};
use tokio::io::{AsyncRead, AsyncWrite};

/// What dials and listens for the endpoints of its schemes.
///
/// # Contract
///
/// - A dropped call leaves nothing behind.
/// - What it gives is a stream of bytes, in order, without loss while it stands.
#[async_trait]
pub trait Carrier: fmt::Debug + Send + Sync + 'static {
    /// Looks for what no endpoint of this carrier may have. No I/O. By default there is nothing.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`](seam_core::Error::InvalidEndpoint).
    fn check(&self, endpoint: &Endpoint) -> Result<()> {
        let _ = endpoint;
        Ok(())
    }

    /// How many places an endpoint names. A link is dialled to each of them, and each is a member.
    fn places(&self, endpoint: &Endpoint) -> usize {
        endpoint.hosts().len().max(1)
    }

    /// Connects to the place of this index. A name may have several addresses: any of them will do.
    ///
    /// # Errors
    ///
    /// [`Error::Disconnected`](seam_core::Error::Disconnected) where trying again may help.
    async fn dial(&self, endpoint: &Endpoint, place: usize) -> Result<Link>;

    /// Listens at the endpoint.
    ///
    /// # Errors
    ///
    /// Those of the operating system: the address is in use, or not of this machine.
    async fn listen(&self, endpoint: &Endpoint) -> Result<Box<dyn Listener>>;

    /// What a listener is shared under: endpoints of the same name differ in nothing but their address and
    /// what is said of receivers, and one listener serves them all.
    fn listener_name(&self, endpoint: &Endpoint) -> String;

    /// Whether nobody but users of this machine, or who proved who they are, can reach a listener at
    /// `endpoint`. Any other asks for `?token_file=`, or for the word `insecure`.
    fn is_sheltered(&self, endpoint: &Endpoint) -> bool;

    /// Ready once nothing is under way of what links have left behind: bytes that still get through, good-byes. Waited for
    /// when an endpoint drains. By default there is nothing.
    async fn finish(&self) {}

    /// The parameter by which a listener of this carrier has peers prove who they are, for whoever forgot it; as
    /// `client_ca=`. By default there is none.
    fn proof(&self) -> Option<&'static str> {
        None
    }
}

/// A socket that listens.
#[async_trait]
pub trait Listener: Send + Sync + 'static {
    /// The next connection. Dropping the call loses none.
    ///
    /// # Errors
    ///
    /// Those of the operating system; it is asked again after a while.
    async fn accept(&self) -> Result<Arrival>;

    /// The next thing that happened to the listener itself, for whoever watches the events of its endpoints. Dropping the
    /// call loses none. By default nothing ever happens.
    async fn news(&self) -> Event {
        std::future::pending().await
    }
}

/// A connection that has come, and what is still to be done until bytes flow.
pub struct Arrival {
    /// Where it comes from, as the carrier says it.
    pub address: String,
    /// Ready once bytes flow: at once, or after a handshake of the carrier's own.
    pub link: Pin<Box<dyn Future<Output = Result<Link>> + Send>>,
}

impl Arrival {
    /// A connection that needs no handshake.
    #[must_use]
    pub fn ready(link: Link) -> Self {
        let address = link.address.clone();
        Self { address, link: Box::pin(std::future::ready(Ok(link))) }
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A stream of bytes both ways.
///
/// Where a carrier knows what is wrong better than an error of the operating system says, the error holds a
/// [`seam_core::Error`] as its cause: `io::Error::other(Error::Denied { .. })`. That is told then, and one that is not
/// [retryable](seam_core::Error::is_retryable) ends the dialling.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// One connection of bytes, and what the carrier knows of its other end.
pub struct Link {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) address: String,
    pub(crate) identity: Option<String>,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) exporter: Vec<u8>,
    pub(crate) is_private: bool,
    pub(crate) news: Option<Event>,
}

impl Link {
    /// A connection over `stream` to `address`, as the carrier says it.
    pub fn new(stream: impl Stream, address: impl Into<String>) -> Self {
        Self {
            stream: Box::new(stream),
            address: address.into(),
            identity: None,
            attributes: Vec::new(),
            exporter: Vec::new(),
            is_private: false,
            news: None,
        }
    }

    /// Sets who the other end has proved to be.
    #[must_use]
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Adds what the carrier knows of who the other end is, beside its identity.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// Sets what happened when this was dialled, for whoever watches the endpoint's events.
    #[must_use]
    pub fn with_news(mut self, news: Option<Event>) -> Self {
        self.news = news;
        self
    }

    /// Sets a secret of this connection that both ends know and nobody else: a TLS exporter. Proofs of the
    /// token are bound to it. Such a connection is [private](Self::with_privacy).
    #[must_use]
    pub fn with_exporter(mut self, exporter: impl Into<Vec<u8>>) -> Self {
        self.exporter = exporter.into();
        self.with_privacy()
    }

    /// Says that nobody but the two ends can read this connection: then a secret may be told on it, with which nobody else
    /// can go on with its sessions.
    #[must_use]
    pub fn with_privacy(mut self) -> Self {
        self.is_private = true;
        self
    }
}

impl Link {
    /// The other end, by what the carrier knows of it.
    pub(crate) fn peer(&self, id: impl Into<String>) -> Peer {
        let mut peer = Peer::new(id, &*self.address);
        (peer.identity, peer.attributes) = (self.identity.clone(), self.attributes.clone());
        peer
    }
}

/// What a carrier said that is wrong, where it did.
pub(crate) fn told(error: &io::Error) -> Option<Error> {
    error.get_ref()?.downcast_ref().cloned()
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Link");
        out.field("address", &self.address)
            .field("identity", &self.identity)
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}
