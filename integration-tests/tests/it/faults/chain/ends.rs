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
    pace: watch::Sender<Pace>,
    arrived: watch::Receiver<u64>,
    seen: Arc<Mutex<Seen>>,
    /// The last hop, from TCP into memory.
    carrying: JoinHandle<()>,
    is_over: Stop,
    receiving: JoinHandle<()>,
    memory: Connection,
}

/// Whether it sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Go,
    Rest,
    /// No more than it was to send at least.
    End,
}

/// What was sent, and in which order it came.
#[derive(Default)]
struct Seen {
    sent: BTreeMap<u64, Datagram>,
    came: Vec<Stamp>,
    /// Numbers that have not come.
    missing: BTreeSet<u64>,
    altered: u64,
    /// How many had come when the quiet was over, and the last number sent before there was quiet again.
    faults: Option<(usize, u64)>,
}

/// What became of it.
pub(super) struct Found {
    pub(super) report: Report,
    pub(super) took: Duration,
    /// Deliveries that were not, field by field, what was sent.
    pub(super) altered: u64,
    /// Deliveries while nothing was restarted.
    pub(super) quiet: usize,
    /// Of those, what came twice, or behind a later one of its key.
    pub(super) astray: Vec<String>,
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
        let (pace, paced) = watch::channel(Pace::Go);
        let sending = send(first.to_owned(), at_least, ledger.clone(), seen.clone(), paced);
        let (begun, sending) = (Instant::now(), tokio::spawn(sending));
        Self { begun, ledger, sending, pace, arrived, seen, carrying, is_over, receiving, memory }
    }

    /// Waits until so many more have arrived.
    pub(super) async fn arrive(&self, more: u64) {
        let mut arrived = self.arrived.clone();
        let goal = *arrived.borrow() + more;
        let reached = timeout(patience(), arrived.wait_for(|arrived| *arrived >= goal)).await;
        assert!(reached.is_ok_and(|reached| reached.is_ok()), "{}", self.ledger.check());
    }

    /// The quiet is over.
    pub(super) fn trouble(&self) {
        let mut seen = self.seen.lock().unwrap();
        seen.faults = Some((seen.came.len(), 0));
    }

    /// There is quiet again: has the sender rest until all that it has sent has arrived, then go on.
    pub(super) async fn calm(&self) {
        self.pace.send_replace(Pace::Rest);
        self.all_arrive().await;
        {
            let mut seen = self.seen.lock().unwrap();
            let last = seen.sent.last_key_value().map_or(0, |(number, _)| *number);
            seen.faults = seen.faults.map(|(begun, _)| (begun, last));
        }
        self.pace.send_replace(Pace::Go);
    }

    async fn all_arrive(&self) {
        let mut arrived = self.arrived.clone();
        let all = |_: &u64| self.seen.lock().unwrap().missing.is_empty();
        let reached = timeout(patience(), arrived.wait_for(all)).await;
        let missing = &self.seen.lock().unwrap().missing;
        assert!(reached.is_ok(), "{} missing {missing:?}", self.ledger.check());
    }

    /// Ends both, once all that was sent has arrived.
    pub(super) async fn finish(mut self) -> Found {
        self.pace.send_replace(Pace::End);
        timeout(patience(), &mut self.sending).await.expect("all have receipts").unwrap();
        self.all_arrive().await;
        let took = self.begun.elapsed();
        self.is_over.stop();
        timeout(patience(), self.carrying).await.expect("it stops").unwrap();
        assert!(self.memory.drain(patience()).await.unwrap().is_clean());
        timeout(patience(), self.receiving).await.expect("nothing comes any more").unwrap();
        let seen = self.seen.lock().unwrap();
        let (quiet, astray) = seen.quiet();
        Found { report: self.ledger.check(), took, altered: seen.altered, quiet, astray }
    }
}

impl Seen {
    /// How many came in the quiet before and after, and which of them came twice, or behind a later one of their key.
    fn quiet(&self) -> (usize, Vec<String>) {
        let (begun, last) = self.faults.unwrap_or((usize::MAX, u64::MAX));
        let came = self.came.iter().enumerate();
        let quiet: Vec<_> = came.filter(|(at, stamp)| *at < begun || stamp.number > last).collect();
        let (mut before, mut astray) = (BTreeMap::new(), Vec::new());
        for (at, stamp) in &quiet {
            let highest = before.entry(&stamp.key).or_insert(0);
            if stamp.number <= *highest {
                astray.push(format!("{} of {} behind {highest}, {at}th", stamp.number, stamp.key));
            }
            *highest = stamp.number.max(*highest);
        }
        (quiet.len(), astray)
    }
}

async fn send(
    uri: String,
    at_least: u64,
    ledger: Ledger,
    seen: Arc<Mutex<Seen>>,
    mut pace: watch::Receiver<Pace>,
) {
    let client = seam::registry().client(format!("{uri}?send_timeout=10m").as_str()).await.unwrap();
    let sender = client.sender().await.unwrap();
    let mut number = 0;
    loop {
        let pace = *pace.wait_for(|pace| *pace != Pace::Rest).await.unwrap();
        if number >= at_least && pace == Pace::End {
            break;
        }
        let (mut batch, mut stamps) = (Batch::new(), Vec::new());
        for _ in 0..BATCH {
            number += 1;
            let key = format!("key-{}", number % KEYS);
            let (stamp, datagram) = Stamp::new("anna", key, number).put(full(number));
            let datagram = datagram.with_key(stamp.key.clone());
            ledger.sent(&stamp);
            let mut seen = seen.lock().unwrap();
            seen.sent.insert(number, datagram.clone());
            seen.missing.insert(number);
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
            seen.missing.remove(&stamp.number);
            seen.came.push(stamp.clone());
        }
        delivery.ack().unwrap();
        ledger.settled(&stamp);
        arriving.send_modify(|arrived| *arrived += 1);
    }
}
