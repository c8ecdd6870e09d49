//! TCP: the conformance suite, and what only TCP has.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod conformance;
mod hostile;
mod interop;
mod peers;
mod refusals;
