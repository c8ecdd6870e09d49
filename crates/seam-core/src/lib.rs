//! The contract of Seam: datagrams, endpoints, drivers, and the types that users hold.

pub mod binary;
mod capability;
mod datagram;
mod error;
pub mod json;
mod time;
mod value;

pub use capability::{Capabilities, Capability, Confirmation, Limits, Support};
pub use datagram::{Datagram, Envelope, Id, View};
pub use error::{BoxError, Error, Fate, Result, SendError};
pub use time::Timestamp;
pub use value::Value;
