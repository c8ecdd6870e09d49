//! URIs that cannot be right, whatever the broker says, and topics that are not as they ask for.

use super::*;

/// An endpoint that no attempt will open.
async fn check_invalid(uri: &str, complaint: &str) {
    let error = refusal(uri).await;
    assert!(matches!(error, Error::InvalidEndpoint { .. }), "{error:?}");
    assert!(!error.is_retryable() && error.to_string().contains(complaint), "{error}");
}

#[tokio::test]
async fn settings_that_librdkafka_does_not_take_are_named_without_their_value() {
    for (setting, complaint) in [
        ("nonsense=hunter2", "`librdkafka.nonsense`: librdkafka has no such setting"),
        ("linger.ms=hunter2", "`librdkafka.linger.ms`: librdkafka does not take this value"),
        ("linger.ms=9999999999", "does not take this value, only 0..900000"),
        ("compression.codec=hunter2", "`librdkafka.compression.codec`: librdkafka does not"),
        ("acks=hunter2", "`librdkafka.acks` would break what this library promises"),
        ("sasl.password=hunter2", "`librdkafka.sasl.password` would break"),
    ] {
        check_invalid(&format!("kafka://127.0.0.1:1/orders?librdkafka.{setting}"), complaint).await;
    }
}

#[tokio::test]
async fn names_and_numbers_that_kafka_has_no_room_for_are_refused() {
    let (long, longer) = ("x".repeat(250), "x".repeat(32_768));
    for (path, complaint) in [
        (long.as_str(), "longer than 249 characters"),
        ("or%20ders", "letters, digits, `.`, `_` and `-`"),
        ("bestellungen-f%C3%BCr", "letters, digits, `.`, `_` and `-`"),
        (".", "`.` or `..`"),
        ("..", "`.` or `..`"),
        (&format!("orders?group={longer}"), "`group` is longer"),
        ("orders?partitions=100001", "`partitions` is more than 100000"),
        ("orders?replication=10001", "`replication` is more than 10000"),
        ("orders?max_message=1GiB", "`max_message` is more"),
    ] {
        let error = refusal_of_any_length(&format!("kafka://127.0.0.1:1/{path}")).await;
        assert!(matches!(error, Error::InvalidEndpoint { .. }), "{error:?}");
        assert!(error.to_string().contains(complaint), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_topic_and_a_group_of_the_longest_names_are_of_use() {
    let (broker, name) = (variable("SEAM_TEST_KAFKA_URL"), address("longest"));
    let topic = format!("{name}{}", "x".repeat(249 - name.len()));
    round_trip(&format!("kafka://{broker}/{topic}")).await.unwrap();
    let group = "g".repeat(32_767);
    round_trip(&format!("kafka://{broker}/{name}?group={group}")).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn settings_that_do_not_go_together_are_told_by_the_first_receiver() {
    let (broker, topic) = (variable("SEAM_TEST_KAFKA_URL"), address("together"));
    let uri = format!("kafka://{broker}/{topic}?librdkafka.max.poll.interval.ms=10");
    let error = line(soon(registry().receiver(uri.as_str())).await.unwrap_err());
    assert!(matches!(error, Error::InvalidEndpoint { .. }), "{error:?}");
    assert!(error.to_string().contains("max.poll.interval.ms"), "{error}");
    // This one only the broker knows.
    let uri = format!("kafka://{broker}/{topic}?librdkafka.session.timeout.ms=1");
    let mut receiver = soon(registry().receiver(uri.as_str())).await.unwrap();
    let error = line(soon(receiver.next()).await.unwrap_err());
    assert!(matches!(error, Error::InvalidEndpoint { .. }), "{error:?}");
    assert!(error.to_string().contains("session.timeout.ms"), "{error}");
    registry().remove(uri.as_str()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_topic_with_other_settings_is_a_mismatch_that_names_both() {
    let (broker, topic) = (variable("SEAM_TEST_KAFKA_URL"), address("other"));
    let uri = |more: &str| format!("kafka://{broker}/{topic}?{more}");
    drop(registry().client(uri("partitions=2").as_str()).await.unwrap());
    for (more, found, wanted) in
        [("partitions=3", "2 partitions", "3"), ("replication=2", "1 replicas", "2")]
    {
        let error = refusal(&uri(more)).await;
        assert!(matches!(error, Error::Mismatch { .. }) && !error.is_retryable(), "{error}");
        let text = error.to_string();
        assert!(text.contains(found) && text.contains(&format!("asks for {wanted}")), "{text}");
    }
    // It is as it was.
    drop(registry().client(uri("partitions=2&replication=1").as_str()).await.unwrap());
    registry().remove(uri("partitions=2").as_str()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn more_replicas_than_brokers_are_refused() {
    let (broker, topic) = (variable("SEAM_TEST_KAFKA_URL"), address("replicas"));
    check_invalid(
        &format!("kafka://{broker}/{topic}?replication=9"),
        "`replication` is more than the cluster has brokers",
    )
    .await;
}
