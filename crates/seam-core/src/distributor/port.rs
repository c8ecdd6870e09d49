//! The way out of a connection, as drivers have it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use async_trait::async_trait;

use super::group::Now;
use super::timer::Timer;
use super::{Distributor, Sending, Wait};
use crate::clock::lock;
use crate::driver::{Sender, Ticket};
use crate::{Batch, Clock, Receipts, Result, SendError};

/// The way out of a connection, shared by its senders; where it leads changes once, at `accept`.
pub(crate) struct Port {
    lane: Mutex<Lane>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
pub(crate) struct Lane {
    pub(crate) topic: Arc<Distributor>,
    pub(crate) outbox: u64,
}

impl Port {
    pub(crate) fn new(
        topic: Arc<Distributor>,
        sending: Sending,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let outbox = topic.register(sending);
        Arc::new(Self { lane: Mutex::new(Lane { topic, outbox }), clock })
    }

    pub(crate) fn lane(&self) -> Lane {
        lock(&self.lane).clone()
    }

    /// Nothing was admitted before: there was no receiver. Whoever waits looks again and follows.
    pub(crate) fn move_to(&self, topic: Arc<Distributor>, sending: Sending) {
        let outbox = topic.register(sending);
        let old = std::mem::replace(&mut *lock(&self.lane), Lane { topic, outbox });
        old.topic.disturb();
        old.topic.unregister(old.outbox);
    }

    pub(crate) fn cut(&self, now: &Now<'_>) -> Vec<SendError> {
        let lane = self.lane();
        lane.topic.cut(lane.outbox, now)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let lane = self.lane();
        lane.topic.unregister(lane.outbox);
    }
}

/// A call that waits for credit; leaves the queue when it is dropped.
struct Admission<'a> {
    port: &'a Port,
    lane: Lane,
    call: Option<u64>,
}

impl Admission<'_> {
    /// Where the port leads now; a call that waited elsewhere begins again there.
    fn follow(&mut self) {
        let lane = self.port.lane();
        if !Arc::ptr_eq(&lane.topic, &self.lane.topic) {
            self.lane = lane;
            self.call = None;
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.call.is_some() {
            let now = Now::of(&*self.port.clock);
            self.lane.topic.cancel_admit(self.lane.outbox, &mut self.call, &now);
        }
    }
}

#[async_trait]
impl Sender for Port {
    async fn admit(&self, batch: &mut Batch) -> Result<()> {
        let mut admission = Admission { port: self, lane: self.lane(), call: None };
        let mut timer = Timer::default();
        poll_fn(|cx| {
            loop {
                admission.follow();
                let now = Now::of(&*self.clock);
                let Admission { lane, call, .. } = &mut admission;
                match lane.topic.poll_admit(lane.outbox, batch, call, &now, cx) {
                    Wait::Ready(outcome) => return Poll::Ready(outcome),
                    Wait::Until(due) if timer.poll(&*self.clock, due, cx).is_pending() => {
                        return Poll::Pending;
                    }
                    Wait::Until(_) => {}
                }
            }
        })
        .await
    }

    async fn receipts(&self, ticket: &mut Ticket) -> Receipts {
        let lane = self.lane();
        poll_fn(|cx| lane.topic.poll_receipts(lane.outbox, ticket, &Now::of(&*self.clock), cx))
            .await
    }

    fn withdraw(&self, ticket: Ticket) -> Receipts {
        let lane = self.lane();
        lane.topic.withdraw(lane.outbox, &ticket, &Now::of(&*self.clock))
    }

    fn forget(&self, ticket: &Ticket) {
        let lane = self.lane();
        lane.topic.forget(lane.outbox, ticket);
    }
}
