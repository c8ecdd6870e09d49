//! E7: a million frames that are none, on a hundred connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::actors::Books;
use integration_tests::bare::Over;
use integration_tests::{Figures, Scale, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use seam_conformance::ledger::{Ledger, Outcome, Stamp};
use seam_core::Sender;
use seam_wire::{Fault, FaultCode, Frame, Hello, Offers, Open, Ping};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::over::Place;
use super::stage::{Stage, patience};
use super::{TOLERANCE, quantile};

const CONNECTIONS: u64 = 100;
/// Of the process that is attacked, above idle.
const RSS: u64 = 64 << 20;
/// How much slower a good client may get.
const SLOWER: u32 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_1m() {
    defy(Over::Tcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_1m_over_tls() {
    defy(Over::Tls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_1m_over_quic() {
    defy(Over::Quic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_1m_over_unix() {
    defy(Over::Unix).await;
}

async fn defy(over: Over) {
    let (stage, seed) = (Stage::new().await, seed());
    let (frames, messages) = Scale::of_environment().pick((30_000, 1_000), (1_000_000, 10_000));
    // A handshake costs an attacker as much as the one that is attacked, and here both share a machine.
    let (frames, attackers) = match over {
        Over::Tcp | Over::Unix => (frames, CONNECTIONS),
        Over::Tls => (frames / 5, CONNECTIONS),
        Over::Quic => (frames / 10, CONNECTIONS / 10),
    };
    let place = Arc::new(Place::new(over, &stage));
    let consumer = stage.consume(stage.consumer(&place.listens("credit=4096"), "ben")).await;
    let registry = seam::registry();
    let client = registry.client(place.dials("credit=4096")).await.unwrap();
    let sender = client.sender().await.unwrap();
    let (ledger, _) = Books::new(stage.folder()).open("anna").unwrap();

    let mut quiet = good(&sender, &ledger, 0..messages).await;
    let attack = async {
        let attackers = (0..attackers).map(|at| {
            let random = StdRng::seed_from_u64(seed ^ at);
            tokio::spawn(attack(place.clone(), random, frames / attackers))
        });
        join_all(attackers).await.into_iter().map(Result::unwrap).sum::<u64>()
    };
    let (mut under_attack, connections) =
        futures_util::join!(good(&sender, &ledger, messages..2 * messages), attack);
    let left = client.drain(patience()).await.unwrap();
    let received = consumer.stop().await;

    let report = stage.check();
    let (quiet, busy) = (quantile(&mut quiet, 0.99), quantile(&mut under_attack, 0.99));
    Figures::new("E7 garbage_1m", seed, report)
        .with("over", over)
        .with_rss(received.rss())
        .with("sent", report.sent)
        .with("frames", frames)
        .with("connections", connections)
        .with("p99", format!("{:.1} ms", busy.as_secs_f64() * 1e3))
        .with("quiet", format!("{:.1} ms", quiet.as_secs_f64() * 1e3))
        .print();
    report.assert_clean();
    assert_eq!((report.acknowledged, report.duplicated), (2 * messages, 0));
    assert_eq!((report.unsettled, received.summary.left, left.unsent.len()), (0, 0, 0));
    assert_eq!(client.statistics().disconnects, 0, "the good client was left alone");
    assert!(received.rss() <= RSS, "{} KiB", received.rss() >> 10);
    let floor = Duration::from_millis(10);
    assert!(busy <= quiet.max(floor) * SLOWER * TOLERANCE, "{busy:?}, quiet {quiet:?}");
}

/// Sends messages one after the other; how long each took.
async fn good(sender: &Sender, ledger: &Ledger, numbers: std::ops::Range<u64>) -> Vec<Duration> {
    let mut took = Vec::new();
    for number in numbers {
        let (stamp, datagram) = Stamp::new("anna", "key", number).datagram(b"12 apples");
        ledger.sent(&stamp);
        let begun = Instant::now();
        let sent = sender.send(datagram).await;
        took.push(begun.elapsed());
        ledger.outcome(&stamp, Outcome::of(&sent));
    }
    took
}

/// Writes so many frames, on as many connections as that takes; how many those were.
async fn attack(place: Arc<Place>, mut random: StdRng, frames: u64) -> u64 {
    let (mut written, mut connections) = (0, 0);
    while written < frames {
        let Some(mut wire) = place.try_wire().await else { continue };
        let stream = &mut wire.stream;
        connections += 1;
        if random.random_ratio(1, 4) {
            let mut bytes = vec![0; random.random_range(1..2000)];
            random.fill(&mut bytes[..]);
            written += 1;
            let _ = stream.write_all(&bytes).await;
        } else {
            // Past the first frames, and then until it is thrown out.
            let mut bytes = Vec::new();
            Frame::Open(Box::new(open(&mut random))).encode(0, &mut bytes);
            let _ = stream.write_all(&bytes).await;
            let mut answer = vec![0; 4096];
            let _ = timeout(patience(), stream.read(&mut answer)).await.unwrap();
            for _ in 0..random.random_range(1..30) {
                written += 1;
                if stream.write_all(&mutated(&mut random)).await.is_err() {
                    break;
                }
            }
        }
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        // However it ends, it must.
        let _ = timeout(patience(), stream.read_to_end(&mut rest)).await.unwrap();
    }
    connections
}

fn open(random: &mut StdRng) -> Open {
    let offers = Offers { sends: true, receives: true, calls: true, accepts: false };
    Open { nonce: random.random(), instance: random.random(), ..super::over::open(offers) }
}

/// A frame that begins as a good one, and has some of its bytes changed.
fn mutated(random: &mut StdRng) -> Vec<u8> {
    let hello = Hello {
        sid: random.random(),
        owner: random.random(),
        attempt: random.random_range(0..3),
        resume: random.random(),
        acked: 0,
        next: 1,
        next_bytes: 0,
        expiry: Duration::from_secs(random.random_range(0..100)),
        proof: None,
    };
    let mut bytes = Vec::new();
    match random.random_range(0..6) {
        0 | 1 => Frame::Hello(hello).encode(0, &mut bytes),
        2 => Frame::Ping(Ping { opaque: random.random(), seen: 0 }).encode(0, &mut bytes),
        3 => Frame::Fin { last: 0 }.encode(0, &mut bytes),
        4 => {
            let fault = Fault { code: FaultCode::Protocol, text: "so there".to_owned() };
            Frame::Fault(fault).encode(0, &mut bytes);
        }
        _ => {
            // A DATA of any content.
            let body: Vec<u8> = (0..random.random_range(1..200)).map(|_| random.random()).collect();
            let size = u32::try_from(body.len() + 4).unwrap();
            bytes.extend_from_slice(&size.to_be_bytes());
            bytes.extend_from_slice(&[0, 2, Frame::DATA, 0]);
            bytes.extend_from_slice(&body);
        }
    }
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..bytes.len());
        bytes[at] = random.random();
    }
    bytes
}
