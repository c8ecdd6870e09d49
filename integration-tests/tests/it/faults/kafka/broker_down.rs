//! E32: brokers go, answer late or wrongly, and come back.

use std::time::Duration;

use integration_tests::{Figures, Scale, seed};
use rdkafka::mocking::MockCoordinator;
use rdkafka::types::RDKafkaApiKey as Kind;
use rdkafka::types::RDKafkaRespErr as Code;
use tokio::time::sleep;

use super::super::TOLERANCE;
use super::super::load::{Load, Pace};
use super::super::stage::Stage;
use super::cluster::Cluster;
use super::pretence::{ALL, BROKERS, fail_requests, pretend};

const PARTITIONS: i32 = 12;
const PACE: Pace = Pace { rests: Duration::from_millis(10), under_way: 256 };
/// A cluster of pretence searches all that it has for each fetch, so that less may wait there while nobody fetches.
const GENTLE: Pace = Pace { rests: Duration::from_millis(40), ..PACE };
/// The default of `credit`.
const CREDIT: u64 = 4096;
/// Until something is settled again, from when the broker is back.
const RECOVERY: Duration = Duration::from_secs(10);
/// What comes back is none of these cases' business, so nothing does: all that is under way waits.
const WAIT: &str = "send_timeout=10m";

#[tokio::test]
async fn kafka_broker_down_in_pretence() {
    let (stage, seed) = (Stage::new().await, seed());
    let messages = Scale::of_environment().pick(20_000, 200_000);
    let down = Scale::of_environment().pick(Duration::from_secs(3), Duration::from_secs(20));
    let (cluster, uri) = pretend(PARTITIONS);
    let load = Load::start(&stage, &format!("{uri}&{WAIT}"), GENTLE, messages).await;

    load.goes_on(1).await;
    cluster.broker_down(ALL).unwrap();
    sleep(down).await;
    cluster.broker_up(ALL).unwrap();
    let recovery = load.recovery().await;
    load.goes_on(1).await;
    cluster.broker_round_trip_time(ALL, Duration::from_millis(500)).unwrap();
    load.goes_on(1).await;
    cluster.broker_round_trip_time(ALL, Duration::ZERO).unwrap();
    load.goes_on(1).await;
    let left = Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    let cut = Code::RD_KAFKA_RESP_ERR__TRANSPORT;
    // No produce request is answered by an error: a broker of pretence takes the one behind it all the same, and its
    // success is the client's proof, as it is with a broker that checks sequences, that the failed one is stored.
    fail_requests(&cluster, &[Kind::Produce], &[cut, cut, cut]);
    fail_requests(&cluster, &[Kind::Fetch], &[left, cut, cut]);
    let moved = Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
    fail_requests(&cluster, &[Kind::OffsetCommit, Kind::Heartbeat], &[moved, cut]);
    load.goes_on(2).await;
    for broker in 1..=BROKERS {
        cluster.coordinator(MockCoordinator::Group("seam.load".into()), broker).unwrap();
        let leader = broker % BROKERS + 1;
        (0..PARTITIONS).for_each(|at| cluster.partition_leader("load", at, Some(leader)).unwrap());
        load.goes_on(1).await;
    }

    let (report, gap) = load.finish(&stage).await;
    let figures = Figures::new("E32 kafka_broker_down in pretence", seed, report);
    figures.with_recovery(recovery).with("gap", gap).with("sent", report.sent).print();
    assert_eq!((report.lost, report.reordered, report.unexpected), (0, 0, 0), "{report}");
    // Where it made a member join again, all comes again that it had not committed: what `credit` lets it have.
    assert!(report.duplicated <= CREDIT + PACE.under_way, "{report}");
    assert!(recovery <= RECOVERY * TOLERANCE, "{recovery:?}");
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test --workspace --all-features -- --include-ignored"]
async fn kafka_broker_down() {
    let (stage, seed, cluster) = (Stage::new().await, seed(), Cluster::own().await);
    let messages = Scale::of_environment().pick(20_000, 200_000);
    let down = Scale::of_environment().pick(Duration::from_secs(1), Duration::from_secs(20));
    let uri = format!("kafka://{}/load-e32?partitions={PARTITIONS}&{WAIT}", cluster.url());
    let load = Load::start(&stage, &uri, PACE, messages).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..2 {
        load.goes_on(1).await;
        cluster.kill("kafka").await;
        sleep(down).await;
        cluster.up("kafka").await;
        slowest = slowest.max(load.recovery().await);
    }
    load.goes_on(1).await;
    cluster.freeze("kafka").await;
    sleep(down).await;
    cluster.thaw("kafka").await;
    slowest = slowest.max(load.recovery().await);

    let (report, gap) = load.finish(&stage).await;
    let figures = Figures::new("E32 kafka_broker_down", seed, report);
    figures.with_recovery(slowest).with("gap", gap).with("sent", report.sent).print();
    seam::registry().remove(uri.as_str()).await.unwrap();
    report.assert_clean();
    assert_eq!(report.duplicated, 0, "{report}");
    assert!(slowest <= RECOVERY * TOLERANCE, "{slowest:?}");
}
