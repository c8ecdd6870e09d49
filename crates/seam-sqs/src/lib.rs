//! Seam on Amazon SQS: `sqs://region/[account/]queue`, `sqs+http://key:secret@host:port/queue` for emulators.
//!
//! # What it promises
//!
//! What is receipted is stored: each message of a batch by the answer that SQS gives for it. Batches grow with the load,
//! several at a time, and on a standard queue nothing is sent twice; a FIFO queue, whose name ends in `.fifo`, removes
//! duplicates, so there a call in doubt is repeated. What is dropped or retried comes again at once, or after a delay of
//! up to twelve hours since it came; attempts are counted by SQS. Leases are extended for everything that is held, and
//! one that is lost is told. A standard queue schedules up to fifteen minutes ahead; a FIFO queue keeps the order
//! of each key. Replies go to a queue of the requester. There are no groups: give each service a queue.
//!
//! # URIs
//!
//! | URI | what it is |
//! | --- | --- |
//! | `sqs://eu-west-1/orders` | a work queue of one's own account, with credentials of the standard chain |
//! | `sqs://eu-west-1/123456789012/orders` | one of another account |
//! | `sqs://eu-west-1/orders.fifo` | a FIFO queue |
//! | `sqs+http://test:test@localhost:4566/orders?region=us-east-1` | an emulator |
//!
//! # Example
//!
//! ```no_run
//! # async fn example() -> seam_core::Result<()> {
//! use seam_core::{Datagram, Registry};
//! use seam_sqs::Sqs;
//!
//! let registry = Registry::new().with(Sqs::new());
//! let mut receiver = registry.receiver("sqs+http://test:test@localhost:4566/orders").await?;
//! let sender = registry.sender("sqs+http://test:test@localhost:4566/orders").await?;
//! sender.send(Datagram::new("12 apples").with_key("customer-7")).await?;
//! if let Some(delivery) = receiver.next().await? {
//!     assert_eq!(delivery.datagram().payload(), Some(&b"12 apples"[..]));
//!     delivery.ack()?;
//! }
//! # Ok(()) }
//! ```

mod client;
mod config;
mod connection;
mod consuming;
mod cost;
mod desk;
mod failure;
mod inbox;
mod mapping;
mod member;
mod packing;
mod polling;
mod publish;
mod publisher;
mod queue;
mod replies;
mod standing;
mod target;
mod transport;

pub use transport::Sqs;
