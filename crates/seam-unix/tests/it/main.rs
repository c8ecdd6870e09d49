//! Unix domain sockets: the conformance suite, and what only they have.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod conformance;
mod peers;
mod place;
mod refusals;
