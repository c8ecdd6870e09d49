//! A consumer is killed, again and again, with deliveries in hand.

use std::time::Duration;

use integration_tests::{Figures, Scale, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::stage::{Stage, patience};
use super::broker::Broker;

/// Deliveries that it has at once, settled in any order.
const CREDIT: u64 = 64;

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p integration-tests --features rabbitmq -- --include-ignored"]
async fn rabbit_consumer_killed() {
    let (stage, seed, broker) = (Stage::new().await, seed(), Broker::own().await);
    let mut random = StdRng::seed_from_u64(seed);
    let (messages, kills) = Scale::of_environment().pick((8_000, 4), (100_000, 50));
    let uri = broker.uri(&format!("load-killed?credit={CREDIT}"));
    let mut consumer = stage.consumer(&uri, "ben");
    (consumer.work, consumer.scatters) = (Duration::from_millis(20), true);
    let producer = stage.producer(&uri, "anna", messages);
    stage.produce(producer).await.done().await;

    for _ in 0..kills {
        let player = stage.consume(consumer.clone()).await;
        let part = messages / (kills + 1);
        let goal = random.random_range(part / 2..part);
        player.until(patience(), |heard| heard.at >= goal).await;
        player.kill().await;
    }
    let last = stage.consume(consumer).await;
    stage.settled().await;
    assert_eq!(last.stop().await.summary.left, 0);

    let report = stage.check();
    let left = broker.foreign.ready("load-killed").await;
    Figures::new("rabbit_consumer_killed", seed, report)
        .with("sent", report.sent)
        .with("kills", kills)
        .with("left", left)
        .print();
    seam::registry().remove(uri.as_str()).await.unwrap();
    report.assert_clean();
    assert_eq!((report.unsettled, left), (0, 0), "{report}");
    assert!(report.duplicated <= CREDIT * kills, "only what it had comes again: {report}");
}
