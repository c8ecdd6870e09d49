//! `memory://`: the embedded default, and the reference for what every transport promises.
//!
//! - `content`: datagrams that were admitted together stay together, shared by all groups.
//! - `group`: what waits for a group of receivers, and which of them has what. A plain value.
//! - `topic`: one direction of an address: senders, groups, receipts, settlement; one lock.
//! - `connection`: the driver's connection, sender and receiver over topics.
//! - `transport`: addresses by name, and the lobby of clients that wait for `accept`.

mod config;
mod connection;
mod content;
mod group;
mod topic;
mod transport;

pub use transport::Memory;
