//! What no single crate can prove of itself.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

// It shows all transports, so all must be compiled in.
#[cfg(all(feature = "kafka", feature = "rabbitmq", feature = "sqs"))]
mod choosing;
mod compose;
mod events;
mod faults;
mod rig;
mod tidy;
