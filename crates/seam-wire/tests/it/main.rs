//! The tests of this crate, in one binary.

#![allow(clippy::unwrap_used)] // helpers fail the test that called them

mod model;
mod peer;
mod rules;
mod vectors;
