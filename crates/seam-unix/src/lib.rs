//! Seam over Unix domain sockets: `unix:///path.sock?address=orders`.
//!
//! # What it promises
//!
//! What a session over TCP promises, within one machine: everything but `Replay` and `Store`. The operating system says
//! who is at the other end, user, group and process, so nobody needs a token; who may connect at all is up to the mode of
//! the socket's file. With `?wire=connect` it speaks the plain wire of the crate `connect` 0.2.
//!
//! # URIs
//!
//! | URI | what it is |
//! | --- | --- |
//! | `unix:///run/shop.sock?address=orders` | a server listens there, clients dial it |
//! | `unix:///run/shop.sock?address=orders&mode=0660` | the same, for the group of the file, too |
//! | `unix:///run/shop.sock?address=orders&role=listen` | a client that listens; its workers dial with `role=dial` |
//! | `unix:///run/shop.sock?wire=connect` | the wire of `connect` 0.2, without address |
//!
//! A listener takes the place of one that has ended, also by a kill, and never that of one that lives: the lock on
//! `/run/shop.sock.lock` is held as long as it listens.
//!
//! # Example
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use seam_core::{Datagram, Registry};
//! use seam_unix::Unix;
//!
//! # let folder = tempfile::TempDir::new().unwrap();
//! # let uri = format!("unix://{}/shop.sock?address=orders", folder.path().display());
//! # let uri = uri.as_str();
//! let registry = Registry::new().with(Unix::new());
//! let mut receiver = registry.receiver(uri).await?;
//! let sender = registry.sender(uri).await?;
//! sender.send(Datagram::new("12 apples")).await?;
//! if let Some(delivery) = receiver.next().await? {
//!     assert_eq!(delivery.datagram().payload(), Some(&b"12 apples"[..]));
//!     delivery.ack()?;
//! }
//! # Ok::<(), seam_core::Error>(()) }).unwrap();
//! ```

#![cfg(unix)]

mod config;
mod place;
mod transport;

pub use transport::Unix;
