//! One receiver as long as it lives: what its driver and the task that polls for it share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use seam_core::driver::{Board, Harvester};
use seam_core::{Error, Event, Events};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::Config;
use crate::inbox::{Arrival, Inbox, Kind, Renewal, Revoked, Write};

/// What a receiver and its task share.
pub(crate) struct Desk {
    pub(crate) config: Arc<Config>,
    /// Where it receives.
    pub(crate) url: String,
    events: Events,
    state: Mutex<State>,
    /// Rings for the task.
    pub(crate) work: Notify,
    /// Rings once SQS has answered what was settled, or there is news of that kind.
    told: Notify,
}

pub(crate) struct State {
    pub(crate) inbox: Inbox,
    /// Nothing more is received: the receiver is gone, or its connection drains.
    pub(crate) quiet: bool,
    /// It is over.
    pub(crate) ended: bool,
    /// Why nothing can be received, until it can.
    pub(crate) failed: Option<Error>,
    /// When to tell SQS of what is settled.
    due: Option<Instant>,
}

impl Desk {
    pub(crate) fn new(config: Arc<Config>, url: String, events: Events) -> Arc<Self> {
        let inbox = Inbox::new(config.visibility);
        let state = State { inbox, quiet: false, ended: false, failed: None, due: None };
        let state = Mutex::new(state);
        Arc::new(Self { config, url, events, state, work: Notify::new(), told: Notify::new() })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Receives nothing more: what is in nobody's hand goes back.
    pub(crate) fn quiet(&self) {
        let mut state = self.lock();
        state.quiet = true;
        let now = Instant::now();
        state.inbox.give_back(now);
        state.due = Some(now);
        let waker = state.inbox.call_all();
        self.unlock(state);
        self.work.notify_one();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ready once nobody has anything in hand and SQS knows it.
    pub(crate) async fn idle(&self) {
        loop {
            let told = self.told.notified();
            {
                let state = self.lock();
                if state.ended || state.inbox.is_idle() {
                    return;
                }
            }
            told.await;
        }
    }

    /// Ready once SQS has answered what was settled before; how many came too late.
    pub(crate) async fn settled(&self) -> u64 {
        self.lock().due = Some(Instant::now());
        self.work.notify_one();
        loop {
            let told = self.told.notified();
            {
                let mut state = self.lock();
                if state.ended || state.inbox.is_told() {
                    return state.inbox.take_late();
                }
            }
            told.await;
        }
    }

    /// Ends it at once: every lease is lost, and goes back. How many deliveries nobody had settled.
    pub(crate) fn end(&self) -> u64 {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.ended, true);
        let now = Instant::now();
        state.inbox.settle(now);
        let open = u64::try_from(state.inbox.in_hand()).unwrap_or(u64::MAX);
        let revoked = state.inbox.end(now);
        state.due = Some(now);
        let waker = state.inbox.call_all();
        self.unlock(state);
        revoked.into_iter().for_each(|(board, range)| board.revoke(range));
        waker.into_iter().for_each(Waker::wake);
        self.work.notify_one();
        self.told.notify_waiters();
        if before { 0 } else { open }
    }

    /// Takes what came, which is ours since `received`. What comes too late goes back.
    pub(crate) fn take_in(&self, arrivals: Vec<Arrival>, received: Instant) {
        let mut state = self.lock();
        state.failed = None;
        for arrival in arrivals {
            state.inbox.push(arrival, received);
        }
        if state.quiet || state.ended {
            let now = Instant::now();
            state.inbox.give_back(now);
            state.due = Some(now);
        }
        let waker = state.inbox.call();
        self.unlock(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Nothing can be received for now, or ever.
    pub(crate) fn fail(&self, error: Error) {
        let mut state = self.lock();
        let waker = (!error.is_retryable()).then(|| state.inbox.call_all()).flatten();
        state.failed = Some(error);
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// The next call that tells SQS of what was settled, if one is due.
    pub(crate) fn take_writes(&self) -> Option<(Vec<Write>, Kind)> {
        let now = Instant::now();
        let mut state = self.lock();
        state.inbox.settle(now);
        let is_due = state.due.is_some_and(|due| due <= now);
        let writes = state.inbox.take_writes(is_due);
        if writes.is_none() && is_due {
            state.due = None;
        }
        let is_told = state.inbox.is_told();
        self.unlock(state);
        if is_told {
            self.told.notify_waiters();
        }
        writes
    }

    /// SQS has answered what it was told: `again` was not done, and `lost` never will be.
    pub(crate) fn written(&self, kind: Kind, count: usize, again: Vec<Write>, lost: &[Write]) {
        let mut state = self.lock();
        if !again.is_empty() {
            let soon = Instant::now() + AGAIN;
            state.due = Some(state.due.map_or(soon, |due| due.max(soon)));
        }
        state.inbox.written(kind, count, again, lost);
        self.unlock(state);
        self.told.notify_waiters();
    }

    /// Has what was asked for again handed out, where it is due.
    pub(crate) fn unpark(&self) {
        let waker = self.lock().inbox.unpark(Instant::now());
        waker.into_iter().for_each(Waker::wake);
    }

    /// The leases that are to be extended now; those that have ended are lost.
    pub(crate) fn take_renewals(&self) -> Vec<Renewal> {
        let now = Instant::now();
        let mut state = self.lock();
        let revoked = state.inbox.expire(now);
        let renewals = state.inbox.take_renewals(now);
        self.unlock(state);
        self.revoke(revoked);
        renewals
    }

    /// What became of leases that were to be extended by a call that began `then`.
    pub(crate) fn renewed(&self, then: Instant, renewals: &[(Renewal, Renewed)]) {
        let mut revoked = Revoked::new();
        let mut state = self.lock();
        for (renewal, became) in renewals {
            match became {
                Renewed::Done => state.inbox.renewed(renewal, then, true),
                Renewed::Again => state.inbox.renewed(renewal, then, false),
                Renewed::Lost => state.inbox.lose(renewal.number, &mut revoked),
            }
        }
        self.unlock(state);
        self.revoke(revoked);
    }

    fn revoke(&self, revoked: Revoked) {
        let count = u64::try_from(revoked.len()).unwrap_or(u64::MAX);
        revoked.into_iter().for_each(|(board, range)| board.revoke(range));
        if count > 0 {
            self.events.emit(Event::LeaseLost { count });
            self.told.notify_waiters();
        }
    }

    /// When there is something to do, whatever comes; with what is to be told only where it `may_write`.
    pub(crate) fn next_due(&self, may_write: bool) -> Option<Instant> {
        let state = self.lock();
        let due = state.due.filter(|_| may_write);
        [due, state.inbox.next_due()].into_iter().flatten().min()
    }

    /// Whether SQS has answered all that was settled or given back.
    pub(crate) fn is_told(&self) -> bool {
        self.lock().inbox.is_told()
    }

    /// Whether it receives nothing more and nothing of it is open.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.lock();
        state.quiet && state.inbox.is_idle()
    }

    /// Lets go of `state`, and tells what came too late.
    fn unlock(&self, mut state: MutexGuard<'_, State>) {
        let count = state.inbox.take_untold_late();
        drop(state);
        if count > 0 {
            self.events.emit(Event::SettlementFailed { count });
        }
    }
}

/// What became of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewed {
    Done,
    /// Nobody knows; to be tried again while it lasts.
    Again,
    Lost,
}

impl Harvester for Desk {
    fn settled(&self, board: &Arc<Board>, urgent: bool) {
        let mut state = self.lock();
        if !state.inbox.mark(board) && !urgent {
            return;
        }
        let now = Instant::now();
        let soon = if urgent || state.quiet { now } else { now + GATHER };
        let rings = state.due.is_none_or(|due| due > soon);
        if rings {
            state.due = Some(soon);
        }
        if state.ended {
            state.inbox.settle(now);
        }
        self.unlock(state);
        if rings {
            self.work.notify_one();
        }
    }
}

/// How long settlements are gathered, so that a call tells of many.
pub(crate) const GATHER: Duration = Duration::from_millis(10);

/// When what SQS did not do is asked for again.
const AGAIN: Duration = Duration::from_millis(200);
