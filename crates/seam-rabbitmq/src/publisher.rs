//! The way out of a connection: admits while there is credit, and hands what was admitted to the task that publishes.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use seam_core::driver::Ticket;
use seam_core::{Batch, Clock, Error, Event, Events, Fate, Receipts, Result, SendError};
use tokio::sync::Notify;

use crate::dial::FRAME_MAX_BYTES;
use crate::failure;
use crate::line::Native;
use crate::mapping;
use crate::outbox::{Credit, Outbox, Told, Unsent};
use crate::publish::{Body, Order, Source};
use crate::replies::{PSEUDO_QUEUE, Replies, ask};
use crate::returns::Landing;
use crate::topology::Topology;
use crate::way::Target;

/// What a publisher is made of.
pub(crate) struct Parts {
    /// The endpoint, without secrets.
    pub(crate) name: String,
    pub(crate) topology: Arc<Topology>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Events,
    /// Where replies go, if it publishes requests.
    pub(crate) replies: Option<Arc<Replies>>,
}

/// Admits datagrams, and knows what became of them.
pub(crate) struct Publisher {
    parts: Parts,
    credit: Credit,
    state: Mutex<State>,
    /// Whose turn it is to wait for credit: the order of calls.
    turn: tokio::sync::Mutex<()>,
    /// Rings when there is more credit.
    room: Notify,
    work: Notify,
    /// Rings when everything is answered.
    idle: Notify,
    /// Whether something was returned, so that the queue may be gone.
    is_stale: AtomicBool,
}

#[derive(Default)]
struct State {
    outbox: Outbox,
    is_closed: bool,
}

