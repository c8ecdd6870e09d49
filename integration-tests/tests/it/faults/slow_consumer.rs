//! E15: who receives is far slower than who sends.

use std::time::Duration;

use integration_tests::bare::Over;
use integration_tests::{Figures, Scale};

use super::over::Place;
use super::stage::Stage;

/// How long one message takes the receiver, and how large each is.
const WORK: Duration = Duration::from_millis(100);
const BODY: usize = 16 << 10;
/// What either end may hold: half as much again as its credit, and what a process needs.
const RSS: u64 = (3 << 20) / 2 + (32 << 20);

#[tokio::test]
async fn slow_consumer() {
    for over in Over::EACH {
        wait(over).await;
    }
}

async fn wait(over: Over) {
    let stage = Stage::new().await;
    let messages = Scale::of_environment().pick(60, 600);
    let place = Place::new(over, &stage);
    let mut consumer = stage.consumer(&place.listens("credit=4096"), "ben");
    (consumer.work, consumer.at_once) = (WORK, 1);
    let consumer = stage.consume(consumer).await;
    let mut producer = stage.producer(&place.dials("send_timeout=10m"), "anna", 100 * messages);
    (producer.body, producer.under_way) = ((BODY, BODY), usize::MAX);
    // It has far more to send than can be received, and waits for room all the time.
    let producer = stage.produce(producer).await;
    consumer.until(super::stage::patience(), |heard| heard.at >= messages).await;
    let sent = producer.stop().await;
    let received = consumer.stop().await;
    let report = stage.check();
    let rss = sent.rss().max(received.rss());
    Figures::new("E15 slow_consumer", 0, report)
        .with("over", over)
        .with_rss(rss)
        .with("sent", report.sent)
        .print();
    report.assert_clean();
    assert_eq!((report.duplicated, report.unsettled, sent.summary.left), (0, 0, 0));
    assert!(rss <= RSS, "{} KiB", rss >> 10);
}
