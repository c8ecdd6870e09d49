//! The wire of Seam's links, without any I/O: frames, the handshake, and the two halves of a session.
//!
//! `docs/wire.md` specifies what is here for readers of any language. Bytes and facts go in, bytes and facts come
//! out; no socket, clock or task lives here, so every rule is tested with byte strings and a simulated link.
//!
//! - [`header`] reads the eight bytes that begin each frame of both versions; [`Frame`] is every frame of version 2
//!   but DATA, and [`plain`] is the whole of version 1.
//! - [`Sending`] is the half of a session that numbers datagrams, keeps them until they have an outcome, and sends
//!   again after a new connection exactly what the peer has not received.
//! - [`Receiving`] is the other half: it hands each number on once and in order, and tells each outcome until the
//!   sender is known to have it.
//! - [`Outgoing`] is what waits to be written on one connection.
//! - [`Proof`] and [`ResumeProof`] show that an end knows a secret, without sending it.

#[macro_use]
mod mutant;

mod content;
mod data;
mod error;
mod frame;
mod header;
mod limits;
mod marks;
mod number;
mod outgoing;
pub mod plain;
mod proof;
mod receiving;
mod sending;

pub use error::{FaultCode, WireError};
pub use frame::{
    Ack, Fault, Frame, Group, Hello, Offers, Open, Ping, Pong, Progress, Prove, Reject, Released,
    Welcome,
};
pub use header::{Header, header};
pub use limits::{CONTROL_LIMIT, DEFAULT_MAX_FRAME, EnvelopeLimits, MIN_MAX_FRAME};
#[cfg(feature = "mutants")]
#[doc(hidden)]
pub use mutant::{Mutant, with_mutant};
pub use outgoing::Outgoing;
pub use proof::{Proof, ResumeProof, ResumeToken, Role};
pub use receiving::{Receiving, Sink, Window};
pub use sending::{Follow, Learned, LearnedRelease, Parcel, Sending, Unsettled, WelcomeError};
