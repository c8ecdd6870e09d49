//! Seam over TCP: `tcp://host:port/address`.
//!
//! # What it promises
//!
//! A session over TCP has every capability but `Replay` and `Store`: receipts when the peer has received
//! (`?confirm=settled`: settled), redelivery, delays, order per key, groups, requests, peers; a connection that is
//! lost is made again, and nothing is lost or repeated meanwhile. With `?wire=connect` it speaks the plain wire of
//! the crate `connect` 0.2, and promises what that has: peers, and what is written.
//!
//! # URIs
//!
//! | URI | what it is |
//! | --- | --- |
//! | `tcp://127.0.0.1:7420/orders` | a server listens there, clients dial it |
//! | `tcp://w1:7420,w2:7420/orders` | a client that dials several servers, each a member of the group |
//! | `tcp://0.0.0.0:7420/orders?role=listen&token_file=t` | a client that listens; its workers dial with `role=dial` |
//! | `tcp://127.0.0.1:7420?wire=connect` | the wire of `connect` 0.2, without address |
//!
//! A port that is left out is 7420. An IPv6 address stands in brackets. A listener on anything but loopback needs
//! `token_file=` or the word `insecure`.
//!
//! # Example
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use seam_core::{Datagram, Registry};
//! use seam_tcp::Tcp;
//!
//! # let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
//! # let uri = format!("tcp://127.0.0.1:{port}/orders");
//! # let uri = uri.as_str();
//! let registry = Registry::new().with(Tcp::new());
//! let mut receiver = registry.receiver(uri).await?;
//! let sender = registry.sender(uri).await?;
//! sender.send(Datagram::new("12 apples")).await?;
//! if let Some(delivery) = receiver.next().await? {
//!     assert_eq!(delivery.datagram().payload(), Some(&b"12 apples"[..]));
//!     delivery.ack()?;
//! }
//! # Ok::<(), seam_core::Error>(()) }).unwrap();
//! ```

mod config;
mod transport;

pub use transport::Tcp;
