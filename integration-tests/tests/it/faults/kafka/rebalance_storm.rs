//! E35: members come and go all the time, under load.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{Either, select};
use integration_tests::{Figures, Scale, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use seam::{Connection, Duty};
use seam_conformance::ledger::{Ledger, Outcome, Stamp};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::super::TOLERANCE;
use super::super::stage::{Stage, patience};
use super::cluster::Cluster;
use super::look::{Topic, committed_too_far};

const PARTITIONS: i32 = 12;
const KEYS: u64 = 48;
/// Members that stay; one more comes and goes.
const MEMBERS: u64 = 3;
/// The longest time without any delivery.
const GAP: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test --workspace --all-features -- --include-ignored"]
async fn kafka_rebalance_storm_eager() {
    storm("E35 kafka_rebalance_storm eager", "load-e35-eager", "range").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test --workspace --all-features -- --include-ignored"]
async fn kafka_rebalance_storm_cooperative() {
    storm("E35 kafka_rebalance_storm cooperative", "load-e35", "cooperative-sticky").await;
}

async fn storm(case: &'static str, name: &'static str, strategy: &str) {
    let (_stage, seed, cluster) = (Stage::new().await, seed(), Cluster::own().await);
    let scale = Scale::of_environment();
    let (every, rounds) =
        scale.pick((Duration::from_millis(1_500), 4), (Duration::from_secs(3), 60));
    let topic = Topic { broker: cluster.url().to_owned(), name, partitions: PARTITIONS };
    let uri = topic.uri(&format!(
        "&revoke_wait=500ms&credit=64&librdkafka.heartbeat.interval.ms=300&\
         librdkafka.partition.assignment.strategy={strategy}"
    ));
    let book = Arc::new(Book { work: scale.pick(400, 2_000), ..Book::default() });
    let sending = tokio::spawn(send(topic.uri(""), book.clone()));
    let mut members = Vec::new();
    for at in 0..MEMBERS {
        members.push(Member::join(&uri, at, &book).await);
    }
    topic.until_shared(MEMBERS).await;
    let (mut committed, mut backwards) = (topic.committed().await, 0);
    for round in 0..rounds {
        let guest = Member::join(&uri, MEMBERS + round, &book).await;
        sleep(every).await;
        guest.leave(round % 2 == 0).await;
        sleep(every).await;
        let now = topic.committed().await;
        let fell =
            now.iter().filter(|(at, offset)| committed.get(at).is_some_and(|was| was > offset));
        backwards += fell.count();
        committed = now;
    }
    let books = book.ledger.clone();
    let sampled = topic.committed().await;
    book.stop.notify_one();
    timeout(patience(), sending).await.unwrap().unwrap();
    let until = Instant::now() + patience();
    while books.check().lost + books.check().unsettled > 0 {
        assert!(Instant::now() < until, "{}", books.check());
        sleep(Duration::from_millis(50)).await;
    }
    for member in members {
        member.leave(true).await;
    }

    let report = books.check();
    let records = topic.read().await;
    let too_far = committed_too_far(&sampled, &records, &books);
    let state = std::mem::take(&mut *book.state.lock().unwrap());
    Figures::new(case, seed, report)
        .with("sent", report.sent)
        .with("rebalances", rounds * 2)
        .with("gap", format!("{:.1} s", state.gap.as_secs_f64()))
        .with("revoked", state.revoked)
        .with("shared", state.shared)
        .with("backwards", backwards)
        .print();
    assert_eq!(topic.committed().await, topic.ends().await, "all of it is committed");
    topic.remove().await;
    report.assert_clean();
    assert_eq!((state.shared, backwards, too_far), (0, 0, 0));
    assert!(state.gap <= GAP * TOLERANCE, "{:?}", state.gap);
}

/// What all members write into.
#[derive(Default)]
struct Book {
    ledger: Ledger,
    state: Mutex<State>,
    stop: tokio::sync::Notify,
    /// How long a handler works at most, in milliseconds.
    work: u64,
}

#[derive(Default)]
struct State {
    /// Who works on a key: which member, by which lease.
    at_work: HashMap<String, BTreeMap<u64, (u64, Arc<Duty>)>>,
    begun: u64,
    last: Option<Instant>,
    gap: Duration,
    /// Keys that two members worked on at once, both with a lease that held.
    shared: u64,
    /// Leases that ended while somebody worked.
    revoked: u64,
}

/// Sends until it is told to stop, at a rate that all members can bear.
async fn send(uri: String, book: Arc<Book>) {
    let client = seam::registry().client(uri.as_str()).await.unwrap();
    let sender = client.sender().await.unwrap();
    let mut stop = pin!(book.stop.notified());
    for number in 1.. {
        let stamp = Stamp::new("anna", format!("key-{}", number % KEYS), number);
        let (stamp, datagram) = stamp.datagram(b"12 apples");
        book.ledger.sent(&stamp);
        let outcome = sender.send(datagram.with_key(stamp.key.clone())).await;
        book.ledger.outcome(&stamp, Outcome::of(&outcome));
        outcome.unwrap();
        if let Either::Left(_) = select(&mut stop, pin!(sleep(Duration::from_millis(5)))).await {
            return;
        }
    }
}

/// One member of the group, a connection of its own.
struct Member {
    connection: Connection,
    receiving: JoinHandle<()>,
}

impl Member {
    async fn join(uri: &str, number: u64, book: &Arc<Book>) -> Self {
        let connection = seam::registry().server(uri).await.unwrap();
        let mut receiver = connection.receiver().await.unwrap();
        let book = book.clone();
        let receiving = tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(number);
            let mut handlers = Vec::new();
            while let Some(delivery) = receiver.next().await.unwrap() {
                let work = Duration::from_millis(random.random_range(0..book.work));
                // Here, in the order in which they came, which is not that in which handlers begin.
                let stamp = book.ledger.delivered(delivery.view(), delivery.note()).unwrap();
                let (_, duty) = delivery.split();
                handlers.retain(|handler: &JoinHandle<()>| !handler.is_finished());
                handlers.push(tokio::spawn(book.clone().handle(number, stamp, duty, work)));
            }
            for handler in handlers {
                handler.await.unwrap();
            }
        });
        Self { connection, receiving }
    }

    /// Goes, and lets its handlers end, or not.
    async fn leave(self, gracefully: bool) {
        let deadline = if gracefully { patience() } else { Duration::ZERO };
        let drained = timeout(patience(), self.connection.drain(deadline)).await.unwrap().unwrap();
        assert!(!gracefully || drained.is_clean(), "{drained:?}");
        timeout(patience(), self.receiving).await.unwrap().unwrap();
    }
}

