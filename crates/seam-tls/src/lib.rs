//! Seam over TLS: `tls://host:port/address`.
//!
//! # What it promises
//!
//! What a session over TCP promises, between ends that prove who they are: everything but `Replay` and `Store`. The
//! listener shows a certificate that is checked for its name; with `?client_ca=` nobody is let in without one of theirs,
//! and the name in it is the [identity](seam_core::Peer::identity) on every delivery. TLS 1.3, ALPN `seam/2`, no
//! resumption and no early data. With `?wire=connect` it speaks the plain wire of the crate `connect` 0.2 inside TLS.
//!
//! # URIs
//!
//! | URI | what it is |
//! | --- | --- |
//! | `tls://shop.example:7421/orders?cert=s.pem&key=s.key&client_ca=ca.pem` | a server listens there, for clients with a certificate |
//! | `tls://shop.example:7421/orders?ca=ca.pem&cert=c.pem&key=c.key` | a client dials it |
//! | `tls://w1,w2/orders?ca=ca.pem` | a client that dials several servers, each a member of the group |
//! | `tls://localhost?wire=connect&ca=ca.pem` | the wire of `connect` 0.2, without address |
//!
//! A port that is left out is 7421. One URI with all parameters serves both ends: each takes those of its side. Files are
//! read again when they change.
//!
//! # Example
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use seam_core::{Datagram, Registry};
//! use seam_tls::Tls;
//!
//! # let folder = tempfile::TempDir::new().unwrap();
//! # let hosts = ["localhost".to_owned()];
//! # let valid = std::time::Duration::from_secs(3600);
//! # seam_certificates::issue::write_new(folder.path(), &hosts, "client", valid)?;
//! # let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
//! # let at = folder.path().display();
//! # let uri = format!("tls://localhost:{port}/orders?cert={at}/server.pem&key={at}/server.key&ca={at}/ca.pem");
//! # let uri = uri.as_str();
//! let registry = Registry::new().with(Tls::new());
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
mod stream;
mod transport;

pub use transport::Tls;
