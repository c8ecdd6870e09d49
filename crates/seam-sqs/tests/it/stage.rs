//! What the tests share: where the broker is.

use seam_core::Registry;
use seam_sqs::Sqs;

/// The URI of a queue on the broker, without parameters.
pub(crate) fn uri(queue: &str) -> String {
    let url = std::env::var("SEAM_TEST_SQS_URL").unwrap_or_else(|_| {
        panic!("SEAM_TEST_SQS_URL is not set: start cargo by `integration-tests/brokers run sqs --`")
    });
    let (_, host) = url.split_once("://").unwrap();
    format!("sqs+http://test:test@{}/{queue}", host.trim_end_matches('/'))
}

pub(crate) fn registry() -> Registry {
    Registry::new().with(Sqs::new())
}
