//! What transports over a broker's client share, whatever the client.
//!
//! A transport crate has a task that owns the client's channel or calls. [`Outgoing`] stands between that task and the
//! senders of a connection: it admits while there is credit, in the order of calls, and keeps each datagram in an
//! [`Outbox`] until the task has told what became of it. [`Way`] is that as a [`Sender`](seam_core::driver::Sender).
//! On the way in, [`Most`] bounds a refill; [`pause`] is how long whoever lost its broker waits.
//!
//! # Inside
//!
//! - `outbox`: what was admitted, until its fate is known; pure.
//! - `outgoing`, `way`: whose turn it is, who is told; the same as drivers have it.
//! - `most`, `pause`: bounds and times.

mod most;
mod outbox;
mod outgoing;
mod pause;
mod way;

pub use most::Most;
pub use outbox::{Credit, Outbox, Target, Told, Unsent};
pub use outgoing::{Outgoing, Parts};
pub use pause::pause;
pub use way::Way;
