//! `memory://`: the embedded default, and the reference for what every transport promises.
//!
//! - `content`: datagrams that were admitted together stay together, shared by all groups.
//! - `group`, `lot`: what waits for a group of receivers, and which of them has what. Plain values.
//! - `outbox`: what one connection has sent, and what is owed for it.
//! - `state`, `sending`, `receiving`: what a topic knows, and how that changes. No lock, waker call or wait.
//! - `topic`, `hook`: one direction of an address: one lock around the state, and who is woken after it.
//! - `connection`, `port`, `chair`: the driver's connection, sender and receiver over topics.
//! - `transport`: addresses by name, and the lobby of clients that wait for `accept`.

mod chair;
mod config;
mod connection;
mod content;
mod group;
mod hook;
mod lot;
mod outbox;
mod port;
mod receiving;
mod sending;
mod state;
mod timer;
mod topic;
mod transport;

pub use transport::Memory;
