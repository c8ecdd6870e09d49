//! E5: bytes come in pieces.

use std::time::Instant;

use integration_tests::bare::Over;
use integration_tests::relay::Relay;
use integration_tests::{Figures, Scale, seed};

use super::over::Place;
use super::stage::Stage;

#[tokio::test]
async fn byte_slicer() {
    slice(Over::Tcp).await;
}

#[tokio::test]
async fn byte_slicer_over_tls() {
    slice(Over::Tls).await;
}

async fn slice(over: Over) {
    let (stage, seed) = (Stage::new().await, seed());
    let messages = Scale::of_environment().pick(150, 50_000);
    let place = Place::new(over, &stage);
    let consumer = stage.consume(stage.consumer(&place.listens("credit=4096"), "ben")).await;
    let relay = Relay::start(place.address(), seed).await.unwrap();
    relay.slice(Some(1..=7));
    let uri = place.at(relay.address()).dials("send_timeout=10m");
    let mut producer = stage.producer(&uri, "anna", messages);
    (producer.body, producer.draws, producer.seed) = ((0, 1 << 20), 256, seed);
    let begun = Instant::now();
    let sent = stage.produce(producer).await.done().await;
    let took = begun.elapsed();
    let received = consumer.stop().await;
    let report = stage.check();
    let counts = relay.counts();
    Figures::new("E5 byte_slicer", seed, report)
        .with("over", over)
        .with_rss(sent.rss().max(received.rss()))
        .with("sent", report.sent)
        .with("bytes", counts.up)
        .with("seconds", format!("{:.1}", took.as_secs_f64()))
        .print();
    report.assert_clean();
    assert_eq!((report.acknowledged, report.duplicated, report.unsettled), (messages, 0, 0));
    assert_eq!((counts.accepted, sent.summary.outages.len()), (1, 0), "one connection carried all");
    assert!(counts.up > 1 << 20, "the largest body is among them");
}
