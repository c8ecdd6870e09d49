//! E19: connections are cut at any byte, in every manner.

use std::time::Duration;

use futures_util::future::join_all;
use integration_tests::bare::Over;
use integration_tests::relay::{Cut, Plan, Relay};
use integration_tests::{Figures, Scale, seed};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::over::Place;
use super::stage::{Player, Stage};
use super::{TOLERANCE, quantile};

const SESSIONS: u64 = 8;
/// What a sender keeps to send again (`credit_bytes`), in bytes, and what it may need beside.
const RSS: u64 = (1 << 20) + (32 << 20);
/// Until a session goes on behind a cut: of one half, and of nearly all.
const RESUME: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Where nothing comes through for so long, everything was sent.
const STILL: Duration = Duration::from_secs(30);

#[tokio::test]
async fn session_storm() {
    storm(Over::Tcp).await;
}

#[tokio::test]
async fn session_storm_over_tls() {
    storm(Over::Tls).await;
}

async fn storm(over: Over) {
    let (stage, seed) = (Stage::new().await, seed());
    let (messages, cuts) = Scale::of_environment().pick((16_000, 120), (1_400_000, 10_000));
    let place = Place::new(over, &stage);
    let consumer = stage.consumer(&place.listens("keep_alive=200ms"), "ben");
    let consumer = stage.consume(consumer).await;
    let relay = Relay::start(place.address(), seed).await.unwrap();
    let every = [Cut::Reset, Cut::Finish, Cut::Silence];
    relay.plan(Plan::Random { after: 0..30_000, cuts: every.to_vec() });
    let uri = place.at(relay.address()).dials("keep_alive=200ms&send_timeout=10m");
    let producers = join_all((0..SESSIONS).map(|at| {
        let name = format!("anna-{at}");
        stage.produce(stage.producer(&uri, &name, messages / SESSIONS))
    }));
    let storm = async {
        let mut random = StdRng::seed_from_u64(seed);
        let mut counts = relay.counts();
        while counts.cuts < cuts {
            let goal = counts.up + random.random_range(0..100_000);
            // Beside what is planned for each, all at once: else one that carries little lives for ever.
            let Ok(reached) = relay.until(STILL, |now| now.up >= goal || now.cuts >= cuts).await
            else {
                return;
            };
            relay.cut(every[random.random_range(0..every.len())]);
            counts = reached;
        }
        relay.plan(Plan::Live);
    };
    let (producers, ()) = futures_util::join!(producers, storm);
    let sent = join_all(producers.into_iter().map(Player::done)).await;
    let received = consumer.stop().await;

    let report = stage.check();
    let outages = sent.iter().flat_map(|one| &one.summary.outages);
    let mut outages: Vec<Duration> = outages.map(|s| Duration::from_secs_f64(*s)).collect();
    let (half, most) = (quantile(&mut outages, 0.5), quantile(&mut outages, 0.99));
    let rss = sent.iter().map(|one| one.rss()).max().unwrap();
    let done = relay.counts().cuts;
    Figures::new("E19 session_storm", seed, report)
        .with("over", over)
        .with_recovery(half)
        .with_rss(rss)
        .with("p99", format!("{:.3} s", most.as_secs_f64()))
        .with("sent", report.sent)
        .with("cuts", done)
        .with("resumed", outages.len())
        .print();
    report.assert_clean();
    assert_eq!((report.acknowledged, report.duplicated, report.unsettled), (messages, 0, 0));
    assert!(sent.iter().all(|one| one.summary.sessions_lost == 0 && one.summary.left == 0));
    assert_eq!((received.summary.revoked, received.summary.left), (0, 0));
    assert!(done >= cuts, "{done} cuts");
    assert!(rss <= RSS, "{} KiB", rss >> 10);
    assert!(half <= RESUME.0 * TOLERANCE && most <= RESUME.1 * TOLERANCE, "{half:?} {most:?}");
}
