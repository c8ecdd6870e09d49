//! What a receipt says where SQS does not do all that it is asked, by a pretence of it.

use seam_core::{Batch, Datagram, Error, Event, Fate, Registry, SendError};
use seam_sqs::Sqs;

use crate::stage::within;
use crate::stub::{Answer, Stub, all_but};

/// Sends three datagrams in one call; their fates.
async fn send_three(stub: &Stub, queue: &str, keys: [&str; 3]) -> Vec<Option<Fate>> {
    let registry = Registry::new().with(Sqs::new());
    let sender = registry.sender(stub.uri(queue).as_str()).await.unwrap();
    let datagrams = keys.into_iter().map(|key| match key {
        "" => Datagram::new("x"),
        key => Datagram::new("x").with_key(key.to_owned()),
    });
    let mut batch: Batch = datagrams.collect();
    let mut ticket = sender.admit(&mut batch).await.unwrap();
    let receipts = within("the receipts", ticket.receipts()).await;
    receipts.iter().map(|receipt| receipt.err().map(SendError::fate)).collect()
}

#[tokio::test]
async fn what_fails_in_an_answered_call_was_not_sent() {
    for is_our_fault in [true, false] {
        let stub = Stub::start().await;
        stub.answer("SendMessageBatch", [all_but(1, is_our_fault)]);
        let fates = send_three(&stub, "q", [""; 3]).await;
        assert_eq!(fates, [None, Some(Fate::NotSent), None]);
        assert_eq!(stub.asked("SendMessageBatch").len(), 1, "a standard queue is asked once");
    }
}

#[tokio::test]
async fn a_call_that_broke_leaves_all_of_it_in_doubt() {
    for answer in [Answer::HangUp, Answer::Error(500, "InternalError")] {
        let stub = Stub::start().await;
        stub.answer("SendMessageBatch", [answer]);
        assert_eq!(send_three(&stub, "q", [""; 3]).await, [Some(Fate::MaybeSent); 3]);
        assert_eq!(stub.asked("SendMessageBatch").len(), 1, "it would be there twice");
    }
}

#[tokio::test]
async fn a_call_that_was_refused_was_not_sent() {
    let stub = Stub::start().await;
    stub.answer("SendMessageBatch", [Answer::Error(400, "AccessDeniedException")]);
    assert_eq!(send_three(&stub, "q", [""; 3]).await, [Some(Fate::NotSent); 3]);
}

#[tokio::test]
async fn a_fifo_queue_is_asked_again_with_the_same_names() {
    for answer in [
        Answer::HangUp,
        Answer::Error(500, "InternalError"),
        Answer::Error(403, "RequestThrottled"),
    ] {
        let stub = Stub::start().await;
        stub.answer("SendMessageBatch", [answer.clone(), answer]);
        assert_eq!(send_three(&stub, "q.fifo", ["a"; 3]).await, [None; 3]);
        let asked = stub.asked("SendMessageBatch");
        assert_eq!(asked.len(), 3);
        assert!(asked.windows(2).all(|pair| pair[0]["Entries"] == pair[1]["Entries"]));
    }
}

#[tokio::test]
async fn an_entry_that_failed_last_of_its_key_is_sent_again_on_a_fifo_queue() {
    let stub = Stub::start().await;
    stub.answer("SendMessageBatch", [all_but(2, false)]);
    assert_eq!(send_three(&stub, "q.fifo", ["a"; 3]).await, [None; 3]);
    let asked = stub.asked("SendMessageBatch");
    assert_eq!(asked[1]["Entries"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_of_a_key_succeeds_behind_a_failure() {
    let stub = Stub::start().await;
    stub.answer("SendMessageBatch", [all_but(0, false)]);
    let fates = send_three(&stub, "q.fifo", ["a", "b", "a"]).await;
    assert_eq!(fates, [Some(Fate::NotSent), None, Some(Fate::MaybeSent)]);
}

#[tokio::test]
async fn a_queue_that_was_deleted_is_made_again_and_told_of_where_it_may_not() {
    let stub = Stub::start().await;
    stub.answer("SendMessageBatch", [Answer::Error(400, "QueueDoesNotExist")]);
    assert_eq!(send_three(&stub, "q", [""; 3]).await, [None; 3]);
    stub.answer("SendMessageBatch", [Answer::Error(400, "QueueDoesNotExist")]);
    assert_eq!(send_three(&stub, "q?declare=no", [""; 3]).await, [Some(Fate::NotSent); 3]);
}

#[tokio::test]
async fn what_was_never_connected_waits_and_was_not_sent() {
    let stub = Stub::start().await;
    let registry = Registry::new().with(Sqs::new());
    let client = registry.client(stub.uri("q?send_timeout=300ms").as_str()).await.unwrap();
    let sender = client.sender().await.unwrap();
    drop(stub);
    // The listener ends with its task; until then a connection may be made, and breaks.
    tokio::task::yield_now().await;
    let mut last = None;
    for _ in 0..3 {
        last = sender.send(Datagram::new("x")).await.err();
    }
    let error = last.unwrap();
    assert!(matches!(error.error(), Error::TimedOut { .. }), "{error}");
    assert_eq!(error.fate(), Fate::NotSent);
    let lost =
        async { while !matches!(client.next_event().await, Some(Event::Disconnected { .. })) {} };
    within("the event", lost).await;
}
