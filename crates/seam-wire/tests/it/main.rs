//! The tests of this crate, in one binary.

mod model;
mod peer;
mod rules;
mod vectors;
