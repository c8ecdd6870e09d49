//! The senders of a connection.

use std::sync::Arc;

use async_trait::async_trait;
use seam_core::driver::{Sender, Ticket};
use seam_core::{Batch, Receipts, Result};

use crate::{Outgoing, Target};

/// A way out and where it writes, as drivers have it.
#[derive(Debug)]
pub struct Way<T> {
    outgoing: Arc<Outgoing<T>>,
    target: Arc<T>,
}

impl<T: Target> Way<T> {
    /// Writes to `target` by `outgoing`.
    #[must_use]
    pub fn new(outgoing: Arc<Outgoing<T>>, target: Arc<T>) -> Arc<Self> {
        Arc::new(Self { outgoing, target })
    }
}

#[async_trait]
impl<T: Target> Sender for Way<T> {
    async fn admit(&self, batch: &mut Batch) -> Result<()> {
        self.outgoing.admit(&self.target, batch).await
    }

    fn admit_now(&self, batch: &mut Batch) -> Option<Result<()>> {
        self.outgoing.admit_now(&self.target, batch)
    }

    async fn receipts(&self, ticket: &mut Ticket) -> Receipts {
        self.outgoing.reported(ticket).await;
        self.withdraw(std::mem::take(ticket))
    }

    fn withdraw(&self, ticket: Ticket) -> Receipts {
        self.outgoing.take(&ticket)
    }

    fn forget(&self, ticket: &Ticket) {
        self.outgoing.forget(ticket);
    }
}
