//! E2: connections of the plain wire, where nobody sends again, are reset at any byte.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::join;
use integration_tests::bare::Over;
use integration_tests::relay::{Cut, Plan, Relay, Way};
use integration_tests::{Figures, Scale, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use seam_conformance::ledger::Report;
use seam_core::{Batch, Receiver, Sender};
use tokio::time::{sleep, timeout};

use super::over::Place;
use super::stage::{Stage, patience};

/// Bodies that are sent together, and how long the sender rests behind them, so that buffers are not always full.
const BATCH: u64 = 64;
const REST: Duration = Duration::from_millis(1);
/// Bytes before each body on the wire.
const HEADER: usize = 8;

#[tokio::test]
async fn reset_storm() {
    storm(Over::Tcp).await;
}

#[tokio::test]
async fn reset_storm_over_tls() {
    storm(Over::Tls).await;
}

async fn storm(over: Over) {
    let (stage, seed) = (Stage::new().await, seed());
    let (messages, cuts) = Scale::of_environment().pick((5_000, 20), (200_000, 200));
    let (place, registry) = (Place::new(over, &stage), seam::registry());
    let server = registry.server(place.both("wire=connect")).await.unwrap();
    let receiver = server.receiver().await.unwrap();
    let relay = Relay::start(place.address(), seed).await.unwrap();
    relay.plan(Plan::At { way: Way::Up, after: 50_000, cut: Cut::Reset });
    let uri = place.at(relay.address()).both("wire=connect&send_timeout=10m");
    let client = registry.client(uri).await.unwrap();
    let sender = client.sender().await.unwrap();
    let sending = async {
        let sent = send(&sender, seed, messages, || relay.counts().cuts >= cuts, &relay).await;
        assert!(client.drain(patience()).await.unwrap().unsent.is_empty());
        // The last connection ends, and with it all that may come.
        drop((sender, client));
        let left = relay.until(patience(), |now| now.live == 0).await;
        left.expect("all connections end");
        drop(server.drain(patience()).await.unwrap());
        sent
    };
    let ((sent, returned), came) = join!(sending, receive(receiver));
    let happened = relay.counts().cuts;

    let delivered: BTreeSet<u64> = came.values().flatten().map(|(number, _)| *number).collect();
    let all: u64 = u64::try_from(came.values().map(Vec::len).sum::<usize>()).unwrap();
    let missing =
        (1..=sent).filter(|number| !delivered.contains(number) && !returned.contains(number));
    let missing: Vec<usize> = missing.map(|number| body(seed, number).len() + HEADER).collect();
    let bytes: u64 = u64::try_from(missing.iter().sum::<usize>()).unwrap();
    Figures::new("E2 reset_storm", seed, Report::default())
        .with("over", over)
        .with("sent", sent)
        .with("cuts", happened)
        .with("delivered", all)
        .with("returned", returned.len())
        .with("missing", missing.len())
        .print();
    assert!(happened >= cuts, "{happened} cuts");
    assert_eq!(all, u64::try_from(delivered.len()).unwrap(), "one came twice");
    for (peer, came) in &came {
        assert!(came.is_sorted_by_key(|(number, _)| number), "{peer}: out of order");
        for (number, payload) in came {
            assert_eq!(*payload, body(seed, *number), "{number} was altered");
        }
    }
    assert!(delivered.iter().all(|number| (1..=sent).contains(number)));
    // What is written is out of our hands: both ends of a socket may hold it when it is reset.
    assert!(bytes <= happened * buffers(), "{bytes} bytes are missing behind {happened} cuts");
}

/// The largest that the system makes the two buffers between a writer and a reader, in bytes.
fn buffers() -> u64 {
    let largest = |name: &str| -> u64 {
        let sizes = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
        sizes.split_whitespace().last().unwrap().parse().unwrap()
    };
    largest("tcp_wmem") + largest("tcp_rmem")
}

/// Sends so many at least, and until it is enough; how many, and which came back.
async fn send(
    sender: &Sender,
    seed: u64,
    at_least: u64,
    is_enough: impl Fn() -> bool,
    relay: &Relay,
) -> (u64, BTreeSet<u64>) {
    let (mut sent, mut returned) = (0, BTreeSet::new());
    let mut random = StdRng::seed_from_u64(seed);
    while sent < at_least || !is_enough() {
        let mut batch = Batch::new();
        for _ in 0..BATCH {
            sent += 1;
            batch.push_bytes(0, &body(seed, sent));
        }
        let mut ticket = timeout(patience(), sender.admit(&mut batch)).await.unwrap().unwrap();
        let receipts = timeout(patience(), ticket.receipts()).await.unwrap();
        // The next connection lives so long.
        let after = random.random_range(0..100_000);
        relay.plan(Plan::At { way: Way::Up, after, cut: Cut::Reset });
        for (number, receipt) in (sent - BATCH + 1..).zip(receipts.iter()) {
            if receipt.is_err() {
                returned.insert(number);
            }
        }
        sleep(REST).await;
    }
    relay.plan(Plan::Live);
    (sent, returned)
}

/// What comes, by connection.
async fn receive(mut receiver: Receiver) -> BTreeMap<String, Vec<(u64, Vec<u8>)>> {
    let mut came: BTreeMap<String, Vec<(u64, Vec<u8>)>> = BTreeMap::new();
    while let Some(delivery) = receiver.next().await.unwrap() {
        let payload = delivery.datagram().payload().unwrap_or_default().to_vec();
        let number = u64::from_be_bytes(payload[..8].try_into().unwrap());
        let peer = delivery.peer().unwrap().address.clone();
        came.entry(peer).or_default().push((number, payload));
        delivery.ack().unwrap();
    }
    came
}

/// The body of this number: itself, and what is drawn from it.
fn body(seed: u64, number: u64) -> Bytes {
    let mut random = StdRng::seed_from_u64(seed ^ number);
    let mut body = number.to_be_bytes().to_vec();
    let more = random.random_range(0..600);
    body.extend((0..more).map(|_| random.random::<u8>()));
    body.into()
}
