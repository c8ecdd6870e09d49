//! E1: no fault.

use std::time::Instant;

use integration_tests::{Figures, Scale};

use super::stage::{Stage, free_address};

/// Of either process, above idle.
const RSS: u64 = 64 << 20;

#[tokio::test]
async fn ledger_clean() {
    let stage = Stage::new().await;
    let messages = Scale::of_environment().pick(50_000, 1_000_000);
    let uri = format!("tcp://{}/load", free_address());
    let consumer = stage.consume(stage.consumer(&uri, "ben")).await;
    let begun = Instant::now();
    let sent = stage.produce(stage.producer(&uri, "anna", messages)).await.done().await;
    let took = begun.elapsed();
    let received = consumer.stop().await;
    let report = stage.check();
    let rss = sent.rss().max(received.rss());
    Figures::new("E1 ledger_clean", 0, report)
        .with_rss(rss)
        .with("sent", report.sent)
        .with("seconds", format!("{:.1}", took.as_secs_f64()))
        .print();
    report.assert_clean();
    assert_eq!((report.sent, report.acknowledged), (messages, messages));
    assert_eq!((report.duplicated, report.unsettled), (0, 0));
    assert_eq!((sent.summary.left, received.summary.left), (0, 0));
    assert_eq!((sent.summary.tasks, received.summary.tasks), (0, 0), "tasks left");
    assert!(rss <= RSS, "{} KiB", rss >> 10);
}
