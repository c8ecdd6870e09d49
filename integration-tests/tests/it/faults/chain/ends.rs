//! Who sends at one end of the chain, and who receives at the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seam::layers::{Stop, bridge};
use seam::{Batch, Connection, Datagram, Id, Receiver, Timestamp, Value};
use seam_conformance::ledger::{Ledger, Outcome, Report, Stamp};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::super::stage::patience;

/// Messages of a batch, and how long the sender rests behind each: what an emulator of SQS can follow.
const BATCH: u64 = 16;
const REST: Duration = Duration::from_millis(100);
const KEYS: u64 = 32;

/// A sender, and a receiver.
pub(super) struct Ends {
    begun: Instant,
    ledger: Ledger,
    sending: JoinHandle<()>,
    is_enough: watch::Sender<bool>,
    arrived: watch::Receiver<u64>,
    seen: Arc<Mutex<Seen>>,
    /// The last hop, from TCP into memory.
    carrying: JoinHandle<()>,
    is_over: Stop,
    receiving: JoinHandle<()>,
    memory: Connection,
}

/// What was sent, and in which order it came.
#[derive(Default)]
struct Seen {
    sent: BTreeMap<u64, Datagram>,
    came: Vec<Stamp>,
    altered: u64,
}

/// What became of it.
pub(super) struct Found {
    pub(super) report: Report,
    pub(super) took: Duration,
    /// Deliveries that were not, field by field, what was sent.
    pub(super) altered: u64,
    /// Keys of which something came twice.
    pub(super) keys_repeated: usize,
    /// First deliveries behind a later number of their key, of the other keys.
    pub(super) reordered: usize,
}

impl Ends {
    /// Sends `at_least` messages to `first`, and until it is told that it is enough; receives from `last`.
    pub(super) async fn open(first: &str, last: &str, at_least: u64) -> Self {
        let (registry, ledger) = (seam::registry(), Ledger::new());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let memory = registry.server("memory://chain").await.unwrap();
        let receiver = memory.receiver().await.unwrap();
        let (is_over, sink) = (Stop::new(), registry.sender("memory://chain").await.unwrap());
        let last_hop = bridge(sink).with_stop(is_over.clone());
        let source = registry.receiver(last).await.unwrap();
        let carrying = tokio::spawn(async move {
            last_hop.run(source).await.unwrap();
        });
        let (arriving, arrived) = watch::channel(0);
        let receiving = tokio::spawn(receive(receiver, ledger.clone(), seen.clone(), arriving));
        let (is_enough, enough) = watch::channel(false);
        let sending = send(first.to_owned(), at_least, ledger.clone(), seen.clone(), enough);
        let (begun, sending) = (Instant::now(), tokio::spawn(sending));
        Self {
            begun,
            ledger,
            sending,
            is_enough,
            arrived,
            seen,
            carrying,
            is_over,
            receiving,
            memory,
        }
    }

    /// Waits until so many more have arrived.
    pub(super) async fn arrive(&self, more: u64) {
        let mut arrived = self.arrived.clone();
        let goal = *arrived.borrow() + more;
        let reached = timeout(patience(), arrived.wait_for(|arrived| *arrived >= goal)).await;
        assert!(reached.is_ok_and(|reached| reached.is_ok()), "{}", self.ledger.check());
    }

    /// Ends both, once all that was sent has arrived.
    pub(super) async fn finish(self) -> Found {
        self.is_enough.send_replace(true);
        timeout(patience(), self.sending).await.expect("all have receipts").unwrap();
        let mut arrived = self.arrived.clone();
        let all = |_: &u64| {
            let report = self.ledger.check();
            (report.lost, report.unsettled) == (0, 0)
        };
        let reached = timeout(patience(), arrived.wait_for(all)).await;
        assert!(reached.is_ok(), "{}", self.ledger.check());
        let took = self.begun.elapsed();
        self.is_over.stop();
        timeout(patience(), self.carrying).await.expect("it stops").unwrap();
        assert!(self.memory.drain(patience()).await.unwrap().is_clean());
        timeout(patience(), self.receiving).await.expect("nothing comes any more").unwrap();
        let seen = self.seen.lock().unwrap();
        let (keys_repeated, reordered) = seen.order();
        let report = self.ledger.check();
        Found { report, took, altered: seen.altered, keys_repeated, reordered }
    }
}

