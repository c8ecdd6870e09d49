//! The senders of a connection: a producer, and where each of them writes.

use std::sync::Arc;

use async_trait::async_trait;
use seam_core::driver::{Sender, Ticket};
use seam_core::{Batch, Receipts, Result, View};

use crate::outbox::Lane;
use crate::producer::Producer;
use crate::replies::Address;

/// Where a producer writes.
#[derive(Debug)]
pub(crate) enum Target {
    /// To a topic, by key.
    Topic {
        /// Its name.
        name: String,
        /// Where what has no key goes, so that it keeps its order; `None` spreads it.
        unkeyed: Option<i32>,
    },
    /// To one caller.
    Reply(Address),
}

impl Target {
    pub(crate) fn topic(&self) -> &str {
        match self {
            Self::Topic { name, .. } => name,
            Self::Reply(address) => &address.topic,
        }
    }

    /// The partition, unless the client chooses it by the key.
    pub(crate) fn partition(&self, view: View<'_>) -> Option<i32> {
        match self {
            Self::Topic { unkeyed, .. } => unkeyed.filter(|_| view.key().is_none()),
            Self::Reply(address) => Some(address.partition),
        }
    }

    /// What fails beside it under the same key: replies do not fail because of requests.
    pub(crate) fn lane(&self) -> Lane {
        match self {
            Self::Topic { .. } => Lane::Topic,
            Self::Reply(address) => Lane::Reply(address.partition),
        }
    }
}

/// A producer and where it writes, as drivers have it.
pub(crate) struct Way {
    pub(crate) producer: Arc<Producer>,
    pub(crate) target: Target,
}

#[async_trait]
impl Sender for Way {
    async fn admit(&self, batch: &mut Batch) -> Result<()> {
        self.producer.admit(&self.target, batch).await
    }

    async fn receipts(&self, ticket: &mut Ticket) -> Receipts {
        self.producer.reported(ticket).await;
        self.withdraw(std::mem::take(ticket))
    }

    fn withdraw(&self, ticket: Ticket) -> Receipts {
        self.producer.take(&ticket)
    }

    fn forget(&self, ticket: &Ticket) {
        self.producer.forget(ticket);
    }
}
