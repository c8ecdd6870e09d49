//! E40: connections that are closed just when they are used again, by all kinds of calls.

use integration_tests::proxy::{Call, End, Plan};
use integration_tests::{Figures, Scale, seed};

use super::super::stage::{Stage, patience};
use super::place::Place;

/// Of a hundred calls on a connection that was used before, so many find it closed.
const CLOSES: u32 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p integration-tests --features sqs -- --include-ignored"]
async fn sqs_idle_close() {
    let (stage, seed, place) = (Stage::new().await, seed(), Place::new("load-e40"));
    let messages = Scale::of_environment().pick(1_000, 5_000);
    let proxy = place.proxy(seed).await;
    let uri = place.by(&proxy);
    let consumer = stage.consume(stage.consumer(&uri, "ben")).await;
    proxy.plan(Plan { closes: CLOSES, ..Plan::default() });
    let sent = stage.produce(Place::producer(&stage, &uri, messages)).await.done().await;
    consumer.until(patience(), |heard| heard.at >= messages).await;
    place.until_empty().await;
    let received = consumer.stop().await;

    let report = stage.check();
    let closed = |operation: &str| {
        let calls = proxy.calls(operation);
        let closed = |call: &&Call| matches!(call.end, Some((_, End::Closed)));
        (calls.iter().filter(closed).count(), calls.len())
    };
    let operations = ["SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch"];
    let figures = Figures::new("E40 sqs_idle_close", seed, report)
        .with("sent", report.sent)
        .with("sent_again", sent.summary.returned);
    let figures = operations.into_iter().fold(figures, |figures, operation| {
        let (closed, all) = closed(operation);
        figures.with(operation, format!("{closed} of {all}"))
    });
    figures.print();
    place.remove().await;
    report.assert_clean();
    assert_eq!((report.acknowledged, report.unsettled), (messages, 0));
    // What found its connection closed never came to SQS, so sending it again makes none two.
    assert_eq!(report.duplicated, 0);
    assert!(sent.summary.returned > 0, "a send in doubt is told");
    assert_eq!((received.summary.revoked, received.summary.late), (0, 0));
    for operation in operations {
        assert!(closed(operation).0 > 0, "{operation} never found its connection closed");
    }
}
