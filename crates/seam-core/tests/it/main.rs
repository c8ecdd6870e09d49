//! Integration tests of the contract.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod credit;
mod dead_letter;
mod endpoint;
mod envelope;
mod parameters;
mod uri;
