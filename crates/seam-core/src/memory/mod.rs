//! `memory://`: the embedded default, and the reference for what every transport promises.
//!
//! Everything between admission and settlement is the [`distributor`](crate::distributor)'s.
//!
//! - `connection`, `chair`: the driver's connection and receiver over distributors.
//! - `transport`: addresses by name, and the lobby of clients that wait for `accept`.

mod chair;
mod config;
mod connection;
mod transport;

pub use transport::Memory;
