//! The way out of a connection: admits while there is credit, and hands what was admitted to the task that sends.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use seam_core::driver::Ticket;
use seam_core::{Batch, Clock, Error, Event, Events, Fate, Receipts, Result, SendError};
use tokio::sync::Notify;

use crate::config::Config;
use crate::mapping;
use crate::outbox::{Credit, Outbox, Told, Unsent};
use crate::packing::{Entry, Order};
use crate::replies;
use crate::way::Target;

/// What a publisher is made of.
pub(crate) struct Parts {
    /// The endpoint, without secrets.
    pub(crate) name: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Events,
}

/// Admits datagrams, and knows what became of them.
pub(crate) struct Publisher {
    parts: Parts,
    credit: Credit,
    /// What stands for the key of datagrams without one.
    sender: String,
    state: Mutex<State>,
    /// Whose turn it is to wait for credit: the order of calls.
    turn: tokio::sync::Mutex<()>,
    /// Rings when there is more credit.
    room: Notify,
    /// Rings when there is more to send.
    pub(crate) work: Notify,
    /// Rings when everything is answered.
    idle: Notify,
}

#[derive(Default)]
struct State {
    outbox: Outbox,
    is_closed: bool,
}

/// What became of one message.
pub(crate) type Answer = (u64, Result<(), (Fate, Error)>);

impl Publisher {
    pub(crate) fn new(parts: Parts, config: &Config) -> Arc<Self> {
        let credit = Credit { count: config.credit, bytes: config.credit_bytes };
        Arc::new(Self {
            parts,
            credit,
            sender: replies::instance(),
            state: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            room: Notify::new(),
            work: Notify::new(),
            idle: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn name(&self) -> &str {
        &self.parts.name
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
        self.change(|state, told| state.outbox.take(ticket, told))
    }

    /// Nobody will ask for `ticket`.
    pub(crate) fn forget(&self, ticket: &Ticket) {
        self.change(|state, told| state.outbox.forget(ticket, told));
    }

    /// Ready once everything is answered, or the clock has reached `until`.
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
        });
        self.room.notify_one();
    }

    /// A copy of each datagram that failed and that no ticket has answered.
    pub(crate) fn unsent(&self) -> Vec<SendError> {
        self.lock().outbox.unsent()
    }

    /// What was admitted since the last call, as messages.
    pub(crate) fn take_fresh(&self) -> Vec<Entry> {
        let fresh = self.lock().outbox.take_fresh(usize::MAX);
        let (mut entries, mut refused) = (Vec::with_capacity(fresh.len()), Vec::new());
        for unsent in fresh {
            let number = unsent.number;
            match self.entry(unsent) {
                Ok(entry) => entries.push(entry),
                Err(error) => refused.push((number, Err((Fate::NotSent, error)))),
            }
        }
        if !refused.is_empty() {
            self.answer(refused);
        }
        entries
    }

    /// The message of a datagram.
    ///
    /// # Errors
    ///
    /// What SQS cannot carry.
    fn entry(&self, unsent: Unsent) -> Result<Entry> {
        let Unsent { number, target, datagram } = unsent;
        let view = datagram.view();
        let message = Arc::new(mapping::encode(view, target.is_fifo, target.largest)?);
        let order = target.is_fifo.then(|| {
            let id = view.envelope().id.as_ref();
            let duplicate = id.map_or_else(replies::instance, mapping::deduplication);
            let group = match target.is_spread {
                true => mapping::group(view, &replies::instance()),
                false => mapping::group(view, &self.sender),
            };
            Order { group: group.into(), duplicate }
        });
        let wait = view.envelope().deliver_at.filter(|_| !target.is_fifo);
        let wait = wait.map(|at| at.saturating_since(self.parts.clock.wall()));
        let delay = wait.filter(|wait| !wait.is_zero()).map(seconds);
        Ok(Entry { number, target, message, order, delay, doubt: None })
    }

    /// Those of `batch` that nobody has taken back; they leave now.
    pub(crate) fn leaving(&self, batch: &[Entry]) -> Vec<Entry> {
        let mut state = self.lock();
        let leaving = batch.iter().filter(|entry| state.outbox.leaves(entry.number));
        leaving.cloned().collect()
    }

    /// It is proved that these are not stored.
    pub(crate) fn came_back<'a>(&self, entries: impl Iterator<Item = &'a Entry>) {
        let mut state = self.lock();
        entries.for_each(|entry| state.outbox.came_back(entry.number));
    }

    /// Notes what became of messages.
    pub(crate) fn answer(&self, answers: Vec<Answer>) {
        self.change(|state, told| {
            for (number, answer) in answers {
                state.outbox.report(number, answer, told);
            }
        });
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
}

/// In whole seconds, and no less than asked for.
pub(crate) fn seconds(duration: Duration) -> i32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(whole).unwrap_or(i32::MAX)
}
