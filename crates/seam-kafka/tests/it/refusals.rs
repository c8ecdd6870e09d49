//! What a real broker refuses, and what users and certificates open: one line each, the right variant, no secret.

use std::time::Duration;

use seam_core::{Datagram, Error, Registry, Result};
use seam_kafka::Kafka;
use tokio::time::timeout;

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: start cargo by `integration-tests/brokers run kafka --`")
    })
}

fn registry() -> Registry {
    Registry::new().with(Kafka::new())
}

/// An address that no other test and no other run has.
fn address(name: &str) -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    format!("{name}-{:x}", now.as_nanos())
}

async fn refusal(uri: &str) -> Error {
    let opening = timeout(Duration::from_secs(15), registry().client(uri)).await.unwrap();
    let error = opening.unwrap_err();
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    error
}

/// Sends one datagram and receives it.
async fn round_trip(uri: &str) -> Result<()> {
    let registry = registry();
    let mut receiver = registry.receiver(uri).await?;
    registry.sender(uri).await?.send(Datagram::new("12 apples").with_key("k")).await?;
    let next = timeout(Duration::from_secs(15), receiver.next()).await.unwrap();
    next?.unwrap().ack()?;
    receiver.settled().await?;
    registry.remove(uri).await
}

#[tokio::test]
async fn nobody_who_listens_is_a_lost_connection() {
    let error = refusal("kafka://127.0.0.1:1/orders?connect_timeout=2s").await;
    assert!(matches!(error, Error::Disconnected { .. }) && error.is_retryable(), "{error}");
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_wrong_password_is_denied() {
    let broker = variable("SEAM_TEST_KAFKA_SASL_URL");
    let error = refusal(&format!("kafka://seam:hunter2@{broker}/orders?connect_timeout=5s")).await;
    assert!(matches!(error, Error::Denied { .. }), "{error}");
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_password_opens_a_listener_that_asks_for_one() {
    let broker = variable("SEAM_TEST_KAFKA_SASL_URL");
    round_trip(&format!("kafka://seam:seam@{broker}/{}", address("sasl"))).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_topic_that_is_absent_stays_so_with_declare_no() {
    let (broker, topic) = (variable("SEAM_TEST_KAFKA_URL"), address("absent"));
    for _ in 0..2 {
        let error = refusal(&format!("kafka://{broker}/{topic}?declare=no")).await;
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_topic_with_other_settings_is_a_mismatch_that_names_both() {
    let (broker, topic) = (variable("SEAM_TEST_KAFKA_URL"), address("other"));
    let uri = |partitions| format!("kafka://{broker}/{topic}?partitions={partitions}");
    drop(registry().client(uri(2).as_str()).await.unwrap());
    let error = refusal(&uri(3)).await;
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    assert!(error.to_string().contains("2 partitions") && error.to_string().contains('3'));
    registry().remove(uri(2).as_str()).await.unwrap();
}

#[cfg(feature = "tls")]
mod tls {
    use super::*;

    fn ca() -> String {
        variable("SEAM_TEST_CA_FILE").replace('/', "%2F")
    }

    #[tokio::test]
    #[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
    async fn tls_with_the_right_authority_opens() {
        let broker = variable("SEAM_TEST_KAFKA_TLS_URL");
        let uri = format!("kafka+tls://{broker}/{}?ca={}", address("tls"), ca());
        round_trip(&uri).await.unwrap();
    }

    #[tokio::test]
    #[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
    async fn a_certificate_and_each_way_to_show_a_password_open() {
        let (broker, ca) = (variable("SEAM_TEST_KAFKA_SASL_TLS_URL"), ca());
        let file = |name: &str| variable(name).replace('/', "%2F");
        let cert = file("SEAM_TEST_CLIENT_CERT_FILE");
        let key = file("SEAM_TEST_CLIENT_KEY_FILE");
        for sasl in ["plain", "scram-sha-256", "scram-sha-512"] {
            let topic = address("both");
            let uri = format!(
                "kafka+tls://seam:seam@{broker}/{topic}?ca={ca}&cert={cert}&key={key}&sasl={sasl}"
            );
            round_trip(&uri).await.unwrap();
        }
    }

    #[tokio::test]
    #[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
    async fn another_authority_is_a_lost_connection_that_says_so() {
        let broker = variable("SEAM_TEST_KAFKA_TLS_URL");
        let other = variable("SEAM_TEST_OTHER_CA_FILE").replace('/', "%2F");
        let uri = format!("kafka+tls://{broker}/orders?ca={other}&connect_timeout=3s");
        let error = refusal(&uri).await;
        assert!(error.to_string().contains("TLS"), "{error}");
    }

    #[tokio::test]
    #[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
    async fn a_plain_client_on_a_tls_port_and_the_reverse_are_told() {
        let plain = variable("SEAM_TEST_KAFKA_TLS_URL");
        let error = refusal(&format!("kafka://{plain}/orders?connect_timeout=3s")).await;
        assert!(error.is_retryable(), "{error}");
        let tls = variable("SEAM_TEST_KAFKA_URL");
        let uri = format!("kafka+tls://{tls}/orders?connect_timeout=3s&ca={}", ca());
        let error = refusal(&uri).await;
        assert!(error.is_retryable(), "{error}");
    }
}
