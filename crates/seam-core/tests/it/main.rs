//! Integration tests of the contract.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

mod allocations;
mod conformance;
mod credit;
mod datagrams;
mod dead_letter;
mod endpoint;
mod envelope;
mod hand;
mod joined;
mod memory;
mod memory_model;
mod parameters;
mod telemetry;
mod turns;

mod runtimes;
mod unwinding;
mod uri;
mod users;
