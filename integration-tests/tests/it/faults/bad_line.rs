//! E17, and E19 over QUIC: packets are lost, repeated, late, or do not come through at all.

use std::time::Duration;

use futures_util::future::join_all;
use integration_tests::bare::Over;
use integration_tests::packets::{Line, PacketRelay};
use integration_tests::{Figures, Scale, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::TOLERANCE;
use super::over::Place;
use super::stage::{Player, Stage, patience};

/// How long nothing may come.
const STALL: f64 = 2.0;
const SESSIONS: u64 = 4;

#[tokio::test]
async fn quic_loss() {
    let (stage, seed) = (Stage::new().await, seed());
    let messages = Scale::of_environment().pick(4_000, 200_000);
    let place = Place::new(Over::Quic, &stage);
    let consumer = stage.consume(stage.consumer(&place.listens("credit=4096"), "ben")).await;
    let relay = PacketRelay::start(place.address(), seed).await.unwrap();
    let delay = Duration::from_millis(25);
    relay.set(Line { lost: 50, repeated: 10, late: 50, delay });
    let uri = place.at(relay.address()).dials("send_timeout=10m");
    let sent = stage.produce(stage.producer(&uri, "anna", messages)).await.done().await;
    let received = consumer.stop().await;
    let (report, counts) = (stage.check(), relay.counts());
    let silence = received.summary.longest_silence;
    Figures::new("E17 quic_loss", seed, report)
        .with("sent", report.sent)
        .with("packets", counts.packets)
        .with("dropped", counts.lost)
        .with("silence", format!("{silence:.2} s"))
        .print();
    report.assert_clean();
    assert_eq!((report.acknowledged, report.duplicated, report.unsettled), (messages, 0, 0));
    assert_eq!((sent.summary.sessions_lost, sent.summary.left), (0, 0));
    assert!(counts.lost > 0);
    assert!(silence <= STALL * f64::from(TOLERANCE), "{silence} s");
}

#[tokio::test]
async fn session_storm_over_quic() {
    let (stage, seed) = (Stage::new().await, seed());
    let cuts = Scale::of_environment().pick(5, 300);
    let place = Place::new(Over::Quic, &stage);
    let consumer = stage.consumer(&place.listens("keep_alive=200ms"), "ben");
    let consumer = stage.consume(consumer).await;
    let relay = PacketRelay::start(place.address(), seed).await.unwrap();
    let uri = place.at(relay.address()).dials("keep_alive=200ms&send_timeout=10m");
    let producers = join_all((0..SESSIONS).map(|at| {
        // More than it ever sends, so that there is load all the time.
        let mut producer = stage.producer(&uri, &format!("anna-{at}"), u64::MAX);
        producer.rests = Duration::from_millis(10);
        stage.produce(producer)
    }))
    .await;
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..cuts {
        for producer in &producers {
            let goal = producer.heard().at + random.random_range(1..300);
            producer.until(patience(), |heard| heard.at >= goal).await;
        }
        relay.cut();
    }
    let sent = join_all(producers.into_iter().map(Player::stop)).await;
    let received = consumer.stop().await;
    let (report, flows) = (stage.check(), relay.counts().flows);
    Figures::new("E19 session_storm", seed, report)
        .with("over", Over::Quic)
        .with("sent", report.sent)
        .with("cuts", cuts)
        .with("flows", flows)
        .print();
    report.assert_clean();
    assert_eq!((report.acknowledged, report.duplicated, report.unsettled), (report.sent, 0, 0));
    assert!(sent.iter().all(|one| one.summary.sessions_lost == 0 && one.summary.left == 0));
    assert_eq!((received.summary.revoked, received.summary.left), (0, 0));
    assert!(flows > cuts, "{flows} flows");
}