impl Seen {
    /// Keys of which something came twice, and what came out of order of the others.
    fn order(&self) -> (usize, usize) {
        let (mut numbers, mut repeated) = (BTreeSet::new(), BTreeSet::new());
        for stamp in &self.came {
            if !numbers.insert(stamp.number) {
                repeated.insert(&stamp.key);
            }
        }
        let (mut last, mut reordered) = (BTreeMap::new(), 0);
        for stamp in self.came.iter().filter(|stamp| !repeated.contains(&stamp.key)) {
            let before = last.insert(&stamp.key, stamp.number);
            reordered += usize::from(before.is_some_and(|before| before > stamp.number));
        }
        (repeated.len(), reordered)
    }
}

async fn send(
    uri: String,
    at_least: u64,
    ledger: Ledger,
    seen: Arc<Mutex<Seen>>,
    enough: watch::Receiver<bool>,
) {
    let client = seam::registry().client(format!("{uri}?send_timeout=10m").as_str()).await.unwrap();
    let sender = client.sender().await.unwrap();
    let mut number = 0;
    while number < at_least || !*enough.borrow() {
        let (mut batch, mut stamps) = (Batch::new(), Vec::new());
        for _ in 0..BATCH {
            number += 1;
            let key = format!("key-{}", number % KEYS);
            let (stamp, datagram) = Stamp::new("anna", key, number).put(full(number));
            let datagram = datagram.with_key(stamp.key.clone());
            ledger.sent(&stamp);
            seen.lock().unwrap().sent.insert(number, datagram.clone());
            batch.push(datagram);
            stamps.push(stamp);
        }
        let mut ticket = sender.admit(&mut batch).await.unwrap();
        let receipts = ticket.receipts().await;
        let failed = receipts.iter().find_map(Result::err);
        assert!(failed.is_none(), "the first bridge takes all: {failed:?}");
        stamps.iter().for_each(|stamp| ledger.outcome(stamp, Outcome::Receipted));
        sleep(REST).await;
    }
    assert!(client.drain(patience()).await.unwrap().is_clean());
}

/// A datagram with every field that all of them carry; every other one has an `id`, by which a FIFO queue drops it when
/// it comes again.
fn full(number: u64) -> Datagram {
    let datagram = match number % 4 {
        0 => Datagram::new(format!("{number} apples")),
        1 => Datagram::new(vec![0, 0xff, b'\r', b'\n']),
        2 => Datagram::new(""),
        _ => Datagram::empty(),
    };
    let list = Value::List(vec![Value::Null, Value::F64(0.5), Value::Bytes(vec![0, 1].into())]);
    let datagram = datagram
        .with_tag(7)
        .with_kind("shop.Order")
        .with_header("twice", 1_u64)
        .with_header("twice", "grüße")
        .with_header("a\r\nb", list);
    let mut envelope = datagram.envelope().clone();
    envelope.id = number.is_multiple_of(2).then(|| Id::text(format!("order-{number}")).unwrap());
    envelope.content_type = Some("text/plain".into());
    envelope.content_encoding = Some("identity".into());
    envelope.time = Some(Timestamp::from_millis(1_517_357_000_123).unwrap());
    envelope.expiry = Some(Timestamp::MAX);
    envelope.priority = Some(3);
    envelope.correlation_id = Some(vec![0xff, 0, 1].into());
    envelope.reply_to = Some("somewhere".into());
    datagram.with_envelope(envelope)
}

async fn receive(
    mut receiver: Receiver,
    ledger: Ledger,
    seen: Arc<Mutex<Seen>>,
    arriving: watch::Sender<u64>,
) {
    while let Some(delivery) = receiver.next().await.unwrap() {
        // Each hop counts attempts of its own, so that a repeat of an earlier one is not announced here.
        let stamp = ledger.delivered(delivery.view(), delivery.note()).expect("it has its stamp");
        {
            let mut seen = seen.lock().unwrap();
            let is_equal = seen.sent.get(&stamp.number) == Some(delivery.datagram());
            seen.altered += u64::from(!is_equal);
            seen.came.push(stamp.clone());
        }
        delivery.ack().unwrap();
        ledger.settled(&stamp);
        arriving.send_modify(|arrived| *arrived += 1);
    }
}
