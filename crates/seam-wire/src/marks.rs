//! A set of numbers that lie close together, above a watermark: one bit each.

use std::collections::VecDeque;
use std::ops::Range;

/// Memory: one bit for each number from the lowest kept to the highest inserted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    /// Which word of 64 numbers is the front of `words`.
    base: u64,
    words: VecDeque<u64>,
}

impl Marks {
    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.word(number / 64) >> (number % 64) & 1 == 1
    }

    pub(crate) fn insert(&mut self, numbers: Range<u64>) {
        if !numbers.is_empty() {
            self.reach(numbers.start / 64, (numbers.end - 1) / 64);
            self.each_word(numbers, |word, mask| *word |= mask);
        }
    }

    pub(crate) fn remove(&mut self, numbers: Range<u64>) {
        self.each_word(numbers.start..numbers.end.min(self.end()), |word, mask| *word &= !mask);
    }

    /// Forgets all, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.words.clear();
    }

    /// Forgets all numbers below `number`.
    pub(crate) fn forget_below(&mut self, number: u64) {
        while self.base < number / 64 && self.words.pop_front().is_some() {
            self.base += 1;
        }
        if self.base == number / 64
            && let Some(word) = self.words.front_mut()
        {
            *word &= u64::MAX << (number % 64);
        }
    }

    /// The lowest number from `from` on that is absent.
    pub(crate) fn first_gap(&self, from: u64) -> u64 {
        let mut number = from;
        loop {
            let ones = (!(self.word(number / 64) >> (number % 64))).trailing_zeros();
            let rest = 64 - number % 64;
            if u64::from(ones) < rest {
                return number + u64::from(ones);
            }
            number += rest;
        }
    }

    /// The first run of numbers from `from` on that are present.
    pub(crate) fn next_run(&self, from: u64) -> Option<Range<u64>> {
        let end = self.end();
        let mut number = from.max(self.base * 64);
        while number < end {
            let zeros = (self.word(number / 64) >> (number % 64)).trailing_zeros();
            let rest = 64 - number % 64;
            if u64::from(zeros) < rest {
                let start = number + u64::from(zeros);
                return Some(start..self.first_gap(start));
            }
            number += rest;
        }
        None
    }

    /// The runs of `numbers` that are absent, in order.
    pub(crate) fn gaps(&self, numbers: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut from = numbers.start;
        std::iter::from_fn(move || {
            let start = if self.words.is_empty() { from } else { self.first_gap(from) };
            if start >= numbers.end {
                return None;
            }
            let end = self.next_run(start).map_or(numbers.end, |run| run.start.min(numbers.end));
            from = end;
            Some(start..end)
        })
    }

    /// Whether any of `numbers` is present.
    pub(crate) fn any(&self, numbers: Range<u64>) -> bool {
        !self.words.is_empty()
            && self.next_run(numbers.start).is_some_and(|run| run.start < numbers.end)
    }

    fn end(&self) -> u64 {
        (self.base + crate::number::wide(self.words.len())) * 64
    }

    fn word(&self, index: u64) -> u64 {
        let place = index.checked_sub(self.base).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| self.words.get(place)).copied().unwrap_or(0)
    }

    /// Makes room for these words and all between.
    fn reach(&mut self, first: u64, last: u64) {
        if self.words.is_empty() {
            self.base = first;
        }
        while first < self.base {
            self.words.push_front(0);
            self.base -= 1;
        }
        let words = crate::number::narrow(last - self.base) + 1;
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
    }

    fn each_word(&mut self, numbers: Range<u64>, mut change: impl FnMut(&mut u64, u64)) {
        let mut number = numbers.start.max(self.base * 64);
        while number < numbers.end {
            let next = (number / 64 + 1) * 64;
            let until = next.min(numbers.end);
            let ones = u64::MAX >> (64 - (until - number));
            if let Some(word) = self.words.get_mut(crate::number::narrow(number / 64 - self.base)) {
                change(word, ones << (number % 64));
            }
            number = until;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Marks;

    #[test]
    fn runs_and_gaps_agree_with_a_plain_set() {
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..20 {
            let (mut marks, mut plain, mut low) = (Marks::default(), BTreeSet::new(), 0);
            for _ in 0..50 {
                let start = low + random(300);
                let end = start + random(100);
                marks.insert(start..end);
                plain.extend(start..end);
                if random(5) == 0 {
                    low += random(150);
                    marks.forget_below(low);
                    plain.retain(|number| *number >= low);
                }
                if random(5) == 0 {
                    let start = low + random(300);
                    marks.remove(start..start + 10);
                    plain.retain(|number| !(start..start + 10).contains(number));
                }
                let absent: Vec<u64> = marks.gaps(low..low + 500).flatten().collect();
                let expected: Vec<u64> = (low..low + 500).filter(|n| !plain.contains(n)).collect();
                assert_eq!(absent, expected);
                for number in low..low + 500 {
                    assert_eq!(marks.contains(number), plain.contains(&number), "{number}");
                }
                assert_eq!(marks.any(start..end), plain.range(start..end).next().is_some());
                assert_eq!(marks.is_empty(), plain.is_empty());
            }
        }
    }
}
