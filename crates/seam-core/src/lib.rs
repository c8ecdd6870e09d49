//! The contract of Seam: datagrams, endpoints, drivers, and the types that users hold.
//!
//! A program sends and receives [`Datagram`]s, and a URI decides what carries them. This crate holds all that is
//! the same whatever that is, and `memory://`, the embedded default; it knows no runtime, no socket and no
//! broker. Programs mostly use it through the facade, `seam-channel`; whoever writes a transport uses it alone,
//! with the traits of [`driver`].
//!
//! # Send
//!
//! [`Sender::send`] gives a [`Receipt`], or the datagram back with its [`Fate`]: [`Fate::NotSent`] is a proof,
//! every doubt is [`Fate::MaybeSent`]. Many datagrams cost less together: [`Sender::feed`] and
//! [`Sender::flush`], or a [`Batch`] and its [`Ticket`].
//!
//! ```
//! # use seam_core::{Batch, Datagram, Memory, Registry};
//! # smol::block_on(async {
//! let registry = Registry::new().with(Memory::new());
//! let _receiver = registry.receiver("memory://orders").await?;
//! let sender = registry.sender("memory://orders").await?;
//!
//! let mut batch: Batch = (1..=3).map(|n| Datagram::new(format!("{n} apples"))).collect();
//! let mut ticket = sender.admit(&mut batch).await?;
//! for (place, error) in ticket.receipts().await.failed() {
//!     eprintln!("number {place} is {}: {}", error.fate(), error.error());
//! }
//! # Ok::<(), seam_core::Error>(()) }).unwrap();
//! ```
//!
//! # Receive
//!
//! Every [`Delivery`] is a duty: [`ack`](Delivery::ack), [`retry`](Delivery::retry),
//! [`dead_letter`](Delivery::dead_letter) or [`discard`](Delivery::discard) it. One that is dropped comes again.
//! [`Receiver::next`] gives them one by one; [`Receiver::receive`] fills a [`Deliveries`], which lends each
//! without a cost of its own.
//!
//! ```
//! # use std::time::Duration;
//! # use seam_core::{Datagram, Memory, Registry};
//! # smol::block_on(async {
//! # let registry = Registry::new().with(Memory::new());
//! # let mut receiver = registry.receiver("memory://orders").await?;
//! # registry.sender("memory://orders").await?.send(Datagram::new("12 apples")).await?;
//! let Some(delivery) = receiver.next().await? else { return Ok(()) };
//! match delivery.note().attempt {
//!     1 => delivery.retry(Duration::from_millis(1))?,
//!     _ => delivery.ack()?,
//! }
//! # Ok::<(), seam_core::Error>(()) }).unwrap();
//! ```
//!
//! # Ask, and be asked
//!
//! ```
//! # use std::time::Duration;
//! # use seam_core::{Datagram, Memory, Registry};
//! # smol::block_on(async {
//! # let registry = Registry::new().with(Memory::new());
//! let mut server = registry.receiver("memory://sum").await?;
//! let client = registry.client("memory://sum").await?;
//! let asking = client.request(Datagram::new("1 2 3"), Duration::from_secs(5));
//! let answering = async {
//!     if let Some(request) = server.next().await? {
//!         request.reply(Datagram::new("6")).await?;
//!     }
//!     Ok::<(), seam_core::Error>(())
//! };
//! let (answer, answered) = futures_util::future::join(asking, answering).await;
//! answered?;
//! assert_eq!(answer?.payload(), Some(&b"6"[..]));
//! # Ok::<(), seam_core::Error>(()) }).unwrap();
//! ```
//!
//! # Know what holds
//!
//! [`Capabilities`] are a value, readable before anything is opened ([`Registry::check`]) or sent
//! ([`Connection::capabilities`]). [`Connection::require`] fails with one line that names what is missing. What
//! is not promised fails with [`Error::Unsupported`]; it is never a silent no-op.
//!
//! # End
//!
//! [`Connection::drain`] stops receiving, lets handlers finish, waits until what was sent is done, and tells
//! what was left. Dropping the last handle aborts.

mod adapters;
mod batch;
pub mod binary;
mod board;
mod capability;
pub mod clock;
mod connection;
mod cost;
mod datagram;
mod datagrams;
pub mod dead_letter;
mod deliveries;
mod delivery;
pub mod distributor;
pub mod driver;
mod endpoint;
mod envelope;
mod error;
mod event;
pub mod json;
mod memory;
mod packed;
pub mod parameters;
mod peer;
mod receiver;
mod registry;
mod request;
mod secret;
mod sender;
mod shared;
mod telemetry;
mod time;
mod uri;
mod value;
mod view;

pub use adapters::{DatagramSink, DeliveryStream};
pub use batch::{Batch, Position, Receipt, Receipts, SendErrors};
pub use capability::{Capabilities, Capability, Confirmation, Limits, Support};
pub use clock::{Clock, Sleep, SystemClock, VirtualClock};
pub use connection::Connection;
pub use cost::{Calls, Cost, Load};
pub use datagram::Datagram;
pub use datagrams::{Datagrams, Entries};
pub use deliveries::{Deliveries, Lent, Natives, Note};
pub use delivery::{Delivery, Duty, SettleError, Verdict};
pub use driver::{Drained, Settled, Transport};
pub use endpoint::{Endpoint, Host, Kind, Parameter, Scheme, Shape, Side, Start};
pub use envelope::{Envelope, Id};
pub use error::{Cause, Error, Fate, Result, SendError};
pub use event::{Event, Events, State, Statistics};
pub use memory::Memory;
pub use peer::{Access, Action, Authorise, Peer};
pub use receiver::{Gate, Receiver};
pub use registry::Registry;
pub use secret::Secret;
pub use sender::{Sender, Ticket};
pub use time::Timestamp;
pub use uri::{Uri, UriBuilder};
pub use value::Value;
pub use view::View;
