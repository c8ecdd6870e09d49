//! What the examples promise, held by running them as a user would.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod quakes;
