//! What is wrong, in one line each: the right variant, whether to try again, and no secret.

use seam_core::{Datagram, Error, Fate, Registry, Result};
use seam_sqs::Sqs;

use crate::stage::{queue_url, raw, registry, unique, uri, wide, within};
use crate::stub::{Answer, Stub};

#[track_caller]
fn check<T>(outcome: Result<T>, variant: &str, says: &str) {
    let Err(error) = outcome else { panic!("it was not refused, as {variant}") };
    let (text, debug) = (error.to_string(), format!("{error:?}"));
    assert!(debug.starts_with(variant), "{debug}");
    assert!(text.contains(says), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains("hunter2") && !debug.contains("hunter2"), "{debug}");
    let retryable = ["Disconnected", "Native", "TimedOut"].contains(&variant);
    assert_eq!(error.is_retryable(), retryable, "{text}");
}

async fn open(uri: &str) -> Result<()> {
    Registry::new().with(Sqs::new()).server(uri).await.map(drop)
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_worth_another_try() {
    let uri = "sqs+http://key:hunter2@127.0.0.1:1/q?connect_timeout=300ms";
    check(open(uri).await, "Disconnected", "nobody listens there");
    let uri = "sqs+http://key:hunter2@nowhere.invalid/q?connect_timeout=1s";
    check(open(uri).await, "Disconnected", "there is no such host");
}

#[tokio::test]
async fn each_refusal_of_aws_says_what_to_do() {
    for (status, code, variant, says) in [
        (403, "InvalidClientTokenId", "Denied", "the access key is unknown"),
        (403, "SignatureDoesNotMatch", "Denied", "the secret key is wrong"),
        (400, "ExpiredTokenException", "Denied", "expired"),
        (400, "AccessDeniedException", "Denied", "docs/sqs.md"),
        (400, "QueueDoesNotExist", "NotFound", "declare=no"),
    ] {
        let stub = Stub::start().await;
        stub.answer("GetQueueUrl", [Answer::Error(status, code)]);
        check(open(&stub.uri("q?declare=no")).await, variant, says);
    }
    let stub = Stub::start().await;
    stub.answer("GetQueueUrl", std::iter::repeat_n(Answer::Error(503, "ServiceUnavailable"), 99));
    check(open(&stub.uri("q?connect_timeout=500ms")).await, "Native", "ServiceUnavailable");
}

#[tokio::test]
async fn who_may_only_send_can_send() {
    let stub = Stub::start().await;
    stub.answer("GetQueueAttributes", [Answer::Error(400, "AccessDeniedException")]);
    let sender = Registry::new().with(Sqs::new()).sender(stub.uri("q").as_str()).await.unwrap();
    within("the receipt", sender.send(Datagram::new("x"))).await.unwrap();
}

#[tokio::test]
async fn groups_are_refused_with_what_to_do_instead() {
    for parameter in ["group=billing", "private"] {
        let outcome = open(&format!("sqs://eu-west-1/orders?{parameter}")).await;
        let says = if parameter == "private" { "address of its own" } else { "each service" };
        check(outcome, "Unsupported", says);
    }
}

#[tokio::test]
async fn what_is_too_large_was_not_sent() {
    let stub = Stub::start().await;
    let sender = Registry::new().with(Sqs::new()).sender(stub.uri("q").as_str()).await.unwrap();
    let payload = vec![b'x'; 262_144 / 4 * 3];
    let refused = sender.send(Datagram::new(payload)).await.unwrap_err();
    assert!(matches!(refused.error(), Error::TooLarge { .. }), "{refused}");
    // The payload alone would do, and so would the headers.
    let payload = vec![0; 262_144 / 4 * 3 - 99];
    let refused = sender.send(wide().with_payload(payload)).await.unwrap_err();
    assert!(matches!(refused.error(), Error::TooLarge { .. }), "{refused}");
    assert_eq!(refused.fate(), Fate::NotSent);
    assert!(stub.asked("SendMessageBatch").is_empty());
}

#[tokio::test]
async fn no_secret_is_shown() {
    let stub = Stub::start().await;
    let registry = Registry::new().with(Sqs::new());
    let connection = registry.client(stub.uri("q").as_str()).await.unwrap();
    let shown = format!("{connection:?} {registry:?} {:?}", Sqs::new());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"]
async fn a_queue_of_other_attributes_is_a_mismatch_that_names_both() {
    let (queue, registry) = (unique("mismatch"), registry());
    registry.server(format!("{}?visibility=40s", uri(&queue))).await.unwrap();
    registry.server(uri(&queue)).await.unwrap();
    let other = registry.server(format!("{}?visibility=50s", uri(&queue))).await;
    check(
        other,
        "Mismatch",
        "VisibilityTimeout=40, but the endpoint asks for VisibilityTimeout=50",
    );
    let url = queue_url(&raw(), &queue).await;
    let changing = raw().set_queue_attributes().queue_url(&url);
    let name = aws_sdk_sqs::types::QueueAttributeName::MaximumMessageSize;
    changing.attributes(name, "2048").send().await.unwrap();
    check(registry.server(uri(&queue)).await, "Mismatch", "MaximumMessageSize=2048");
    registry.server(format!("{}?max_message=2KiB", uri(&queue))).await.unwrap();
    registry.remove(uri(&queue)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"]
async fn a_redrive_policy_that_comes_first_is_a_mismatch() {
    let (queue, dead, raw) = (unique("redrive"), unique("dead"), raw());
    raw.create_queue().queue_name(&dead).send().await.unwrap();
    let policy = format!(
        r#"{{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:{dead}","maxReceiveCount":"3"}}"#
    );
    let name = aws_sdk_sqs::types::QueueAttributeName::RedrivePolicy;
    raw.create_queue().queue_name(&queue).attributes(name, policy).send().await.unwrap();
    let with = |retry| {
        let dead = uri(&dead).replace(':', "%3A").replace('/', "%2F").replace('@', "%40");
        format!("{}?retry={retry}&dead_letter={dead}", uri(&queue))
    };
    registry().server(with(2)).await.unwrap();
    check(registry().server(with(3)).await, "Mismatch", "maxReceiveCount 3");
    registry().remove(uri(&queue)).await.unwrap();
    registry().remove(uri(&dead)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"]
async fn a_queue_that_is_missing_or_deleted_in_use_is_told() {
    let (queue, registry) = (unique("gone"), registry());
    let bound = format!("{}?declare=no", uri(&queue));
    check(registry.server(bound.as_str()).await, "NotFound", "create it");
    registry.server(uri(&queue)).await.unwrap();
    let mut receiver = registry.receiver(bound.as_str()).await.unwrap();
    let sender = registry.sender(bound.as_str()).await.unwrap();
    sender.send(Datagram::new("x")).await.unwrap();
    let delivery = within("the delivery", receiver.next()).await.unwrap().unwrap();
    delivery.ack().unwrap();
    within("settling", receiver.settled()).await.unwrap();
    registry.remove(uri(&queue)).await.unwrap();
    check(within("the end", receiver.next()).await, "NotFound", "create it");
    let refused = within("the refusal", sender.send(Datagram::new("x"))).await.unwrap_err();
    assert!(matches!(refused.error(), Error::NotFound { .. }), "{refused}");
    assert_eq!(refused.fate(), Fate::NotSent);
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"]
async fn a_queue_that_is_deleted_in_use_is_made_again_where_it_may() {
    let (queue, registry) = (unique("again"), registry());
    let mut receiver = registry.receiver(uri(&queue)).await.unwrap();
    let sender = registry.sender(uri(&queue)).await.unwrap();
    registry.remove(uri(&queue)).await.unwrap();
    within("the receipt", sender.send(Datagram::new("x"))).await.unwrap();
    within("the delivery", receiver.next()).await.unwrap().unwrap().ack().unwrap();
    registry.remove(uri(&queue)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"]
async fn tls_trusts_whom_it_is_told_to() {
    let (host, ca) = (variable("SEAM_TEST_SQS_TLS_URL"), variable("SEAM_TEST_CA_FILE"));
    let host = host.trim_start_matches("https://").trim_end_matches('/');
    let (queue, ca) = (unique("tls"), ca.replace('/', "%2F"));
    let uri = format!("sqs+https://key:hunter2@{host}/{queue}?connect_timeout=3s");
    let trusting = format!("{uri}&ca={ca}");
    let sender = registry().sender(trusting.as_str()).await.unwrap();
    within("the receipt", sender.send(Datagram::new("x"))).await.unwrap();
    check(open(&uri).await, "Disconnected", "its certificate is of no authority");
    registry().remove(trusting.as_str()).await.unwrap();
}

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: see integration-tests/brokers"))
}
