//! E39: handlers that take longer than a lease, and a process that stands still for longer.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::actors::Consumer;
use integration_tests::proxy::{Became, Call};
use integration_tests::{Figures, Scale, seed};
use tokio::time::sleep;

use super::super::stage::{Finished, Stage, patience};
use super::place::Place;

/// How long a lease is, and what a receiver holds at most, its buffer included.
const LEASES: &str = "visibility=5s&credit=50";
const BUFFER: u64 = 50;
/// On how many a process works at the same time, so that as many wait in its buffer.
const AT_ONCE: usize = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p integration-tests --features sqs -- --include-ignored"]
async fn sqs_visibility() {
    let (stage, seed, place) = (Stage::new().await, seed(), Place::new("load-e39"));
    let scale = Scale::of_environment();
    let (messages, consumers) = scale.pick((200, 2), (2_000, 8));
    let work = scale.pick(Duration::from_secs(6), Duration::from_secs(20));
    let uri = format!("{}&{LEASES}", place.directly());
    let sent = stage.produce(Place::producer(&stage, &uri, messages)).await.done().await;
    assert_eq!(sent.summary.left, 0);
    let slow = |number| slow(&stage, &uri, &format!("ben-{number}"), work);
    let starting = join_all((0..consumers).map(|number| stage.consume(slow(number))));
    let consumers = starting.await;
    stage.settled().await;
    let received = join_all(consumers.into_iter().map(|consumer| consumer.stop())).await;

    let report = stage.check();
    let sum = |of: fn(&Finished) -> u64| received.iter().map(of).sum::<u64>();
    Figures::new("E39 sqs_visibility", seed, report)
        .with("sent", report.sent)
        .with("handler", format!("{} s", work.as_secs()))
        .with("revoked", sum(|one| one.summary.revoked))
        .with("late", sum(|one| one.summary.late))
        .print();
    place.until_empty().await;
    place.remove().await;
    report.assert_clean();
    assert_eq!((report.acknowledged, report.duplicated, report.unsettled), (messages, 0, 0));
    assert_eq!(sum(|one| one.summary.messages), messages);
    assert_eq!(sum(|one| one.summary.revoked + one.summary.late + one.summary.left), 0);
}

/// Stopped with all that it may hold, until somebody else has done it; then it is about to acknowledge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p integration-tests --features sqs -- --include-ignored"]
async fn sqs_visibility_of_a_frozen_process() {
    let (stage, seed, place) = (Stage::new().await, seed(), Place::new("load-e39"));
    let lasts = Scale::of_environment().pick(WORK, Duration::from_secs(10));
    let messages = 2 * BUFFER;
    let proxy = place.proxy(seed).await;
    let uri = format!("{}&{LEASES}", place.directly());
    let sent = stage.produce(Place::producer(&stage, &uri, messages)).await.done().await;
    assert_eq!(sent.summary.left, 0);
    let counted = format!("{}&{LEASES}", place.by(&proxy));
    let frozen = stage.consume(slow(&stage, &counted, "ben", WORK)).await;
    let holds_all = |calls: &[Call]| {
        let brought: usize = calls.iter().map(|call| call.brought.len()).sum();
        brought == usize::try_from(BUFFER).unwrap()
    };
    proxy.until(patience(), holds_all).await.unwrap();
    let extends_all = |calls: &[Call]| extensions(calls) >= BUFFER;
    proxy.until(patience(), extends_all).await.unwrap();
    let in_hand = u64::try_from(AT_ONCE).unwrap();
    stage.until(|report| report.unsettled == in_hand).await;
    frozen.process().freeze(patience()).await.unwrap();
    let (frozen_at, extended) = (Instant::now(), extensions(&proxy.calls(EXTEND)));

    let other = stage.consume(stage.consumer(&uri, "cleo")).await;
    other.until(patience(), |heard| heard.at >= messages).await;
    let taken_over = frozen_at.elapsed();
    place.until_empty().await;
    sleep(lasts.saturating_sub(frozen_at.elapsed())).await;
    frozen.process().thaw().unwrap();
    let thawed = frozen.stop().await;
    let done = other.stop().await;

    let report = stage.check();
    let summary = &thawed.summary;
    Figures::new("E39 sqs_visibility frozen", seed, report)
        .with_recovery(taken_over)
        .with("sent", report.sent)
        .with("extended_before", extended)
        .with("revoked", summary.revoked)
        .with("late", summary.late)
        .with("deletes", proxy.calls("DeleteMessageBatch").len())
        .print();
    place.remove().await;
    report.assert_clean();
    assert_eq!((report.acknowledged, report.unsettled), (messages, 0));
    // Those that it had in hand came again, and nobody else's; those in its buffer nobody had seen.
    assert_eq!((report.duplicated, done.summary.messages), (in_hand, messages));
    // An acknowledgement that was accepted before anybody had noticed was late, without exception.
    assert_eq!(summary.messages, summary.late);
    assert!(summary.revoked.max(summary.late) <= in_hand, "{summary:?}");
    assert!(summary.revoked + summary.late >= in_hand, "{summary:?}");
    assert!(proxy.calls("DeleteMessageBatch").is_empty(), "it acknowledged what was not its own");
}

/// How long the process that is stopped would have worked on each.
const WORK: Duration = Duration::from_secs(8);

/// A consumer that works on each for `work`.
fn slow(stage: &Stage, uri: &str, name: &str, work: Duration) -> Consumer {
    Consumer { work, at_once: AT_ONCE, ..stage.consumer(uri, name) }
}

/// Leases that were extended by these calls.
fn extensions(calls: &[Call]) -> u64 {
    let extending = calls.iter().filter(|call| call.operation == EXTEND);
    let extended = extending.flat_map(|call| &call.entries);
    extended.filter(|entry| entry.became == Became::Done).map(|_| 1).sum()
}

const EXTEND: &str = "ChangeMessageVisibilityBatch";
