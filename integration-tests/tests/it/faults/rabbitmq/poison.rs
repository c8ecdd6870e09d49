//! E31: some messages are more than their handler can bear, or than the process around it. They are parked, each once,
//! and nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use integration_tests::relay::{Cut, Relay};
use integration_tests::{Figures, Scale, seed};
use seam::{Batch, Connection, Deliveries, Delivery, Receiver, Sender, Statistics};
use seam_conformance::ledger::{Ledger, Outcome, Stamp};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::super::stage::{Stage, patience};
use super::broker::Broker;

/// One message in so many is poison.
const RARE: u64 = 1_000;
/// How often each may be tried.
const TRIES: u32 = 3;

/// What is done with a poisoned message.
type Handler = fn(Delivery);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p integration-tests --features rabbitmq -- --include-ignored"]
async fn rabbit_poison() {
    let (_stage, seed, broker) = (Stage::new().await, seed(), Broker::own().await);
    let messages = Scale::of_environment().pick(4_000, 20_000);
    let handlers: [(_, Handler); 2] = [("panics", panic), ("retries", retry)];
    for (name, suffer) in handlers {
        let ledger = Ledger::new();
        let parked = run(&broker, &ledger, messages, suffer).await;
        let report = ledger.check();
        let good = parked.keys().filter(|number| **number % RARE != 0).count();
        let again = parked.values().filter(|times| **times != 1).count();
        Figures::new("E31 rabbit_poison", seed, report)
            .with("handler", name)
            .with("sent", report.sent)
            .with("parked", parked.len())
            .with("more_than_once", again)
            .with("good_parked", good)
            .print();
        report.assert_clean();
        assert_eq!((report.acknowledged, report.unsettled), (messages, 0), "{report}");
        assert_eq!(u64::try_from(parked.len()).unwrap(), messages / RARE);
        assert_eq!((good, again), (0, 0));
    }
}

/// The handler of poison panics, and its delivery is dropped with it.
fn panic(delivery: Delivery) {
    let _delivery = delivery;
    // As `panic!`, but for the words on standard error.
    std::panic::resume_unwind(Box::new("poison"));
}

/// The handler of poison wants it to be tried again.
fn retry(delivery: Delivery) {
    delivery.retry(Duration::ZERO).unwrap();
}

