//! E9: many come, and hardly say anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::bare::Over;
use integration_tests::{Figures, Scale, seed};
use rustls::pki_types::ServerName;
use seam_conformance::ledger::Report;
use seam_core::Datagram;
use seam_wire::{Frame, Offers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::TOLERANCE;
use super::over::Place;
use super::stage::{Stage, patience};

/// How long a good client may take to come in, and to get a datagram through.
const GOOD: Duration = Duration::from_secs(1);
/// Until those that say nothing must have been thrown out.
const GONE: Duration = Duration::from_secs(16);
/// Between two bytes of one that is slow.
const PAUSE: Duration = Duration::from_secs(5);

/// How far a slow one comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    /// It says nothing.
    Silent,
    /// It says a byte of its first frame now and then; over TLS, of its ClientHello.
    First,
    /// Over TLS and QUIC: the handshake is done, and then its first frame comes byte by byte.
    Inside,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slowloris() {
    for over in [Over::Tcp, Over::Tls, Over::Quic, Over::Unix] {
        hold_out(over).await;
    }
}

async fn hold_out(over: Over) {
    let (stage, seed) = (Stage::new().await, seed());
    let count = Scale::of_environment().pick(120, 5_000);
    let place = Arc::new(Place::new(over, &stage));
    let registry = seam::registry();
    let server = registry.server(place.listens("credit=4096")).await.unwrap();
    let mut receiver = server.receiver().await.unwrap();
    let taking = tokio::spawn(async move {
        while let Some(delivery) = receiver.next().await.unwrap() {
            delivery.ack().unwrap();
        }
    });
    let kinds: &[Slow] = match over {
        Over::Tcp | Over::Unix => &[Slow::Silent, Slow::First],
        Over::Tls => &[Slow::Silent, Slow::First, Slow::Inside],
        // Before its handshake nothing of QUIC holds anything.
        Over::Quic => &[Slow::Silent, Slow::Inside],
    };
    let slow = (0..count).map(|at| {
        let (place, kind) = (place.clone(), kinds[at % kinds.len()]);
        tokio::spawn(async move { lasts(&place, over, kind).await })
    });
    let slow: Vec<_> = slow.collect();
    let mut good = Vec::new();
    while slow.iter().any(|one| !one.is_finished()) {
        let begun = Instant::now();
        let client = registry.client(place.dials("credit=4096")).await.unwrap();
        client.sender().await.unwrap().send(Datagram::new("12 apples")).await.unwrap();
        good.push(begun.elapsed());
        assert!(client.drain(patience()).await.unwrap().is_clean());
        sleep(GOOD.saturating_sub(begun.elapsed())).await;
    }
    let lasted = join_all(slow).await.into_iter().map(Result::unwrap).max().unwrap();
    let slowest = good.iter().max().unwrap();
    assert!(server.drain(patience()).await.unwrap().is_clean());
    taking.await.unwrap();
    Figures::new("E9 slowloris", seed, Report::default())
        .with("over", over)
        .with("slow", count)
        .with("gone", format!("{:.1} s", lasted.as_secs_f64()))
        .with("good", good.len())
        .with("slowest", format!("{:.0} ms", slowest.as_secs_f64() * 1e3))
        .print();
    assert!(*slowest <= GOOD * TOLERANCE, "{slowest:?}");
    assert!(lasted <= GONE * TOLERANCE, "{lasted:?}");
}

/// How long a slow one lasts.
async fn lasts(place: &Place, over: Over, kind: Slow) -> Duration {
    let begun = Instant::now();
    let mut wire = match (over, kind) {
        (Over::Tls, Slow::Silent | Slow::First) => place.socket().await,
        _ => place.wire().await,
    };
    let bytes = match (over, kind) {
        (_, Slow::Silent) => Vec::new(),
        (Over::Tls, Slow::First) => client_hello(),
        _ => open(),
    };
    // One that says nothing on a stream of QUIC does not open it.
    let mut bytes = bytes.into_iter();
    let mut answer = [0; 4096];
    let living = async {
        loop {
            if let Some(byte) = bytes.next()
                && wire.stream.write_all(&[byte]).await.is_err()
            {
                return;
            }
            let until = Instant::now() + PAUSE;
            while let Ok(read) =
                timeout(until - Instant::now(), wire.stream.read(&mut answer)).await
            {
                if read.is_err() || read.is_ok_and(|read| read == 0) {
                    return;
                }
            }
        }
    };
    timeout(patience(), living).await.expect("it is thrown out");
    begun.elapsed()
}

/// What a good one says first, without its last byte.
fn open() -> Vec<u8> {
    let open =
        super::over::open(Offers { sends: true, receives: false, calls: false, accepts: false });
    let mut bytes = Vec::new();
    Frame::Open(Box::new(open)).encode(0, &mut bytes);
    bytes.pop();
    bytes
}

/// The first flight of TLS.
fn client_hello() -> Vec<u8> {
    let config = rustls::ClientConfig::builder_with_provider(seam_certificates::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes.pop();
    bytes
}