impl Publisher {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let config = &parts.topology.config;
        let credit = Credit { count: config.credit, bytes: config.credit_bytes };
        Arc::new(Self {
            parts,
            credit,
            state: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            room: Notify::new(),
            work: Notify::new(),
            idle: Notify::new(),
            is_stale: AtomicBool::new(false),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> Error {
        Error::Closed { endpoint: self.parts.name.clone() }
    }

    /// Admits from the front of `batch` while there is credit, in the order of calls.
    pub(crate) async fn admit(&self, target: &Arc<Target>, batch: &mut Batch) -> Result<()> {
        let _turn = self.turn.lock().await;
        loop {
            self.admit_some(target, batch)?;
            if batch.is_empty() {
                return Ok(());
            }
            self.room.notified().await;
        }
    }

    /// As [`Publisher::admit`], where nobody waits before and all of `batch` fits.
    pub(crate) fn admit_now(&self, target: &Arc<Target>, batch: &mut Batch) -> Option<Result<()>> {
        let _turn = self.turn.try_lock().ok()?;
        if !self.lock().outbox.fits(batch, self.credit) {
            return None;
        }
        Some(self.admit_some(target, batch))
    }

    fn admit_some(&self, target: &Arc<Target>, batch: &mut Batch) -> Result<()> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(self.closed());
        }
        let admitted = state.outbox.admit(batch, target, self.credit);
        drop(state);
        if admitted > 0 {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Ready once something is known of everything of `ticket`.
    pub(crate) async fn reported(&self, ticket: &Ticket) {
        let mut from = 0;
        poll_fn(|cx| {
            let mut state = self.lock();
            match state.outbox.first_open(ticket, from) {
                Some((index, number)) => {
                    from = index;
                    state.outbox.wait(number, cx.waker());
                    Poll::Pending
                }
                None => Poll::Ready(()),
            }
        })
        .await;
    }

    /// The answers for `ticket`.
    pub(crate) fn take(&self, ticket: &Ticket) -> Receipts {
        self.change(|state, _| state.outbox.take(ticket))
    }

    /// Nobody will ask for `ticket`.
    pub(crate) fn forget(&self, ticket: &Ticket) {
        self.change(|state, told| state.outbox.forget(ticket, told));
    }

    /// Ready once everything is answered, or `clock` has reached `until`.
    pub(crate) async fn flush(&self, until: Duration) {
        let idle = async {
            loop {
                let idle = self.idle.notified();
                if self.lock().outbox.is_idle() {
                    return;
                }
                idle.await;
            }
        };
        // What is open then is answered by whoever closes it.
        let _ = seam_core::clock::deadline(&*self.parts.clock, until, idle).await;
    }

    /// Admits nothing more, and answers everything that is open.
    pub(crate) fn close(&self) {
        let closed = self.closed();
        self.change(|state, told| {
            state.is_closed = true;
            state.outbox.lose(&closed, told);
            state.outbox.refuse(&closed, told);
        });
        self.room.notify_one();
    }

    /// A copy of each datagram that failed and that no ticket has answered.
    pub(crate) fn unsent(&self) -> Vec<SendError> {
        self.lock().outbox.unsent()
    }

    /// Changes what is known, then tells whoever waits for it.
    fn change<T>(&self, change: impl FnOnce(&mut State, &mut Told) -> T) -> T {
        let mut told = Told::default();
        let mut state = self.lock();
        let output = change(&mut state, &mut told);
        let is_idle = state.outbox.is_idle();
        drop(state);
        told.wakers.into_iter().for_each(Waker::wake);
        if told.forgotten > 0 {
            self.parts.events.emit(Event::Forgotten { count: told.forgotten });
        }
        self.room.notify_one();
        if is_idle {
            self.idle.notify_waiters();
        }
        output
    }

    /// What the client takes for a datagram.
    ///
    /// # Errors
    ///
    /// What AMQP cannot carry.
    fn order(&self, unsent: Unsent) -> Result<Order, (u64, Error)> {
        let Unsent { number, target, mut datagram } = unsent;
        if self.parts.replies.is_some() {
            ask(&mut datagram);
        }
        let view = datagram.view();
        if self.parts.replies.is_none()
            && view.envelope().reply_to.as_deref() == Some(PSEUDO_QUEUE.as_bytes())
        {
            let reason =
                "the broker takes this address only from who waits for a reply; use `request`";
            return Err((number, Error::invalid("reply_to", reason)));
        }
        let written = target.routing_key(view).and_then(|routing_key| {
            let properties = mapping::encode(view, self.parts.clock.wall(), LIMIT)?;
            Ok((routing_key, properties))
        });
        let (routing_key, properties) = written.map_err(|error| (number, error))?;
        let (exchange, mandatory) = (target.exchange.clone(), target.mandatory);
        Ok(Order { number, exchange, routing_key, mandatory, properties, body: Body::Of(datagram) })
    }

    /// What became of a datagram whose payload has so many bytes.
    fn answer(&self, landing: Landing, size: usize) -> Result<(), (Fate, Error)> {
        let name = &self.parts.name;
        match landing {
            Landing::Stored => Ok(()),
            Landing::Returned(reason) => {
                let reason = format!("{reason}: no queue is bound for it; is a receiver declared?");
                Err((Fate::NotSent, Error::Unroutable { endpoint: name.clone(), reason }))
            }
            Landing::Refused => Err((Fate::MaybeSent, failure::refused(name))),
            Landing::Lost(error) => match failure::largest(&error).filter(|limit| size > *limit) {
                Some(limit) => {
                    let what = "payload for this broker (`max_message_size`, bytes)";
                    Err((Fate::NotSent, Error::TooLarge { what, size, limit }))
                }
                None => Err((Fate::MaybeSent, failure::of_neighbours(name, &error))),
            },
        }
    }
}

#[async_trait]
impl Source for Publisher {
    async fn prepare(&self, native: &Native) -> Result<()> {
        self.parts.topology.for_sending(native).await
    }

    async fn precede(&self, native: &Native) {
        if self.is_stale.swap(false, Ordering::Relaxed) {
            // If it cannot be made, the next one comes back as this one did.
            drop(self.parts.topology.for_sending(native).await);
        }
    }

    async fn equip(&self, channel: &Channel) -> lapin::Result<Option<Consumer>> {
        if self.parts.replies.is_none() {
            return Ok(None);
        }
        // What direct reply-to asks for: the only consumer that has nothing to acknowledge.
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let queue = PSEUDO_QUEUE.into();
        let tag = "seam-replies".into();
        channel.basic_consume(queue, tag, options, FieldTable::default()).await.map(Some)
    }

    fn take(&self) -> Vec<Order> {
        let unsent = self.lock().outbox.take_unsent(usize::MAX);
        let (mut orders, mut refused) = (Vec::with_capacity(unsent.len()), Vec::new());
        for unsent in unsent {
            match self.order(unsent) {
                Ok(order) => orders.push(order),
                Err(error) => refused.push(error),
            }
        }
        if !refused.is_empty() {
            self.change(|state, told| {
                for (number, error) in refused {
                    state.outbox.report(number, Err((Fate::NotSent, error)), told);
                }
            });
        }
        orders
    }

    fn landed(&self, landed: Vec<(u64, Landing)>) {
        self.change(|state, told| {
            for (number, landing) in landed {
                if matches!(landing, Landing::Returned(_)) {
                    self.is_stale.store(true, Ordering::Relaxed);
                }
                let size = state.outbox.payload(number);
                state.outbox.report(number, self.answer(landing, size), told);
            }
        });
    }

    fn lost(&self, error: &Error) {
        self.change(|state, told| state.outbox.lose(error, told));
    }

    fn refused(&self, error: &Error) {
        self.change(|state, told| state.outbox.refuse(error, told));
    }

    fn came(&self, delivery: lapin::message::Delivery) {
        if let Some(replies) = &self.parts.replies {
            replies.push(delivery);
        }
    }

    fn work(&self) -> &Notify {
        &self.work
    }
}

/// What properties and headers of a message may take: a frame, which AMQP does not split, less what a broker or
/// whoever traces messages adds on the way.
pub(crate) const LIMIT: usize =
    FRAME_MAX_BYTES - 4096 - mapping::FRAME_BYTES - mapping::PUBLISH_ID_BYTES;
