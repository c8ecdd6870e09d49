//! TLS over TCP as a carrier of links.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, CommonState, ServerConfig};
use seam_certificates::{Certificate, Dialling, EXPORTER, End, Reloaded, Settings, kept, refused};
use seam_core::{Endpoint, Error, Event, Result};
use seam_link::tcp::{self, Options};
use seam_link::{Arrival, Carrier, Link, Links, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::config::{SCHEMES, Speaks};
use crate::stream::Secured;

/// The transport of `tls://`. Clones share the sockets that listen.
///
/// ```
/// use seam_core::{Capability, Registry, Side};
/// use seam_tls::Tls;
///
/// let registry = Registry::new().with(Tls::new());
/// let session = registry.check("tls://shop.example/orders?ca=ca.pem", Side::Client)?;
/// assert!(session.has(Capability::Redelivery));
/// # Ok::<(), seam_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tls(Links);

impl Tls {
    /// A transport that listens nowhere yet, with certificates as URIs name them.
    #[must_use]
    pub fn new() -> Self {
        Self(Links::new(&SCHEMES, Sockets::default()))
    }

    /// One with configurations of rustls instead, for what no URI can say: keys in hardware, verifiers of one's own. The
    /// first is for whoever dials, the second for whoever listens; ALPN is set to what the endpoint speaks.
    #[must_use]
    pub fn with_configs(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Self {
        let (dialling, given) = (Dialling::with_config(client), Some(server));
        Self(Links::new(&SCHEMES, Sockets { dialling, given }))
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

seam_link::transport!(Tls);

/// What dials and listens.
#[derive(Default)]
struct Sockets {
    dialling: Dialling,
    given: Option<Arc<ServerConfig>>,
}

#[async_trait]
impl Carrier for Sockets {
    fn check(&self, endpoint: &Endpoint) -> Result<()> {
        let settings = settings(endpoint)?;
        endpoint.hosts().iter().try_for_each(|host| settings.name_of(&host.name).map(drop))
    }

    async fn dial(&self, endpoint: &Endpoint, place: usize) -> Result<Link> {
        let settings = settings(endpoint)?;
        let name = settings.name_of(&tcp::host(endpoint, place)?.name)?;
        let speaks = Speaks::new(endpoint);
        let (config, news) = self.dialling.config(settings, speaks.protocols())?;
        let (stream, address) = tcp::dial(endpoint, place).await?;
        let shaking = Shaking { endpoint: endpoint.to_string().into(), address, speaks };
        Ok(shaking.dial(stream, config, name).await?.with_news(news))
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Box<dyn Listener>> {
        let (settings, speaks) = (settings(endpoint)?, Speaks::new(endpoint));
        let config = settings.listener(self.given.as_deref(), speaks.protocols())?;
        let listener = tcp::listen(endpoint).await?;
        Ok(Box::new(Listening {
            listener,
            options: Options::new(endpoint),
            config: Arc::new(config),
            endpoint: endpoint.to_string().into(),
            speaks,
        }))
    }

    /// Endpoints that show or trust something else are no neighbours at one socket.
    fn listener_name(&self, endpoint: &Endpoint) -> String {
        let (host, settings) = (tcp::listener_name(endpoint), settings(endpoint));
        format!("{host} {settings:?} {:?}", Speaks::new(endpoint))
    }

    fn is_sheltered(&self, endpoint: &Endpoint) -> bool {
        let proof = settings(endpoint).is_ok_and(|settings| settings.wants_clients_proof());
        proof || tcp::is_loopback(endpoint)
    }

    fn proof(&self) -> Option<&'static str> {
        Some("client_ca=")
    }
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").field("given", &self.given.is_some()).finish_non_exhaustive()
    }
}

/// A socket that listens.
struct Listening {
    listener: TcpListener,
    options: Options,
    config: Arc<Reloaded<ServerConfig>>,
    endpoint: Arc<str>,
    speaks: Speaks,
}

#[async_trait]
impl Listener for Listening {
    async fn accept(&self) -> Result<Arrival> {
        let lost = |error: io::Error| Error::disconnected("the listener", error);
        let (stream, _) = self.listener.accept().await.map_err(lost)?;
        let address = self.options.set_up(&stream).map_err(lost)?;
        let (config, speaks) = (self.config.current(), self.speaks);
        let shaking = Shaking { endpoint: self.endpoint.clone(), address, speaks };
        Ok(Arrival {
            address: address.to_string(),
            link: Box::pin(async move { shaking.accept(stream, config).await }),
        })
    }

    async fn news(&self) -> Event {
        loop {
            if let Err(error) = self.config.next_look().await {
                return kept(&error);
            }
        }
    }
}

/// A connection whose handshake is under way.
struct Shaking {
    endpoint: Arc<str>,
    address: SocketAddr,
    speaks: Speaks,
}

impl Shaking {
    async fn dial(
        self,
        stream: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Link> {
        let connecting = TlsConnector::from(config).connect(name, stream).into_fallible();
        match connecting.await {
            Ok(stream) => self.link(stream.into(), End::Dialler),
            Err((error, stream)) => Err(self.failed(error, stream, End::Dialler).await),
        }
    }

    async fn accept(self, stream: TcpStream, config: Arc<ServerConfig>) -> Result<Link> {
        let accepting = TlsAcceptor::from(config).accept(stream).into_fallible();
        match accepting.await {
            Ok(stream) => self.link(stream.into(), End::Listener),
            Err((error, stream)) => Err(self.failed(error, stream, End::Listener).await),
        }
    }

    fn link(self, stream: TlsStream<TcpStream>, end: End) -> Result<Link> {
        let exporter = exporter(&stream);
        let exporter = exporter.map_err(|error| refused(&self.endpoint, end, &error))?;
        let (_, state) = stream.get_ref();
        self.speaks.check(&self.endpoint, state.alpn_protocol())?;
        let peer = peer(state);
        let secured = Secured { stream, endpoint: self.endpoint, end };
        let link = Link::new(secured, self.address.to_string()).with_exporter(exporter);
        let Some(peer) = peer else { return Ok(link) };
        let link = link.with_identity(peer.identity());
        Ok(peer.attributes().fold(link, |link, (name, value)| link.with_attribute(name, value)))
    }

    /// Why a handshake failed; the other end is left the time to read why, too.
    async fn failed(&self, error: io::Error, stream: TcpStream, end: End) -> Error {
        let told = match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(tls) => refused(&self.endpoint, end, tls),
            None => Error::disconnected(&*self.endpoint, error),
        };
        drop(timeout(LAST_WORDS, say_goodbye(stream)).await);
        told
    }
}

/// How long an end may take to read why it is refused.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Closes after what was written, and takes what still comes: what nobody has read when a socket is closed makes the
/// operating system throw away what the other end has not read yet.
async fn say_goodbye(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = stream.take(MOST_LAST_BYTES);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}

/// More than a handshake has.
const MOST_LAST_BYTES: u64 = 256 << 10;

/// What both ends know of this connection and nobody else.
fn exporter(stream: &TlsStream<TcpStream>) -> Result<[u8; 32], rustls::Error> {
    match stream {
        TlsStream::Client(client) => {
            client.get_ref().1.export_keying_material([0; 32], EXPORTER, None)
        }
        TlsStream::Server(server) => {
            server.get_ref().1.export_keying_material([0; 32], EXPORTER, None)
        }
    }
}

fn settings(endpoint: &Endpoint) -> Result<Settings> {
    Ok(Settings::new(endpoint)?.with_lowest_version(endpoint))
}

/// Who the other end has proved to be.
fn peer(state: &CommonState) -> Option<Certificate> {
    Certificate::read(state.peer_certificates()?.first()?)
}
