//! The senders of a connection: a publisher, and where each of them writes.

use std::sync::Arc;

use async_trait::async_trait;
use seam_core::driver::{Sender, Ticket};
use seam_core::{Batch, Receipts, Result};

use crate::publisher::Publisher;

/// Where datagrams are written.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) is_fifo: bool,
    /// Whether datagrams without key have no order among them, as requests have none: whoever serves them may hold many.
    pub(crate) is_spread: bool,
    /// Whether a requester reads there, and nobody makes the queue again.
    pub(crate) is_reply: bool,
    /// The bytes that a message may have.
    pub(crate) largest: usize,
}

/// A publisher and where it writes, as drivers have it.
pub(crate) struct Way {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) target: Arc<Target>,
}

#[async_trait]
impl Sender for Way {
    async fn admit(&self, batch: &mut Batch) -> Result<()> {
        self.publisher.admit(&self.target, batch).await
    }

    fn admit_now(&self, batch: &mut Batch) -> Option<Result<()>> {
        self.publisher.admit_now(&self.target, batch)
    }

    async fn receipts(&self, ticket: &mut Ticket) -> Receipts {
        self.publisher.reported(ticket).await;
        self.withdraw(std::mem::take(ticket))
    }

    fn withdraw(&self, ticket: Ticket) -> Receipts {
        self.publisher.take(&ticket)
    }

    fn forget(&self, ticket: &Ticket) {
        self.publisher.forget(ticket);
    }
}
