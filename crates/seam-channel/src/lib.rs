//! Send and receive datagrams without knowing what carries them: a URI decides.
//!
//! This is the facade: everything of [`seam_core`] and [`seam_layers`] under one name, and a [`registry`] of
//! the transports that were compiled in, one feature each. It has no logic of its own.
//!
//! ```
//! use seam::Datagram;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> seam::Result<()> {
//! let registry = seam::registry();
//! let mut orders = registry.receiver("memory://orders").await?;
//! let sender = registry.sender("memory://orders").await?;
//!
//! sender.send(Datagram::new("12 apples").with_key("customer-7")).await?;
//!
//! if let Some(order) = orders.next().await? {
//!     assert_eq!(order.datagram().payload(), Some(&b"12 apples"[..]));
//!     order.ack()?;
//! }
//! # Ok(()) }
//! ```
//!
//! # The seven nouns
//!
//! | noun | what it is |
//! | --- | --- |
//! | [`Datagram`] | the message: a payload, a tag, and an envelope of optional fields |
//! | [`Endpoint`] | a parsed URI; it never shows a secret |
//! | [`Connection`] | an opened endpoint: senders, receivers, events, statistics, `drain` |
//! | [`Sender`] | a way out; gives a [`Receipt`] for each datagram, or the datagram back with its [`Fate`] |
//! | [`Receiver`] | a way in |
//! | [`Delivery`] | a received datagram with the duty to settle it |
//! | [`Receipt`] | proof that a datagram was handed over |
//!
//! # Features
//!
//! | feature | scheme | default |
//! | --- | --- | --- |
//! | `memory` | `memory://`, within one process | yes |
//! | `tcp` | `tcp://`, sessions over TCP and the wire of the crate `connect` | yes |
//! | `tls` | `tls://`, the same over TLS, with certificates | yes |
//! | `unix` | `unix://`, sessions over Unix domain sockets | yes |
//! | `kafka` | `kafka://` | no |
//! | `kafka-tls` | `kafka+tls://`, and SASL SCRAM | no |
//! | `quic` | `quic://`, the same over QUIC | no |
//! | `rabbitmq` | `rabbitmq://`, `amqp://`, and over TLS `rabbitmq+tls://`, `amqps://` | no |
//! | `sqs` | `sqs://`, and at a host of its own `sqs+http://`, `sqs+https://` | no |

pub use seam_core::*;
#[cfg(feature = "kafka")]
pub use seam_kafka::Kafka;
pub use seam_layers as layers;
#[cfg(feature = "quic")]
pub use seam_quic::Quic;
#[cfg(feature = "rabbitmq")]
pub use seam_rabbitmq::RabbitMq;
#[cfg(feature = "sqs")]
pub use seam_sqs::Sqs;
#[cfg(feature = "tcp")]
pub use seam_tcp::Tcp;
#[cfg(feature = "tls")]
pub use seam_tls::Tls;
#[cfg(all(unix, feature = "unix"))]
pub use seam_unix::Unix;

mod tokio_clock;

pub use tokio_clock::TokioClock;

/// A registry of every transport that was compiled in, on Tokio's clock.
///
/// Each call gives a registry of its own: `memory://orders` of one does not meet that of another.
#[must_use]
pub fn registry() -> Registry {
    let registry = Registry::new().with_clock(TokioClock::new());
    #[cfg(feature = "memory")]
    let registry = registry.with(Memory::new());
    #[cfg(feature = "tcp")]
    let registry = registry.with(Tcp::new());
    #[cfg(feature = "tls")]
    let registry = registry.with(Tls::new());
    #[cfg(feature = "quic")]
    let registry = registry.with(Quic::new());
    #[cfg(all(unix, feature = "unix"))]
    let registry = registry.with(Unix::new());
    #[cfg(feature = "kafka")]
    let registry = registry.with(Kafka::new());
    #[cfg(feature = "rabbitmq")]
    let registry = registry.with(RabbitMq::new());
    #[cfg(feature = "sqs")]
    let registry = registry.with(Sqs::new());
    registry
}

/// The README's code, so that it is tested.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
