//! What a link tells of its connections, sessions and peers: each thing once, and nothing that was not.

use std::net::SocketAddr;
use std::time::Duration;

use integration_tests::relay::{Cut, Plan, Relay};
use seam::{Connection, Datagram, Delivery, Event, Fate, Receiver, Registry, Statistics};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it comes to an end")
}

/// A server, a relay before it, and a client through the relay.
struct Line {
    registry: Registry,
    at: SocketAddr,
    relay: Relay,
    server: Connection,
    client: Connection,
}

impl Line {
    async fn new(client: &str, server: &str) -> Self {
        let registry = seam::registry();
        let at = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let server = registry.server(&*format!("tcp://{at}/orders{server}")).await.unwrap();
        let relay = Relay::start(at, 7).await.unwrap();
        let uri = format!("tcp://{}/orders{client}", relay.address());
        let client = within(registry.client(&*uri)).await.unwrap();
        Self { registry, at, relay, server, client }
    }

    /// Sends it and has it taken, but not settled.
    async fn pass(&self, receiver: &mut Receiver, text: &'static str) -> Delivery {
        pass(&self.client, receiver, text).await
    }
}

/// Sends one datagram and receives it.
async fn pass(client: &Connection, receiver: &mut Receiver, text: &'static str) -> Delivery {
    let sender = client.sender().await.unwrap();
    let (sent, taken) =
        within(async { tokio::join!(sender.send(Datagram::new(text)), receiver.next()) }).await;
    sent.unwrap();
    let taken = taken.unwrap().expect("it still receives");
    assert_eq!(taken.datagram().payload(), Some(text.as_bytes()));
    taken
}

/// Waits for an event that `is` says is the one.
async fn until(connection: &Connection, is: impl Fn(&Event) -> bool) {
    let looking = async {
        while let Some(event) = connection.next_event().await {
            if is(&event) {
                return;
            }
        }
        panic!("the events ended without it");
    };
    within(looking).await;
}

fn connected(event: &Event) -> bool {
    matches!(event, Event::Connected)
}

fn disconnected(event: &Event) -> bool {
    matches!(event, Event::Disconnected { .. })
}

fn arrived(event: &Event) -> bool {
    matches!(event, Event::PeerArrived { .. })
}

fn departed(event: &Event) -> bool {
    matches!(event, Event::PeerDeparted { .. })
}

/// Connections lost, sessions lost, leases lost, peers that came, peers that went.
fn counts(connection: &Connection) -> [u64; 5] {
    let Statistics {
        disconnects, sessions_lost, leases_lost, peers_arrived, peers_departed, ..
    } = connection.statistics();
    [disconnects, sessions_lost, leases_lost, peers_arrived, peers_departed]
}

#[tokio::test]
async fn a_cut_is_told_once_and_loses_nothing() {
    let line = Line::new("?keep_alive=1s", "?keep_alive=1s").await;
    let mut receiver = line.server.receiver().await.unwrap();
    let held = line.pass(&mut receiver, "before").await;
    until(&line.client, connected).await;
    for cut in [Cut::Reset, Cut::Finish] {
        line.relay.cut(cut);
        until(&line.client, disconnected).await;
        until(&line.client, connected).await;
    }
    assert!(held.is_current(), "the session goes on");
    held.ack().unwrap();
    line.pass(&mut receiver, "after").await.ack().unwrap();
    assert!(within(line.client.drain(PATIENCE)).await.unwrap().is_clean());
    until(&line.server, departed).await;
    assert_eq!(counts(&line.client), [2, 0, 0, 0, 0]);
    // Its farewell ends the third connection.
    assert_eq!(counts(&line.server), [3, 0, 0, 1, 1]);
    assert_eq!(line.server.statistics().redelivered, 0);
}

#[tokio::test]
async fn a_session_that_expires_is_told_once_and_redelivered() {
    let line = Line::new("?session_expiry=1s", "").await;
    let mut receiver = line.server.receiver().await.unwrap();
    let held = line.pass(&mut receiver, "slow").await;
    line.relay.plan(Plan::Refuse);
    line.relay.cut(Cut::Reset);
    until(&line.server, departed).await;
    assert!(!held.is_current(), "it is nobody's any more");
    until(&line.client, |event| matches!(event, Event::SessionLost { unsettled: 1, .. })).await;
    line.relay.plan(Plan::Live);
    let again = within(receiver.next()).await.unwrap().unwrap();
    assert_eq!((again.note().attempt, again.note().possible_duplicate), (2, true));
    again.ack().unwrap();
    assert!(within(line.client.drain(PATIENCE)).await.unwrap().is_clean());
    until(&line.server, departed).await;
    assert_eq!(counts(&line.client)[1..], [1, 0, 0, 0]);
    assert_eq!(counts(&line.server)[1..], [0, 1, 2, 2]);
}

