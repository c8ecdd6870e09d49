//! Integration tests of the contract.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod dead_letter;
mod conformance;
mod endpoint;
mod envelope;
mod parameters;
mod telemetry;
mod uri;
