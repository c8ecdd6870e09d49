//! A relay of UDP packets that loses, repeats, delays and reorders some of them, as a bad line does.
//!
//! ```
//! use std::time::Duration;
//!
//! use integration_tests::packets::{Line, PacketRelay};
//!
//! # async fn example(server: std::net::SocketAddr) -> std::io::Result<()> {
//! let relay = PacketRelay::start(server, 7).await?;
//! relay.set(Line { lost: 50, delay: Duration::from_millis(50), ..Line::default() });
//! println!("quic://{}/orders", relay.address());
//! relay.cut();
//! # Ok(()) }
//! ```
//!
//! Needs a Tokio runtime; dropped, it forwards nothing more.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// What becomes of packets, each way; of a thousand so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Never arrive.
    pub lost: u32,
    /// Arrive twice.
    pub repeated: u32,
    /// Arrive later than those behind them.
    pub late: u32,
    /// How long each is on its way.
    pub delay: Duration,
}

/// What a relay has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came.
    pub packets: u64,
    /// Of those, from the target.
    pub down: u64,
    /// Of those, lost by the line.
    pub lost: u64,
    /// Ends that have sent something.
    pub flows: u64,
}

/// A relay that listens on a port of its own.
#[derive(Debug)]
pub struct PacketRelay {
    address: SocketAddr,
    shared: Arc<Shared>,
    forwarding: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared(Mutex<State>);

#[derive(Debug)]
struct State {
    line: Line,
    counts: Counts,
    random: StdRng,
    /// Flows before this one are silent.
    first_live: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When copies of a packet that came now on this flow are to arrive.
    fn arrivals(&self, flow: u64, is_down: bool) -> Vec<Instant> {
        let mut state = self.lock();
        let Line { lost, repeated, late, delay } = state.line;
        state.counts.packets += 1;
        state.counts.down += u64::from(is_down);
        if flow < state.first_live {
            return Vec::new();
        }
        if state.random.random_ratio(lost, 1000) {
            state.counts.lost += 1;
            return Vec::new();
        }
        let mut arrivals = vec![Instant::now() + delay];
        if state.random.random_ratio(late, 1000) {
            arrivals[0] += LATER;
        }
        if state.random.random_ratio(repeated, 1000) {
            arrivals.push(arrivals[0]);
        }
        arrivals
    }
}

/// How much later those come that are late.
const LATER: Duration = Duration::from_millis(10);

/// More than any packet has.
const PACKET: usize = 1 << 16;

impl PacketRelay {
    /// Listens, and forwards to `target`; what it draws follows from `seed`.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub async fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let address = socket.local_addr()?;
        let random = StdRng::seed_from_u64(seed);
        let (line, counts) = (Line::default(), Counts::default());
        let shared = Arc::new(Shared(Mutex::new(State { line, counts, random, first_live: 0 })));
        let forwarding = tokio::spawn(forward(socket, target, shared.clone()));
        Ok(Self { address, shared, forwarding })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What becomes of packets from now on.
    pub fn set(&self, line: Line) {
        self.shared.lock().line = line;
    }

    /// Nothing of whoever has sent something until now goes through any more; nobody is told.
    pub fn cut(&self) {
        let mut state = self.shared.lock();
        state.first_live = state.counts.flows;
    }

    /// What it has done.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }
}

impl Drop for PacketRelay {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

/// Packets to be sent on, and when.
type Waiting = mpsc::UnboundedSender<(Instant, Vec<u8>)>;

async fn forward(socket: Arc<UdpSocket>, target: SocketAddr, shared: Arc<Shared>) {
    let mut flows: HashMap<SocketAddr, (u64, Waiting)> = HashMap::new();
    // They end with it.
    let mut tasks = JoinSet::new();
    let mut packet = vec![0; PACKET];
    loop {
        let Ok((size, from)) = socket.recv_from(&mut packet).await else { continue };
        let (number, waiting) = match flows.entry(from) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let number = shared.lock().counts.flows;
                let flow = flow(&socket, from, target, number, &shared, &mut tasks).await;
                let Ok(flow) = flow else { continue };
                shared.lock().counts.flows += 1;
                unknown.insert((number, flow))
            }
        };
        for at in shared.arrivals(*number, false) {
            drop(waiting.send((at, packet[..size].to_vec())));
        }
    }
}

