//! What it costs: calls, counted by a pretence of SQS.

use std::time::Duration;

use seam_core::{Batch, Datagram, Deliveries};
use serde_json::json;

use crate::stage::{registry, within};
use crate::stub::{Answer, Stub};

/// Ten deliveries at a time, as often as `polls` says.
fn deliveries(polls: usize) -> impl Iterator<Item = Answer> {
    (0..polls).map(|poll| {
        let message = |number| {
            json!({ "MessageId": "m", "ReceiptHandle": format!("{poll}-{number}"), "Body": "12 apples" })
        };
        Answer::Ok(json!({ "Messages": (0..10).map(message).collect::<Vec<_>>() }))
    })
}

#[tokio::test]
async fn a_datagram_costs_a_third_of_a_call_under_load() {
    const COUNT: usize = 1000;
    let stub = Stub::start().await;
    stub.answer("ReceiveMessage", deliveries(COUNT / 10));
    let registry = registry();
    let sender = registry.sender(stub.uri("q").as_str()).await.unwrap();
    let mut batch: Batch = (0..COUNT).map(|_| Datagram::new("12 apples")).collect();
    let mut ticket = within("admission", sender.admit(&mut batch)).await.unwrap();
    assert!(within("the receipts", ticket.receipts()).await.all_ok());
    let mut receiver = registry.receiver(stub.uri("q").as_str()).await.unwrap();
    let (mut received, mut deliveries) = (0, Deliveries::new());
    while received < COUNT {
        within("deliveries", receiver.receive(256, &mut deliveries)).await.unwrap();
        received += deliveries.len();
        deliveries.ack_all();
    }
    within("settling", receiver.settled()).await.unwrap();
    let calls = |operation| stub.asked(operation).len();
    let counted = [calls("SendMessageBatch"), calls("ReceiveMessage"), calls("DeleteMessageBatch")];
    eprintln!("{COUNT} datagrams: {counted:?} calls to send, to receive and to delete");
    assert!(counted.iter().sum::<usize>() * 100 <= 31 * COUNT, "{counted:?}");
}

#[tokio::test]
async fn nobody_polls_while_the_program_is_busy() {
    let stub = Stub::start().await;
    stub.answer("ReceiveMessage", deliveries(1));
    let mut receiver = registry().receiver(stub.uri("q?credit=10").as_str()).await.unwrap();
    let held = within("the delivery", receiver.next()).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(stub.asked("ReceiveMessage").len(), 1, "its credit is used");
    held.ack().unwrap();
}
