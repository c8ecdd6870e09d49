//! Kafka: the conformance suite on a real broker.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod conformance;
