//! `channel://`: a queue within one process, written by a third party. And `pipe://`: sessions over any stream of
//! bytes, here pipes within one process, for which a third party writes a single short file ([`Pipe`]).
//!
//! `channel://` shows how little a transport needs: [`Channel`] is registered like any other, and passes the public
//! suite (`tests/it/conformance.rs`). Nothing here uses more of Seam than its public API.
//!
//! # URI
//!
//! `channel://address?credit=4096`; any address, no host.
//!
//! # Promises
//!
//! Every field arrives; datagrams are kept while no receiver is there; what is not settled comes again, with
//! its attempt counted. All receivers of an address compete. There is no order between them, no delay, no
//! group, no reply and no peer: asking for one is refused.
//!
//! ```
//! use seam_core::{Datagram, Registry};
//! use third_party::Channel;
//!
//! # let clock = seam_core::VirtualClock::new();
//! # clock.block_on(async {
//! let registry = Registry::new().with(Channel::new());
//! registry.sender("channel://orders").await?.send(Datagram::new("12 apples")).await?;
//! let mut receiver = registry.receiver("channel://orders").await?;
//! if let Some(delivery) = receiver.next().await? {
//!     delivery.ack()?;
//! }
//! # Ok::<(), seam_core::Error>(()) }).unwrap();
//! ```

#![deny(missing_docs, unsafe_code)]

mod config;
mod pipe;
mod queue;
mod transport;

pub use pipe::Pipe;
pub use transport::Channel;
