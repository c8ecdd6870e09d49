//! What the examples promise, held by running them as a user would.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

// It goes over all transports, so all must be compiled in.
#[cfg(all(
    feature = "memory",
    feature = "tcp",
    feature = "kafka",
    feature = "rabbitmq",
    feature = "sqs"
))]
mod everywhere;
mod quakes;
