//! The tests of this crate, in one binary.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod allocations;
mod credit;
mod limits;
mod model;
mod peer;
mod rules;
mod vectors;
