//! How many polls a receiver has under way, and for how much. No client is touched here.
//!
//! While nobody waits for a delivery nobody polls, so an idle receiver costs a call every twenty seconds and one whose
//! program is busy costs none. A poll that comes back full says that there is more: then one more polls at a time, and
//! ahead of the program.

/// Decides when to poll.
pub(crate) struct Polling {
    credit: usize,
    credit_bytes: usize,
    /// Polls that may be under way.
    most: usize,
    running: usize,
    /// What those under way may bring.
    asked: usize,
    /// What a delivery weighs, by those that came last.
    average: usize,
    /// Whether the last poll was full.
    is_busy: bool,
}

/// What a receiver has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stock {
    /// Deliveries to hand out.
    pub(crate) ready: usize,
    /// Not settled, in whoever's hand.
    pub(crate) held: usize,
    pub(crate) held_bytes: usize,
    /// Whether somebody waits for a delivery.
    pub(crate) is_awaited: bool,
}

impl Polling {
    pub(crate) fn new(credit: usize, credit_bytes: usize) -> Self {
        let (running, asked, average) = (0, 0, FIRST_SIZE);
        Self { credit, credit_bytes, most: 1, running, asked, average, is_busy: false }
    }

    /// For how many deliveries to poll now, if at all. The poll is under way until [`Polling::ended`].
    pub(crate) fn begin(&mut self, stock: Stock) -> Option<usize> {
        let is_hungry = stock.is_awaited && self.running == 0;
        let is_ahead = self.is_busy && stock.ready + self.asked < self.most * FULL;
        if !(is_hungry || is_ahead) || self.running >= self.most {
            return None;
        }
        let under_way = stock.held + self.asked;
        let bytes = stock.held_bytes + self.asked * self.average;
        if under_way > 0 && bytes >= self.credit_bytes {
            return None;
        }
        let fitting = (self.credit_bytes.saturating_sub(bytes) / self.average).max(1);
        let count = FULL.min(self.credit.saturating_sub(under_way)).min(fitting);
        if count == 0 {
            return None;
        }
        self.running += 1;
        self.asked += count;
        Some(count)
    }

    /// A poll for `asked` has brought `came` deliveries of so many bytes.
    pub(crate) fn ended(&mut self, asked: usize, came: usize, bytes: usize) {
        self.running -= 1;
        self.asked -= asked;
        self.is_busy = came == asked;
        match came {
            0 => self.most = 1,
            _ if self.is_busy => self.most = (self.most + 1).min(MOST_POLLS),
            _ => self.most = (self.most - 1).max(1),
        }
        if let Some(size) = bytes.checked_div(came) {
            self.average = (self.average + size).div_ceil(2).max(1);
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.running == 0
    }
}

/// What a poll brings at most.
const FULL: usize = 10;

const MOST_POLLS: usize = 10;

/// What a delivery is taken for before any came, in bytes.
const FIRST_SIZE: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn hungry() -> Stock {
        Stock { is_awaited: true, ..Stock::default() }
    }

    #[test]
    fn nobody_polls_while_nobody_waits() {
        let mut polling = Polling::new(4096, 1 << 20);
        assert_eq!(polling.begin(Stock::default()), None);
        assert_eq!(polling.begin(hungry()), Some(10));
        assert_eq!(polling.begin(hungry()), None, "one poll is enough where nothing comes");
        polling.ended(10, 3, 30);
        assert_eq!(polling.begin(Stock { ready: 3, held: 3, ..Stock::default() }), None);
    }

    #[test]
    fn polls_grow_with_what_comes_and_shrink_without() {
        let mut polling = Polling::new(4096, 1 << 20);
        assert_eq!(polling.begin(hungry()), Some(10));
        polling.ended(10, 10, 100);
        let stock = Stock { ready: 10, held: 10, held_bytes: 100, is_awaited: false };
        assert_eq!(polling.begin(stock), Some(10));
        assert_eq!(polling.begin(stock), None, "enough is under way");
        polling.ended(10, 10, 100);
        assert_eq!(polling.most, 3);
        polling.begin(hungry());
        polling.ended(10, 0, 0);
        assert_eq!(polling.most, 1);
        assert_eq!(polling.begin(Stock::default()), None);
    }

    #[test]
    fn polls_stop_at_the_credit() {
        let mut polling = Polling::new(4, 1 << 20);
        assert_eq!(polling.begin(Stock { held: 1, ..hungry() }), Some(3));
        polling.ended(3, 3, 30);
        assert_eq!(polling.begin(Stock { held: 4, ..hungry() }), None);
        let mut polling = Polling::new(4096, 1000);
        assert_eq!(polling.begin(Stock { held: 1, held_bytes: 1000, ..hungry() }), None);
        assert_eq!(polling.begin(hungry()), Some(1), "one always fits");
    }
}
