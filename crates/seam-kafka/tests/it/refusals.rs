//! What a real broker refuses, and what users and certificates open: one line each, the right variant, no secret.

use std::time::Duration;

use seam_core::{Datagram, Error, Fate, Result};
use tokio::time::timeout;

use crate::stage::*;

mod denied;
mod endpoints;
mod lost;
mod sizes;
#[cfg(feature = "tls")]
mod tls;

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
    let uris = [("127.0.0.1:1", "nobody listens there"), ("no-such-host.invalid", "spelt right")];
    for (host, complaint) in uris {
        let error = refusal(&format!("kafka://{host}/orders?connect_timeout=2s")).await;
        assert!(matches!(error, Error::Disconnected { .. }) && error.is_retryable(), "{error}");
        assert!(error.to_string().contains(complaint), "{error}");
        let uri = format!("kafka://{host}/orders?connect_timeout=2s");
        let error = line(soon(registry().remove(uri.as_str())).await.unwrap_err());
        assert!(error.to_string().contains(complaint), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_port_that_asks_for_a_password_and_one_that_does_not_are_told_apart() {
    let broker = variable("SEAM_TEST_KAFKA_SASL_URL");
    let error = refusal(&format!("kafka://{broker}/orders?connect_timeout=3s")).await;
    assert!(error.is_retryable() && error.to_string().contains("user and password"), "{error}");
    let broker = variable("SEAM_TEST_KAFKA_URL");
    let error = refusal(&format!("kafka://seam:hunter2@{broker}/orders?connect_timeout=3s")).await;
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    assert!(error.to_string().contains("takes no user and password"), "{error}");
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_wrong_password_is_denied() {
    let broker = variable("SEAM_TEST_KAFKA_SASL_URL");
    let uri = format!("kafka://seam:hunter2@{broker}/orders?connect_timeout=5s");
    let removing = line(soon(registry().remove(uri.as_str())).await.unwrap_err());
    for error in [refusal(&uri).await, removing] {
        assert!(matches!(error, Error::Denied { .. }) && !error.is_retryable(), "{error}");
        assert!(error.to_string().contains("user or password is wrong"), "{error}");
    }
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
