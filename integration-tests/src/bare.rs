//! Bare streams over each carrier of sessions, without anything of ours: what a session is measured against, and what a
//! peer that misbehaves comes by.
//!
//! ```
//! use integration_tests::bare::{Dialling, Over, Spot};
//! use tokio::io::AsyncWriteExt;
//!
//! # async fn example(folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! // Certificates lie in `folder`, as `seam certs new` writes them.
//! let spot = Spot::new(Over::Tls, "127.0.0.1:7421".parse()?, folder);
//! let mut wire = Dialling::new(&spot)?.dial().await?;
//! wire.stream.write_all(b"GET / HTTP/1.1\r\n").await?;
//! wire.finish().await?;
//! # Ok(()) }
//! ```
//!
//! Whoever dials shows its certificate if it is asked, and says that it speaks `seam/2` (ALPN). Needs a Tokio runtime.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use seam_certificates::SESSION;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Over {
    /// A socket of TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// A stream of QUIC.
    Quic,
    /// A socket of Unix.
    Unix,
}

impl Over {
    /// Each of them.
    pub const EACH: [Self; 4] = [Self::Tcp, Self::Tls, Self::Quic, Self::Unix];

    /// Whether its ends show certificates.
    #[must_use]
    pub fn has_certificates(self) -> bool {
        matches!(self, Self::Tls | Self::Quic)
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Unix => "unix",
        })
    }
}

/// Where somebody listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spot {
    /// What carries the bytes.
    pub over: Over,
    /// Of no use over a Unix socket but for the name of its file.
    pub address: SocketAddr,
    /// Where certificates and Unix sockets are.
    pub folder: PathBuf,
}

impl Spot {
    /// There.
    #[must_use]
    pub fn new(over: Over, address: SocketAddr, folder: &Path) -> Self {
        Self { over, address, folder: folder.to_owned() }
    }

    /// The path of a Unix socket.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.sock", self.address.port()))
    }
}

/// A stream of bytes, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A stream, and the connection of QUIC that it is on.
pub struct Wire {
    /// The stream.
    pub stream: Box<dyn Stream>,
    /// What nobody else knows of the connection, where it is encrypted: 32 bytes of keying material (RFC 8446, 7.5) under
    /// the label `EXPORTER-seam`, without context.
    pub exporter: Option<[u8; 32]>,
    quic: Option<(quinn::Endpoint, quinn::Connection)>,
}

impl Wire {
    fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), exporter: None, quic: None }
    }

    fn inside(stream: impl Into<TlsStream<TcpStream>>) -> Result<Self> {
        let stream = stream.into();
        let exporter = match &stream {
            TlsStream::Client(client) => {
                client.get_ref().1.export_keying_material([0; 32], EXPORTER, None)
            }
            TlsStream::Server(server) => {
                server.get_ref().1.export_keying_material([0; 32], EXPORTER, None)
            }
        };
        Ok(Self { exporter: Some(exporter?), ..Self::new(stream) })
    }

    fn on(
        endpoint: quinn::Endpoint,
        connection: quinn::Connection,
        (send, receive): (quinn::SendStream, quinn::RecvStream),
    ) -> Result<Self> {
        let mut exporter = [0; 32];
        let exported = connection.export_keying_material(&mut exporter, EXPORTER, b"");
        exported.map_err(|_| "the connection has no keying material")?;
        let stream = Box::new(tokio::io::join(receive, send));
        Ok(Self { stream, exporter: Some(exporter), quic: Some((endpoint, connection)) })
    }

    /// Ends what this end says, and waits until the other end has said all.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub async fn finish(mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut rest = [0; 64];
        // However it ends, it does.
        while self.stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        if let Some((endpoint, connection)) = self.quic {
            connection.close(0_u32.into(), b"");
            endpoint.wait_idle().await;
        }
        Ok(())
    }
}

/// Somebody who listens.
pub struct Listening(Socket);

enum Socket {
    Tcp(TcpListener),
    Tls(TcpListener, TlsAcceptor),
    Quic(quinn::Endpoint),
    Unix(UnixListener),
}

