//! E14: calls are dropped wherever they wait.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::join;
use integration_tests::bare::Over;
use integration_tests::{Figures, Scale, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use seam_conformance::ledger::{Ledger, Outcome, Stamp};
use seam_core::{Error, Receiver, Sender};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::over::Place;
use super::stage::{Stage, patience};

/// Calls of which at most so many polls are made: most wait once or twice.
const POLLS: u32 = 4;
/// Until what is left must have gone.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_anywhere() {
    cancel(Over::Tcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_anywhere_over_tls() {
    cancel(Over::Tls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_anywhere_over_quic() {
    cancel(Over::Quic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_anywhere_over_unix() {
    cancel(Over::Unix).await;
}

async fn cancel(over: Over) {
    let (stage, seed) = (Stage::new().await, seed());
    let cancels = Scale::of_environment().pick(6_000, 100_000);
    let place = Place::new(over, &stage);
    assert_eq!((tasks(), place.sockets()), (0, 0));
    let ledger = Ledger::new();
    let mut random = StdRng::seed_from_u64(seed);
    let (sends, receives, opens) = {
        let registry = seam::registry();
        let uri = place.both("credit=4096");
        let server = registry.server(uri.as_str()).await.unwrap();
        let mut receiver = server.receiver().await.unwrap();
        let client = registry.client(uri.as_str()).await.unwrap();
        let sender = client.sender().await.unwrap();
        let (send, receive) = (random.random(), random.random());
        let sending = async {
            let sends = send_all(&sender, &ledger, send, cancels / 2).await;
            let left = client.drain(patience()).await.unwrap();
            assert!(left.unsent.is_empty(), "{left:?}");
            assert_eq!(server.drain(patience()).await.unwrap().unsettled, 0);
            sends
        };
        let opening = async {
            let mut opens = 0;
            while opens < cancels / 20 {
                let open = registry.client(uri.as_str());
                match cut_short(open, random.random_range(1..8)).await {
                    Some(other) => drop(other.unwrap()),
                    None => opens += 1,
                }
            }
            opens
        };
        let receiving = receive_all(&mut receiver, &ledger, receive);
        let (opens, sends, receives) = {
            let both = async { join!(opening, sending) };
            let ((opens, sends), receives) = join!(both, receiving);
            (opens, sends, receives)
        };
        (sends, receives, opens)
    };
    let until = Instant::now() + SOON;
    let left = || (tasks(), place.sockets());
    while left() != (0, 0) && Instant::now() < until {
        sleep(Duration::from_millis(5)).await;
    }
    let report = ledger.check();
    Figures::new("E14 cancel_anywhere", seed, report)
        .with("over", over)
        .with("sent", report.sent)
        .with("sends", sends)
        .with("receives", receives)
        .with("opens", opens)
        .print();
    report.assert_clean();
    assert_eq!((report.duplicated, report.unsettled), (0, 0), "{report}");
    assert!(receives > cancels / 20, "{receives} receives were dropped");
    assert_eq!(left(), (0, 0), "tasks and sockets are left");
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Polls `call` so often, and then drops it.
async fn cut_short<F: Future>(call: F, polls: u32) -> Option<F::Output> {
    let mut call = pin!(call);
    let mut left = polls;
    let cut = std::future::poll_fn(|cx| {
        left -= 1;
        match call.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    // One that is woken no more is dropped by time.
    timeout(Duration::from_millis(2), cut).await.unwrap_or(None)
}

/// Sends until so many sends were dropped; every other one by `feed` and `flush`.
async fn send_all(sender: &Sender, ledger: &Ledger, seed: u64, cancels: u64) -> u64 {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut number, mut cancelled) = (0, 0);
    while cancelled < cancels {
        number += 1;
        let body = vec![7; random.random_range(0..4000)];
        let key = format!("key-{}", number % 8);
        let (stamp, datagram) = Stamp::new("anna", &key, number).datagram(&body);
        ledger.sent(&stamp);
        let sent = cut_short(sender.send(datagram.with_key(key)), random.random_range(1..POLLS));
        match sent.await {
            Some(sent) => ledger.outcome(&stamp, Outcome::of(&sent)),
            None => cancelled += 1,
        }
    }
    cancelled
}

/// Receives to the end; how many receives were dropped.
async fn receive_all(receiver: &mut Receiver, ledger: &Ledger, seed: u64) -> u64 {
    let mut random = StdRng::seed_from_u64(seed);
    let mut cancelled = 0;
    loop {
        let next: Result<_, Error> =
            match cut_short(receiver.next(), random.random_range(1..POLLS)).await {
                Some(next) => next,
                None => {
                    cancelled += 1;
                    continue;
                }
            };
        let Some(delivery) = next.unwrap() else { return cancelled };
        let stamp = ledger.delivered(delivery.view(), delivery.note()).unwrap();
        delivery.ack().unwrap();
        ledger.settled(&stamp);
    }
}