/// How many consumers there are for a message to kill.
const CONSUMERS: u64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p integration-tests --features rabbitmq -- --include-ignored"]
async fn rabbit_poison_kills() {
    let (_stage, seed, broker) = (Stage::new().await, seed(), Broker::own().await);
    let messages = Scale::of_environment().pick(2_000, 20_000);
    let (ledger, registry) = (Ledger::new(), seam::registry());
    let (queue, letters) = (broker.uri("load-e31"), broker.uri("parked-e31"));
    let client = registry.client(queue.as_str()).await.unwrap();
    send(&client.sender().await.unwrap(), &ledger, messages).await;
    assert!(client.drain(patience()).await.unwrap().is_clean());
    drop(registry.client(letters.as_str()).await.expect("the queue is declared"));

    let seen = Arc::new(Seen { killer: messages / 2, ledger, lives: Mutex::default() });
    let (stop, mut consumers) = (CancellationToken::new(), JoinSet::new());
    for number in 0..CONSUMERS {
        let relay = Relay::start(broker.address(), seed + number).await.unwrap();
        let uri = format!("rabbitmq://seam:seam@{}/load-e31", relay.address());
        let uri = format!("{uri}?retry={TRIES}&dead_letter={}", escaped(&letters));
        consumers.spawn(live_again(uri, relay, seen.clone(), stop.clone()));
    }
    let is_over = async {
        let is_done = |parked| parked > 0 && seen.handled() + parked >= messages;
        while !is_done(broker.foreign.ready("parked-e31").await) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(patience(), is_over).await.expect("each is handled or parked");
    stop.cancel();
    assert_eq!(timeout(patience(), consumers.join_all()).await.unwrap().len(), 3);

    let parked = collect(&broker, &letters, &seen.ledger).await;
    let good = parked.keys().filter(|number| **number != seen.killer).count();
    let (report, deaths) = (seen.ledger.check(), seen.lives.lock().unwrap().deaths);
    Figures::new("E31 rabbit_poison_kills", seed, report)
        .with("sent", report.sent)
        .with("deaths", deaths)
        .with("parked", parked.len())
        .with("good_parked", good)
        .print();
    let left = broker.foreign.ready("load-e31").await;
    for uri in [queue, letters] {
        registry.remove(uri.as_str()).await.unwrap();
    }
    assert_eq!((parked, good), (BTreeMap::from([(seen.killer, 1)]), 0));
    // Nobody promises an order to several consumers.
    let wrong = [report.lost, report.corrupt, report.unexpected, report.unannounced];
    assert_eq!(wrong, [0; 4], "{report}");
    assert_eq!((report.acknowledged, report.unsettled, left), (messages, 0, 0), "{report}");
    assert_eq!(deaths, TRIES);
}

/// What all consumers have seen.
struct Seen {
    /// The number of the message that nobody survives.
    killer: u64,
    ledger: Ledger,
    lives: Mutex<Lives>,
}

#[derive(Default)]
struct Lives {
    deaths: u32,
    handled: BTreeSet<u64>,
}

impl Seen {
    fn handled(&self) -> u64 {
        u64::try_from(self.lives.lock().unwrap().handled.len()).unwrap()
    }
}

/// A consumer that begins anew whenever it dies, until it is stopped.
async fn live_again(uri: String, relay: Relay, seen: Arc<Seen>, stop: CancellationToken) {
    loop {
        let server = seam::registry().server(uri.as_str()).await.unwrap();
        let receiver = server.receiver().await.unwrap();
        tokio::select! {
            delivery = live(receiver, &seen) => {
                // The process is gone, as the broker sees it: no verdict, no good-bye.
                relay.cut(Cut::Reset);
                drop(server);
                assert!(!delivery.is_current());
            }
            () = stop.cancelled() => {
                assert!(server.drain(patience()).await.unwrap().is_clean());
                return;
            }
        }
    }
}

/// Handles what comes, until that is the killer.
async fn live(mut receiver: Receiver, seen: &Seen) -> Delivery {
    loop {
        let delivery = receiver.next().await.unwrap().unwrap();
        let stamp = seen.ledger.delivered(delivery.view(), delivery.note()).unwrap();
        if stamp.number == seen.killer {
            seen.lives.lock().unwrap().deaths += 1;
            return delivery;
        }
        delivery.ack().unwrap();
        seen.ledger.settled(&stamp);
        seen.lives.lock().unwrap().handled.insert(stamp.number);
    }
}

fn escaped(uri: &str) -> String {
    uri.replace(':', "%3A").replace('/', "%2F").replace('@', "%40")
}

/// Sends all, handles all; how often each was parked.
async fn run(
    broker: &Broker,
    ledger: &Ledger,
    messages: u64,
    suffer: Handler,
) -> BTreeMap<u64, u64> {
    let registry = seam::registry();
    let (queue, letters) = (broker.uri("load-e31"), broker.uri("parked-e31"));
    let uri = format!("{queue}?credit=10&retry={TRIES}&dead_letter={}", escaped(&letters));
    let server = registry.server(uri.as_str()).await.unwrap();
    let tried = Arc::<Mutex<BTreeMap<u64, u32>>>::default();
    let handling =
        handle_all(server.receiver().await.unwrap(), ledger.clone(), tried.clone(), suffer);
    let handling = tokio::spawn(handling);
    let client = registry.client(queue.as_str()).await.unwrap();
    send(&client.sender().await.unwrap(), ledger, messages).await;

    let poison = messages / RARE;
    until(&server, |counts| counts.acked >= messages - poison && counts.dead_lettered >= poison)
        .await;
    assert!(server.drain(patience()).await.unwrap().is_clean());
    timeout(patience(), handling).await.unwrap().unwrap();
    assert!(client.drain(patience()).await.unwrap().is_clean());
    let tried = std::mem::take(&mut *tried.lock().unwrap());
    // What is on its way when the receiver changes its prefetch comes back as an attempt: see docs/rabbitmq.md.
    assert!(tried.values().all(|times| (1..=TRIES).contains(times)), "{tried:?}");

    let parked = collect(broker, &letters, ledger).await;
    assert_eq!(broker.foreign.ready("load-e31").await, 0);
    for uri in [queue, letters] {
        registry.remove(uri.as_str()).await.unwrap();
    }
    parked
}

async fn send(sender: &Sender, ledger: &Ledger, messages: u64) {
    for first in (1..=messages).step_by(TOGETHER) {
        let mut batch = Batch::new();
        let numbers = first..(first + u64::try_from(TOGETHER).unwrap()).min(messages + 1);
        let stamps: Vec<_> = numbers
            .map(|number| {
                let (stamp, datagram) = Stamp::new("anna", "", number).datagram(b"12 apples");
                ledger.sent(&stamp);
                batch.push(datagram);
                stamp
            })
            .collect();
        let mut ticket = sender.admit(&mut batch).await.unwrap();
        assert!(ticket.receipts().await.all_ok());
        stamps.iter().for_each(|stamp| ledger.outcome(stamp, Outcome::Receipted));
    }
}

/// Gives each delivery to a handler of its own, until nothing comes any more.
async fn handle_all(
    mut receiver: Receiver,
    ledger: Ledger,
    tried: Arc<Mutex<BTreeMap<u64, u32>>>,
    suffer: Handler,
) {
    let mut handlers = JoinSet::new();
    while let Some(delivery) = receiver.next().await.unwrap() {
        let stamp = ledger.delivered(delivery.view(), delivery.note()).unwrap();
        let (ledger, tried) = (ledger.clone(), tried.clone());
        handlers.spawn(async move {
            if stamp.number.is_multiple_of(RARE) {
                *tried.lock().unwrap().entry(stamp.number).or_default() += 1;
                suffer(delivery);
            } else {
                delivery.ack().unwrap();
                ledger.settled(&stamp);
            }
        });
        while handlers.try_join_next().is_some() {}
    }
}

async fn until(connection: &Connection, enough: impl Fn(Statistics) -> bool) {
    let looking = async {
        while !enough(connection.statistics()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let found = timeout(patience(), looking).await;
    found.unwrap_or_else(|_| panic!("{:?}", connection.statistics()));
}

/// What is parked, and how often.
async fn collect(broker: &Broker, letters: &str, ledger: &Ledger) -> BTreeMap<u64, u64> {
    let server = seam::registry().server(letters).await.unwrap();
    let mut receiver = server.receiver().await.unwrap();
    let (mut parked, mut deliveries) = (BTreeMap::new(), Deliveries::new());
    // Nobody sends any more, so all that there is comes.
    while let Ok(more) = timeout(QUIET, receiver.receive(256, &mut deliveries)).await {
        assert!(more.unwrap());
        while let Some(lent) = deliveries.lend() {
            let stamp = Stamp::of(lent.view()).unwrap();
            ledger.settled(&stamp);
            *parked.entry(stamp.number).or_default() += 1;
            lent.ack();
        }
    }
    assert!(server.drain(patience()).await.unwrap().is_clean());
    assert_eq!(broker.foreign.ready("parked-e31").await, 0);
    parked
}

/// Messages that are sent together.
const TOGETHER: usize = 500;
/// After which nothing more is there.
const QUIET: Duration = Duration::from_secs(1);
