//! What it costs: calls, counted by a pretence of SQS.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use seam_core::{Batch, Datagram, Deliveries};
use serde_json::{Value, json};

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
async fn an_idle_receiver_costs_three_calls_a_minute() {
    let stub = Stub::start().await;
    stub.answer("ReceiveMessage", std::iter::repeat_n(Answer::Nothing, 99));
    let mut receiver = registry().receiver(stub.uri("q").as_str()).await.unwrap();
    let receiving = tokio::spawn(async move { receiver.next().await });
    let began = Instant::now();
    while stub.asked("ReceiveMessage").len() < 3 {
        assert!(began.elapsed() < Duration::from_secs(400), "it polls no more");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The first at once, the third after two that found nothing.
    assert!(began.elapsed() >= Duration::from_secs(40), "{:?}", began.elapsed());
    receiving.abort();
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

#[tokio::test]
async fn small_datagrams_that_are_packed_cost_a_fiftieth_of_a_call() {
    const COUNT: usize = 10_000;
    let stub = Stub::start().await;
    let registry = registry();
    let sender = registry.sender(stub.uri("q?pack=true").as_str()).await.unwrap();
    let mut batch: Batch = (0..COUNT).map(|n| Datagram::new(format!("{n:064}"))).collect();
    let mut ticket = within("admission", sender.admit(&mut batch)).await.unwrap();
    assert!(within("the receipts", ticket.receipts()).await.all_ok());
    let sent = stub.asked("SendMessageBatch");
    stub.answer(
        "ReceiveMessage",
        sent.iter().enumerate().map(|(call, sent)| delivered(call, sent)),
    );
    // One that does not pack, and reads.
    let mut receiver = registry.receiver(stub.uri("q").as_str()).await.unwrap();
    let (mut received, mut deliveries) = (BTreeSet::new(), Deliveries::new());
    while received.len() < COUNT {
        within("deliveries", receiver.receive(256, &mut deliveries)).await.unwrap();
        received.extend(deliveries.views().filter_map(|view| view.payload().map(<[u8]>::to_vec)));
        deliveries.ack_all();
    }
    within("settling", receiver.settled()).await.unwrap();
    let deleted: usize = stub.asked("DeleteMessageBatch").iter().map(entries).sum();
    assert_eq!(deleted, sent.iter().map(entries).sum::<usize>(), "each message once");
    let calls = |operation| stub.asked(operation).len();
    let counted = [sent.len(), calls("ReceiveMessage"), calls("DeleteMessageBatch")];
    eprintln!("{COUNT} packed datagrams: {counted:?} calls to send, to receive and to delete");
    assert!(counted.iter().sum::<usize>() * 100 <= 2 * COUNT, "{counted:?}");
}

fn entries(call: &Value) -> usize {
    call["Entries"].as_array().map_or(0, Vec::len)
}

/// What a call of `SendMessageBatch` has sent, as `ReceiveMessage` gives it.
fn delivered(call: usize, sent: &Value) -> Answer {
    let message = |(at, entry): (usize, &Value)| {
        json!({
            "MessageId": format!("m-{call}-{at}"),
            "ReceiptHandle": format!("{call}-{at}"),
            "Body": entry["MessageBody"],
            "MessageAttributes": entry["MessageAttributes"],
        })
    };
    let entries = sent["Entries"].as_array().into_iter().flatten();
    Answer::Ok(json!({ "Messages": entries.enumerate().map(message).collect::<Vec<_>>() }))
}
