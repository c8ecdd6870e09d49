//! The way in, as users hold it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::clock::lock;
use crate::connection::Handle;
use crate::driver::{self, Settled};
use crate::event::add;
use crate::telemetry::{self, Operation};
use crate::{Clock, Deliveries, Delivery, DeliveryStream, Endpoint, Result};

/// A way in: one member of the endpoint's group.
///
/// It gets at most `?credit=` (4096) datagrams and `?credit_bytes=` (1 MiB) that are not settled.
///
/// Dropping it leaves its deliveries settleable until the connection drains or is dropped.
pub struct Receiver {
    handle: Arc<Handle>,
    driver: Box<dyn driver::Receiver>,
    one: Deliveries,
    gate: Gate,
}

impl Receiver {
    pub(crate) fn new(handle: Arc<Handle>, driver: Box<dyn driver::Receiver>) -> Self {
        Self { handle, driver, one: Deliveries::new(), gate: Gate::default() }
    }

    /// Publishes what `into` settled, then refills it with 1 to `max` deliveries; waits for the first.
    /// `false` once the connection is drained or the peer has departed: nothing comes any more.
    ///
    /// Cancel safety: dropping it loses nothing; the next call gets the same deliveries.
    ///
    /// # Errors
    ///
    /// [`Error::SessionLost`](crate::Error) and those of the carrier that end this receiver.
    pub async fn receive(&mut self, max: usize, into: &mut Deliveries) -> Result<bool> {
        let shared = self.handle.shared.clone();
        let (driver, gate) = (&mut self.driver, &self.gate);
        let peer = self.handle.driver.peer();
        into.publish();
        shared
            .with_dead_letters(async {
                loop {
                    gate.passed().await;
                    into.clear();
                    let more = match driver.receive_now(max.max(1), into) {
                        Some(more) => more,
                        None => match gate.until_paused(driver.receive(max.max(1), into)).await {
                            Some(more) => more,
                            None => continue,
                        },
                    };
                    if !more.map_err(|error| shared.name(error))? {
                        return Ok(false);
                    }
                    into.attach(&shared, peer);
                    let counters = shared.events.counters();
                    add(&counters.delivered, into.delivered());
                    add(&counters.redelivered, into.redelivered());
                    telemetry::batch(&shared.endpoint, Operation::Receive, into.delivered());
                    if let Some(limit) = shared.retry_limit
                        && into.over_tried(limit)
                    {
                        give_up_over_tried(into, limit);
                    }
                    if into.has_something() {
                        return Ok(true);
                    }
                }
            })
            .await
    }

    /// The next delivery, owned; `None` once nothing comes any more.
    ///
    /// Cancel safety: dropping it loses nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Receiver::receive`].
    pub async fn next(&mut self) -> Result<Option<Delivery>> {
        let mut one = std::mem::take(&mut self.one);
        // Nothing of a container that is dropped with this call was handed to the program.
        while self.receive(1, &mut one).await? {
            if let Some(lent) = one.lend() {
                let delivery = lent.take();
                self.one = one;
                return Ok(Some(delivery));
            }
        }
        Ok(None)
    }

    /// Waits until every settlement so far has the strongest confirmation that the carrier gives, and says
    /// how many came too late. (Session, RabbitMQ, NSQ: written. SQS: answered. Kafka: committed.)
    ///
    /// Cancel safety: dropping it loses nothing but the answer.
    ///
    /// # Errors
    ///
    /// [`Error::Disconnected`](crate::Error) where it cannot be known.
    pub async fn settled(&mut self) -> Result<Settled> {
        let shared = self.handle.shared.clone();
        let driver = &mut self.driver;
        let settled = shared
            .with_dead_letters(async {
                if let Some(route) = shared.dead_letters.get() {
                    route.idle().await;
                }
                driver.settled().await
            })
            .await;
        settled.map_err(|error| shared.name(error))
    }

    /// Stops handing out deliveries until [`Receiver::resume`]. A `receive` that waits goes on waiting; what
    /// was handed out stays to be settled.
    pub fn pause(&self) {
        self.gate.pause();
    }

    /// Hands out deliveries again.
    pub fn resume(&self) {
        self.gate.resume();
    }

    /// What pauses and resumes it from another task.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// The endpoint it receives from.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.handle.shared.endpoint
    }

    /// Where its endpoint takes time from, for whoever waits beside it.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.handle.shared.clock
    }

    /// A stream of owned deliveries. It ends as [`Receiver::next`] does, and after its first error.
    #[must_use]
    pub fn into_stream(self) -> DeliveryStream {
        DeliveryStream::new(self)
    }
}

/// Hands over what was tried more often than `?retry=` allows, before the program sees it.
fn give_up_over_tried(into: &mut Deliveries, limit: u32) {
    for delivery in into.take_over_tried(limit) {
        // Without a route, or with a lost lease, the delivery is dropped: it comes again.
        if let Err(refused) = delivery.give_up() {
            tracing::debug!(error = %refused, "a delivery without attempts left stays");
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({})", self.handle.shared.endpoint)
    }
}

/// Pauses and resumes a [`Receiver`], from any task.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<Paused>>);

#[derive(Debug, Default)]
struct Paused {
    paused: bool,
    /// The receive that waits; a receiver has one at a time.
    waker: Option<Waker>,
}

impl Gate {
    /// Stops handing out deliveries.
    pub fn pause(&self) {
        let mut gate = lock(&self.0);
        gate.paused = true;
        let waker = gate.waker.take();
        drop(gate);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Hands out deliveries again.
    pub fn resume(&self) {
        let mut gate = lock(&self.0);
        gate.paused = false;
        let waker = gate.waker.take();
        drop(gate);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it hands out nothing now.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        lock(&self.0).paused
    }

    async fn passed(&self) {
        poll_fn(|cx| self.poll_state(false, cx)).await;
    }

    /// What `future` yields, or `None` once the gate is paused; `future` is dropped then.
    async fn until_paused<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match self.poll_state(true, cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => future.as_mut().poll(cx).map(Some),
        })
        .await
    }

    /// Ready once it is paused, or is not.
    fn poll_state(&self, paused: bool, cx: &Context<'_>) -> Poll<()> {
        let mut gate = lock(&self.0);
        if gate.paused == paused {
            return Poll::Ready(());
        }
        match &mut gate.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => gate.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}
