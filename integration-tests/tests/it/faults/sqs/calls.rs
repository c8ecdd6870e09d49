//! What datagrams cost in calls, where nothing is wrong.

use integration_tests::{Figures, seed};
use seam::{Batch, Datagram};
use seam_conformance::ledger::{Ledger, Outcome, Stamp};
use tokio::time::timeout;

use super::super::stage::{Stage, patience};
use super::super::taking::take;
use super::place::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p integration-tests --features sqs -- --include-ignored"]
async fn a_datagram_costs_a_third_of_a_call_and_less_in_packs() {
    let (_stage, seed) = (Stage::new().await, seed());
    // Beside ten to a call: polls that brought fewer, since a standard queue may give what it likes.
    check("", 2_000, 620, seed).await;
    check("&pack=true", 4_000, 80, seed).await;
}

/// Sends so many and receives them, by `most` calls in all.
async fn check(parameters: &str, messages: u64, most: usize, seed: u64) {
    let (place, ledger) = (Place::new("load-calls"), Ledger::new());
    let proxy = place.proxy(seed).await;
    let uri = format!("{}{parameters}", place.by(&proxy));
    let registry = seam::registry();
    let mut receiver = registry.receiver(uri.as_str()).await.unwrap();
    let sender = registry.sender(uri.as_str()).await.unwrap();
    let (mut batch, mut stamps) = (Batch::new(), Vec::new());
    for number in 1..=messages {
        // Each with a key of its own: a standard queue keeps no order.
        let stamp = Stamp::new("anna", format!("key-{number}"), number);
        let (stamp, datagram) = stamp.put(Datagram::new("x".repeat(64)));
        ledger.sent(&stamp);
        batch.push(datagram);
        stamps.push(stamp);
    }
    let mut ticket = timeout(patience(), sender.admit(&mut batch)).await.unwrap().unwrap();
    assert!(timeout(patience(), ticket.receipts()).await.unwrap().all_ok());
    stamps.iter().for_each(|stamp| ledger.outcome(stamp, Outcome::Receipted));
    assert_eq!(take(&mut receiver, &ledger, messages).await, messages);
    assert_eq!(timeout(patience(), receiver.settled()).await.unwrap().unwrap().late, 0);
    let operations = ["SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch"];
    let calls = operations.map(|operation| proxy.calls(operation).len());
    Figures::new("sqs_calls", seed, ledger.check())
        .with("sent", messages)
        .with("with", if parameters.is_empty() { "nothing" } else { parameters })
        .with("calls", format!("{calls:?}"))
        .print();
    place.remove().await;
    ledger.check().assert_clean();
    assert!(calls.iter().all(|calls| *calls > 0), "{calls:?}");
    assert!(calls.iter().sum::<usize>() <= most, "{calls:?}");
}
