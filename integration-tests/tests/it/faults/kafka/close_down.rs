//! E37: a connection is drained while no broker is there.

use std::collections::HashSet;
use std::time::Duration;

use integration_tests::{Figures, Scale, seed};
use rdkafka::types::{RDKafkaApiKey as Kind, RDKafkaRespErr as Code};
use seam::{Batch, Datagram, Delivery, Fate, Receiver};
use seam_conformance::ledger::Report;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::TOLERANCE;
use super::super::stage::{Stage, patience};
use super::pretence::{ALL, Pretence, fail_requests, pretend};

const QUEUED: u64 = 5_000;
/// Deliveries that nobody settles.
const IN_HAND: u64 = 10;
/// What a drain may take beyond its deadline.
const OVER: Duration = Duration::from_secs(1);
/// How late the runtime may be: nothing blocks it.
const LATE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn kafka_close_down() {
    let (_stage, seed) = (Stage::new().await, seed());
    let deadlines = Scale::of_environment().pick(&[0, 1_500][..], &[0, 500, 1_500, 5_000]);
    for deadline in deadlines.iter().map(|millis| Duration::from_millis(*millis)) {
        for broken in [down, silent] {
            let (took, late, fates) = close(deadline, broken).await;
            Figures::new("E37 kafka_close_down", seed, Report::default())
                .with("deadline", format!("{deadline:?}"))
                .with("took", format!("{took:.1?}"))
                .with("late", format!("{late:.1?}"))
                .with("not_sent", fates.0)
                .with("maybe_sent", fates.1)
                .print();
            assert_eq!(fates.0 + fates.1, QUEUED);
            assert!(took <= deadline + OVER, "{took:?} for {deadline:?}");
            assert!(late <= LATE * TOLERANCE, "{late:?}");
        }
    }
}

/// No broker takes a connection any more.
fn down(cluster: &Pretence) {
    cluster.broker_down(ALL).unwrap();
}

/// Each takes what it is sent, and says nothing within any time that matters.
fn silent(cluster: &Pretence) {
    cluster.broker_round_trip_time(ALL, Duration::from_secs(600)).unwrap();
}

/// Drains what is full of everything; how long it took, how late the runtime ever was, and how many came back as
/// not sent and as maybe sent.
async fn close(deadline: Duration, broken: fn(&Pretence)) -> (Duration, Duration, (u64, u64)) {
    let (cluster, uri) = pretend(4);
    let uri = format!("{uri}&credit=10000&send_timeout=10m");
    let connection = seam::registry().client(uri.as_str()).await.unwrap();
    let sender = connection.sender().await.unwrap();
    let held = hold(&mut connection.receiver().await.unwrap(), &sender).await;
    broken(&cluster);
    // Where it is only silent, what it took before that is not to be stored.
    fail_requests(&cluster, &[Kind::Produce], &[Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION]);
    let mut batch: Batch = (0..QUEUED).map(numbered).collect();
    let mut ticket = sender.admit(&mut batch).await.unwrap();
    assert!(batch.is_empty() && u64::from(ticket.len()) == QUEUED);

    let ticker = Ticker::start();
    let since = Instant::now();
    let drained = timeout(patience(), connection.drain(deadline)).await.unwrap().unwrap();
    let took = since.elapsed();
    let late = ticker.stop().await;
    let listed: HashSet<_> =
        drained.unsent.iter().map(|one| one.datagram().payload().unwrap().to_vec()).collect();
    assert_eq!(u64::try_from(listed.len()).unwrap(), QUEUED, "each once");
    assert_eq!(drained.unsettled, IN_HAND);
    assert!(held.iter().all(|delivery| !delivery.is_current()));
    let of = |fate| drained.unsent.iter().filter(|one| one.fate() == fate).count();
    let counts = (of(Fate::NotSent), of(Fate::MaybeSent));
    let receipts = timeout(patience(), ticket.receipts()).await.unwrap();
    let told = receipts.failed().iter().filter(|(_, one)| one.fate() == Fate::NotSent).count();
    assert_eq!((receipts.failed().len(), told), (drained.unsent.len(), counts.0), "as it told");
    (took, late, (u64::try_from(counts.0).unwrap(), u64::try_from(counts.1).unwrap()))
}

async fn hold(receiver: &mut Receiver, sender: &seam::Sender) -> Vec<Delivery> {
    let mut held = Vec::new();
    for number in 0..IN_HAND {
        sender.send(numbered(QUEUED + number)).await.unwrap();
        held.push(timeout(patience(), receiver.next()).await.unwrap().unwrap().unwrap());
    }
    held
}

fn numbered(number: u64) -> Datagram {
    Datagram::new(number.to_string()).with_key((number % 16).to_string())
}

/// Sees how late a task of the runtime is woken at most.
struct Ticker(JoinHandle<()>, tokio::sync::watch::Receiver<Duration>);

impl Ticker {
    fn start() -> Self {
        let (latest, seen) = tokio::sync::watch::channel(Duration::ZERO);
        let ticking = tokio::spawn(async move {
            let mut due = Instant::now();
            loop {
                due += Duration::from_millis(10);
                sleep_until(due).await;
                let late = due.elapsed();
                latest.send_modify(|latest| *latest = late.max(*latest));
                due += late;
            }
        });
        Self(ticking, seen)
    }

    async fn stop(self) -> Duration {
        // Until it has ticked once more, it could be hiding how late it is.
        let Self(ticking, mut seen) = self;
        seen.changed().await.expect("it ticks");
        ticking.abort();
        *seen.borrow_and_update()
    }
}