/// Both ways of one end; where its packets go.
async fn flow(
    socket: &Arc<UdpSocket>,
    from: SocketAddr,
    target: SocketAddr,
    number: u64,
    shared: &Arc<Shared>,
    tasks: &mut JoinSet<()>,
) -> io::Result<Waiting> {
    let there = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    there.connect(target).await?;
    let (up, going_up) = mpsc::unbounded_channel();
    let (down, going_down) = mpsc::unbounded_channel();
    tasks.spawn(deliver(going_up, there.clone(), target));
    tasks.spawn(deliver(going_down, socket.clone(), from));
    let shared = shared.clone();
    tasks.spawn(async move {
        let mut packet = vec![0; PACKET];
        loop {
            // Nobody may listen there for a moment.
            let Ok(size) = there.recv(&mut packet).await else { continue };
            for at in shared.arrivals(number, true) {
                drop(down.send((at, packet[..size].to_vec())));
            }
        }
    });
    Ok(up)
}

/// Sends packets when their time has come, those of one time in their order.
async fn deliver(
    mut coming: mpsc::UnboundedReceiver<(Instant, Vec<u8>)>,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
) {
    let (mut waiting, mut count) = (BTreeMap::new(), 0_u64);
    loop {
        let due = waiting.first_key_value().map(|((at, _), _)| *at);
        let next = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = next => {
                let Some((_, packet)) = waiting.pop_first() else { continue };
                let packet: Vec<u8> = packet;
                // One that the system has no room for is lost, as on any line.
                drop(match socket.peer_addr() {
                    Ok(_) => socket.send(&packet).await,
                    Err(_) => socket.send_to(&packet, to).await,
                });
            }
            packet = coming.recv() => {
                let Some((at, packet)) = packet else { return };
                count += 1;
                waiting.insert((at, count), packet);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Sends so many numbered packets to `to`; those that come at `server`.
    async fn pass(client: &UdpSocket, to: SocketAddr, server: &UdpSocket, count: u32) -> Vec<u32> {
        for number in 0..count {
            client.send_to(&number.to_be_bytes(), to).await.unwrap();
            // So that no buffer is full.
            tokio::task::yield_now().await;
        }
        client.send_to(&u32::MAX.to_be_bytes(), to).await.unwrap();
        let mut came = Vec::new();
        loop {
            let mut packet = [0; 4];
            let received = timeout(PATIENCE, server.recv_from(&mut packet));
            received.await.expect("the last one comes").unwrap();
            match u32::from_be_bytes(packet) {
                u32::MAX => return came,
                number => came.push(number),
            }
        }
    }

    async fn ends() -> (UdpSocket, UdpSocket, PacketRelay) {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let (client, server) = (bind().await.unwrap(), bind().await.unwrap());
        let relay = PacketRelay::start(server.local_addr().unwrap(), 7).await.unwrap();
        (client, server, relay)
    }

    #[tokio::test]
    async fn a_good_line_passes_all_in_order_both_ways() {
        let (client, server, relay) = ends().await;
        relay.set(Line { delay: Duration::from_millis(5), ..Line::default() });
        let came = pass(&client, relay.address(), &server, 100).await;
        assert_eq!(came, (0..100).collect::<Vec<u32>>());
        let mut packet = [0; 4];
        client.send_to(b"ping", relay.address()).await.unwrap();
        let (_, from) = timeout(PATIENCE, server.recv_from(&mut packet)).await.unwrap().unwrap();
        server.send_to(b"pong", from).await.unwrap();
        timeout(PATIENCE, client.recv_from(&mut packet)).await.unwrap().unwrap();
        assert_eq!((&packet, relay.counts().flows), (b"pong", 1));
    }

    #[tokio::test]
    async fn a_bad_line_loses_and_repeats() {
        let (client, server, relay) = ends().await;
        relay.set(Line { lost: 300, repeated: 300, ..Line::default() });
        // The last one of each round may be lost.
        client.send_to(&0_u32.to_be_bytes(), relay.address()).await.unwrap();
        for number in 0..200_u32 {
            client.send_to(&number.to_be_bytes(), relay.address()).await.unwrap();
            tokio::task::yield_now().await;
        }
        while relay.counts().packets < 201 {
            tokio::task::yield_now().await;
        }
        relay.set(Line::default());
        let came = pass(&client, relay.address(), &server, 0).await;
        let once: std::collections::BTreeSet<_> = came.iter().collect();
        let lost = relay.counts().lost;
        assert!((20..120).contains(&lost), "{lost}");
        assert!(came.len() > once.len() + 20, "{} of {}", came.len(), once.len());
    }

    #[tokio::test]
    async fn what_is_cut_stays_silent() {
        let (client, server, relay) = ends().await;
        assert_eq!(pass(&client, relay.address(), &server, 1).await, [0]);
        relay.cut();
        client.send_to(&0_u32.to_be_bytes(), relay.address()).await.unwrap();
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        assert_eq!(pass(&other, relay.address(), &server, 1).await, [0]);
        let mut packet = [0; 4];
        assert!(server.try_recv_from(&mut packet).is_err(), "it went through");
    }
}
