//! What the `seam` command promises, held by running it as a user would.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod bridging;
#[cfg(feature = "tls")]
mod certifying;
mod describing;
mod help;
mod losing;
mod orchard;
mod process;
mod refusing;
mod two;
