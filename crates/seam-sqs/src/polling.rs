//! How many polls a receiver has under way, and for how much. No client is touched here.
//!
//! While nobody waits for a delivery nobody polls, so an idle receiver costs a call every twenty seconds and one whose
//! program is busy costs none. A poll that comes back full says that there is more: then one more polls at a time, and
//! ahead of the program.

/// Decides when to poll.
pub(crate) struct Polling {
    credit: usize,
    credit_bytes: usize,
    /// What `most` never exceeds.
    ceiling: usize,
    /// Polls that may be under way.
    most: usize,
    running: usize,
    /// What messages those under way may bring.
    asked: usize,
    /// How many deliveries a message is, by those that came last: a pack is many.
    deliveries: usize,
    /// What a message weighs, by those that came last.
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
    /// At most `ceiling` polls at once, as long as nothing exceeds the credit.
    pub(crate) fn new(ceiling: usize, credit: usize, credit_bytes: usize) -> Self {
        let (running, asked, deliveries, average) = (0, 0, 1, FIRST_SIZE);
        let (most, is_busy) = (1, false);
        Self { credit, credit_bytes, ceiling, most, running, asked, deliveries, average, is_busy }
    }

    /// For how many messages to poll now, if at all. The poll is under way until [`Polling::ended`].
    pub(crate) fn begin(&mut self, stock: Stock) -> Option<usize> {
        let is_hungry = stock.is_awaited && self.running == 0;
        let ahead = stock.ready + self.asked * self.deliveries;
        let is_ahead = self.is_busy && ahead < self.most * FULL * self.deliveries;
        if !(is_hungry || is_ahead) || self.running >= self.most {
            return None;
        }
        let under_way = stock.held + self.asked * self.deliveries;
        let bytes = stock.held_bytes + self.asked * self.average;
        if under_way > 0 && bytes >= self.credit_bytes {
            return None;
        }
        let fitting = (self.credit_bytes.saturating_sub(bytes) / self.average).max(1);
        let room = self.credit.saturating_sub(under_way);
        if room == 0 {
            return None;
        }
        let count = FULL.min((room / self.deliveries).max(1)).min(fitting);
        self.running += 1;
        self.asked += count;
        Some(count)
    }

    /// A poll for `asked` has brought messages of so many deliveries and bytes.
    pub(crate) fn ended(&mut self, asked: usize, messages: impl Iterator<Item = (usize, usize)>) {
        let add = |(came, deliveries, bytes), message: (usize, usize)| {
            (came + 1, deliveries + message.0, bytes + message.1)
        };
        let (came, deliveries, bytes) = messages.fold((0_usize, 0_usize, 0_usize), add);
        self.running -= 1;
        self.asked -= asked;
        self.is_busy = came == asked;
        match came {
            0 => self.most = 1,
            _ if self.is_busy => self.most = (self.most + 1).min(self.ceiling),
            _ => self.most = (self.most - 1).max(1),
        }
        if let (Some(size), Some(each)) = (bytes.checked_div(came), deliveries.checked_div(came)) {
            self.average = (self.average + size).div_ceil(2).max(1);
            self.deliveries = (self.deliveries + each) / 2;
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.running == 0
    }
}

/// What a poll brings at most.
const FULL: usize = 10;

/// What a delivery is taken for before any came, in bytes.
const FIRST_SIZE: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn hungry() -> Stock {
        Stock { is_awaited: true, ..Stock::default() }
    }

    fn messages(count: usize) -> impl Iterator<Item = (usize, usize)> {
        std::iter::repeat_n((1, 10), count)
    }

    #[test]
    fn nobody_polls_while_nobody_waits() {
        let mut polling = Polling::new(10, 4096, 1 << 20);
        assert_eq!(polling.begin(Stock::default()), None);
        assert_eq!(polling.begin(hungry()), Some(10));
        assert_eq!(polling.begin(hungry()), None, "one poll is enough where nothing comes");
        polling.ended(10, messages(3));
        assert_eq!(polling.begin(Stock { ready: 3, held: 3, ..Stock::default() }), None);
    }

    #[test]
    fn polls_grow_with_what_comes_and_shrink_without() {
        let mut polling = Polling::new(10, 4096, 1 << 20);
        assert_eq!(polling.begin(hungry()), Some(10));
        polling.ended(10, messages(10));
        let stock = Stock { ready: 10, held: 10, held_bytes: 100, is_awaited: false };
        assert_eq!(polling.begin(stock), Some(10));
        assert_eq!(polling.begin(stock), None, "enough is under way");
        polling.ended(10, messages(10));
        assert_eq!(polling.most, 3);
        polling.begin(hungry());
        polling.ended(10, messages(0));
        assert_eq!(polling.most, 1);
        assert_eq!(polling.begin(Stock::default()), None);
    }

    #[test]
    fn polls_stop_at_their_ceiling() {
        let mut polling = Polling::new(1, 4096, 1 << 20);
        for _ in 0..3 {
            assert_eq!(polling.begin(hungry()), Some(10));
            assert_eq!(polling.begin(hungry()), None);
            polling.ended(10, messages(10));
        }
    }

    #[test]
    fn polls_stop_at_the_credit() {
        let mut polling = Polling::new(10, 4, 1 << 20);
        assert_eq!(polling.begin(Stock { held: 1, ..hungry() }), Some(3));
        polling.ended(3, messages(3));
        assert_eq!(polling.begin(Stock { held: 4, ..hungry() }), None);
        let mut polling = Polling::new(10, 4096, 1000);
        assert_eq!(polling.begin(Stock { held: 1, held_bytes: 1000, ..hungry() }), None);
        assert_eq!(polling.begin(hungry()), Some(1), "one always fits");
    }

    #[test]
    fn packs_count_as_what_they_hold() {
        let mut polling = Polling::new(10, 4096, 16 << 20);
        for _ in 0..10 {
            let asked = polling.begin(hungry()).unwrap();
            polling.ended(asked, std::iter::repeat_n((600, 60_000), asked));
        }
        let asked = polling.begin(Stock { held: 1200, ..hungry() });
        assert_eq!(asked, Some((4096 - 1200) / polling.deliveries));
        assert!((590..=600).contains(&polling.deliveries), "{}", polling.deliveries);
        assert_eq!(polling.begin(Stock { held: 4000, ..hungry() }), None);
    }
}
