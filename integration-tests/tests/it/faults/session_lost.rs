//! E20: a receiving process is killed, and remembers nothing.

use std::time::Duration;

use integration_tests::bare::Over;
use integration_tests::{Figures, Scale, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::over::Place;
use super::stage::{Finished, Heard, Stage, patience};

/// What a run under kills came to.
struct Run {
    sent: Finished,
    kills: usize,
}

#[tokio::test]
async fn session_lost_and_sent_again() {
    for over in Over::EACH {
        lose_and_send_again(over).await;
    }
}

async fn lose_and_send_again(over: Over) {
    let (stage, seed) = (Stage::new().await, seed());
    let Run { sent, kills } = run(&stage, over, "redeliver", seed).await;
    let report = stage.check();
    Figures::new("E20 session_lost redeliver", seed, report)
        .with("over", over)
        .with("sent", report.sent)
        .with("kills", kills)
        .with("recovered", report.recovered)
        .print();
    report.assert_clean();
    assert_eq!((report.acknowledged, sent.summary.left), (report.sent, 0));
    assert_eq!(sent.heard.lost.len(), kills, "one is told for each kill");
    assert_eq!(sent.summary.returned, 0, "nothing is given back");
    assert!(report.duplicated > 0, "some were lost under the hands of the killed");
}

#[tokio::test]
async fn session_lost_and_given_back() {
    let (stage, seed) = (Stage::new().await, seed());
    let Run { sent, kills } = run(&stage, Over::Tcp, "report", seed).await;
    let report = stage.check();
    let unsettled: u64 = sent.heard.lost.iter().sum();
    Figures::new("E20 session_lost report", seed, report)
        .with("sent", report.sent)
        .with("kills", kills)
        .with("unsettled", unsettled)
        .with("returned", sent.summary.returned)
        .print();
    report.assert_clean();
    assert_eq!(sent.heard.lost.len(), kills, "one is told for each kill");
    assert_eq!(sent.summary.returned, unsettled, "exactly the unsettled are given back");
    assert_eq!(report.acknowledged + unsettled, report.sent);
    assert_eq!((report.duplicated, sent.summary.left), (0, 0), "nothing is sent again");
}

/// Kills the consumer at random points, each time after it has settled something.
async fn run(stage: &Stage, over: Over, lost: &str, seed: u64) -> Run {
    let (messages, kills) = Scale::of_environment().pick((6_000, 8), (200_000, 500));
    let mut random = StdRng::seed_from_u64(seed);
    let place = Place::new(over, stage);
    let consumer = || {
        let mut job = stage.consumer(&place.listens("credit=4096"), "ben");
        // So long that the load lasts, and that something is in hand at each kill.
        job.work = Duration::from_millis(10);
        stage.consume(job)
    };
    let mut standing = consumer().await;
    let sending = place.dials(&format!("lost={lost}&send_timeout=10m&credit=128"));
    let mut producer = stage.producer(&sending, "anna", messages);
    producer.resends = false;
    let producer = stage.produce(producer).await;
    let mut killed = 0;
    while killed < kills && producer.heard().done.is_none() {
        let enough = |heard: &Heard| heard.at > 0;
        standing.until(patience(), enough).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..10))).await;
        standing.kill().await;
        killed += 1;
        standing = consumer().await;
    }
    let sent = producer.done().await;
    standing.stop().await;
    assert_eq!(killed, kills, "the producer was done too soon");
    Run { sent, kills: killed }
}
