//! What the tests share: where the broker is, and a runtime.

use seam_core::Registry;
use seam_rabbitmq::RabbitMq;

/// The authority of a variable that holds an AMQP URI: `user:password@host:port`.
pub(crate) fn authority(variable: &str) -> String {
    let uri = std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: start cargo by `integration-tests/brokers run rabbitmq --`")
    });
    let (_, rest) = uri.split_once("://").unwrap();
    rest.split('/').next().unwrap().to_owned()
}

/// The broker, without TLS.
pub(crate) fn broker() -> String {
    authority("SEAM_TEST_RABBITMQ_URL")
}

pub(crate) fn registry() -> Registry {
    Registry::new().with(RabbitMq::new())
}
