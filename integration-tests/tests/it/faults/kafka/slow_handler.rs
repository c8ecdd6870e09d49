//! E36: whoever works longer on a delivery than a consumer may be silent stays in its group.

use std::time::Duration;

use futures_util::future::join_all;
use integration_tests::{Figures, Scale, seed};

use super::super::stage::{Player, Stage, patience};
use super::cluster::Cluster;
use super::look::Topic;

const MEMBERS: u64 = 2;
/// How long a consumer may be silent, in milliseconds: less than the work takes.
const SILENCE: u64 = 6_000;

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test --workspace --all-features -- --include-ignored"]
async fn kafka_slow_handler() {
    let (stage, seed, cluster) = (Stage::new().await, seed(), Cluster::own().await);
    let scale = Scale::of_environment();
    let messages = scale.pick(200, 1_000);
    let work = scale.pick(Duration::from_millis(7_500), Duration::from_secs(20));
    let topic = Topic { broker: cluster.url().to_owned(), name: "load-e36", partitions: 12 };
    // Less than there is, so that the client is paused while all members work.
    let credit = messages / MEMBERS / 2 + 1;
    let slow = format!(
        "&credit={credit}&librdkafka.max.poll.interval.ms={SILENCE}&librdkafka.session.timeout.ms={SILENCE}"
    );
    let members = join_all((0..MEMBERS).map(|at| {
        let mut member = stage.consumer(&topic.uri(&slow), &format!("ben-{at}"));
        member.work = work;
        stage.consume(member)
    }));
    let members = members.await;
    topic.until_shared(MEMBERS).await;
    let producer = stage.produce(stage.producer(&topic.uri(""), "anna", messages)).await;
    producer.done().await;
    let done = || members.iter().map(|member| member.heard().at).sum::<u64>();
    let nearly = messages.saturating_sub(MEMBERS * 100);
    for member in &members {
        member.until(patience(), |_| done() >= nearly).await;
    }
    stage.settled().await;
    let ended = join_all(members.into_iter().map(Player::stop)).await;

    let report = stage.check();
    let revoked: u64 = ended.iter().map(|member| member.summary.revoked).sum();
    Figures::new("E36 kafka_slow_handler", seed, report)
        .with("sent", report.sent)
        .with("work", format!("{work:?}"))
        .with("revoked", revoked)
        .print();
    topic.remove().await;
    report.assert_clean();
    assert_eq!((report.acknowledged, report.duplicated, revoked), (messages, 0, 0));
    assert!(ended.iter().all(|member| member.summary.messages > 0), "both had some");
}