#[tokio::test]
async fn a_listener_that_restarts_is_found_again() {
    let line = Line::new("", "").await;
    let mut receiver = line.server.receiver().await.unwrap();
    let held = line.pass(&mut receiver, "unlucky").await;
    drop((receiver, line.server));
    until(&line.client, disconnected).await;
    assert!(!held.is_current(), "its connection is gone");
    let server = line.registry.server(&*format!("tcp://{}/orders", line.at)).await.unwrap();
    let mut receiver = server.receiver().await.unwrap();
    let again = within(receiver.next()).await.unwrap().unwrap();
    assert_eq!((again.note().attempt, again.note().possible_duplicate), (2, true));
    again.ack().unwrap();
    assert!(within(line.client.drain(PATIENCE)).await.unwrap().is_clean());
    assert_eq!(counts(&line.client)[1], 1, "one session was lost");
    until(&server, arrived).await;
    until(&server, departed).await;
}

#[tokio::test]
async fn what_a_lost_session_held_comes_back_if_asked() {
    let line = Line::new("?lost=report&session_expiry=1s", "").await;
    let mut receiver = line.server.receiver().await.unwrap();
    let held = line.pass(&mut receiver, "mine").await;
    line.relay.plan(Plan::Refuse);
    line.relay.cut(Cut::Reset);
    let back = within(line.client.returned()).await.expect("it is given back");
    assert_eq!(back.datagram().payload(), Some(&b"mine"[..]));
    assert_eq!(back.fate(), Fate::MaybeSent);
    until(&line.server, departed).await;
    line.relay.plan(Plan::Live);
    line.pass(&mut receiver, "the next one").await.ack().unwrap();
    assert!(within(line.client.drain(PATIENCE)).await.unwrap().is_clean());
    assert_eq!(counts(&line.client)[1], 1, "one session was lost");
    drop(held);
}

#[tokio::test]
async fn a_drain_without_its_peer_ends_in_time_and_lists_what_is_left() {
    let line = Line::new("", "").await;
    let mut receiver = line.server.receiver().await.unwrap();
    let held = line.pass(&mut receiver, "in doubt").await;
    line.relay.plan(Plan::Refuse);
    line.relay.cut(Cut::Reset);
    until(&line.client, disconnected).await;
    let sender = line.client.sender().await.unwrap();
    let waiting = tokio::spawn(async move { sender.send(Datagram::new("not sent")).await });
    while line.client.statistics().admitted < 2 {
        tokio::task::yield_now().await;
    }
    let drained = within(line.client.drain(Duration::from_millis(300))).await.unwrap();
    let mut left: Vec<_> = drained
        .unsent
        .iter()
        .map(|error| (error.datagram().payload().unwrap().to_vec(), error.fate()))
        .collect();
    left.sort();
    let expected = [(&b"in doubt"[..], Fate::MaybeSent), (b"not sent", Fate::NotSent)];
    assert_eq!(left, expected.map(|(text, fate)| (text.to_vec(), fate)));
    assert_eq!(within(waiting).await.unwrap().unwrap_err().fate(), Fate::NotSent);
    drop(held);
}

#[tokio::test]
async fn a_silent_connection_is_noticed_by_both_ends() {
    let line = Line::new("?keep_alive=100ms", "?keep_alive=100ms").await;
    let mut receiver = line.server.receiver().await.unwrap();
    line.pass(&mut receiver, "before").await.ack().unwrap();
    until(&line.client, connected).await;
    line.relay.cut(Cut::Silence);
    until(&line.server, disconnected).await;
    until(&line.client, disconnected).await;
    until(&line.client, connected).await;
    line.pass(&mut receiver, "after").await.ack().unwrap();
    assert_eq!(line.server.statistics().redelivered, 0);
}

#[tokio::test]
async fn a_client_may_start_before_its_server() {
    let registry = seam::registry();
    let at = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    // Tells that somebody came, and does not let it through while nobody listens.
    let relay = Relay::start(at, 0).await.unwrap();
    let (early, own) = (registry.clone(), format!("tcp://{}/orders", relay.address()));
    let client = tokio::spawn(async move { early.client(&*own).await });
    relay.until(PATIENCE, |counts| counts.accepted > 0 && counts.live == 0).await.unwrap();
    assert!(!client.is_finished(), "it waits");
    let server = registry.server(&*format!("tcp://{at}/orders")).await.unwrap();
    let mut receiver = server.receiver().await.unwrap();
    let client = within(client).await.unwrap().unwrap();
    pass(&client, &mut receiver, "x").await.ack().unwrap();
    assert_eq!(counts(&client), [0; 5]);
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let before = Handle::current().metrics().num_alive_tasks();
    let registry = seam::registry();
    let at = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for wire in ["session", "connect", "any"] {
        let own = if wire == "connect" { "" } else { "/orders" };
        let theirs = if wire == "session" { "session" } else { "connect" };
        let server = registry.server(&*format!("tcp://{at}{own}?wire={wire}")).await.unwrap();
        let mut receiver = server.receiver().await.unwrap();
        let own = if theirs == "connect" { "" } else { "/orders" };
        let client = registry.client(&*format!("tcp://{at}{own}?wire={theirs}")).await.unwrap();
        let taken = pass(&client, &mut receiver, "x").await;
        drop((taken, receiver, client, server));
        let none = async {
            while Handle::current().metrics().num_alive_tasks() > before
                || TcpListener::bind(at).await.is_err()
            {
                tokio::task::yield_now().await;
            }
        };
        within(none).await;
    }
}
