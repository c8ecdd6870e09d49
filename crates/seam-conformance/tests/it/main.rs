//! The suite itself is tested: the reference passes it, and each broken transport fails by name.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod broken;
mod mutants;
mod reference;
