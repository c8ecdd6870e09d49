//! How many messages a receiver asks for, so that they fit into its bytes: AMQP counts messages alone.

use crate::config::Config;

/// What fits, by the sizes that were seen.
pub(crate) struct Prefetch {
    credit: usize,
    bytes: usize,
    /// Of the messages that came, the later ones counting more.
    average: usize,
    /// What the broker was asked for.
    current: usize,
    /// Whether it is asked only once, since asking anew would hand the queue to somebody else.
    is_fixed: bool,
}

/// What is to become of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// It holds too much: it is to stop until that is handled.
    Pause,
    /// It could hold much more than it was given.
    Widen,
}

impl Prefetch {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            credit: config.credit.min(MOST),
            bytes: config.credit_bytes,
            average: FIRST_SIZE,
            current: 0,
            is_fixed: config.keeps_order,
        }
    }

    /// What the next consumer is to ask for.
    pub(crate) fn next(&mut self) -> u16 {
        self.current = self.fitting();
        u16::try_from(self.current).unwrap_or(u16::MAX)
    }

    fn fitting(&self) -> usize {
        (self.bytes / self.average).clamp(1, self.credit)
    }

    /// Messages of these sizes came.
    pub(crate) fn saw(&mut self, sizes: impl Iterator<Item = usize>) {
        for size in sizes {
            let size = size.max(LEAST_SIZE);
            self.average = (self.average * (WEIGHT - 1) + size).div_ceil(WEIGHT);
        }
    }

    /// What becomes of a consumer that holds so many messages and bytes.
    pub(crate) fn judge(&self, (held, bytes): (usize, usize)) -> Change {
        if self.is_fixed {
            Change::None
        } else if held > 1 && bytes > self.bytes.saturating_mul(2) {
            Change::Pause
        } else if held >= self.current && self.fitting() >= self.current.saturating_mul(2) {
            Change::Widen
        } else {
            Change::None
        }
    }

    /// Whether a consumer that stopped may go on.
    pub(crate) fn is_room(&self, (held, bytes): (usize, usize)) -> bool {
        held == 0 || bytes <= self.bytes / 2
    }
}

/// What AMQP counts a prefetch in.
const MOST: usize = 65_535;

/// What a message is taken for before any came, in bytes; and what the smallest one counts for.
const FIRST_SIZE: usize = 1 << 10;
const LEAST_SIZE: usize = 64;

/// How many messages it takes for the average to follow.
const WEIGHT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn prefetch(credit: usize, bytes: usize) -> Prefetch {
        Prefetch { credit, bytes, average: FIRST_SIZE, current: 0, is_fixed: false }
    }

    #[test]
    fn it_begins_with_what_fits_and_no_more_than_the_credit() {
        assert_eq!(prefetch(4096, 1 << 20).next(), 1024);
        assert_eq!(prefetch(50, 1 << 20).next(), 50);
        assert_eq!(prefetch(4096, 1).next(), 1);
        assert_eq!(prefetch(1_000_000, usize::MAX).next(), 65_535);
    }

    #[test]
    fn large_messages_stop_it_and_leave_it_smaller() {
        let mut prefetch = prefetch(4096, 1 << 20);
        prefetch.next();
        prefetch.saw(std::iter::repeat_n(1 << 20, 100));
        assert_eq!(prefetch.judge((100, 100 << 20)), Change::Pause);
        assert!(!prefetch.is_room((2, 2 << 20)));
        assert!(prefetch.is_room((0, 0)));
        assert_eq!(prefetch.next(), 1);
        assert_eq!(prefetch.judge((1, 64 << 20)), Change::None);
    }

    #[test]
    fn small_messages_widen_it_once_it_is_full() {
        let mut prefetch = prefetch(4096, 1 << 20);
        prefetch.next();
        prefetch.saw(std::iter::repeat_n(100, 200));
        assert_eq!(prefetch.judge((1000, 100_000)), Change::None);
        assert_eq!(prefetch.judge((1024, 102_400)), Change::Widen);
        assert_eq!(prefetch.next(), 4096);
        assert_eq!(prefetch.judge((4096, 409_600)), Change::None);
    }

    #[test]
    fn what_keeps_order_is_left_alone() {
        let mut prefetch = Prefetch { is_fixed: true, ..prefetch(4096, 1 << 20) };
        prefetch.next();
        prefetch.saw(std::iter::repeat_n(1 << 20, 100));
        assert_eq!(prefetch.judge((100, 100 << 20)), Change::None);
    }
}
