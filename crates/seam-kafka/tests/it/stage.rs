//! What the tests share: where the broker is, names of their own, and what holds for each error.

use std::time::Duration;

use seam_core::{Error, Registry};
use seam_kafka::Kafka;
use tokio::time::timeout;

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: start cargo by `integration-tests/brokers run kafka --`")
    })
}

pub(crate) fn registry() -> Registry {
    Registry::new().with(Kafka::new())
}

/// An address that no other test and no other run has.
pub(crate) fn address(name: &str) -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    format!("{name}-{:x}", now.as_nanos())
}

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// `future`, within [`PATIENCE`].
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it hangs")
}

/// Why `uri` does not open: in one line, without a secret.
pub(crate) async fn refusal(uri: &str) -> Error {
    line(soon(registry().client(uri)).await.unwrap_err())
}

/// The same where the endpoint itself is too long to be shown on a short line.
pub(crate) async fn refusal_of_any_length(uri: &str) -> Error {
    soon(registry().client(uri)).await.unwrap_err()
}

/// Holds the text of `error`, and of what led to it, against what each text has to be.
#[track_caller]
pub(crate) fn line(error: Error) -> Error {
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.len() < 300, "a novel: {text}");
    assert!(!text.contains("rdkafka error"), "no word of what to do: {text}");
    assert!(!format!("{text}{error:?}").contains("hunter2"), "a secret: {text}");
    error
}
