//! TLS: the conformance suite, and what only it has.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod certs;
mod conformance;
mod peers;
mod refusals;
mod reload;
