//! E34: handlers end in any order, and their process is killed.

use std::time::Duration;

use integration_tests::actors::Books;
use integration_tests::{Figures, Scale, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::stage::{Stage, patience};
use super::cluster::Cluster;
use super::look::{Topic, committed_too_far};

/// Deliveries that a member works on at once.
const CONCURRENT: u64 = 64;

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test --workspace --all-features -- --include-ignored"]
async fn kafka_ooo_ack() {
    let (stage, seed, cluster) = (Stage::new().await, seed(), Cluster::own().await);
    let mut random = StdRng::seed_from_u64(seed);
    let (messages, kills) = Scale::of_environment().pick((8_000, 4), (100_000, 50));
    let topic = Topic { broker: cluster.url().to_owned(), name: "load-e34", partitions: 1 };
    // A member that was killed is forgotten with its session.
    let uri = topic.uri(&format!("&credit={CONCURRENT}&librdkafka.session.timeout.ms=1500"));
    let mut member = stage.consumer(&uri, "ben");
    (member.work, member.scatters) = (Duration::from_millis(20), true);
    stage.produce(stage.producer(&uri, "anna", messages)).await.done().await;
    let records = topic.read().await;

    let mut window = 0;
    for kill in 0..kills {
        let player = stage.consume(member.clone()).await;
        let part = messages / (kills + 1);
        let goal = random.random_range(part / 2..part);
        player.until(patience(), |heard| heard.at >= goal).await;
        player.kill().await;
        let committed = topic.committed().await;
        let books = Books::new(stage.folder()).read().unwrap();
        let lost = committed_too_far(&committed, &records, &books);
        assert_eq!(lost, 0, "committed beyond what was settled, before kill {kill}");
        let committed = u64::try_from(committed.values().sum::<i64>()).unwrap();
        assert!(committed > 0, "something was committed before kill {kill}");
        // Of one partition, so what was delivered lies without a gap from its beginning on.
        let now = books.check();
        window += now.acknowledged - now.lost - committed;
    }
    let last = stage.consume(member).await;
    stage.settled().await;
    assert_eq!(last.stop().await.summary.left, 0);

    let report = stage.check();
    Figures::new("E34 kafka_ooo_ack", seed, report)
        .with("sent", report.sent)
        .with("kills", kills)
        .with("window", window)
        .print();
    assert_eq!(topic.committed().await, topic.ends().await, "all of it is committed");
    topic.remove().await;
    report.assert_clean();
    assert!(report.duplicated <= window, "only what was not committed comes again: {report}");
    assert!(window <= CONCURRENT * kills, "no more than the credit at each kill, and not {window}");
}
