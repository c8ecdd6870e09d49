//! Connections as long as somebody has a stream of them, and those that were dialled, to be dialled but once.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint as Dialler, VarInt};
use rustls::pki_types::CertificateDer;
use seam_certificates::{Certificate, Dialling, EXPORTER, End, Settings};
use seam_core::{Endpoint, Error, Event, Result};
use seam_link::{Link, tcp};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::config::{Options, PROTOCOLS};
use crate::failure;
use crate::socket::Socket;
use crate::stream::Lane;

/// A connection, for as long as somebody has a stream of it.
pub(crate) struct Shared {
    pub(crate) connection: Connection,
    pub(crate) endpoint: Arc<str>,
    pub(crate) end: End,
    /// A stream of it broke off, so that it may be gone without anybody knowing.
    pub(crate) is_doubtful: AtomicBool,
    /// What still gets through, and good-byes.
    pub(crate) closing: TaskTracker,
    origin: Origin,
}

/// Where a connection comes from, and so whose its socket is.
pub(crate) enum Origin {
    /// It was dialled: nobody else has the socket.
    Dialled(Dialler),
    /// It was accepted.
    Accepted { _at: Arc<Socket> },
}

impl Shared {
    pub(crate) fn new(
        connection: Connection,
        endpoint: Arc<str>,
        origin: Origin,
        closing: TaskTracker,
    ) -> Arc<Self> {
        let is_doubtful = AtomicBool::new(false);
        let end = match &origin {
            Origin::Dialled(_) => End::Dialler,
            Origin::Accepted { .. } => End::Listener,
        };
        Arc::new(Self { connection, endpoint, end, is_doubtful, closing, origin })
    }

    /// The next stream that this end opens, as a link.
    async fn open(self: &Arc<Self>) -> Result<Link> {
        let opened = self.connection.open_bi().await;
        let (send, receive) =
            opened.map_err(|error| failure::error(&self.endpoint, self.end, &error))?;
        self.link(Lane::new(send, receive, self.clone()))
    }

    /// A stream as a link, with what is known of the other end.
    pub(crate) fn link(&self, lane: Lane) -> Result<Link> {
        let mut exporter = [0; 32];
        let exported = self.connection.export_keying_material(&mut exporter, EXPORTER, b"");
        exported.map_err(|_| Error::disconnected(&*self.endpoint, "it has no exporter"))?;
        let address = self.connection.remote_address().to_string();
        let link = Link::new(lane, address).with_exporter(exporter);
        let peer = self.connection.peer_identity().and_then(|identity| {
            let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
            Certificate::read(chain.first()?)
        });
        let Some(peer) = peer else { return Ok(link) };
        let link = link.with_identity(peer.identity());
        Ok(peer.attributes().fold(link, |link, (name, value)| link.with_attribute(name, value)))
    }

    fn is_good(&self) -> bool {
        !self.is_doubtful.load(Ordering::Relaxed) && self.connection.close_reason().is_none()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.connection.close(VarInt::from_u32(0), b"done");
        if let Origin::Dialled(dialler) = &self.origin {
            let dialler = dialler.clone();
            // Until the other end knows, or need not any more.
            self.closing.spawn(async move { drop(timeout(GOOD_BYE, dialler.wait_idle()).await) });
        }
    }
}

/// How long the end of a connection may take to get through.
pub(crate) const GOOD_BYE: Duration = Duration::from_secs(3);

/// Connections that were dialled.
pub(crate) struct Dialled {
    pub(crate) dialling: Dialling,
    known: Mutex<Known>,
    pub(crate) closing: TaskTracker,
}

/// Whoever dials alike waits for one connection.
type Known = HashMap<Alike, Arc<tokio::sync::Mutex<Weak<Shared>>>>;

/// What makes two ends dial alike: host and port, what is shown and trusted, how it is set up.
type Alike = (String, Settings, Options);

impl Dialled {
    pub(crate) fn new(dialling: Dialling) -> Self {
        let closing = TaskTracker::new();
        // What is left can be waited for at any time, and more may come after.
        closing.close();
        Self { dialling, known: Mutex::default(), closing }
    }

    /// A stream to the host of this index, on a connection that stands or on a new one.
    pub(crate) async fn link(&self, endpoint: &Endpoint, place: usize) -> Result<Link> {
        let host = tcp::host(endpoint, place)?;
        let (settings, options) = (Settings::new(endpoint)?, Options::new(endpoint)?);
        let slot = self.slot((host.to_string(), settings.clone(), options.clone()));
        let (shared, news) = {
            let mut slot = slot.lock().await;
            match slot.upgrade().filter(|shared| shared.is_good()) {
                Some(shared) => (shared, None),
                None => {
                    let patience = endpoint.connect_timeout();
                    // A little before whoever waits gives up, so that the reason is told.
                    let patience = patience - patience / 10;
                    let made = timeout(patience, self.connect(endpoint, place, settings, &options));
                    let made = made.await.unwrap_or_else(|_| {
                        let reason = format!(
                            "nobody answered at {host} over UDP; is the server up, and does a firewall let UDP through?"
                        );
                        Err(Error::disconnected(endpoint.to_string(), reason))
                    });
                    let (shared, news) = made?;
                    *slot = Arc::downgrade(&shared);
                    (shared, news)
                }
            }
        };
        Ok(shared.open().await?.with_news(news))
    }

    fn slot(&self, alike: Alike) -> Arc<tokio::sync::Mutex<Weak<Shared>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, slot| {
            let is_waited_for = Arc::strong_count(slot) > 1;
            is_waited_for || slot.try_lock().is_ok_and(|shared| shared.strong_count() > 0)
        });
        known.entry(alike).or_default().clone()
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
        place: usize,
        settings: Settings,
        options: &Options,
    ) -> Result<(Arc<Shared>, Option<Event>)> {
        let host = tcp::host(endpoint, place)?;
        let name = settings.name_of(&host.name)?.to_str().into_owned();
        let (config, news) = self.dialling.config(settings, PROTOCOLS)?;
        let unfit = |reason: String| Error::invalid_endpoint(reason);
        let config = QuicClientConfig::try_from(config);
        let config = config.map_err(|error| unfit(format!("this build has no QUIC: {error}")))?;
        let mut config = quinn::ClientConfig::new(Arc::new(config));
        config.transport_config(options.transport()?);
        let mut failed = None;
        for address in tcp::addresses(endpoint, host).await? {
            match self.shake_hands(endpoint, address, &name, config.clone()).await {
                Ok(shared) => return Ok((shared, news)),
                Err(error) if error.is_retryable() => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        let nothing = || Error::disconnected(endpoint.to_string(), "the name has no address");
        Err(failed.unwrap_or_else(nothing))
    }

    async fn shake_hands(
        &self,
        endpoint: &Endpoint,
        address: SocketAddr,
        name: &str,
        config: quinn::ClientConfig,
    ) -> Result<Arc<Shared>> {
        let endpoint: Arc<str> = endpoint.to_string().into();
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let dialler = Dialler::client(any);
        let dialler = dialler.map_err(|error| Error::disconnected(&*endpoint, error))?;
        let connecting = dialler.connect_with(config, address, name);
        let connecting = connecting.map_err(|error| Error::disconnected(&*endpoint, error))?;
        let connection = connecting.await;
        let connection =
            connection.map_err(|error| failure::error(&endpoint, End::Dialler, &error))?;
        Ok(Shared::new(connection, endpoint, Origin::Dialled(dialler), self.closing.clone()))
    }
}
