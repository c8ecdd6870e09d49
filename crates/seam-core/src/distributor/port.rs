//! The way out of a connection, as drivers have it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;

use super::group::Now;
use super::timer::Timer;
use super::{Distributor, Sending, Wait};
use crate::clock::lock;
use crate::driver::{Sender, Ticket};
use crate::{Batch, Clock, Receipts, Result, SendError};

/// The way out of a connection, shared by its senders: puts what they send into a [`Distributor`]. Where it
/// leads changes once, at `accept`.
pub struct Port {
    lane: Mutex<Lane>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
pub(crate) struct Lane {
    pub(crate) topic: Arc<Distributor>,
    pub(crate) outbox: u64,
}

impl Port {
    /// A way into `distributor`.
    #[must_use]
    pub fn new(
        distributor: Arc<Distributor>,
        sending: Sending,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let outbox = distributor.register(sending);
        Arc::new(Self { lane: Mutex::new(Lane { topic: distributor, outbox }), clock })
    }

    /// Begins a call of `admit`. The order in which calls are first polled is the order on the wire.
    #[must_use]
    pub fn admission(&self) -> Admission<'_> {
        Admission { port: self, lane: self.lane(), call: None, timer: Timer::default() }
    }

    /// Admits all of `batch` if there is credit for it and nobody waits for credit before; else nothing, and
    /// `None`.
    pub fn admit_now(&self, batch: &mut Batch) -> Option<Result<()>> {
        let lane = self.lane();
        lane.topic.admit_now(lane.outbox, batch, &Now::of(&*self.clock))
    }

    /// Ready once each datagram of the ticket has its fate.
    pub fn poll_receipts(&self, ticket: &Ticket, cx: &mut Context<'_>) -> Poll<Receipts> {
        let lane = self.lane();
        lane.topic.poll_receipts(lane.outbox, ticket, &Now::of(&*self.clock), cx)
    }

    /// The next datagram that a lost session gave back; `None` once the port is closed and all were taken.
    pub fn poll_returned(&self, cx: &mut Context<'_>) -> Poll<Option<SendError>> {
        let lane = self.lane();
        lane.topic.poll_returned(lane.outbox, cx)
    }

    /// Refuses new calls, and waits until everything is done, at most until the clock reaches `until`.
    pub async fn flush(&self, until: Duration) {
        let Lane { topic, outbox } = self.lane();
        topic.stop(outbox);
        let flushed = poll_fn(|cx| {
            topic.watch(cx.waker());
            let held = topic.held(outbox, &Now::of(&*self.clock));
            if held == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        crate::clock::deadline(&*self.clock, until, flushed).await;
    }

    /// Closes it; what is not done comes back with its fate. What was received stays with its receiver.
    #[must_use]
    pub fn close(&self) -> Vec<SendError> {
        let lane = self.lane();
        lane.topic.cut(lane.outbox, &Now::of(&*self.clock))
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
}

impl Drop for Port {
    fn drop(&mut self) {
        let lane = self.lane();
        lane.topic.unregister(lane.outbox);
    }
}

/// A call that waits for credit; leaves the queue when it is dropped.
pub struct Admission<'a> {
    port: &'a Port,
    lane: Lane,
    call: Option<u64>,
    timer: Timer,
}

impl Admission<'_> {
    /// Admits from the front of `batch` while there is credit; ready once it is empty.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed), or that of whoever closed the distributor.
    pub fn poll(&mut self, batch: &mut Batch, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            self.follow();
            let clock = &*self.port.clock;
            let Self { lane, call, .. } = self;
            match lane.topic.poll_admit(lane.outbox, batch, call, &Now::of(clock), cx) {
                Wait::Ready(outcome) => return Poll::Ready(outcome),
                Wait::Until(due) if self.timer.poll(clock, due, cx).is_pending() => {
                    return Poll::Pending;
                }
                Wait::Until(_) => {}
            }
        }
    }

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
        let mut admission = self.admission();
        poll_fn(|cx| admission.poll(batch, cx)).await
    }

    fn admit_now(&self, batch: &mut Batch) -> Option<Result<()>> {
        Self::admit_now(self, batch)
    }

    async fn receipts(&self, ticket: &mut Ticket) -> Receipts {
        poll_fn(|cx| self.poll_receipts(ticket, cx)).await
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
