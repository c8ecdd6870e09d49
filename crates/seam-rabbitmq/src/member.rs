//! A receiver, as drivers have it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use seam_broker::Most;
use seam_core::driver::{Receiver, Settled};
use seam_core::{Deliveries, Result};

use crate::desk::{Desk, State};

/// One receiver.
pub(crate) struct Member(pub(crate) Arc<Desk>);

impl Member {
    /// Fills `into`; `None` where it must wait.
    fn fill(&self, state: &mut State, asked: usize, into: &mut Deliveries) -> Option<Result<bool>> {
        if state.ended || state.quiet {
            return Some(Ok(false));
        }
        let config = &self.0.parts.topology.config;
        let most = Most { asked, credit: config.credit, bytes: config.credit_bytes };
        if state.inbox.hand_out(&most, into, self.0.clone()) {
            return Some(Ok(true));
        }
        let failed = state.failed.as_ref().filter(|error| !error.is_retryable());
        failed.map(|error| Err(error.clone()))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.quiet();
    }
}

#[async_trait]
impl Receiver for Member {
    async fn receive(&mut self, max: usize, into: &mut Deliveries) -> Result<bool> {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            match self.fill(&mut state, max, into) {
                Some(outcome) => Poll::Ready(outcome),
                None => {
                    state.inbox.wait(cx.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn receive_now(&mut self, max: usize, into: &mut Deliveries) -> Option<Result<bool>> {
        self.fill(&mut self.0.lock(), max, into)
    }

    async fn settled(&mut self) -> Result<Settled> {
        Ok(Settled { late: self.0.settled().await })
    }
}
