//! A TCP relay that misbehaves on command: it stands between two ends and cuts, stalls, delays and slices.
//!
//! ```
//! use integration_tests::relay::{Cut, Relay};
//!
//! # async fn example(server: std::net::SocketAddr) -> std::io::Result<()> {
//! let relay = Relay::start(server, 7).await?;
//! let client = tokio::net::TcpStream::connect(relay.address()).await?;
//! relay.slice(Some(1..=7));
//! relay.cut(Cut::Reset);
//! # Ok(()) }
//! ```
//!
//! Needs a Tokio runtime; dropped, it ends all connections.

mod connection;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use connection::Conduit;

/// How a connection ends, or stops to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// Both ends get a reset. What they had not read may be lost to them.
    Reset,
    /// Both ends read to the end of what was forwarded. It is closed once they have closed too.
    Finish,
    /// Both ends see nothing any more, and no end: what they send goes nowhere. Another cut may follow.
    Silence,
}

/// From which end to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// From who dialled the relay to the target.
    Up,
    /// From the target to who dialled the relay.
    Down,
}

/// What becomes of each connection that is accepted from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Plan {
    /// It lives as long as its ends want.
    #[default]
    Live,
    /// It is cut once exactly `after` bytes went that way.
    At {
        /// The way that is counted.
        way: Way,
        /// Bytes that still go through.
        after: u64,
        /// How it ends.
        cut: Cut,
    },
    /// It is cut at a random byte of a random way, in one of these manners.
    Random {
        /// Bytes that still go through.
        after: Range<u64>,
        /// One of them is drawn.
        cuts: Vec<Cut>,
    },
    /// It is reset before a byte goes through, and the target is not dialled.
    Refuse,
}

/// What a relay has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted.
    pub accepted: u64,
    /// Of those, the ones that are not closed yet.
    pub live: u64,
    /// Cut or refused by the relay. One whose target cannot be dialled is neither.
    pub cuts: u64,
    /// Bytes that went up.
    pub up: u64,
    /// Bytes that went down.
    pub down: u64,
}

/// A relay that listens on a port of its own.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    controls: watch::Sender<Controls>,
    counts: watch::Sender<Counts>,
    random: Mutex<StdRng>,
}

/// What all connections obey.
#[derive(Clone, Debug, Default)]
struct Controls {
    frozen: [bool; 2],
    delay: Duration,
    slice: Option<RangeInclusive<usize>>,
    plan: Plan,
    /// Rises with each cut; connections of an earlier one end as it says.
    cut: (u64, Option<Cut>),
}

impl Relay {
    /// Listens on a free port of this machine and dials `target` for each connection.
    ///
    /// # Errors
    ///
    /// Those of listening.
    pub async fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        Self::listen((Ipv4Addr::LOCALHOST, 0).into(), target, seed).await
    }

    /// Listens on `address`. What is drawn at random follows from `seed`.
    ///
    /// # Errors
    ///
    /// Those of listening.
    pub async fn listen(address: SocketAddr, target: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            controls: watch::Sender::default(),
            counts: watch::Sender::default(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
        });
        let listening = tokio::spawn(accept(listener, target, shared.clone()));
        Ok(Self { address, shared, listening })
    }

    /// Where to dial it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections that live now.
    pub fn cut(&self, cut: Cut) {
        self.control(|controls| controls.cut = (controls.cut.0 + 1, Some(cut)));
    }

    /// Says what becomes of connections from now on.
    pub fn plan(&self, plan: Plan) {
        self.control(|controls| controls.plan = plan);
    }

    /// Forwards nothing that way until [`Relay::thaw`]; connections stay open.
    pub fn freeze(&self, way: Way) {
        self.control(|controls| controls.frozen[way.index()] = true);
    }

    /// Forwards both ways again.
    pub fn thaw(&self) {
        self.control(|controls| controls.frozen = [false; 2]);
    }

    /// Holds back whatever is read for so long before it is forwarded.
    pub fn delay(&self, delay: Duration) {
        self.control(|controls| controls.delay = delay);
    }

    /// Forwards pieces of so many bytes, drawn at random; `None`: as they come.
    ///
    /// # Panics
    ///
    /// If the range is empty or holds zero.
    pub fn slice(&self, sizes: Option<RangeInclusive<usize>>) {
        if let Some(sizes) = &sizes {
            assert!(!sizes.is_empty() && !sizes.contains(&0), "no piece has a size of {sizes:?}");
        }
        self.control(|controls| controls.slice = sizes);
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.shared.counts.borrow()
    }

    /// Waits until `reached` says so of the counts.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] after `within`, with the counts.
    pub async fn until(
        &self,
        within: Duration,
        reached: impl FnMut(&Counts) -> bool,
    ) -> io::Result<Counts> {
        let mut counts = self.shared.counts.subscribe();
        let found = timeout(within, counts.wait_for(reached)).await;
        match found {
            Ok(found) => found.map(|counts| *counts).map_err(io::Error::other),
            Err(_) => {
                let complaint = format!("the relay is still at {:?}", self.counts());
                Err(io::Error::new(io::ErrorKind::TimedOut, complaint))
            }
        }
    }

    fn control(&self, change: impl FnOnce(&mut Controls)) {
        self.shared.controls.send_modify(change);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It owns the connections, so they end with it.
        self.listening.abort();
    }
}

impl Way {
    fn index(self) -> usize {
        match self {
            Self::Up => 0,
            Self::Down => 1,
        }
    }
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }

    /// One of `range`; its start where it is empty.
    fn draw(&self, range: Range<u64>) -> u64 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        if range.is_empty() { range.start } else { random.random_range(range) }
    }
}

/// After a failure to accept.
const PAUSE: Duration = Duration::from_millis(10);

async fn accept(listener: TcpListener, target: SocketAddr, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A connection that is gone before it is accepted is no connection.
            Ok((near, _)) = listener.accept() => {
                shared.count(|counts| {
                    counts.accepted += 1;
                    counts.live += 1;
                });
                connections.spawn(carry(near, target, shared.clone()));
            }
            Some(_) = connections.join_next() => {}
            // Out of descriptors, most likely.
            else => sleep(PAUSE).await,
        }
    }
}

/// Carries one connection to its end.
async fn carry(near: TcpStream, target: SocketAddr, shared: Arc<Shared>) {
    if let Some(conduit) = Conduit::open(near, target, &shared).await {
        conduit.run().await;
    }
    shared.count(|counts| counts.live -= 1);
}
