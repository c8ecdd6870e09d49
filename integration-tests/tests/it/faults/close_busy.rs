//! E18: a connection ends while as much is on its way as there is room for.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use integration_tests::bare::Over;
use integration_tests::packets::{Line, PacketRelay};
use integration_tests::{Figures, Scale, seed};
use seam_conformance::ledger::Report;
use seam_core::{Batch, Connection, Event, Receiver, Sender};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::TOLERANCE;
use super::over::Place;
use super::stage::{Stage, patience};

/// When the other end must know.
const KNOWN: Duration = Duration::from_secs(1);
const BODY: usize = 64 << 10;
/// Receipts before it ends.
const ENOUGH: u64 = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_close_busy() {
    let (stage, seed) = (Stage::new().await, seed());
    let times = Scale::of_environment().pick(5, 100);
    let (mut slowest, mut acknowledged) = (Duration::ZERO, 0);
    for _ in 0..times {
        let place = Place::new(Over::Quic, &stage);
        let relay = PacketRelay::start(place.address(), seed).await.unwrap();
        relay.set(Line { delay: Duration::from_millis(20), ..Line::default() });
        let registry = seam::registry();
        let wide = "credit_bytes=64MiB";
        let server = registry.server(place.listens(wide)).await.unwrap();
        let receiver = server.receiver().await.unwrap();
        let client = registry.client(place.at(relay.address()).dials(wide)).await.unwrap();
        let sender = client.sender().await.unwrap();
        let receiving = tokio::spawn(receive(receiver));
        let is_enough = CancellationToken::new();
        let filling = tokio::spawn(fill(sender, is_enough.clone()));
        // Some have their receipts, and as many more are on their way as the windows take.
        let until = Instant::now() + patience();
        while client.statistics().receipted < ENOUGH {
            assert!(Instant::now() < until, "{:?}", client.statistics());
            sleep(Duration::from_millis(1)).await;
        }
        is_enough.cancel();
        let receipted = timeout(patience(), filling).await.unwrap().unwrap();
        let begun = Instant::now();
        drop(client);
        departed(&server).await;
        slowest = slowest.max(begun.elapsed());
        drop(server.drain(patience()).await.unwrap());
        let came = timeout(patience(), receiving).await.unwrap().unwrap();
        assert!(receipted.is_subset(&came), "what has its receipt did not come");
        acknowledged += receipted.len();
    }
    Figures::new("E18 quic_close_busy", seed, Report::default())
        .with("closes", times)
        .with("acknowledged", acknowledged)
        .with("slowest", format!("{:.0} ms", slowest.as_secs_f64() * 1e3))
        .print();
    assert!(acknowledged > 0);
    assert!(slowest <= KNOWN * TOLERANCE, "{slowest:?}");
}

/// Waits until the server knows that its peer is gone.
async fn departed(server: &Connection) {
    let gone =
        |event: &Event| matches!(event, Event::PeerDeparted { .. } | Event::Disconnected { .. });
    let telling = async { while !server.next_event().await.is_some_and(|event| gone(&event)) {} };
    timeout(patience(), telling).await.expect("it is told");
}

/// Sends as much as is taken until it is enough, and then waits for nothing; the numbers that have their receipt.
async fn fill(sender: Sender, is_enough: CancellationToken) -> BTreeSet<u64> {
    let (mut number, mut open, mut receipted) = (0_u64, VecDeque::new(), BTreeSet::new());
    let filling = async {
        loop {
            let mut batch = Batch::new();
            number += 1;
            let mut body = vec![7; BODY];
            body[..8].copy_from_slice(&number.to_be_bytes());
            batch.push_bytes(0, &body);
            open.push_back((number, sender.admit(&mut batch).await.unwrap()));
            if open.len() > MOST {
                let (number, mut ticket) = open.pop_front().expect("there are many");
                assert!(ticket.receipts().await.all_ok());
                receipted.insert(number);
            }
        }
    };
    tokio::select! {
        () = filling => {}
        () = is_enough.cancelled() => {}
    }
    receipted
}

/// Tickets that wait for their receipts: as many bytes as the windows hold.
const MOST: usize = (64 << 20) / BODY;

/// The numbers that came.
async fn receive(mut receiver: Receiver) -> BTreeSet<u64> {
    let mut came = BTreeSet::new();
    while let Some(delivery) = receiver.next().await.unwrap() {
        let payload = delivery.datagram().payload().unwrap_or_default();
        came.insert(u64::from_be_bytes(payload[..8].try_into().unwrap()));
        delivery.ack().unwrap();
    }
    came
}
