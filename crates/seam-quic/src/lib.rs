//! Seam over QUIC: `quic://host:port/address`.
//!
//! # What it promises
//!
//! What a session over TLS promises: everything but `Replay` and `Store`, between ends that prove who they are. Endpoints
//! that dial one host alike share one connection, each with a stream of its own, so that one slow address does not hold
//! back another, and none waits for a packet that another one lost.
//!
//! # URIs
//!
//! | URI | what it is |
//! | --- | --- |
//! | `quic://shop.example:7422/orders?cert=s.pem&key=s.key&client_ca=ca.pem` | a server listens there, for clients with a certificate |
//! | `quic://shop.example:7422/orders?ca=ca.pem&cert=c.pem&key=c.key` | a client dials it |
//! | `quic://w1,w2/orders?ca=ca.pem` | a client that dials several servers, each a member of the group |
//!
//! A port that is left out is 7422, of UDP. Files are read again when they change. The wire of `connect` needs TCP.
//!
//! # Example
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use seam_core::{Datagram, Registry};
//! use seam_quic::Quic;
//!
//! # let folder = tempfile::TempDir::new().unwrap();
//! # let hosts = ["localhost".to_owned()];
//! # let valid = std::time::Duration::from_secs(3600);
//! # seam_certificates::issue::write_new(folder.path(), &hosts, "client", valid)?;
//! # let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
//! # let at = folder.path().display();
//! # let uri = format!("quic://localhost:{port}/orders?cert={at}/server.pem&key={at}/server.key&ca={at}/ca.pem");
//! # let uri = uri.as_str();
//! let registry = Registry::new().with(Quic::new());
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
mod dialled;
mod failure;
mod listening;
mod socket;
mod stream;
mod transport;

pub use transport::Quic;
