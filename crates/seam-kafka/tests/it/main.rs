//! Kafka: the conformance suite, and what only Kafka has.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod conformance;
mod foreign;
mod refusals;
mod replies;
mod rights;
mod stage;
