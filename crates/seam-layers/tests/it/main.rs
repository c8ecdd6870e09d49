//! Integration tests of the layers, over memory and in virtual time.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod bridge;
mod dead_letter;
mod failures;
mod lanes;
mod ledger;
