//! Three brokers, of which the leader of some partitions is killed, and another frozen, under load.

use std::time::Duration;

use integration_tests::{Figures, Scale, seed};
use tokio::time::sleep;

use super::super::load::{Load, Pace};
use super::super::stage::Stage;
use super::cluster::Cluster;
use super::look::Topic;

/// What may pass, to ten times as much, until the others have taken over.
const GAP: Duration = Duration::from_secs(10);
const PACE: Pace = Pace { rests: Duration::from_millis(10), under_way: 256 };

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test --workspace --all-features -- --include-ignored"]
async fn kafka_failover() {
    let (stage, seed, cluster) = (Stage::new().await, seed(), Cluster::own().await);
    let scale = Scale::of_environment();
    let messages = scale.pick(20_000, 400_000);
    let frozen = scale.pick(Duration::from_secs(4), Duration::from_secs(30));
    // Each of the three leads two partitions, and the group's coordinator is none of those that go.
    let topic = Topic { broker: cluster.three().await, name: "load-failover", partitions: 6 };
    let load = Load::start(&stage, &topic.uri("&replication=3"), PACE, messages).await;

    load.goes_on(1).await;
    cluster.kill("kafka2").await;
    let killed = load.recovery().await;
    cluster.up("kafka2").await;
    load.goes_on(1).await;
    cluster.freeze("kafka3").await;
    sleep(frozen).await;
    cluster.thaw("kafka3").await;
    let thawed = load.recovery().await;

    let (report, gap) = load.finish(&stage).await;
    Figures::new("kafka_failover", seed, report)
        .with_recovery(killed.max(thawed))
        .with("gap", gap)
        .with("sent", report.sent)
        .print();
    topic.remove().await;
    report.assert_clean();
    assert_eq!(report.duplicated, 0, "{report}");
    assert!(killed.max(thawed) <= GAP * super::super::TOLERANCE, "{killed:?} {thawed:?}");
}
