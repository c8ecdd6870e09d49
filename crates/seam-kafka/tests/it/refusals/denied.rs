//! Rights that a user lacks, on a broker that asks for them: told by name, at once or in time, and nothing is lost.

use super::*;
use crate::rights::{May, On, allow, forbid};

fn uri(user: &str, topic: &str, more: &str) -> String {
    let broker = variable("SEAM_TEST_KAFKA_SASL_URL");
    format!("kafka://{user}:{user}@{broker}/{topic}?connect_timeout=5s&send_timeout=5s{more}")
}

/// A new topic, made by somebody who may.
async fn topic(name: &str) -> String {
    let topic = address(name);
    drop(registry().client(uri("seam", &topic, "").as_str()).await.unwrap());
    topic
}

#[track_caller]
fn check_denied(error: Error, right: &str) {
    let error = line(error);
    assert!(matches!(error, Error::Denied { .. }) && !error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains(right), "{error}");
}

/// What the first datagram comes to that a receiver of `uri` gets.
async fn received(uri: &str) -> Result<Datagram> {
    let mut receiver = soon(registry().receiver(uri)).await?;
    let delivery = soon(receiver.next()).await?.unwrap();
    let datagram = delivery.datagram().clone();
    delivery.ack()?;
    receiver.settled().await?;
    Ok(datagram)
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn without_describe_nothing_opens() {
    let (known, absent) = (topic("no-describe").await, address("absent"));
    for topic in [known, absent] {
        check_denied(refusal(&uri("nobody", &topic, "")).await, "DESCRIBE on the topic");
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn without_create_an_absent_topic_stays_absent() {
    let topic = address("no-create");
    allow("limited", May::Describe, On::Topic(&topic));
    check_denied(refusal(&uri("limited", &topic, "")).await, "CREATE");
    let error = refusal(&uri("limited", &topic, "&declare=no")).await;
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    allow("limited", May::Create, On::Topic(&topic));
    soon(registry().client(uri("limited", &topic, "").as_str())).await.unwrap();
    check_denied(
        line(registry().remove(uri("limited", &topic, "").as_str()).await.unwrap_err()),
        "DELETE",
    );
    allow("limited", May::Delete, On::Topic(&topic));
    registry().remove(uri("limited", &topic, "").as_str()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn whoever_may_write_nowhere_gets_no_sender() {
    let topic = topic("no-write-at-all").await;
    // `nobody` may write no topic, so that the broker gives its client no number.
    allow("nobody", May::Describe, On::Topic(&topic));
    let error = soon(registry().sender(uri("nobody", &topic, "").as_str())).await.unwrap_err();
    check_denied(error, "WRITE on the topic");
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn without_write_each_datagram_comes_back_unsent() {
    let (writable, topic) = (topic("write").await, topic("no-write").await);
    allow("limited", May::Write, On::Topic(&writable));
    allow("limited", May::Describe, On::Topic(&topic));
    let sender = soon(registry().sender(uri("limited", &topic, "").as_str())).await.unwrap();
    for _ in 0..3 {
        let error = soon(sender.send(Datagram::new("kept"))).await.unwrap_err();
        assert_eq!(error.fate(), Fate::NotSent);
        assert_eq!(error.datagram(), &Datagram::new("kept"));
        check_denied(error.error().clone(), "WRITE on the topic");
    }
    // The right brings DESCRIBE with it, and is of use at once.
    let other = soon(registry().sender(uri("limited", &writable, "").as_str())).await.unwrap();
    soon(other.send(Datagram::new("sent"))).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_right_that_is_taken_away_fails_what_is_sent_then_and_nothing_before() {
    let topic = topic("write-no-more").await;
    allow("limited", May::Write, On::Topic(&topic));
    let sender = soon(registry().sender(uri("limited", &topic, "").as_str())).await.unwrap();
    soon(sender.send(Datagram::new("before"))).await.unwrap();
    forbid("limited", May::Write, On::Topic(&topic));
    let error = soon(sender.send(Datagram::new("meanwhile"))).await.unwrap_err();
    assert_eq!(error.fate(), Fate::NotSent);
    check_denied(error.error().clone(), "WRITE on the topic");
    allow("limited", May::Write, On::Topic(&topic));
    // Its client remembers for a while that it may not.
    let again = soon(registry().sender(uri("limited", &topic, "").as_str())).await.unwrap();
    let (datagram, _, _) = error.into_parts();
    soon(again.send(datagram)).await.unwrap();
    let found = received(&uri("seam", &topic, "")).await.unwrap();
    assert_eq!(found, Datagram::new("before"));
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn without_read_on_the_group_a_receiver_fails_and_does_not_wait() {
    let topic = topic("no-group").await;
    allow("limited", May::Read, On::Topic(&topic));
    for more in ["", "&from=latest", "&group=not-mine"] {
        let error = received(&uri("limited", &topic, more)).await.unwrap_err();
        check_denied(error, "READ on the group");
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn without_read_on_the_topic_a_receiver_fails_and_does_not_wait() {
    let topic = topic("no-read").await;
    allow("limited", May::Describe, On::Topic(&topic));
    allow("limited", May::Read, On::Group(&format!("seam.{topic}")));
    for more in ["", "&from=latest", "&private", "&private&from=earliest"] {
        let error = received(&uri("limited", &topic, more)).await.unwrap_err();
        check_denied(error, "READ on the topic");
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_group_that_is_forbidden_later_ends_its_receivers() {
    let topic = topic("group-no-more").await;
    let group = format!("seam.{topic}");
    allow("limited", May::Read, On::Topic(&topic));
    allow("limited", May::Write, On::Topic(&topic));
    allow("limited", May::Read, On::Group(&group));
    // The broker hears of no farewell either, so its place in the group has to expire.
    let uri = uri("limited", &topic, "&librdkafka.session.timeout.ms=3000");
    let sender = soon(registry().sender(uri.as_str())).await.unwrap();
    let mut receiver = soon(registry().receiver(uri.as_str())).await.unwrap();
    soon(sender.send(Datagram::new("first"))).await.unwrap();
    let delivery = soon(receiver.next()).await.unwrap().unwrap();
    forbid("limited", May::Read, On::Group(&group));
    delivery.ack().unwrap();
    check_denied(soon(receiver.settled()).await.unwrap_err(), "READ on the group");
    check_denied(soon(receiver.next()).await.unwrap_err(), "READ on the group");
    // What it settled and could not commit is read again.
    allow("limited", May::Read, On::Group(&group));
    assert_eq!(received(&uri).await.unwrap(), Datagram::new("first"));
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn the_rights_that_the_page_names_are_enough() {
    let topic = topic("enough").await;
    allow("limited", May::Write, On::Topic(&topic));
    let sender = soon(registry().sender(uri("limited", &topic, "").as_str())).await.unwrap();
    soon(sender.send(Datagram::new("12 apples"))).await.unwrap();
    forbid("limited", May::Write, On::Topic(&topic));
    allow("limited", May::Read, On::Topic(&topic));
    // Of no group, so it needs no right on any.
    let private = uri("limited", &topic, "&private&from=earliest");
    assert_eq!(received(&private).await.unwrap(), Datagram::new("12 apples"));
    allow("limited", May::Read, On::Group(&format!("seam.{topic}")));
    let found = received(&uri("limited", &topic, "")).await.unwrap();
    assert_eq!(found, Datagram::new("12 apples"));
}
