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
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use bytes::Bytes;
//! use seam_core::Datagram;
//! use seam_wire::{
//!     EnvelopeLimits, Header, Learned, Outgoing, Parcel, Receiving, Run, Sending, Sink, Window, header,
//! };
//!
//! struct Print(Bytes);
//!
//! impl Sink for Print {
//!     fn run(&mut self, run: Run) {
//!         for (number, view) in run.views(&self.0) {
//!             println!("{number}: {:?}", view.payload());
//!         }
//!     }
//!
//!     fn datagram(&mut self, number: u64, datagram: Datagram, _attempt: u32, _possible_duplicate: bool) {
//!         println!("{number}: {:?}", datagram.payload());
//!     }
//! }
//!
//! // HELLO and WELCOME, which a link writes as frames.
//! let expiry = Duration::from_secs(300);
//! let mut sending = Sending::new([1; 16], expiry, 1 << 20);
//! let hello = sending.hello([2; 16]);
//! let window = Window::new(4096, 1 << 20);
//! let mut receiving =
//!     Receiving::new(&hello, window, 1 << 20, 64 << 20, EnvelopeLimits::default()).unwrap();
//! let mut learned = Learned::default();
//! sending.on_welcome(&receiving.welcome(expiry, None), &mut learned).unwrap();
//!
//! // DATA: two datagrams in one frame.
//! let content = [Datagram::new("12 apples"), Datagram::new("3 pears").with_key("c-7")];
//! let content = Arc::new(content.into_iter().collect());
//! let parcel =
//!     Parcel { token: 1, place: 0, content, range: 0..2, attempt: 1, possible_duplicate: false };
//! assert_eq!(sending.admit(parcel), 2);
//! let mut out = Outgoing::new();
//! sending.transmit(0, &mut out, 64 << 10);
//! let frame = Bytes::copy_from_slice(out.buffer());
//! let body = header(&frame, 1 << 20).unwrap().unwrap().body;
//! receiving.on_data(&frame, Header::SIZE..Header::SIZE + body, &mut Print(frame.clone())).unwrap();
//!
//! // ACK: both are done.
//! receiving.done(1..3);
//! # out.clear();
//! receiving.ack(0, &mut out);
//! # let seam_wire::Frame::Ack(ack) = seam_wire::Frame::decode(7, &out.buffer()[8..]).unwrap() else { panic!() };
//! sending.on_ack(&ack, &mut learned).unwrap();
//! assert_eq!(learned.done, [(1, 0..2)]);
//! ```

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
pub use receiving::{Receiving, Run, Sink, Window};
pub use sending::{Follow, Learned, LearnedRelease, Parcel, Sending, Unsettled, WelcomeError};
