//! SQS: the conformance suite, and what only SQS has.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod conformance;
mod costs;
mod fates;
mod foreign;
mod leases;
mod packs;
mod refusing;
mod stage;
mod stub;
