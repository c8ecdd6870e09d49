//! The end of one session that receives: what comes in there, and what is told of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;
use std::time::Duration;

use seam_core::Event;
use seam_core::driver::{Board, Harvest, Harvester};

use super::{Inbox, Load};
use crate::lock;
use crate::remote::Remote;

/// An outcome that a handler gave.
pub(crate) enum Outcome {
    Done(std::ops::Range<u64>),
    /// To be delivered again, as this attempt, after this delay.
    Released {
        number: u64,
        attempt: u32,
        after: Duration,
    },
}

/// The end of one session that receives: where its boards report.
pub(crate) struct Feed {
    pub(super) inbox: Weak<Inbox>,
    pub(super) index: usize,
    pub(super) marked: Mutex<Vec<u64>>,
    pub(super) remote: Weak<Remote>,
    /// Whether its reader stopped because too much waits.
    pub(super) paused: AtomicBool,
    /// Whether its connection has ended, and nobody is told of verdicts any more.
    pub(super) retired: AtomicBool,
}

impl Feed {
    /// Whether less waits than receivers may have in hand; if not, the remote is told once there is room.
    pub(crate) fn has_room(&self) -> bool {
        let Some(inbox) = self.inbox.upgrade() else { return false };
        let (_, count, bytes) = inbox.window();
        let state = lock(&inbox.state);
        let waiting = state.feeds.get(self.index).map_or((0, 0), |queue| queue.waiting);
        let room = waiting.0 < count && waiting.1 < bytes;
        self.paused.store(!room, Ordering::SeqCst);
        room
    }

    pub(super) fn kick(&self) {
        if let Some(remote) = self.remote.upgrade() {
            remote.kick();
        }
    }

    /// Appends what came.
    pub(crate) fn push(&self, loads: &mut Vec<Load>) {
        if loads.is_empty() {
            return;
        }
        let Some(inbox) = self.inbox.upgrade() else { return loads.clear() };
        let wakers = {
            let mut state = lock(&inbox.state);
            let Some(queue) = state.feeds.get_mut(self.index) else { return };
            let idle = queue.loads.is_empty();
            for load in loads.iter() {
                let (count, bytes) = load.size();
                queue.waiting = (queue.waiting.0 + count, queue.waiting.1 + bytes);
            }
            queue.loads.extend(loads.drain(..));
            if idle {
                state.ready.push_back(self.index);
            }
            state.wakers()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes over every verdict given since the last call.
    pub(crate) fn harvest(&self, mut told: impl FnMut(Outcome)) {
        let mut marked = {
            let mut list = lock(&self.marked);
            if list.is_empty() {
                return;
            }
            std::mem::take(&mut *list)
        };
        let Some(inbox) = self.inbox.upgrade() else { return };
        let mut state = lock(&inbox.state);
        for token in marked.drain(..) {
            state.harvest(token, &mut told);
        }
        let mut list = lock(&self.marked);
        if list.capacity() == 0 {
            *list = marked;
        }
        drop(list);
        if self.retired.load(Ordering::SeqCst) {
            state.forget_feed(self.index);
        }
        let mut wakers = std::mem::take(&mut state.watchers);
        wakers.append(&mut state.wakers());
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether nothing of it waits or is in hand.
    pub(crate) fn is_settled(&self) -> bool {
        self.inbox.upgrade().is_none_or(|inbox| lock(&inbox.state).is_settled(self.index))
    }

    /// Lets go of what nobody has taken: it was never begun.
    pub(crate) fn bounce(&self, mut told: impl FnMut(Outcome)) {
        let Some(inbox) = self.inbox.upgrade() else { return };
        let mut state = lock(&inbox.state);
        let loads = match state.feeds.get_mut(self.index) {
            Some(queue) => {
                queue.waiting = (0, 0);
                std::mem::take(&mut queue.loads)
            }
            None => return,
        };
        state.ready.retain(|feed| *feed != self.index);
        let mut bounced = |number, attempt| {
            told(Outcome::Released { number, attempt, after: Duration::ZERO });
        };
        for load in loads {
            match load {
                Load::Run(_, _, run) => {
                    (run.first..).take(run.count).for_each(|number| bounced(number, 1));
                }
                Load::Item(item) => bounced(item.number, item.attempt),
            }
        }
    }

    /// The session is lost: nothing of it may be settled or taken any more. Says how many deliveries were in
    /// somebody's hands.
    pub(crate) fn revoke(&self) -> u64 {
        let Some(inbox) = self.inbox.upgrade() else { return 0 };
        let (wakers, revoked) = {
            let mut state = lock(&inbox.state);
            let revoked = state.revoke(self.index);
            state.ready.retain(|feed| *feed != self.index);
            if state.feeds.contains(self.index) {
                drop(state.feeds.remove(self.index));
            }
            let mut wakers = std::mem::take(&mut state.watchers);
            wakers.append(&mut state.wakers());
            (wakers, revoked)
        };
        wakers.into_iter().for_each(Waker::wake);
        if revoked > 0 {
            inbox.events.emit(Event::LeaseLost { count: revoked });
        }
        revoked
    }

    /// Its connection has ended: what came stays to be received, and nobody is told of verdicts.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.harvest(|_| {});
        if let Some(inbox) = self.inbox.upgrade() {
            lock(&inbox.state).forget_feed(self.index);
        }
    }
}

impl Harvester for Feed {
    fn settled(&self, board: &Arc<Board>, _: bool) {
        if board.is_revoked() {
            let mut harvest = Harvest::default();
            board.harvest(&mut harvest);
            let late = harvest.done.iter().map(|range| u64::from(range.end - range.start)).sum();
            if let Some(inbox) = self.inbox.upgrade().filter(|_| late > 0) {
                inbox.late.fetch_add(late, Ordering::Relaxed);
                inbox.events.emit(Event::SettlementFailed { count: late });
            }
            return;
        }
        // Whoever marked it before has said so, and the verdict is found with that one.
        if !board.mark() {
            return;
        }
        lock(&self.marked).push(board.token());
        if self.retired.load(Ordering::SeqCst) {
            return self.harvest(|_| {});
        }
        self.kick();
    }
}