impl Book {
    /// Works on one delivery until it is done, or its lease is lost.
    async fn handle(self: Arc<Self>, member: u64, stamp: Stamp, duty: Duty, work: Duration) {
        let duty = Arc::new(duty);
        let begun = self.begin(&stamp.key, member, &duty);
        let held = {
            let revoked = pin!(duty.revoked());
            matches!(select(revoked, pin!(sleep(work))).await, Either::Right(_))
        };
        self.end(&stamp.key, begun, held);
        let duty = Arc::into_inner(duty).expect("others look at it only while it is in the book");
        if held && duty.is_current() {
            // First, since it may be committed at once.
            self.ledger.settled(&stamp);
            drop(duty.ack());
        }
    }

    /// Notes that `member` works on `key`; the number of the work.
    fn begin(&self, key: &str, member: u64, duty: &Arc<Duty>) -> u64 {
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        let silence = state.last.replace(now).map_or(Duration::ZERO, |last| now - last);
        state.gap = state.gap.max(silence);
        state.begun += 1;
        let begun = state.begun;
        let at_work = state.at_work.entry(key.to_owned()).or_default();
        let other = |(by, duty): &&(u64, Arc<Duty>)| *by != member && duty.is_current();
        let shared = at_work.values().filter(other).count();
        at_work.insert(begun, (member, duty.clone()));
        // One whose own lease is gone by now has nothing to share.
        state.shared += u64::from(shared > 0 && duty.is_current());
        begun
    }

    fn end(&self, key: &str, begun: u64, held: bool) {
        let mut state = self.state.lock().unwrap();
        state.revoked += u64::from(!held);
        state.at_work.get_mut(key).unwrap().remove(&begun);
    }
}
