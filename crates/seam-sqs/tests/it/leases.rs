//! Leases that are extended, and leases that are lost.

use std::time::Duration;

use seam_core::{Datagram, Error};
use serde_json::json;

use crate::stage::{registry, unique, uri, within};
use crate::stub::{Answer, Stub};

/// One delivery, of a receiver that SQS gives it once.
fn one_message() -> Answer {
    Answer::Ok(json!({ "Messages": [
        { "MessageId": "m", "ReceiptHandle": "handle", "Body": "x", "Attributes": { "ApproximateReceiveCount": "1" } },
    ] }))
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"]
async fn what_is_held_and_what_waits_stays_ours_beyond_its_visibility() {
    let (queue, registry) = (unique("held"), registry());
    let short = format!("{}?visibility=3s", uri(&queue));
    let mut receiver = registry.receiver(short.as_str()).await.unwrap();
    let mut other = registry.receiver(short.as_str()).await.unwrap();
    let sender = registry.sender(short.as_str()).await.unwrap();
    for text in ["held", "waits"] {
        sender.send(Datagram::new(text)).await.unwrap();
    }
    let held = within("the delivery", receiver.next()).await.unwrap().unwrap();
    let stays = tokio::time::timeout(Duration::from_secs(8), other.next()).await;
    // The second one may be in the buffer of the first receiver, or have come to the other.
    let other = stays.ok().map(|came| came.unwrap().unwrap());
    assert!(other.as_ref().is_none_or(|came| came.view().payload() == Some(b"waits")));
    assert!(held.is_current());
    held.ack().unwrap();
    let waits = match other {
        Some(delivery) => delivery,
        None => within("the second delivery", receiver.next()).await.unwrap().unwrap(),
    };
    assert_eq!(waits.note().attempt, 1, "its lease ended in the buffer");
    waits.ack().unwrap();
    assert_eq!(within("settling", receiver.settled()).await.unwrap().late, 0);
    registry.remove(uri(&queue)).await.unwrap();
}

#[tokio::test]
async fn a_lease_that_sqs_gave_away_is_lost_and_never_acknowledged() {
    let stub = Stub::start().await;
    stub.answer("ReceiveMessage", [one_message()]);
    let refusal = json!({ "Successful": [], "Failed": [
        { "Id": "0", "SenderFault": true, "Code": "MessageNotInflight", "Message": "no" },
    ] });
    stub.answer("ChangeMessageVisibilityBatch", [Answer::Ok(refusal)]);
    let server = registry().server(stub.uri("q?visibility=3s").as_str()).await.unwrap();
    let mut receiver = server.receiver().await.unwrap();
    let delivery = within("the delivery", receiver.next()).await.unwrap().unwrap();
    let (_, duty) = delivery.split();
    within("the revocation", duty.revoked()).await;
    let (_, refused) = duty.ack().unwrap_err().into_parts();
    assert!(matches!(refused, Error::LeaseLost), "{refused}");
    assert_eq!(server.statistics().leases_lost, 1);
    assert!(stub.asked("DeleteMessageBatch").is_empty(), "somebody else has it");
}

#[tokio::test]
async fn a_lease_that_nobody_can_extend_ends_in_time() {
    let stub = Stub::start().await;
    stub.answer("ReceiveMessage", [one_message()]);
    stub.answer("ChangeMessageVisibilityBatch", std::iter::repeat_n(Answer::HangUp, 99));
    let server = registry().server(stub.uri("q?visibility=3s").as_str()).await.unwrap();
    let mut receiver = server.receiver().await.unwrap();
    let began = tokio::time::Instant::now();
    let delivery = within("the delivery", receiver.next()).await.unwrap().unwrap();
    let (_, duty) = delivery.split();
    within("the revocation", duty.revoked()).await;
    assert!(began.elapsed() <= Duration::from_millis(3500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_acknowledgement_that_sqs_refuses_is_counted_as_late() {
    let stub = Stub::start().await;
    stub.answer("ReceiveMessage", [one_message()]);
    let refusal = json!({ "Successful": [], "Failed": [
        { "Id": "0", "SenderFault": true, "Code": "ReceiptHandleIsInvalid", "Message": "no" },
    ] });
    stub.answer("DeleteMessageBatch", [Answer::Error(500, "InternalError"), Answer::Ok(refusal)]);
    let server = registry().server(stub.uri("q").as_str()).await.unwrap();
    let mut receiver = server.receiver().await.unwrap();
    within("the delivery", receiver.next()).await.unwrap().unwrap().ack().unwrap();
    assert_eq!(within("settling", receiver.settled()).await.unwrap().late, 1);
    assert_eq!(stub.asked("DeleteMessageBatch").len(), 2, "a delete may be repeated");
    assert_eq!(server.statistics().settlements_failed, 1);
}
