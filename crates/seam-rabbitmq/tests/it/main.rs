//! RabbitMQ: the conformance suite, and what only RabbitMQ has.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod attempts;
mod behaviour;
mod conformance;
mod foreign;
mod refusals;
mod secure;
mod stage;
