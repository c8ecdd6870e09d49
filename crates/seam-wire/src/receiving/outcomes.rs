//! Each number's outcome, once.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::{Receiving, Record};

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
        self.lengths.drop_front(settled - self.settled);
        self.settled = settled;
        self.sparse.forget_below(settled + 1);
        self.told.untold.forget_below(settled + 1);
    }
}

/// The length of each number above `settled` that was received; neighbours of one length are a run.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    /// Length and count.
    runs: VecDeque<(u32, u64)>,
}

impl Lengths {
    #[inline]
    pub(super) fn push(&mut self, length: u32, count: u64) {
        match self.runs.back_mut() {
            Some((last, counted)) if *last == length => *counted += count,
            _ => self.runs.push_back((length, count)),
        }
    }

    fn sum(&self, places: Range<u64>) -> u64 {
        let (mut begin, mut sum) = (0, 0);
        for (length, count) in &self.runs {
            let end = begin + count;
            let (from, until) = (places.start.max(begin), places.end.min(end));
            sum += until.saturating_sub(from) * u64::from(*length);
            begin = end;
            if begin >= places.end {
                break;
            }
        }
        sum
    }

    fn drop_front(&mut self, mut count: u64) {
        while let Some((_, first)) = self.runs.front_mut() {
            let gone = count.min(*first);
            (*first, count) = (*first - gone, count - gone);
            if *first > 0 {
                return;
            }
            self.runs.pop_front();
        }
    }
}
