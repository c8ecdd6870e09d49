//! Links: what brokers have, over any stream of bytes.
//!
//! A transport crate writes a [`Carrier`]: how to dial, how to listen. [`Links`], and [`transport!`] in front of it, make it a whole
//! [`Transport`](seam_core::Transport): sessions with receipts, settlement, credit, redelivery and
//! reconnection without loss, groups, several hosts, requests, peers, proofs of a shared token, and version 1
//! of the wire. What travels is specified in `docs/wire.md`.
//!
//! # Inside
//!
//! - `carrier`, `transport`, `config`: what a transport crate sees.
//! - `tcp`: sockets, for every carrier over TCP.
//! - `dial`, `listen`, `handshake`, `sources`: how connections come to be, and come back; how many one source may have.
//! - `remote`, `alarm`: one peer, the connection that carries it now, and who looks after it.
//! - `outbound`, `inbound`, `plain`: what a peer is sent and sends, in sessions or in version 1.
//! - `inbox`, `callers`: what has come in, merged fairly and shared by receivers.
//! - `hub`, `connection`, `ports`: an endpoint, as drivers have it.

mod alarm;
mod callers;
mod carrier;
mod config;
mod connection;
mod dial;
mod handshake;
mod hub;
mod inbound;
mod inbox;
mod listen;
mod outbound;
mod plain;
mod ports;
mod remote;
mod shared;
mod sources;
pub mod tcp;
mod transport;

pub use carrier::{Arrival, Carrier, Link, Listener, Stream};
pub use config::{PARAMETERS, parameters_with};
pub use transport::Links;

/// What [`transport!`] names, wherever it is written.
#[doc(hidden)]
pub mod macro_support {
    pub use async_trait::async_trait;
    pub use seam_core::driver::{Connection, OpenContext, Transport};
    pub use seam_core::{Capabilities, Endpoint, Result, Scheme, Side};
}

/// Locks, also after a panic elsewhere: every guarded state here is whole between statements.
fn lock<T: ?Sized>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