impl Listening {
    /// Listens there.
    ///
    /// # Errors
    ///
    /// Those of the system, and of certificates.
    pub async fn new(spot: &Spot) -> Result<Self> {
        Ok(Self(match spot.over {
            Over::Tcp => Socket::Tcp(TcpListener::bind(spot.address).await?),
            Over::Tls => {
                let acceptor = TlsAcceptor::from(Arc::new(server(spot)?));
                Socket::Tls(TcpListener::bind(spot.address).await?, acceptor)
            }
            Over::Quic => {
                let crypto = QuicServerConfig::try_from(server(spot)?)?;
                let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
                config.transport_config(windows());
                Socket::Quic(quinn::Endpoint::server(config, spot.address)?)
            }
            Over::Unix => Socket::Unix(UnixListener::bind(spot.path())?),
        }))
    }

    /// The next stream; of QUIC the first one of the next connection, once something comes on it.
    ///
    /// # Errors
    ///
    /// Those of the system, and of handshakes.
    pub async fn accept(&self) -> Result<Wire> {
        Ok(match &self.0 {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Wire::new(stream)
            }
            Socket::Tls(listener, acceptor) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Wire::inside(acceptor.accept(stream).await?)?
            }
            Socket::Quic(endpoint) => {
                let connection = endpoint.accept().await.ok_or("it is closed")?.await?;
                let halves = connection.accept_bi().await?;
                Wire::on(endpoint.clone(), connection, halves)?
            }
            Socket::Unix(listener) => Wire::new(listener.accept().await?.0),
        })
    }
}

/// What is dialled, as often as one likes.
pub struct Dialling {
    spot: Spot,
    config: Option<Arc<ClientConfig>>,
}

impl Dialling {
    /// Reads what it needs.
    ///
    /// # Errors
    ///
    /// Those of certificates.
    pub fn new(spot: &Spot) -> Result<Self> {
        let config = spot.over.has_certificates().then(|| client(spot)).transpose()?;
        Ok(Self { spot: spot.clone(), config: config.map(Arc::new) })
    }

    /// A stream; of QUIC one on a connection of its own.
    ///
    /// # Errors
    ///
    /// Those of the system, and of the handshake.
    pub async fn dial(&self) -> Result<Wire> {
        let address = self.spot.address;
        if self.spot.over == Over::Unix {
            return Ok(Wire::new(UnixStream::connect(self.spot.path()).await?));
        }
        if self.spot.over == Over::Quic {
            let crypto = QuicClientConfig::try_from(self.config()?)?;
            let mut config = quinn::ClientConfig::new(Arc::new(crypto));
            config.transport_config(windows());
            let endpoint = quinn::Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
            let connection = endpoint.connect_with(config, address, HOST)?.await?;
            let halves = connection.open_bi().await?;
            return Wire::on(endpoint, connection, halves);
        }
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if self.spot.over == Over::Tcp {
            return Ok(Wire::new(stream));
        }
        let connector = TlsConnector::from(self.config()?);
        Wire::inside(connector.connect(ServerName::try_from(HOST)?, stream).await?)
    }

    fn config(&self) -> Result<Arc<ClientConfig>> {
        Ok(self.config.clone().ok_or("it has no certificates")?)
    }
}

const EXPORTER: &[u8] = b"EXPORTER-seam";

/// The name in the certificate.
const HOST: &str = "localhost";

fn client(spot: &Spot) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(spot.folder.join("ca.pem"))?)?;
    let (chain, key) = own(spot, "client")?;
    let mut config = ClientConfig::builder_with_provider(seam_certificates::provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![SESSION.to_vec()];
    Ok(config)
}

fn server(spot: &Spot) -> Result<ServerConfig> {
    let (chain, key) = own(spot, "server")?;
    let mut config = ServerConfig::builder_with_provider(seam_certificates::provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![SESSION.to_vec()];
    Ok(config)
}

/// What an end shows.
type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn own(spot: &Spot, name: &str) -> Result<Own> {
    let file = |kind: &str| spot.folder.join(format!("{name}.{kind}"));
    let chain = vec![CertificateDer::from_pem_file(file("pem"))?];
    Ok((chain, PrivateKeyDer::from_pem_file(file("key"))?))
}

/// What ours has: windows are no merit.
fn windows() -> Arc<quinn::TransportConfig> {
    let mut config = quinn::TransportConfig::default();
    config
        .stream_receive_window((4_u32 << 20).into())
        .receive_window((16_u32 << 20).into())
        .send_window(16 << 20);
    Arc::new(config)
}
