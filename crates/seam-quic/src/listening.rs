//! A socket that listens: connections that shake hands, and the streams that they open.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connecting, Incoming};
use rustls::ServerConfig;
use seam_certificates::{End, Reloaded, kept};
use seam_core::{Error, Event, Result};
use seam_link::{Arrival, Listener};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::config::Options;
use crate::dialled::{Origin, Shared};
use crate::failure;
use crate::socket::{Socket, Sockets};
use crate::stream::Lane;

/// A socket that listens.
pub(crate) struct Listening {
    socket: Arc<Socket>,
    endpoint: Arc<str>,
    config: Arc<Reloaded<ServerConfig>>,
    /// Its first configuration. Those that follow keep the key of its tokens: whoever was asked to come again with one may
    /// come after a reload.
    first: quinn::ServerConfig,
    closing: TaskTracker,
    waits: Mutex<Waits>,
}

/// Handshakes under way, and connections whose next stream is waited for.
#[derive(Default)]
struct Waits {
    turns: FuturesUnordered<BoxFuture<'static, Turn>>,
    /// How many of them are connections.
    standing: usize,
}

/// What one of them came to.
enum Turn {
    /// A handshake ended.
    Shaken(SocketAddr, Result<Arc<Shared>>),
    /// A connection has a stream more.
    Stream(Arc<Shared>, Lane),
    /// A connection has ended.
    Ended,
}

/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections that do not stand from which on an address must show that it is real, and from which on nobody is let in.
const MANY: usize = 64;
const TOO_MANY: usize = 1024;

impl Listening {
    pub(crate) async fn new(
        sockets: &Sockets,
        address: SocketAddr,
        endpoint: Arc<str>,
        config: Reloaded<ServerConfig>,
        options: &Options,
        closing: TaskTracker,
    ) -> Result<io::Result<Self>> {
        let mut first = quinn::ServerConfig::with_crypto(as_quinn(&config.current())?);
        first
            .transport_config(options.transport()?)
            .migration(options.migration)
            .max_incoming(TOO_MANY);
        Ok(sockets.listen(address, &first, &closing).await.map(|socket| Self {
            socket,
            endpoint,
            config: Arc::new(config),
            first,
            closing,
            waits: Mutex::default(),
        }))
    }

    /// Begins a handshake, where there is room for one.
    fn arrive(&self, incoming: Incoming, waits: &Waits) {
        // Handshakes, and what ends. A first packet that takes itself back is among them: it costs whoever sends it no
        // more than a packet, and is kept as long as silence may last.
        let halfway = self.socket.endpoint.open_connections().saturating_sub(waits.standing);
        if halfway >= TOO_MANY {
            incoming.refuse();
            return;
        }
        if halfway >= MANY && !incoming.remote_address_validated() && incoming.may_retry() {
            // It may come again with the proof that its address is real.
            drop(incoming.retry());
            return;
        }
        let address = incoming.remote_address();
        let turn = match incoming.accept() {
            Ok(connecting) => {
                let origin = Origin::Accepted { _at: self.socket.clone() };
                let shaking =
                    shake(connecting, self.endpoint.clone(), origin, self.closing.clone());
                shaking.map(move |shaken| Turn::Shaken(address, shaken)).boxed()
            }
            Err(error) => {
                let error = failure::error(&self.endpoint, End::Listener, &error);
                std::future::ready(Turn::Shaken(address, Err(error))).boxed()
            }
        };
        waits.turns.push(turn);
    }
}

#[async_trait]
impl Listener for Listening {
    async fn accept(&self) -> Result<Arrival> {
        // A call that is dropped leaves everything in its place.
        let mut waits = self.waits.lock().await;
        loop {
            let turn = tokio::select! {
                incoming = self.socket.endpoint.accept() => match incoming {
                    Some(incoming) => {
                        self.arrive(incoming, &waits);
                        continue;
                    }
                    None => return Err(Error::disconnected(&*self.endpoint, "the socket was closed")),
                },
                Some(turn) = waits.turns.next() => turn,
            };
            match turn {
                Turn::Shaken(_, Ok(shared)) => {
                    waits.standing += 1;
                    waits.turns.push(next(shared).boxed());
                }
                Turn::Shaken(address, Err(error)) => {
                    let address = address.to_string();
                    return Ok(Arrival { address, link: std::future::ready(Err(error)).boxed() });
                }
                Turn::Stream(shared, lane) => {
                    let link = shared.link(lane);
                    waits.turns.push(next(shared).boxed());
                    return Ok(Arrival::ready(link?));
                }
                Turn::Ended => waits.standing -= 1,
            }
        }
    }

    async fn news(&self) -> Event {
        loop {
            let before = self.config.current();
            let looked = self.config.next_look().await.and_then(|config| {
                if !Arc::ptr_eq(&before, &config) {
                    let mut next = self.first.clone();
                    next.crypto = as_quinn(&config)?;
                    self.socket.endpoint.set_server_config(Some(next));
                }
                Ok(())
            });
            if let Err(error) = looked {
                return kept(&error);
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.socket.leave();
    }
}

fn as_quinn(config: &Arc<ServerConfig>) -> Result<Arc<QuicServerConfig>> {
    let crypto = QuicServerConfig::try_from(config.clone());
    let unfit = |error| Error::invalid_endpoint(format!("this build has no QUIC: {error}"));
    crypto.map(Arc::new).map_err(unfit)
}

async fn shake(
    connecting: Connecting,
    endpoint: Arc<str>,
    origin: Origin,
    closing: TaskTracker,
) -> Result<Arc<Shared>> {
    let connection = match timeout(PATIENCE, connecting).await {
        Ok(connection) => connection,
        Err(_) => return Err(Error::disconnected(&*endpoint, "the handshake took too long")),
    };
    let connection =
        connection.map_err(|error| failure::error(&endpoint, End::Listener, &error))?;
    Ok(Shared::new(connection, endpoint, origin, closing))
}

/// Waits for the next stream that the other end opens. A connection on which nobody has one is not kept for ever.
async fn next(shared: Arc<Shared>) -> Turn {
    loop {
        match timeout(PATIENCE, shared.connection.accept_bi()).await {
            Ok(Ok((send, receive))) => {
                let lane = Lane::new(send, receive, shared.clone());
                return Turn::Stream(shared, lane);
            }
            Ok(Err(_)) => return Turn::Ended,
            // Nobody else has it: each of its streams would.
            Err(_) if Arc::strong_count(&shared) == 1 => return Turn::Ended,
            Err(_) => {}
        }
    }
}
