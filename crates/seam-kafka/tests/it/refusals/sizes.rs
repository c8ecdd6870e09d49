//! What is too large, and what lies too far ahead: refused with a proof that it was not sent, and the rest goes on.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use seam_core::{SendError, Sender, Timestamp};

use super::*;

#[track_caller]
fn check(error: &SendError, datagram: &Datagram, complaint: &str) {
    let text = line(error.error().clone()).to_string();
    assert!(matches!(error.error(), Error::TooLarge { .. } | Error::Rejected { .. }), "{text}");
    assert!(text.contains(complaint) && !error.error().is_retryable(), "{text}");
    assert_eq!(error.fate(), Fate::NotSent, "{text}");
    assert_eq!(error.datagram(), datagram, "it comes back as it was");
}

async fn refused(sender: &Sender, datagram: Datagram, complaint: &str) {
    let error = soon(sender.send(datagram.clone())).await.unwrap_err();
    check(&error, &datagram, complaint);
    soon(sender.send(Datagram::new("small"))).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_payload_or_headers_over_the_limit_are_not_sent_and_the_rest_is() {
    let (broker, topic) = (variable("SEAM_TEST_KAFKA_URL"), address("large"));
    let uri = format!("kafka://{broker}/{topic}?max_message=100KiB");
    let sender = soon(registry().sender(uri.as_str())).await.unwrap();
    soon(sender.send(Datagram::new(vec![b'x'; 100 << 10]))).await.unwrap();
    refused(&sender, Datagram::new(vec![b'x'; (100 << 10) + 1]), "over the limit of 102400").await;
    let wide = Datagram::new("x").with_header("wide", "x".repeat(64 << 10));
    refused(&sender, wide, "over the limit").await;
    registry().remove(uri.as_str()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn what_the_topic_refuses_as_too_large_was_not_sent_and_the_rest_is() {
    let (broker, topic) = (variable("SEAM_TEST_KAFKA_URL"), address("narrow"));
    let mut settings = ClientConfig::new();
    let admin: AdminClient<DefaultClientContext> =
        settings.set("bootstrap.servers", &broker).create().unwrap();
    let narrow = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
    let narrow = narrow.set("max.message.bytes", "10000");
    admin.create_topics(&[narrow], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    let uri = format!("kafka://{broker}/{topic}");
    let mut sender = soon(registry().sender(uri.as_str())).await.unwrap();
    refused(&sender, Datagram::new(vec![b'x'; 20_000]), "over the limit of 9872").await;
    let wide = Datagram::new("x").with_header("wide", "x".repeat(9_950));
    refused(&sender, wide, "max.message.bytes").await;
    // The broker's limit is for a batch, as the client makes them, and each of these fits.
    for _ in 0..100 {
        soon(sender.feed(Datagram::new(vec![b'x'; 1_000]))).await.unwrap();
    }
    assert_eq!(soon(sender.flush()).await.unwrap(), 100);
    registry().remove(uri.as_str()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn times_far_from_now_are_carried_whatever_the_broker_thinks_of_them() {
    let (broker, topic) = (variable("SEAM_TEST_KAFKA_URL"), address("times"));
    let uri = format!("kafka://{broker}/{topic}");
    let sender = soon(registry().sender(uri.as_str())).await.unwrap();
    let mut receiver = soon(registry().receiver(uri.as_str())).await.unwrap();
    let in_a_year: Timestamp = "2999-12-31T23:59:59Z".parse().unwrap();
    for time in [Timestamp::MIN, Timestamp::MAX, in_a_year, Timestamp::from_millis(0).unwrap()] {
        let datagram = Datagram::new("when").with_time(time);
        soon(sender.send(datagram.clone())).await.unwrap();
        let delivery = soon(receiver.next()).await.unwrap().unwrap();
        assert_eq!(delivery.datagram(), &datagram);
        delivery.ack().unwrap();
    }
    registry().remove(uri.as_str()).await.unwrap();
}
