//! What a member has in hand of one batch.

use std::sync::Arc;

use super::content::Taken;
use crate::driver::Board;

/// What a member has in hand of one batch.
pub(crate) struct Lot {
    pub(crate) member: usize,
    /// Where a local receiver settles it; a session tells by itself.
    pub(crate) board: Option<Arc<Board>>,
    pub(crate) token: u64,
    /// How many from the front a session told to be received.
    pub(crate) received: usize,
    pub(crate) taken: Vec<Taken>,
    /// How many are not settled, and which are.
    pub(crate) open: usize,
    pub(crate) settled: Bits,
}

impl Lot {
    /// What was taken as the delivery at `place`, and where in it.
    pub(crate) fn find(&self, place: usize) -> Option<(&Taken, usize)> {
        let mut start = 0;
        for taken in &self.taken {
            if place < start + taken.len() {
                return Some((taken, place - start));
            }
            start += taken.len();
        }
        None
    }

    /// Whatever is not settled: its place in the batch, what it was taken as, and where in that.
    pub(crate) fn open(&self) -> impl Iterator<Item = (usize, &Taken, usize)> {
        let mut start = 0;
        let placed = self.taken.iter().flat_map(move |taken| {
            let from = start;
            start += taken.len();
            (0..taken.len()).map(move |at| (from + at, taken, at))
        });
        placed.filter(|(index, _, _)| !self.settled.contains(*index))
    }
}

/// A set of small numbers; no memory of its own below 64.
#[derive(Default)]
pub(crate) struct Bits {
    first: u64,
    more: Vec<u64>,
}

impl Bits {
    pub(crate) fn insert(&mut self, index: usize) {
        let bit = 1 << (index % 64);
        match (index / 64).checked_sub(1) {
            None => self.first |= bit,
            Some(word) => {
                if self.more.len() <= word {
                    self.more.resize(word + 1, 0);
                }
                self.more[word] |= bit;
            }
        }
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        let word = match (index / 64).checked_sub(1) {
            None => Some(&self.first),
            Some(word) => self.more.get(word),
        };
        word.is_some_and(|word| word & (1 << (index % 64)) != 0)
    }
}
