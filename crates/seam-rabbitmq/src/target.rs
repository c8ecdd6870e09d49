//! Where the senders of a connection write.

use lapin::types::ShortString;
use seam_core::{Error, Result, View};

/// Where datagrams are written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) exchange: ShortString,
    pub(crate) routing: Routing,
    /// Whether what goes nowhere comes back. A reply cannot: it goes to no queue.
    pub(crate) mandatory: bool,
}

/// What becomes the routing key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Routing {
    /// The same for all.
    Fixed(ShortString),
    /// The kind of each datagram.
    Kind,
    /// The key of each datagram.
    Key,
}

impl Target {
    /// To a queue, by the default exchange.
    pub(crate) fn queue(name: ShortString) -> Self {
        Self { exchange: ShortString::default(), routing: Routing::Fixed(name), mandatory: true }
    }

    /// To a caller, by the address that the broker gave it.
    pub(crate) fn reply(address: ShortString) -> Self {
        Self { mandatory: false, ..Self::queue(address) }
    }

    /// The routing key of a datagram.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where it has none that AMQP takes.
    pub(crate) fn routing_key(&self, view: View<'_>) -> Result<ShortString> {
        let (what, text) = match &self.routing {
            Routing::Fixed(key) => return Ok(key.clone()),
            Routing::Kind => ("kind", view.envelope().kind.as_deref()),
            Routing::Key => ("key", view.key().and_then(|key| std::str::from_utf8(key).ok())),
        };
        let key = text.and_then(|text| ShortString::try_new(text).ok());
        key.ok_or_else(|| {
            Error::invalid(
                what,
                "`routing_key` wants it in each datagram, as text of at most 255 bytes",
            )
        })
    }
}

impl seam_broker::Target for Target {}
