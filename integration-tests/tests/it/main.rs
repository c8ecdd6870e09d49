//! What no single crate can prove of itself.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod compose;
mod events;
mod faults;
mod rig;
mod tidy;
