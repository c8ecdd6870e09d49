//! Seam on Kafka: `kafka://host[:port][,host[:port]...]/topic`.
//!
//! # What it promises
//!
//! What is receipted is stored: by an idempotent producer, with `acks=all`. Receivers of a group compete by
//! partition; what is settled is committed up to a watermark without gaps, so what was in hand when a member died is
//! read again. Order holds per key, and for each sender without keys; retries wait in the member that has them, up to
//! five minutes, and hold the watermark meanwhile. A new group begins where `from=` says. What is missing is
//! `Attempts`, `Peers` and `Schedule`. Replies go over a topic of their own, `<topic>.replies`.
//!
//! # URIs
//!
//! | URI | what it is |
//! | --- | --- |
//! | `kafka://b1:9092,b2:9092/orders` | a work queue: all receivers are the consumer group `seam.orders` |
//! | `kafka://b1/orders?group=billing` | a service that gets everything, as the consumer group `billing` |
//! | `kafka://b1/orders?private&from=2026-01-31T12:00:00Z` | everything since then, of no group |
//! | `kafka+tls://user:password@b1/orders?sasl=scram-sha-512` | TLS and a password; feature `tls` |
//!
//! # Example
//!
//! ```no_run
//! # async fn example() -> seam_core::Result<()> {
//! use seam_core::{Datagram, Registry};
//! use seam_kafka::Kafka;
//!
//! let registry = Registry::new().with(Kafka::new());
//! let mut receiver = registry.receiver("kafka://localhost/orders").await?;
//! let sender = registry.sender("kafka://localhost/orders").await?;
//! sender.send(Datagram::new("12 apples").with_key("customer-7")).await?;
//! if let Some(delivery) = receiver.next().await? {
//!     assert_eq!(delivery.datagram().payload(), Some(&b"12 apples"[..]));
//!     delivery.ack()?;
//! }
//! # Ok(()) }
//! ```

mod admin;
mod background;
mod config;
mod connection;
mod consumer;
mod failure;
mod fetch;
mod heard;
mod inbox;
mod mapping;
mod member;
mod outbox;
mod producer;
mod rebalance;
mod replies;
mod reports;
mod topic;
mod transport;
mod watch;
mod way;
mod write;

pub use transport::Kafka;
