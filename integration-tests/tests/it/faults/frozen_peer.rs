//! E4: a receiver stands still, and keeps its connection.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::select;
use integration_tests::{Figures, Scale};

use super::TOLERANCE;
use super::stage::{Heard, Player, Stage, free_address, patience};

/// What the sender may have under way, in bytes.
const BUDGET: u64 = 8 << 20;
/// What it may need beside.
const BESIDE: u64 = 8 << 20;
/// What the producer's own books take for each message whose receipt has not come, in bytes: behind the one that
/// stands still they grow, where bodies must not.
const BOOKS: u64 = 512;
/// Of the quiet rate, what another peer still gets.
const SHARE: f64 = 0.9;

#[tokio::test]
async fn frozen_peer() {
    let stage = Stage::new().await;
    let scale = Scale::of_environment();
    let frozen_for = scale.pick(Duration::from_secs(3), Duration::from_secs(60));
    let patient = "keep_alive=10m&tcp_user_timeout=10m&tcp_keep_alive=10m";
    let listen = free_address();
    let uri =
        format!("tcp://{listen}/load?role=listen&{patient}&send_timeout=10m&credit_bytes={BUDGET}");
    let mut producer = stage.producer(&uri, "anna", u64::MAX);
    (producer.body, producer.keys) = ((16 << 10, 16 << 10), 0);
    // Nothing but the budget holds it back: the oldest receipt is that of who stands still.
    producer.under_way = usize::MAX;
    let producer = stage.produce(producer).await;
    let uri = format!("tcp://{listen}/load?role=dial&{patient}");
    let frozen = stage.consume(stage.consumer(&uri, "ben")).await;
    let other = stage.consume(stage.consumer(&uri, "cleo")).await;

    // Who of the two gets more is nobody's promise; what they get together is the quiet rate.
    let some = |heard: &Heard| heard.at >= 500;
    let (one, another) = (frozen.until(patience(), some), other.until(patience(), some));
    select(pin!(one), pin!(another)).await;
    let quiet = rate(&[&frozen, &other], frozen_for).await;
    frozen.process().freeze(patience()).await.unwrap();
    let stood_at = frozen.heard().at;
    let meanwhile = rate(&[&other], frozen_for).await;
    frozen.process().thaw().unwrap();
    let thawed = Instant::now();
    frozen.until(patience(), |heard| heard.at > stood_at).await;
    let recovery = thawed.elapsed();

    let sent = producer.stop().await;
    let received = [frozen.stop().await, other.stop().await];
    let report = stage.check();
    Figures::new("E4 frozen_peer", 0, report)
        .with_recovery(recovery)
        .with_rss(sent.rss())
        .with("sent", report.sent)
        .with("quiet", format!("{quiet:.0}/s"))
        .with("meanwhile", format!("{meanwhile:.0}/s"))
        .print();
    report.assert_clean();
    assert_eq!((report.duplicated, report.unsettled, sent.summary.left), (0, 0, 0));
    assert!(received.iter().all(|one| one.summary.left == 0 && one.summary.revoked == 0));
    assert_eq!((sent.summary.sessions_lost, sent.heard.disconnected.len()), (0, 0));
    let most = BUDGET + BESIDE + BOOKS * report.sent;
    assert!(sent.rss() <= most, "{} KiB", sent.rss() >> 10);
    assert!(meanwhile >= quiet * SHARE / f64::from(TOLERANCE), "{meanwhile} of {quiet}");
}

/// Messages that `players` settle in a second, together.
async fn rate(players: &[&Player], span: Duration) -> f64 {
    let settled = || players.iter().map(|player| player.heard().at).sum::<u64>();
    let (from, begun) = (settled(), Instant::now());
    tokio::time::sleep(span).await;
    f64::from(u32::try_from(settled() - from).unwrap()) / begun.elapsed().as_secs_f64()
}
