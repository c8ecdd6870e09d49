//! What the tests share: where the broker is, a client that is not ours, and queues of their own.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use seam_core::{Datagram, Registry};
use seam_sqs::Sqs;

/// Where the broker listens, as `http://host:port`.
fn broker() -> String {
    let url = std::env::var("SEAM_TEST_SQS_URL").unwrap_or_else(|_| {
        panic!(
            "SEAM_TEST_SQS_URL is not set: start cargo by `integration-tests/brokers run sqs --`"
        )
    });
    url.trim_end_matches('/').to_owned()
}

/// The URI of a queue on the broker, without parameters.
pub(crate) fn uri(queue: &str) -> String {
    let broker = broker();
    let (_, host) = broker.split_once("://").unwrap();
    format!("sqs+http://test:test@{host}/{queue}")
}

pub(crate) fn registry() -> Registry {
    Registry::new().with(Sqs::new())
}

/// A name that nobody else uses.
pub(crate) fn unique(stem: &str) -> String {
    format!("{stem}-{:x}", RandomState::new().build_hasher().finish())
}

/// A foreign client.
pub(crate) fn raw() -> Client {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(broker())
        .http_client(http)
        .build();
    Client::from_conf(config)
}

pub(crate) async fn queue_url(raw: &Client, queue: &str) -> String {
    raw.get_queue_url().queue_name(queue).send().await.unwrap().queue_url.unwrap()
}

/// Waits for what must come.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

/// A datagram that is as wide as one of ours gets.
pub(crate) fn wide() -> Datagram {
    let datagram = (0..12).fold(Datagram::new("12 apples"), |datagram, number| {
        datagram.with_header(format!("h{number}"), number)
    });
    datagram.with_tag(7).with_key("customer-7").with_kind("shop.Order")
}
