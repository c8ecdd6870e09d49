//! How connections to the broker come to be.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::tcp::{AsyncTcpStream, RustlsConnector};
use lapin::uri::{
    AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism,
};
use lapin::{Connection, ConnectionProperties};
use seam_core::{Endpoint, Error, Host, Result};
use socket2::{SockRef, Socket};

use crate::config::Config;
use crate::{failure, quiet, tls};

/// What makes connections of one endpoint.
pub(crate) struct Dialler {
    pub(crate) endpoint: Endpoint,
    pub(crate) config: Arc<Config>,
    /// The endpoint, without secrets.
    pub(crate) name: String,
}

/// A connection, and its socket, so that it can be ended whatever the client waits for.
pub(crate) struct Dialled {
    pub(crate) connection: Connection,
    pub(crate) socket: Socket,
}

/// The socket of a connection that is being made.
#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Making>>);

#[derive(Default)]
enum Making {
    #[default]
    Begun,
    Socket(Socket),
    /// Nobody waits for it any more.
    Abandoned,
}

impl Slot {
    fn replace(&self, making: Making) -> Making {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut slot, making)
    }

    /// Keeps the socket for whoever waits.
    fn keep(&self, socket: Socket) -> io::Result<()> {
        match self.replace(Making::Socket(socket)) {
            Making::Abandoned => {
                self.abandon();
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            _ => Ok(()),
        }
    }

    fn abandon(&self) {
        // The client's thread waits for this socket, and for nothing else.
        if let Making::Socket(socket) = self.replace(Making::Abandoned) {
            end(&socket);
        }
    }
}

/// Ends a connection that is being made, unless it was made.
struct Waiting(Slot);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Dialler {
    /// Tries each host in turn, and gives the first that answers.
    ///
    /// # Errors
    ///
    /// Of the last host.
    pub(crate) async fn dial(&self, purpose: &str) -> Result<Dialled> {
        let mut last = None;
        for host in self.endpoint.hosts() {
            match self.dial_host(host, purpose).await {
                Ok(dialled) => return Ok(dialled),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::invalid_endpoint("there is no host")))
    }

    async fn dial_host(&self, host: &Host, purpose: &str) -> Result<Dialled> {
        let waiting = Waiting(Slot::default());
        let connecting = self.connect(host, purpose, waiting.0.clone())?;
        let connected = tokio::time::timeout(self.patience(), connecting).await;
        let connected = connected.map_err(|_| failure::silent(&self.name, "a new connection"))?;
        let has_certificate = self.endpoint.is_given("cert");
        let connection =
            connected.map_err(|error| failure::of_dialling(&self.name, &error, has_certificate))?;
        match waiting.0.replace(Making::Begun) {
            Making::Socket(socket) => Ok(Dialled { connection, socket }),
            _ => Err(failure::silent(&self.name, "a new connection")),
        }
    }

    /// A host that does not answer leaves time for the next one.
    fn patience(&self) -> Duration {
        let hosts = u32::try_from(self.endpoint.hosts().len()).unwrap_or(u32::MAX).max(1);
        (self.config.connect_timeout * 9 / 10 / hosts).max(Duration::from_millis(100))
    }

    fn connect(
        &self,
        host: &Host,
        purpose: &str,
        slot: Slot,
    ) -> Result<impl Future<Output = lapin::Result<Connection>> + use<>> {
        let tls = if self.config.is_tls { Some(tls::connector(&self.endpoint)?) } else { None };
        let server_name = self.endpoint.text("server_name").unwrap_or(bare(&host.name)).to_owned();
        let patience = self.patience();
        let client = self.endpoint.text("client_id").unwrap_or("seam");
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("{client} {purpose}").into());
        let uri = self.uri(host)?;
        Ok(async move {
            let runtime = quiet::runtime();
            let connect = Connect { slot, tls, server_name, patience };
            let connecting = Connection::connector(
                uri,
                runtime,
                async move |uri: AMQPUri, runtime| {
                    quiet::hush_thread();
                    let AMQPAuthority { host, port, .. } = uri.authority;
                    let connecting = async {
                        let addresses = resolve(&host, port).await?;
                        let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
                        if let AsyncTcpStream::Plain(plain) = &stream {
                            let socket = SockRef::from(plain.get_ref());
                            socket.set_tcp_nodelay(true)?;
                            connect.slot.keep(socket.try_clone()?)?;
                        }
                        match &connect.tls {
                            Some(tls) => stream.into_rustls(tls, &connect.server_name).await,
                            None => Ok(stream),
                        }
                    };
                    let connected = tokio::time::timeout(connect.patience, connecting).await;
                    Ok(connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?)
                },
                properties,
            );
            connecting.await
        })
    }

    fn uri(&self, host: &Host) -> Result<AMQPUri> {
        let password = self.endpoint.load_password()?;
        let userinfo = match self.endpoint.user() {
            Some(user) => AMQPUserInfo {
                username: user.to_owned(),
                password: password.map_or(String::new(), |secret| secret.expose().to_owned()),
            },
            None => AMQPUserInfo::default(),
        };
        let mechanism =
            if self.config.is_external { SASLMechanism::External } else { SASLMechanism::Plain };
        Ok(AMQPUri {
            scheme: if self.config.is_tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority { userinfo, host: host.name.to_string(), port: host.port },
            vhost: self.config.virtual_host.clone(),
            query: AMQPQueryString {
                frame_max: Some(FRAME_MAX),
                heartbeat: Some(self.config.keep_alive),
                auth_mechanism: Some(mechanism),
                ..AMQPQueryString::default()
            },
        })
    }
}

/// What the client's thread needs to connect.
struct Connect {
    slot: Slot,
    tls: Option<RustlsConnector>,
    server_name: String,
    patience: Duration,
}

/// The largest frame, in bytes: what RabbitMQ has by default. The client reserves sixty-four times as much.
const FRAME_MAX: u32 = 131_072;
pub(crate) const FRAME_MAX_BYTES: usize = 131_072;

/// Ends a connection at once, for the broker and for the client.
pub(crate) fn end(socket: &Socket) {
    // It may have ended by itself.
    drop(socket.shutdown(std::net::Shutdown::Both));
}

/// Every address of a host.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host((bare(host), port)).await.map_err(|error| {
        io::Error::other(format!("the name of the host is not known; is it spelt right? ({error})"))
    })?;
    Ok(found.collect())
}

/// An address of IPv6 without the brackets that URIs have around it.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}
