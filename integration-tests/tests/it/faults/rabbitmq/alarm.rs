//! E27: the broker takes nothing for want of memory, then of disk; what consumes goes on.

use std::time::{Duration, Instant};

use integration_tests::{Figures, Scale, seed};
use seam::{Batch, Deliveries, Event};
use tokio::time::{sleep, timeout};

use super::super::TOLERANCE;
use super::super::load::Load;
use super::super::stage::{Stage, patience};
use super::broker::Broker;
use super::kill9::{CREDIT, PACE};
use super::probe::Probe;

/// Until it is told that the broker takes nothing.
const NOTICE: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(2);
const OVER: Duration = Duration::from_secs(1);
const RECOVERY: Duration = Duration::from_secs(5);
/// What a publisher that waits may take, above idle.
const MEMORY: u64 = 32 << 20;
/// Messages that lie there before, to be settled meanwhile.
const STOCK: u64 = 5_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p integration-tests --features rabbitmq -- --include-ignored"]
async fn rabbit_alarm_of_memory() {
    alarm(
        "memory",
        &["set_vm_memory_high_watermark", "0.000001"],
        &["set_vm_memory_high_watermark", "absolute", "1GB"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p integration-tests --features rabbitmq -- --include-ignored"]
async fn rabbit_alarm_of_disk() {
    alarm("disk", &["set_disk_free_limit", "100000GB"], &["set_disk_free_limit", "50MB"]).await;
}

async fn alarm(of: &str, raise: &[&str], clear: &[&str]) {
    let (stage, seed, broker) = (Stage::new().await, seed(), Broker::own().await);
    let scale = Scale::of_environment();
    let lasts = scale.pick(Duration::from_secs(4), Duration::from_secs(60));
    let stock = broker.uri(&format!("stock-e27-{of}"));
    fill(&stock).await;
    // One publisher waits as long as it takes, the other gives up.
    let uri = broker.uri(&format!("load-e27?credit={CREDIT}&send_timeout=10m"));
    let load = Load::start(&stage, &uri, PACE, scale.pick(10_000, 60_000)).await;
    let probe = Probe::start(&stage, &broker.uri("load-e27?send_timeout=2s")).await;
    load.goes_on(1).await;

    let before = Instant::now();
    broker.set(raise).await;
    let raised = Instant::now();
    let heard = load.producer.until(NOTICE * TOLERANCE, |heard| !heard.blocked.is_empty()).await;
    let notice = heard.blocked[0].saturating_duration_since(raised);
    let settled = settle_stock(&stock).await;
    // What the broker did not take as settled would be there again.
    assert_eq!(broker.foreign.ready(&format!("stock-e27-{of}")).await, 0);
    seam::registry().remove(stock.as_str()).await.unwrap();
    let settling = raised.elapsed();
    // What it had in hand when it was blocked is all that may still be answered.
    let at = load.producer.heard().at;
    sleep(lasts.saturating_sub(raised.elapsed())).await;
    let heard = load.producer.heard();
    assert!(heard.blocked[0] >= before && heard.unblocked.is_empty(), "{heard:?}");
    assert!(heard.at - at <= PACE.under_way, "nothing is taken: {heard:?}");
    broker.set(clear).await;
    let recovery = load.recovery().await;
    load.producer.until(patience(), |heard| !heard.unblocked.is_empty()).await;

    let found = probe.stop().await;
    let rss = load.producer.process().usage().unwrap().peak
        - load.producer.heard().idle.unwrap_or_default().resident;
    let (report, gap) = load.finish(&stage).await;
    Figures::new("E27 rabbit_alarm", seed, report)
        .with_recovery(recovery)
        .with_rss(rss)
        .with("of", of)
        .with("notice", format!("{:.3} s", notice.as_secs_f64()))
        .with("gap", gap)
        .with("sent", report.sent)
        .with("settled_meanwhile", settled)
        .with("in", format!("{:.1} s", settling.as_secs_f64()))
        .with("slowest_send", format!("{:.3} s", found.slowest.as_secs_f64()))
        .with("not_sent", found.not_sent)
        .with("maybe_sent", found.maybe_sent)
        .print();
    seam::registry().remove(uri.as_str()).await.unwrap();
    report.assert_clean();
    assert_eq!(settled, STOCK);
    assert!(report.duplicated <= found.maybe_sent, "nobody else sent twice: {report}");
    assert!(found.not_sent + found.maybe_sent > 0 && found.slowest <= DEADLINE + OVER, "{found:?}");
    assert!(rss <= MEMORY, "{rss}");
    assert!(notice <= NOTICE * TOLERANCE && recovery <= RECOVERY * TOLERANCE);
}

async fn fill(uri: &str) {
    let client = seam::registry().client(uri).await.unwrap();
    let mut batch = Batch::new();
    (0..STOCK).for_each(|_| batch.push_bytes(0, &[7; 256]));
    let mut ticket = client.sender().await.unwrap().admit(&mut batch).await.unwrap();
    assert!(ticket.receipts().await.all_ok());
    assert!(client.drain(patience()).await.unwrap().is_clean());
}

/// Receives and settles all of the stock; how many, with nothing left and nothing that came too late.
async fn settle_stock(uri: &str) -> u64 {
    let server = seam::registry().server(uri).await.unwrap();
    let mut receiver = server.receiver().await.unwrap();
    let (mut deliveries, mut count) = (Deliveries::new(), 0);
    while count < STOCK {
        let receiving = receiver.receive(256, &mut deliveries);
        assert!(timeout(patience(), receiving).await.expect("all comes").unwrap());
        while let Some(lent) = deliveries.lend() {
            lent.ack();
            count += 1;
        }
    }
    deliveries.publish();
    assert_eq!(receiver.settled().await.unwrap().late, 0);
    let event = timeout(Duration::ZERO, server.next_event()).await;
    assert!(!matches!(event, Ok(Some(Event::Disconnected { .. }))), "{event:?}");
    assert!(server.drain(patience()).await.unwrap().is_clean());
    count
}
