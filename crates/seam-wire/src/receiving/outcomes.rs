//! Each number's outcome, once.

use std::ops::Range;
use std::time::Duration;

use super::{Receiving, Record};
use crate::number::narrow;

impl Receiving {
    /// These numbers are done. Those that have an outcome, or never came, are passed over.
    pub fn done(&mut self, numbers: Range<u64>) {
        let numbers = numbers.start..numbers.end.min(self.next);
        if !self.fragmented.is_empty() && !numbers.is_empty() {
            self.done_fragments(&numbers);
        }
        self.finish(numbers, true);
    }

    /// The datagrams of several numbers that end in `numbers`: their earlier numbers are done with them.
    #[cold]
    fn done_fragments(&mut self, numbers: &Range<u64>) {
        let ended: Vec<_> =
            self.fragmented.range(numbers.clone()).map(|(last, first)| *first..*last).collect();
        for earlier in ended {
            self.fragmented.remove(&earlier.end);
            self.finish(earlier, true);
        }
    }

    /// This number is released: its datagram comes again, as this attempt, after this time at least.
    pub fn released(&mut self, number: u64, attempt: u32, after: Duration) {
        if number <= self.settled || number >= self.next || self.sparse.any(number..number + 1) {
            return;
        }
        self.records.insert(number, Record { attempt, after });
        self.told.fresh.insert(number);
        if mutant!(ReleasedHoldsSettled) {
            return;
        }
        let first = self.fragmented.remove(&number).unwrap_or(number);
        self.finish(first..number, true);
        self.finish(number..number + 1, false);
    }

    /// Those of `numbers` that have no outcome get one; `done` ones are to be told as such.
    fn finish(&mut self, numbers: Range<u64>, done: bool) {
        let numbers = numbers.start.max(self.settled + 1)..numbers.end;
        if numbers.is_empty() {
            return;
        }
        let mut taken = (0, 0);
        for gap in self.sparse.gaps(numbers.clone()) {
            taken.0 += gap.end - gap.start;
            taken.1 += self.lengths.sum(gap.start - self.settled - 1..gap.end - self.settled - 1);
            if done {
                self.told.untold.insert(gap);
            }
        }
        self.outcomes += taken.0;
        self.outcome_bytes += taken.1;
        self.advance(numbers);
    }

    fn advance(&mut self, numbers: Range<u64>) {
        let contiguous = numbers.start == self.settled + 1;
        let settled = if contiguous && self.sparse.is_empty() {
            numbers.end - 1
        } else {
            self.sparse.insert(numbers);
            self.sparse.first_gap(self.settled + 1) - 1
        };
        self.lengths.drop_front(narrow(settled - self.settled));
        self.settled = settled;
        self.sparse.forget_below(settled + 1);
        self.told.untold.forget_below(settled + 1);
    }
}

/// The length of each number above `settled` that was received.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    lengths: Vec<u32>,
    head: usize,
}

impl Lengths {
    #[inline]
    pub(super) fn push(&mut self, length: u32) {
        self.lengths.push(length);
    }

    fn sum(&self, places: Range<u64>) -> u64 {
        let places = self.head + narrow(places.start)..self.head + narrow(places.end);
        self.lengths.get(places).unwrap_or_default().iter().map(|length| u64::from(*length)).sum()
    }

    fn drop_front(&mut self, count: usize) {
        self.head += count;
        if self.head * 2 >= self.lengths.len() {
            self.lengths.drain(..self.head.min(self.lengths.len()));
            self.head = 0;
        }
    }
}
