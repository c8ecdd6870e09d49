//! E40: polls that are taken and never answered.

use std::time::{Duration, Instant};

use integration_tests::proxy::{Call, End, Plan};
use integration_tests::{Figures, Scale, seed};

use super::super::TOLERANCE;
use super::super::stage::{Stage, patience};
use super::place::Place;

/// How long SQS waits at most, and what a poll is given beside.
const WAIT: Duration = Duration::from_secs(20);
const BESIDE: Duration = Duration::from_secs(10);
/// What a deadline may be overrun by: two cores are shared with a broker.
const OVER: Duration = Duration::from_secs(1);
const RECOVERY: Duration = Duration::from_secs(5);
/// What polls under way when the silence begins may still bring: ten polls of ten.
const UNDER_WAY: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p integration-tests --features sqs -- --include-ignored"]
async fn sqs_dead_poll() {
    let (stage, seed, place) = (Stage::new().await, seed(), Place::new("load-e40"));
    let messages = Scale::of_environment().pick(1_000, 5_000);
    let proxy = place.proxy(seed).await;
    let sent =
        stage.produce(Place::producer(&stage, &place.directly(), messages)).await.done().await;
    assert_eq!(sent.summary.left, 0);
    let consumer = stage.consume(stage.consumer(&place.by(&proxy), "ben")).await;
    consumer.until(patience(), |heard| heard.at > 0).await;

    proxy.plan(Plan { silent: vec!["ReceiveMessage"], ..Plan::default() });
    let silent_at = consumer.heard().at;
    let gave_up = |calls: &[Call]| calls.iter().any(|call| abandoned(call).is_some());
    proxy.until(patience(), gave_up).await.unwrap();
    assert!(consumer.heard().at <= silent_at + 2 * UNDER_WAY, "nobody is answered");
    proxy.plan(Plan::default());
    let answered_at = Instant::now();
    let before = consumer.heard().at;
    consumer.until(patience(), |heard| heard.at > before).await;
    let recovery = answered_at.elapsed();

    consumer.until(patience(), |heard| heard.at >= messages).await;
    // Before it ends, which gives up whatever polls it has.
    let polls = proxy.calls("ReceiveMessage");
    let received = consumer.stop().await;
    place.until_empty().await;
    let took: Vec<_> = polls.iter().filter_map(abandoned).collect();
    let report = stage.check();
    let seconds = |took: Option<&Duration>| format!("{:.3} s", took.unwrap().as_secs_f64());
    Figures::new("E40 sqs_dead_poll", seed, report)
        .with_recovery(recovery)
        .with("sent", report.sent)
        .with("polls", polls.len())
        .with("abandoned", took.len())
        .with("after", seconds(took.iter().min()))
        .with("to", seconds(took.iter().max()))
        .print();
    place.remove().await;
    report.assert_clean();
    assert_eq!((report.acknowledged, report.duplicated, report.unsettled), (messages, 0, 0));
    assert_eq!((received.summary.left, received.summary.revoked), (0, 0));
    assert!(!received.heard.disconnected.is_empty(), "it is told");
    assert!(!received.heard.connected.is_empty(), "and that it is over");
    // Not while SQS may still wait for something to come, and in time.
    assert!(took.iter().all(|took| (WAIT..=WAIT + BESIDE + OVER).contains(took)), "{took:?}");
    assert!(recovery <= RECOVERY * TOLERANCE, "{recovery:?}");
}

/// After what time a call was given up that nobody answered.
fn abandoned(call: &Call) -> Option<Duration> {
    match call.end {
        Some((at, End::Abandoned)) if call.operation == "ReceiveMessage" => Some(at - call.at),
        _ => None,
    }
}
