//! E26: the broker stops where it stands, with open sockets, and nothing but heartbeats tells it.

use std::time::{Duration, Instant};

use integration_tests::{Figures, Scale, seed};
use tokio::time::sleep;

use super::super::TOLERANCE;
use super::super::load::Load;
use super::super::stage::Stage;
use super::broker::Broker;
use super::kill9::{CREDIT, PACE};

/// Until it is known, with heartbeats of five seconds: two of them and a little.
const NOTICE: Duration = Duration::from_secs(12);
const RECOVERY: Duration = Duration::from_secs(5);

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p integration-tests --features rabbitmq -- --include-ignored"]
async fn rabbit_freeze() {
    let (stage, seed, broker) = (Stage::new().await, seed(), Broker::own().await);
    let scale = Scale::of_environment();
    let frozen = scale.pick(Duration::ZERO, Duration::from_secs(30));
    let uri = broker.uri(&format!("load-e26?credit={CREDIT}&keep_alive=5s&send_timeout=10m"));
    let load = Load::start(&stage, &uri, PACE, scale.pick(10_000, 60_000)).await;

    load.goes_on(2).await;
    broker.freeze().await;
    let since = Instant::now();
    let mut notice = Duration::ZERO;
    for player in [&load.producer, &load.consumer] {
        let heard = player.until(NOTICE, |heard| !heard.disconnected.is_empty()).await;
        notice = notice.max(heard.disconnected[0].saturating_duration_since(since));
    }
    sleep(frozen.saturating_sub(since.elapsed())).await;
    broker.thaw().await;
    let recovery = load.recovery().await;

    let (report, gap) = load.finish(&stage).await;
    Figures::new("E26 rabbit_freeze", seed, report)
        .with_recovery(recovery)
        .with("notice", format!("{:.1} s", notice.as_secs_f64()))
        .with("gap", gap)
        .with("sent", report.sent)
        .print();
    seam::registry().remove(uri.as_str()).await.unwrap();
    report.assert_clean();
    assert!(report.duplicated <= CREDIT + PACE.under_way, "{report}");
    assert!(notice <= NOTICE, "{notice:?}");
    assert!(recovery <= RECOVERY * TOLERANCE, "{recovery:?}");
}
