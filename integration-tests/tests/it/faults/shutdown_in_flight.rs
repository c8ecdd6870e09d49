//! E16: processes are asked to end under load.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::actors::{Consumer, Producer};
use integration_tests::bare::Over;
use integration_tests::{Figures, Scale, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::over::Place;
use super::stage::{Player, Stage, patience};

const CONSUMERS: usize = 8;
const PUBLISHERS: usize = CONSUMERS;
/// How long a process may take to end.
const EXIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn shutdown_in_flight() {
    shut_down(Over::Tcp).await;
}

#[tokio::test]
async fn shutdown_in_flight_over_tls() {
    shut_down(Over::Tls).await;
}

#[tokio::test]
async fn shutdown_in_flight_over_quic() {
    shut_down(Over::Quic).await;
}

async fn shut_down(over: Over) {
    let (stage, seed) = (Stage::new().await, seed());
    let times = Scale::of_environment().pick(6, 100);
    let places: Vec<Place> = (0..CONSUMERS).map(|_| Place::new(over, &stage)).collect();
    let consumers: Vec<Consumer> = (0..CONSUMERS)
        .map(|at| {
            let uri = places[at].listens("credit=4096");
            let mut job = stage.consumer(&uri, &format!("ben-{at}"));
            job.work = Duration::from_millis(200);
            job
        })
        .collect();
    let uri = Place::dials_all(&places, "confirm=settled&send_timeout=10m");
    let publishers: Vec<Producer> = (0..PUBLISHERS)
        .map(|at| {
            // More than it ever sends, so that there is load all the time.
            let mut job = stage.producer(&uri, &format!("anna-{at}"), u64::MAX);
            job.under_way = 64;
            job
        })
        .collect();
    let mut receiving: Vec<Player> =
        join_all(consumers.iter().cloned().map(|job| stage.consume(job))).await;
    let mut sending: Vec<Player> =
        join_all(publishers.iter().cloned().map(|job| stage.produce(job))).await;

    let mut random = StdRng::seed_from_u64(seed);
    let (mut slowest, mut revoked) = (Duration::ZERO, 0);
    for _ in 0..times {
        let at = random.random_range(0..CONSUMERS + PUBLISHERS);
        let players = if at < CONSUMERS { &mut receiving } else { &mut sending };
        let leaving = players.swap_remove(at % CONSUMERS);
        let begun = leaving.heard().at;
        leaving.until(patience(), |heard| heard.at > begun).await;
        let asked = Instant::now();
        let ended = leaving.stop().await;
        slowest = slowest.max(asked.elapsed());
        assert_eq!(ended.summary.left, 0);
        revoked += ended.summary.revoked;
        players.push(match at.checked_sub(CONSUMERS) {
            None => stage.consume(consumers[at].clone()).await,
            Some(at) => stage.produce(publishers[at].clone()).await,
        });
        let last = players.len() - 1;
        players.swap(at % CONSUMERS, last);
    }
    for publisher in &sending {
        publisher.until(patience(), |heard| heard.at > 0).await;
    }
    let sent = join_all(sending.into_iter().map(Player::stop)).await;
    join_all(receiving.into_iter().map(Player::stop)).await;

    let report = stage.check();
    Figures::new("E16 shutdown_in_flight", seed, report)
        .with("over", over)
        .with("sent", report.sent)
        .with("ended", times)
        .with("slowest", format!("{:.1} s", slowest.as_secs_f64()))
        .with("recovered", report.recovered)
        .print();
    report.assert_clean();
    assert_eq!(report.acknowledged, report.sent, "every send has its answer");
    assert!(sent.iter().all(|one| one.summary.left == 0));
    assert_eq!((report.unsettled, revoked), (0, 0));
    assert!(slowest <= EXIT, "{slowest:?}");
}
