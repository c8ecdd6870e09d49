//! One receiver as long as it lives: what its driver and the task that has its channel share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use seam_core::driver::{Board, Harvester};
use seam_core::{Clock, Error, Event, Events, Result};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::delays::{Delays, SHORTEST, Whose};
use crate::inbox::{Due, Inbox, Item, Original, Writes};
use crate::line::Standing;
use crate::topology::Topology;

/// What a receiver and its task share.
pub(crate) struct Desk {
    pub(crate) parts: Parts,
    state: Mutex<State>,
    /// Which channel it has, from 1.
    channel: AtomicU64,
    /// Rings for the task.
    pub(crate) work: Notify,
    /// Rings once the broker knows what was settled, or there is news of that kind.
    pub(crate) told: Notify,
}

/// What a receiver is made of.
pub(crate) struct Parts {
    /// The endpoint, without secrets.
    pub(crate) name: String,
    pub(crate) topology: Arc<Topology>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Events,
    pub(crate) standing: Arc<Standing>,
    pub(crate) delays: Arc<Delays>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) inbox: Inbox,
    /// Nothing more is received: the receiver is gone, or its connection drains.
    pub(crate) quiet: bool,
    /// It is over.
    pub(crate) ended: bool,
    /// Why nothing can be received, until it can.
    pub(crate) failed: Option<Error>,
    /// When to tell the broker of what is settled.
    due: Option<Instant>,
    /// How many messages the broker sends before it wants acknowledgements.
    prefetch: usize,
    /// A write is under way.
    writing: bool,
    /// Whether a consumer stands.
    ready: bool,
    /// Whether it was told that none does.
    is_lost: bool,
}

