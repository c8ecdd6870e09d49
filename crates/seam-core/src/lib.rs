//! The contract of Seam: datagrams, endpoints, drivers, and the types that users hold.

mod capability;
mod datagram;
mod endpoint;
mod error;
pub mod parameters;
mod secret;
mod time;
mod uri;
mod value;

pub use capability::{Capabilities, Capability, Confirmation, Limits, Support};
pub use datagram::{Datagram, Envelope, Id, View};
pub use endpoint::{Endpoint, Host, Kind, Parameter, Scheme, Shape, Side, Start};
pub use error::{BoxError, Error, Fate, Result, SendError};
pub use secret::Secret;
pub use time::Timestamp;
pub use uri::{Uri, UriBuilder};
pub use value::Value;
