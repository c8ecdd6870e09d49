//! One address: what waits, who has what in hand, and whom to wake. Knows no time and no driver trait.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use seam_core::driver::{Board, Harvest};
use seam_core::{Datagram, Timestamp};

/// A datagram and how often it was tried.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) datagram: Datagram,
    pub(crate) attempt: u32,
    pub(crate) possible_duplicate: bool,
}

/// What one receiver took at once.
struct Lot {
    connection: u64,
    receiver: u64,
    board: Arc<Board>,
    /// `None` once settled.
    items: Vec<Option<Item>>,
}

#[derive(Default)]
pub(crate) struct Queue(Mutex<State>);

#[derive(Default)]
pub(crate) struct State {
    ready: VecDeque<Item>,
    /// By number, so that what a connection leaves comes again in the order in which it was taken.
    lots: BTreeMap<u64, Lot>,
    numbers: u64,
    wakers: Vec<Waker>,
}

impl Queue {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Each change below is whole before anything in it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes everybody to look at it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let output = change(&mut state);
        state.wake_all();
        output
    }

    /// Looks whenever something has changed, until `look` yields. Dropping it has done nothing.
    pub(crate) async fn wait<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        poll_fn(|cx| {
            let mut state = self.lock();
            if let Some(found) = look(&mut state) {
                // It may have taken something, or made room.
                state.wake_all();
                return Poll::Ready(found);
            }
            if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queue")
    }
}

impl State {
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn wake_all(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// Datagrams that are not done.
    pub(crate) fn undone(&self) -> usize {
        self.ready.len() + self.lots.values().map(Lot::open).sum::<usize>()
    }

    pub(crate) fn push(&mut self, datagram: Datagram) {
        self.ready.push_back(Item { datagram, attempt: 1, possible_duplicate: false });
    }

    /// Takes up to `max` that have not expired; says how many had.
    pub(crate) fn take(&mut self, max: usize, now: Timestamp) -> (Vec<Item>, u64) {
        let (mut taken, mut expired) = (Vec::new(), 0);
        while taken.len() < max {
            let Some(item) = self.ready.pop_front() else { break };
            if item.datagram.envelope().expiry.is_some_and(|expiry| expiry <= now) {
                expired += 1;
            } else {
                taken.push(item);
            }
        }
        (taken, expired)
    }

    pub(crate) fn hold(&mut self, owner: (u64, u64), board: Arc<Board>, items: &[Item]) {
        let items = items.iter().cloned().map(Some).collect();
        let (connection, receiver) = owner;
        self.lots.insert(board.token(), Lot { connection, receiver, board, items });
    }

    pub(crate) fn in_hand_of_receiver(&self, receiver: u64) -> usize {
        self.lots.values().filter(|lot| lot.receiver == receiver).map(Lot::open).sum()
    }

    pub(crate) fn in_hand_of_connection(&self, connection: u64) -> usize {
        self.lots.values().filter(|lot| lot.connection == connection).map(Lot::open).sum()
    }

    /// Takes over what was settled; says how many came too late, since they are somebody else's.
    pub(crate) fn harvest(&mut self, board: &Board) -> u64 {
        let mut harvest = Harvest::default();
        board.harvest(&mut harvest);
        let Some(lot) = self.lots.get_mut(&board.token()) else {
            return harvest.done.iter().map(|range| u64::from(range.end - range.start)).sum();
        };
        let mut take = |index: u32| lot.items.get_mut(usize::try_from(index).ok()?)?.take();
        harvest.done.into_iter().flatten().for_each(|index| drop(take(index)));
        let dropped = harvest.dropped.into_iter().flatten();
        let again = dropped.chain(harvest.retried.into_iter().map(|(index, _)| index));
        let again: Vec<Item> = again.filter_map(take).collect();
        if lot.open() == 0 {
            self.lots.remove(&board.token());
        }
        self.give_back(again, false);
        0
    }

    /// Ends every lease of a connection; says how many there were.
    pub(crate) fn revoke(&mut self, connection: u64) -> u64 {
        let theirs = self.lots.extract_if(.., |_, lot| lot.connection == connection);
        let mut again = Vec::new();
        for (_, lot) in theirs {
            for (index, item) in (0u32..).zip(lot.items) {
                if let Some(item) = item {
                    lot.board.revoke(index..index + 1);
                    again.push(item);
                }
            }
        }
        let count = u64::try_from(again.len()).unwrap_or(u64::MAX);
        self.give_back(again, true);
        count
    }

    fn give_back(&mut self, items: Vec<Item>, possible_duplicate: bool) {
        for mut item in items.into_iter().rev() {
            item.attempt = item.attempt.saturating_add(1);
            item.possible_duplicate |= possible_duplicate;
            self.ready.push_front(item);
        }
    }
}

impl Lot {
    fn open(&self) -> usize {
        self.items.iter().flatten().count()
    }
}