impl Desk {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            state: Mutex::default(),
            channel: AtomicU64::new(0),
            work: Notify::new(),
            told: Notify::new(),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready once something can be received, or never will.
    pub(crate) async fn opened(&self) -> Result<()> {
        loop {
            let told = self.told.notified();
            {
                let state = self.lock();
                match &state.failed {
                    Some(error) if !error.is_retryable() => return Err(error.clone()),
                    _ if state.ready => return Ok(()),
                    _ if state.ended => return Err(self.closed()),
                    _ => {}
                }
            }
            told.await;
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    fn closed(&self) -> Error {
        Error::Closed { endpoint: self.parts.name.clone() }
    }

    /// Receives nothing more: what is in nobody's hand goes back.
    pub(crate) fn quiet(&self) {
        let mut state = self.lock();
        state.quiet = true;
        if self.parts.topology.config.keeps_order {
            // Before anything more is settled: the rest goes back with the end of the channel.
            state.inbox.hold_back();
        }
        let waker = state.inbox.call_all();
        drop(state);
        self.work.notify_one();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ready once nobody has anything in hand and the broker knows it, and has back what nobody had.
    pub(crate) async fn idle(&self) {
        loop {
            let told = self.told.notified();
            {
                let state = self.lock();
                // While a channel stands, its task sees to the end of it.
                let is_gone = !state.ready && state.inbox.is_idle() && !state.writing;
                if state.ended || is_gone {
                    return;
                }
            }
            told.await;
        }
    }

    /// Ready once the broker was told what was settled before; how many came too late.
    pub(crate) async fn settled(&self) -> u64 {
        {
            let mut state = self.lock();
            state.due = Some(Instant::now());
        }
        self.work.notify_one();
        loop {
            let told = self.told.notified();
            {
                let mut state = self.lock();
                if state.ended || (state.inbox.is_told() && !state.writing) {
                    return state.inbox.take_late();
                }
            }
            told.await;
        }
    }

    /// Ends it at once: every lease is lost. How many deliveries nobody had settled.
    pub(crate) fn end(&self) -> u64 {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.ended, true);
        state.inbox.settle();
        let open = u64::try_from(state.inbox.in_hand()).unwrap_or(u64::MAX);
        let (revoked, _) = state.inbox.lose();
        let waker = state.inbox.call_all();
        let was_lost = std::mem::take(&mut state.is_lost);
        drop(state);
        self.back(was_lost);
        revoked.into_iter().for_each(|(board, range)| board.revoke(range));
        waker.into_iter().for_each(Waker::wake);
        self.work.notify_one();
        self.told.notify_waiters();
        if before { 0 } else { open }
    }

    /// What was to wait on the broker does, or does not: then it waits here, for as long as the shortest step.
    pub(crate) fn delayed(&self, whose: &Whose, is_there: bool) {
        if whose.channel != self.channel.load(Ordering::SeqCst) {
            return;
        }
        let outcome = match is_there {
            true => Ok(()),
            false => Err(self.parts.clock.now().saturating_add(SHORTEST)),
        };
        let mut state = self.lock();
        state.inbox.delayed(whose.tag, outcome);
        state.due = Some(Instant::now());
        drop(state);
        self.work.notify_one();
    }

    /// What is in nobody's hand goes back to the broker.
    pub(crate) fn give_back(&self) {
        let mut state = self.lock();
        state.inbox.give_back();
        state.due = Some(Instant::now());
    }

    /// A channel stands; its number.
    pub(crate) fn begin(&self) -> u64 {
        let number = self.channel.fetch_add(1, Ordering::SeqCst) + 1;
        let mut state = self.lock();
        let config = &self.parts.topology.config;
        state.inbox.begin(config.counts_attempts(), config.last_attempt());
        (state.failed, state.ready) = (None, true);
        let was_lost = std::mem::take(&mut state.is_lost);
        drop(state);
        self.back(was_lost);
        self.told.notify_waiters();
        number
    }

    /// The channel is gone, and every lease with it. `is_alone` says that its connection stands, so that nobody else tells.
    pub(crate) fn lose(&self, error: &Error, is_alone: bool) {
        let mut state = self.lock();
        let is_news = std::mem::take(&mut state.ready) && is_alone;
        state.is_lost |= is_news;
        state.failed = Some(error.clone());
        state.inbox.settle();
        let late = state.inbox.note_untold();
        let (revoked, count) = state.inbox.lose();
        let waker = (!error.is_retryable()).then(|| state.inbox.call_all()).flatten();
        drop(state);
        self.late(late);
        revoked.into_iter().for_each(|(board, range)| board.revoke(range));
        if count > 0 {
            self.parts.events.emit(Event::LeaseLost { count });
        }
        if is_news {
            self.parts.standing.lost(error);
        }
        waker.into_iter().for_each(Waker::wake);
        self.told.notify_waiters();
    }

    /// What the broker is to be told, where that is due.
    pub(crate) fn take_writes(&self) -> Option<Writes> {
        let mut state = self.lock();
        if state.due.is_none_or(|due| due > Instant::now()) {
            return None;
        }
        state.due = None;
        let late = state.inbox.settle();
        let writes = state.inbox.take_writes();
        state.writing = true;
        drop(state);
        self.late(late);
        Some(writes)
    }

    /// The broker sends so many messages before it wants acknowledgements.
    pub(crate) fn fetches(&self, prefetch: u16) {
        self.lock().prefetch = prefetch.into();
    }

    /// Whether it receives nothing more, and what of it is not settled, in messages and bytes.
    pub(crate) fn wants(&self) -> (bool, (usize, usize)) {
        let state = self.lock();
        (state.quiet, state.inbox.held())
    }

    /// Whether it receives nothing more and nothing of it is open.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.lock();
        state.quiet && state.inbox.is_idle()
    }

    /// The broker was told.
    pub(crate) fn written(&self) {
        self.lock().writing = false;
        self.told.notify_waiters();
    }

    /// Takes what came; what of it is not settled, in messages and bytes.
    pub(crate) fn take_in(
        &self,
        came: impl Iterator<Item = (Item, Original, Option<Due>)>,
    ) -> (usize, usize) {
        let mut state = self.lock();
        for (item, original, due) in came {
            state.inbox.push(item, original, due);
        }
        let waker = state.inbox.call();
        if state.inbox.has_writes() {
            state.due = Some(Instant::now());
        }
        let held = state.inbox.held();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        held
    }

    /// Hands out what is due; when to look again.
    pub(crate) fn look(&self) -> Option<Instant> {
        let now = self.parts.clock.now();
        let mut state = self.lock();
        let parked = state.inbox.unpark(now);
        let waker = state.inbox.call();
        let writes = state.due;
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        let parked = parked.map(|at| Instant::now() + at.saturating_sub(now));
        [parked, writes].into_iter().flatten().min()
    }

    fn back(&self, was_lost: bool) {
        if was_lost {
            self.parts.standing.back();
        }
    }

    fn late(&self, count: u64) {
        if count > 0 {
            self.parts.events.emit(Event::SettlementFailed { count });
        }
    }
}

impl Harvester for Desk {
    fn settled(&self, board: &Arc<Board>, urgent: bool) {
        let mut state = self.lock();
        if !state.inbox.mark(board) && !urgent {
            return;
        }
        let now = Instant::now();
        // As long as the broker has much to send without them, acknowledgements are better gathered.
        let is_short =
            state.inbox.is_starved() && state.inbox.unacknowledged() * 2 >= state.prefetch;
        let soon = if urgent || state.quiet || is_short { now } else { now + ACK_DELAY };
        let rings = state.due.is_none_or(|due| due > soon);
        if rings {
            state.due = Some(soon);
        }
        let ended = state.ended;
        let late = if ended { state.inbox.settle() } else { 0 };
        drop(state);
        self.late(late);
        if rings {
            self.work.notify_one();
        }
    }
}

/// How long acknowledgements are gathered while nobody waits for them.
const ACK_DELAY: Duration = Duration::from_millis(1);
