//! The way out of a connection: admits while there is credit, and hands what was admitted to the task that sends.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use seam_core::driver::Ticket;
use seam_core::{Batch, Clock, Error, Event, Events, Receipts, Result, SendError};
use tokio::sync::Notify;

use crate::outbox::{Credit, Outbox, Target, Told};

/// What a way out is made of.
#[derive(Debug)]
pub struct Parts {
    /// The endpoint, without secrets.
    pub name: String,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where it reports failures that nobody asks for.
    pub events: Events,
    /// What may be under way.
    pub credit: Credit,
}

/// Admits datagrams to targets `T`, and knows what became of them. One task sends: it waits for [`Outgoing::work`], takes
/// what was admitted by [`Outgoing::look`], and tells what became of it by [`Outgoing::change`].
pub struct Outgoing<T> {
    parts: Parts,
    state: Mutex<State<T>>,
    /// Whose turn it is to wait for credit: the order of calls.
    turn: tokio::sync::Mutex<()>,
    /// Rings when there is more credit.
    room: Notify,
    work: Notify,
    /// Rings when everything is answered.
    idle: Notify,
}

struct State<T> {
    outbox: Outbox<T>,
    is_closed: bool,
}

impl<T: Target> Outgoing<T> {
    /// A way out that has admitted nothing.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            state: Mutex::new(State { outbox: Outbox::default(), is_closed: false }),
            turn: tokio::sync::Mutex::new(()),
            room: Notify::new(),
            work: Notify::new(),
            idle: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The endpoint, without secrets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// Where time comes from.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.parts.clock
    }

    fn closed(&self) -> Error {
        Error::Closed { endpoint: self.parts.name.clone() }
    }

    /// Admits from the front of `batch` while there is credit, in the order of calls, until it is empty. Cancel safety:
    /// what was not admitted stays in `batch`, with the ticket of what was.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] after [`Outgoing::close`].
    pub async fn admit(&self, target: &Arc<T>, batch: &mut Batch) -> Result<()> {
        let _turn = self.turn.lock().await;
        loop {
            self.admit_some(target, batch)?;
            if batch.is_empty() {
                return Ok(());
            }
            self.room.notified().await;
        }
    }

    /// As [`Outgoing::admit`], where nobody waits before and all of `batch` fits; else `None`.
    pub fn admit_now(&self, target: &Arc<T>, batch: &mut Batch) -> Option<Result<()>> {
        let _turn = self.turn.try_lock().ok()?;
        if !self.lock().outbox.fits(batch, self.parts.credit) {
            return None;
        }
        Some(self.admit_some(target, batch))
    }

    fn admit_some(&self, target: &Arc<T>, batch: &mut Batch) -> Result<()> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(self.closed());
        }
        let admitted = state.outbox.admit(batch, target, self.parts.credit);
        drop(state);
        if admitted > 0 {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Ready once something is known of everything of `ticket`. Cancel safe.
    pub async fn reported(&self, ticket: &Ticket) {
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

    /// The answers for `ticket`; what is still open comes back as withdrawn.
    pub fn take(&self, ticket: &Ticket) -> Receipts {
        self.change(|outbox, told| outbox.take(ticket, told))
    }

    /// Nobody will ask for `ticket`.
    pub fn forget(&self, ticket: &Ticket) {
        self.change(|outbox, told| outbox.forget(ticket, told));
    }

    /// Ready once everything is answered, or the clock has reached `until`. Cancel safe.
    pub async fn flush(&self, until: Duration) {
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
        let _ = seam_core::clock::deadline(self.clock(), until, idle).await;
    }

    /// Admits nothing more, and answers everything that is open.
    pub fn close(&self) {
        let closed = self.closed();
        self.lock().is_closed = true;
        self.change(|outbox, told| outbox.end(&closed, told));
    }

    /// A copy of each datagram that failed and that no ticket has answered.
    pub fn unsent(&self) -> Vec<SendError> {
        self.lock().outbox.unsent()
    }

    /// Rings when something was admitted.
    pub fn work(&self) -> &Notify {
        &self.work
    }

    /// Looks at what was admitted, or takes of it, without telling anybody.
    pub fn look<R>(&self, look: impl FnOnce(&mut Outbox<T>) -> R) -> R {
        look(&mut self.lock().outbox)
    }

    /// Changes what is known of datagrams, then tells whoever waits for it.
    pub fn change<R>(&self, change: impl FnOnce(&mut Outbox<T>, &mut Told) -> R) -> R {
        let mut told = Told::default();
        let mut state = self.lock();
        let output = change(&mut state.outbox, &mut told);
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
}

impl<T> fmt::Debug for Outgoing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({})", self.parts.name)
    }
}
