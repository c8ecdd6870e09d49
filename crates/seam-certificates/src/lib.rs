//! Certificates for the transports of Seam: what an endpoint shows and trusts, read again when its files change, why a
//! handshake failed, and what is told of a peer that has proved itself.
//!
//! `seam-tls` and `seam-quic` are built on it, and `seam certs` reads files with it. One provider of cryptography serves
//! the whole workspace: [`provider`].
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! # let folder = tempfile::TempDir::new().unwrap();
//! # let folder = folder.path();
//! let hosts = ["shop.example".to_owned()];
//! seam_certificates::issue::write_new(folder, &hosts, "till-7", Duration::from_secs(3600))?;
//! let found = seam_certificates::read_file(&folder.join("client.pem"))?;
//! assert_eq!(found[0].identity(), "dns:till-7");
//! assert_eq!(found[0].purposes, ["client"]);
//! # Ok::<(), seam_core::Error>(())
//! ```

mod certificate;
mod dialling;
mod files;
#[cfg(feature = "issue")]
pub mod issue;
mod reasons;
mod reload;
mod settings;

use std::sync::Arc;

pub use certificate::{Certificate, read_file};
pub use dialling::{Dialling, Protocols, kept};
pub use reasons::{End, last_words, of_alert, refused};
pub use reload::Reloaded;
use rustls::crypto::CryptoProvider;
pub use settings::{LOWEST_VERSION, PARAMETERS, Settings};

/// The label under which both ends derive what nobody else knows of their connection (RFC 8446, 7.5), as `docs/wire.md` has
/// it: 32 bytes, without context.
pub const EXPORTER: &[u8] = b"EXPORTER-seam";

/// The name of a session in ALPN (RFC 7301).
pub const SESSION: &[u8] = b"seam/2";

/// What does the cryptography, for every handshake of this workspace; never installed for the process, which is the
/// program's to decide.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
