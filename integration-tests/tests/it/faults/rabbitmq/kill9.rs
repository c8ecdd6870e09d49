//! E25: the broker is killed under load, again and again, and stays away for a while.

use std::time::Duration;

use integration_tests::{Figures, Scale, seed};
use tokio::time::sleep;

use super::super::TOLERANCE;
use super::super::load::{Load, Pace};
use super::super::stage::Stage;
use super::broker::Broker;
use super::probe::Probe;

/// 2,000 messages a second.
pub(super) const PACE: Pace = Pace { rests: Duration::from_millis(32), under_way: 256 };
/// Deliveries that the consumer has at most.
pub(super) const CREDIT: u64 = 256;
const DEADLINE: Duration = Duration::from_secs(5);
/// What a deadline may be overrun by: two cores are shared with a broker that boots.
const OVER: Duration = Duration::from_secs(1);
const RECOVERY: Duration = Duration::from_secs(10);

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p integration-tests --features rabbitmq -- --include-ignored"]
async fn rabbit_kill9() {
    let (stage, seed, broker) = (Stage::new().await, seed(), Broker::own().await);
    let scale = Scale::of_environment();
    let (kills, down) = scale.pick((2, Duration::from_secs(1)), (10, Duration::from_secs(20)));
    let messages = scale.pick(10_000, 100_000);
    let uri = broker.uri(&format!("load-e25?credit={CREDIT}&send_timeout=5s"));
    let load = Load::start(&stage, &uri, PACE, messages).await;
    let probe = Probe::start(&stage, &uri).await;
    broker.persist().await;

    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        load.goes_on(1).await;
        broker.kill().await;
        sleep(down).await;
        broker.up().await;
        slowest = slowest.max(load.recovery().await);
    }

    let found = probe.stop().await;
    let (report, gap) = load.finish(&stage).await;
    Figures::new("E25 rabbit_kill9", seed, report)
        .with_recovery(slowest)
        .with("kills", kills)
        .with("sent", report.sent)
        .with("gap", gap)
        .with("slowest_send", format!("{:.3} s", found.slowest.as_secs_f64()))
        .with("not_sent", found.not_sent)
        .with("maybe_sent", found.maybe_sent)
        .print();
    seam::registry().remove(uri.as_str()).await.unwrap();
    report.assert_clean();
    // What the consumer had, and what was sent and not confirmed.
    let most = kills * (CREDIT + PACE.under_way + Probe::UNDER_WAY);
    assert!(report.duplicated <= most, "{report}");
    assert!(found.slowest <= DEADLINE + OVER, "{found:?}");
    assert!(found.not_sent + found.maybe_sent > 0, "the deadline came");
    assert!(slowest <= RECOVERY * TOLERANCE, "{slowest:?}");
}
