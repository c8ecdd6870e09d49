//! Seam on RabbitMQ: `rabbitmq://host[:port]/queue`, `amqp://host[:port]/vhost?address=queue`.
//!
//! # What it promises
//!
//! What is receipted is stored: publisher confirms, pipelined, of messages that are `mandatory`, and a datagram that was
//! returned is known by a number of its own, whatever the client says of its confirm. Queues are quorum queues unless
//! `queue_type=classic` says otherwise. What is dropped or retried comes again at once, or after a delay by way of a
//! queue for each of six steps, up to an hour; schedules take the same way. Attempts are counted by quorum queues.
//! Groups and private receivers need an `exchange`. Order per key is kept with several receivers only by
//! `order=key`, which gives everything to one of them at a time. Replies go by direct reply-to.
//! What is missing is `OrderedFailure`, `Replay` and `Peers`.
//!
//! # URIs
//!
//! | URI | what it is |
//! | --- | --- |
//! | `rabbitmq://user:password@host/orders` | a work queue: the queue `orders` |
//! | `rabbitmq://host/orders?exchange=events` | a sender to an exchange, with routing key `orders` |
//! | `rabbitmq://host/orders?exchange=events&group=billing` | a service that gets everything: the queue `orders.billing` |
//! | `rabbitmq+tls://host/orders?ca=ca.pem&cert=me.pem&key=me.key&sasl=external` | TLS, known by its certificate |
//! | `amqp://host/vhost?address=orders` | AMQP's own form, whose path is the virtual host |
//!
//! # Example
//!
//! ```no_run
//! # async fn example() -> seam_core::Result<()> {
//! use seam_core::{Datagram, Registry};
//! use seam_rabbitmq::RabbitMq;
//!
//! let registry = Registry::new().with(RabbitMq::new());
//! let mut receiver = registry.receiver("rabbitmq://guest:guest@localhost/orders").await?;
//! let sender = registry.sender("rabbitmq://guest:guest@localhost/orders").await?;
//! sender.send(Datagram::new("12 apples").with_key("customer-7")).await?;
//! if let Some(delivery) = receiver.next().await? {
//!     assert_eq!(delivery.datagram().payload(), Some(&b"12 apples"[..]));
//!     delivery.ack()?;
//! }
//! # Ok(()) }
//! ```

mod config;
mod connection;
mod consuming;
mod delays;
mod desk;
mod dial;
mod failure;
mod inbox;
mod line;
mod mapping;
mod member;
mod prefetch;
mod publish;
mod publisher;
mod quiet;
mod replies;
mod returns;
mod target;
mod tls;
mod topology;
mod transport;

pub use transport::RabbitMq;
