//! How many messages a receiver asks for: so many that they fit into its bytes, since AMQP counts messages alone; and one
//! alone where it may be on its last attempt.
//!
//! A quorum queue counts as an attempt whatever was fetched and comes back, seen or not. So what is on its last attempt is
//! fetched with nothing beside it. That is known only once it is there; so a consumer begins with one, and goes on with
//! more once it has seen that what comes has attempts left. What comes on its last attempt among many gives way: it is
//! sent to the end of the queue, uncounted, and the consumer goes back to one.

use crate::config::Config;

/// What fits, by the sizes and the attempts that were seen.
pub(crate) struct Prefetch {
    credit: usize,
    bytes: usize,
    /// Of the messages that came, the later ones counting more.
    average: usize,
    /// What the broker was asked for.
    current: usize,
    /// Whether it is asked only once, since asking anew would hand the queue to somebody else.
    is_fixed: bool,
    /// How many attempts were made of what is to travel alone, if anything is.
    last: Option<u32>,
    /// Whether the broker was asked for one, so that nothing comes beside what is on its last attempt.
    is_alone: bool,
    /// How many came in a row that were not on their last attempt, and how many it takes to ask for more.
    calm: usize,
    enough: usize,
}

/// What is to become of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// It holds too much, or what is to be alone: it is to stop until that is handled.
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
            last: config.last_attempt(),
            is_alone: true,
            calm: 0,
            enough: 1,
        }
    }

    /// A channel begins: what the one before had fetched may have lost an attempt.
    pub(crate) fn begin(&mut self) {
        (self.is_alone, self.calm) = (true, 0);
    }

    /// What the next consumer is to ask for.
    pub(crate) fn next(&mut self) -> u16 {
        let is_alone = self.is_cautious();
        if is_alone && !self.is_alone {
            // What gave way comes behind all that waits. As long as something does, that takes twice as long to be met
            // alone, so it is met at last.
            self.enough = self.enough.saturating_mul(2).min(MOST);
        }
        self.is_alone = is_alone;
        self.current = if is_alone { 1 } else { self.fitting() };
        u16::try_from(self.current).unwrap_or(u16::MAX)
    }

    fn fitting(&self) -> usize {
        (self.bytes / self.average).clamp(1, self.credit)
    }

    /// Whether what comes next may be on its last attempt.
    fn is_cautious(&self) -> bool {
        self.last.is_some() && self.calm < self.enough
    }

    /// A message of this size came, of which so many attempts were made. Whether it is to give way.
    pub(crate) fn saw(&mut self, size: usize, attempts: u32) -> bool {
        let size = size.max(LEAST_SIZE);
        self.average = (self.average * (WEIGHT - 1) + size).div_ceil(WEIGHT);
        let Some(last) = self.last else { return false };
        self.calm = if attempts < last { self.calm.saturating_add(1) } else { 0 };
        if self.calm > MOST {
            self.enough = 1;
        }
        attempts == last && !self.is_alone
    }

    /// What becomes of a consumer that holds so many messages and bytes.
    pub(crate) fn judge(&self, (held, bytes): (usize, usize)) -> Change {
        let is_cautious = self.is_cautious();
        if self.is_fixed || (is_cautious && self.is_alone) {
            Change::None
        } else if is_cautious || (held > 1 && bytes > self.bytes.saturating_mul(2)) {
            Change::Pause
        } else if held >= self.current && self.fitting() >= self.current.saturating_mul(2) {
            Change::Widen
        } else {
            Change::None
        }
    }

    /// Whether a consumer that stopped may go on.
    pub(crate) fn is_room(&self, (held, bytes): (usize, usize)) -> bool {
        held == 0 || (!self.is_cautious() && bytes <= self.bytes / 2)
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
        Prefetch {
            credit,
            bytes,
            average: FIRST_SIZE,
            current: 0,
            is_fixed: false,
            last: None,
            is_alone: true,
            calm: 0,
            enough: 1,
        }
    }

    /// One whose messages are tried three times.
    fn limited() -> Prefetch {
        Prefetch { last: Some(2), ..prefetch(4096, 1 << 20) }
    }

    fn saw(prefetch: &mut Prefetch, size: usize, count: usize) {
        for _ in 0..count {
            assert!(!prefetch.saw(size, 0));
        }
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
        saw(&mut prefetch, 1 << 20, 100);
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
        saw(&mut prefetch, 100, 200);
        assert_eq!(prefetch.judge((1000, 100_000)), Change::None);
        assert_eq!(prefetch.judge((1024, 102_400)), Change::Widen);
        assert_eq!(prefetch.next(), 4096);
        assert_eq!(prefetch.judge((4096, 409_600)), Change::None);
    }

    #[test]
    fn what_keeps_order_is_left_alone() {
        let mut prefetch = Prefetch { is_fixed: true, ..prefetch(4096, 1 << 20) };
        prefetch.next();
        saw(&mut prefetch, 1 << 20, 100);
        assert_eq!(prefetch.judge((100, 100 << 20)), Change::None);
    }

    #[test]
    fn with_a_limit_it_begins_with_one_and_widens_once_that_has_attempts_left() {
        let mut prefetch = limited();
        assert_eq!(prefetch.next(), 1);
        assert!(!prefetch.saw(100, 1));
        assert_eq!(prefetch.judge((1, 100)), Change::Widen);
        assert!(prefetch.next() > 1000);
        assert!(!prefetch.saw(100, 0));
        assert_eq!(prefetch.judge((2, 200)), Change::None);
    }

    #[test]
    fn what_is_on_its_last_attempt_comes_alone() {
        let mut prefetch = limited();
        assert_eq!(prefetch.next(), 1);
        for attempts in [2, 2, 3, 2] {
            assert!(!prefetch.saw(100, attempts), "it is alone");
            assert_eq!(prefetch.judge((1, 100)), Change::None);
        }
        assert!(!prefetch.saw(100, 0));
        assert_eq!(prefetch.judge((1, 100)), Change::Widen);
    }

    #[test]
    fn where_one_attempt_is_all_it_asks_for_one_for_ever() {
        let mut prefetch = Prefetch { last: Some(0), ..limited() };
        assert_eq!(prefetch.next(), 1);
        for _ in 0..100 {
            assert!(!prefetch.saw(100, 0));
            assert_eq!(prefetch.judge((1, 100)), Change::None);
        }
        assert_eq!(prefetch.next(), 1);
    }

    #[test]
    fn a_last_attempt_among_many_gives_way_and_the_next_consumer_has_one() {
        let mut prefetch = limited();
        prefetch.next();
        prefetch.saw(100, 0);
        assert!(prefetch.next() > 1);
        assert!(prefetch.saw(100, 2), "it is among others");
        assert!(!prefetch.saw(100, 3), "what has no attempt left is given up, and seen by nobody");
        assert_eq!(prefetch.judge((3, 300)), Change::Pause);
        assert!(!prefetch.is_room((1, 100)), "what was fetched is handled first");
        assert!(prefetch.is_room((0, 0)));
        assert_eq!(prefetch.next(), 1);
    }

    #[test]
    fn each_time_something_gives_way_it_takes_twice_as_many_to_widen() {
        let mut prefetch = limited();
        for enough in [1, 2, 4, 8] {
            assert_eq!(prefetch.next(), 1);
            for count in 1..=enough {
                assert!(!prefetch.saw(100, 1));
                let change = if count < enough { Change::None } else { Change::Widen };
                assert_eq!(prefetch.judge((1, 100)), change, "{count} of {enough}");
            }
            assert!(prefetch.next() > 1);
            assert!(prefetch.saw(100, 2));
        }
        // Which is forgotten once there were none for long.
        saw(&mut prefetch, 100, 70_000);
        assert!(prefetch.next() > 1 && prefetch.saw(100, 2));
        assert_eq!(prefetch.next(), 1);
        saw(&mut prefetch, 100, 2);
        assert_eq!(prefetch.judge((1, 100)), Change::Widen);
    }

    #[test]
    fn a_new_channel_begins_with_one() {
        let mut prefetch = limited();
        prefetch.next();
        prefetch.saw(100, 0);
        assert!(prefetch.next() > 1);
        prefetch.begin();
        assert_eq!(prefetch.next(), 1);
        prefetch.saw(100, 0);
        assert_eq!(prefetch.judge((1, 100)), Change::Widen);
    }
}
