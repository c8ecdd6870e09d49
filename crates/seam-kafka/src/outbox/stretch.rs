//! Datagrams that were admitted together, and what became of each.

use std::collections::BTreeMap;
use std::ops::Range;
use std::task::Waker;

use bytes::Bytes;
use seam_core::{Datagrams, Error, Fate, Position};

use super::Told;

/// Datagrams that were admitted one behind the other.
pub(super) struct Stretch {
    pub(super) first: u64,
    pub(super) lane: Lane,
    /// Kept until all are stored, or their tickets have the answer.
    pub(super) datagrams: Datagrams,
    pub(super) slots: Vec<Slot>,
    /// How many are open, how many the client will still report, and how many nobody has been told of.
    pub(super) open: usize,
    pub(super) unreported: usize,
    pub(super) unanswered: usize,
    /// Why those failed that did, by place.
    pub(super) failures: BTreeMap<usize, (Fate, Error)>,
    /// Whoever waits for one of them, by place.
    pub(super) wakers: Vec<(usize, Waker)>,
}

/// What became of one datagram.
pub(super) struct Slot {
    pub(super) outcome: Outcome,
    /// Whether the client has reported it, or will not.
    pub(super) reported: bool,
    /// Where it is, if it is stored.
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// As credit counts it, in bytes.
    pub(super) size: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Open,
    Stored,
    Failed,
    /// Its ticket has the answer.
    Taken,
    /// Nobody will ask.
    Forgotten,
}

/// What shares the fate of a key: what is sent to the topic, and replies in each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    Topic,
    Reply(i32),
}

impl Lane {
    /// Why it failed: where the topic of replies is gone, so is who waited for them.
    pub(super) fn blame(self, error: Error) -> Error {
        match (self, error) {
            (Self::Reply(_), Error::NotFound { .. }) => Error::RequesterGone,
            (_, error) => error,
        }
    }
}

impl Stretch {
    pub(super) fn new(
        first: u64,
        lane: Lane,
        datagrams: Datagrams,
        slots: Vec<Slot>,
        failures: BTreeMap<usize, (Fate, Error)>,
    ) -> Self {
        let (unanswered, open) = (slots.len(), slots.len() - failures.len());
        let wakers = Vec::new();
        Self { first, lane, datagrams, slots, open, unreported: open, unanswered, failures, wakers }
    }

    pub(super) fn end(&self) -> u64 {
        self.first + to_u64(self.slots.len())
    }

    /// Where `number` is, or would be.
    pub(super) fn place(&self, number: u64) -> usize {
        to_usize(number.saturating_sub(self.first))
    }

    /// Whether `new` may join it: both are short, and nothing of it was let go of yet.
    pub(super) fn may_grow(&self, new: &Self) -> bool {
        self.lane == new.lane
            && self.unreported > 0
            && self.slots.len() < LONG
            && new.slots.len() <= SHORT
    }

    pub(super) fn grow(&mut self, new: &mut Self) {
        let shift = self.slots.len();
        let failures = std::mem::take(&mut new.failures);
        self.failures.extend(failures.into_iter().map(|(place, failure)| (place + shift, failure)));
        self.slots.append(&mut new.slots);
        self.open += new.open;
        self.unreported += new.unreported;
        self.unanswered += new.unanswered;
    }

    pub(super) fn first_open(&self, mut places: Range<usize>) -> Option<usize> {
        places.find(|place| self.slots[*place].outcome == Outcome::Open)
    }

    /// Its fate is known: tells whoever waits for it.
    pub(super) fn close(&mut self, place: usize, outcome: Outcome, told: &mut Told) {
        self.slots[place].outcome = outcome;
        self.open -= 1;
        if let Some(at) = self.wakers.iter().position(|(waiting, _)| *waiting == place) {
            told.wakers.push(self.wakers.swap_remove(at).1);
        }
    }

    pub(super) fn fail(&mut self, place: usize, fate: Fate, error: Error, told: &mut Told) {
        self.failures.insert(place, (fate, error));
        self.close(place, Outcome::Failed, told);
    }

    /// Notes that its ticket was answered, or never will be; what it was before.
    pub(super) fn answer(&mut self, place: usize, how: Outcome) -> Outcome {
        let before = self.slots[place].outcome;
        if !matches!(before, Outcome::Taken | Outcome::Forgotten) {
            self.slots[place].outcome = how;
            self.unanswered -= 1;
            self.open -= usize::from(before == Outcome::Open);
        }
        before
    }

    /// Lets go of the datagrams once all are stored: nobody gets them back.
    pub(super) fn release(&mut self) -> Option<Datagrams> {
        let stored = self.unreported == 0 && self.failures.is_empty() && self.open == 0;
        stored.then(|| std::mem::take(&mut self.datagrams))
    }

    pub(super) fn key(&self, place: usize) -> (Lane, Option<Bytes>) {
        let key = self.datagrams.view(place).envelope().key.clone();
        (self.lane, key)
    }
}

impl Slot {
    pub(super) fn open(size: usize) -> Self {
        Self { outcome: Outcome::Open, reported: false, partition: 0, offset: 0, size }
    }

    pub(super) fn position(&self) -> Position {
        Position::Offset { partition: self.partition, offset: self.offset }
    }
}

/// Up to so many datagrams join the stretch before them, while that has no more than [`LONG`].
const SHORT: usize = 16;
const LONG: usize = 256;

pub(super) fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

pub(super) fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
