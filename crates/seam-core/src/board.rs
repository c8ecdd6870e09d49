//! Where verdicts meet: one board for each batch of deliveries, shared by whoever settles and the
//! driver that harvests.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::lock;
use crate::shared::Shared;
use crate::{Error, Peer};

/// Told when something on a board may be harvested; written by the driver that filled the batch.
pub trait Harvester: Send + Sync + 'static {
    /// Verdicts were written. `urgent` where one of them is no acknowledgement: a retry or a drop that
    /// somebody else may be waiting for. Acknowledgements may be left until they are needed.
    ///
    /// Called on the thread that settles; must not wait.
    fn settled(&self, board: &Arc<Board>, urgent: bool);
}

/// The verdicts on one batch of deliveries. Any task settles any of them at any time with one atomic
/// operation; the driver takes them over in ranges.
pub struct Board {
    len: u32,
    token: u64,
    words: Vec<AtomicU64>,
    marked: AtomicBool,
    revoked_any: AtomicBool,
    retries: Mutex<Vec<(u32, Duration)>>,
    revoked: Mutex<Vec<Waker>>,
    harvester: Option<Arc<dyn Harvester>>,
    peer: OnceLock<Arc<Peer>>,
    shared: OnceLock<Arc<Shared>>,
}

/// The three bits of each delivery, in words of their own.
#[derive(Clone, Copy)]
enum Bit {
    Done,
    Dropped,
    Lost,
}

/// What a driver takes over from a board; reusable.
#[derive(Debug, Default)]
pub struct Harvest {
    /// Acknowledged or discarded, in rising order.
    pub done: Vec<Range<u32>>,
    /// Dropped without a verdict: to be delivered again, at once.
    pub dropped: Vec<Range<u32>>,
    /// To be delivered again, not before this delay.
    pub retried: Vec<(u32, Duration)>,
}

impl Harvest {
    /// Whether there was nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.done.is_empty() && self.dropped.is_empty() && self.retried.is_empty()
    }
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            len: 0,
            token: 0,
            words: Vec::new(),
            marked: AtomicBool::new(false),
            revoked_any: AtomicBool::new(false),
            retries: Mutex::default(),
            revoked: Mutex::default(),
            harvester: None,
            peer: OnceLock::new(),
            shared: OnceLock::new(),
        }
    }

    /// Makes it the board of `len` new deliveries.
    pub(crate) fn reset(&mut self, len: u32, token: u64, harvester: Arc<dyn Harvester>) {
        let words = 3 * word_count(len);
        self.words.truncate(words);
        self.words.iter_mut().for_each(|word| *word.get_mut() = 0);
        self.words.resize_with(words, || AtomicU64::new(0));
        (self.len, self.token) = (len, token);
        (*self.marked.get_mut(), *self.revoked_any.get_mut()) = (false, false);
        self.harvester = Some(harvester);
        (self.peer, self.shared) = (OnceLock::new(), OnceLock::new());
        self.retries.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
        self.revoked.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    /// For drivers: the number given to [`Deliveries::begin`](crate::Deliveries::begin).
    #[must_use]
    pub fn token(&self) -> u64 {
        self.token
    }

    /// For drivers: how many deliveries it covers.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether it covers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// For drivers: notes that there is something to harvest; whether that is news since the last harvest.
    /// So a driver that harvests later enlists a board once, however much is settled on it.
    #[must_use]
    pub fn mark(&self) -> bool {
        // Looking first is cheaper, and mostly enough.
        !self.marked.load(Ordering::SeqCst) && !self.marked.swap(true, Ordering::SeqCst)
    }

    /// For drivers: takes over everything settled since the last call. Each delivery is reported once.
    pub fn harvest(&self, into: &mut Harvest) {
        // First, so that whatever is settled from here on is news.
        self.marked.store(false, Ordering::SeqCst);
        into.done.clear();
        into.dropped.clear();
        into.retried.clear();
        self.take_ranges(Bit::Done, &mut into.done);
        self.take_ranges(Bit::Dropped, &mut into.dropped);
        let mut retries = lock(&self.retries);
        if !retries.is_empty() {
            into.retried.append(&mut retries);
        }
    }

    /// For drivers: the deliveries are no longer to be settled here. Their duties learn it, and a verdict
    /// after this is refused with [`Error::LeaseLost`].
    pub fn revoke(&self, deliveries: Range<u32>) {
        self.revoke_unheard(deliveries).into_iter().for_each(Waker::wake);
    }

    /// As [`Board::revoke`], for a caller that holds a lock: whom to wake once it is gone.
    pub(crate) fn revoke_unheard(&self, deliveries: Range<u32>) -> Vec<Waker> {
        self.revoked_any.store(true, Ordering::SeqCst);
        for index in deliveries {
            self.set(Bit::Lost, index);
        }
        std::mem::take(&mut *lock(&self.revoked))
    }

    /// For drivers: whether anything was ever revoked on it.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoked_any.load(Ordering::SeqCst)
    }

    /// For drivers: the peer that all of these deliveries come from. Said once, before `receive` returns.
    pub fn set_peer(&self, peer: Arc<Peer>) {
        // A second word on the same board would be a driver's fault; the first one stands.
        self.peer.get_or_init(|| peer);
    }

    pub(crate) fn attach(&self, shared: &Arc<Shared>) {
        self.shared.get_or_init(|| shared.clone());
    }

    pub(crate) fn peer(&self) -> Option<&Arc<Peer>> {
        self.peer.get()
    }

    pub(crate) fn shared(&self) -> Option<&Arc<Shared>> {
        self.shared.get()
    }

    pub(crate) fn is_lost(&self, index: u32) -> bool {
        let (word, mask) = place(index);
        let word = &self.words[self.base(Bit::Lost) + word];
        word.load(Ordering::Acquire) & mask != 0
    }

    pub(crate) fn poll_lost(&self, index: u32, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_lost(index) {
            return Poll::Ready(());
        }
        let mut wakers = lock(&self.revoked);
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        drop(wakers);
        if self.is_lost(index) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Marks one as done, whoever still holds the lease.
    pub(crate) fn done(self: &Arc<Self>, index: u32) -> Result<(), Error> {
        if self.is_lost(index) {
            return Err(Error::LeaseLost);
        }
        self.set(Bit::Done, index);
        self.tell(false);
        Ok(())
    }

    pub(crate) fn retry(self: &Arc<Self>, index: u32, after: Duration) -> Result<(), Error> {
        if self.is_lost(index) {
            return Err(Error::LeaseLost);
        }
        lock(&self.retries).push((index, after));
        self.tell(true);
        Ok(())
    }

    pub(crate) fn dropped(self: &Arc<Self>, index: u32) {
        if !self.is_lost(index) {
            self.set(Bit::Dropped, index);
            self.tell(true);
        }
    }

    /// Publishes what a container settled: words of done and of dropped deliveries.
    pub(crate) fn publish(
        self: &Arc<Self>,
        words: impl Iterator<Item = (u64, u64)>,
        retries: &mut Vec<(u32, Duration)>,
    ) {
        let mut urgent = !retries.is_empty();
        for (at, (done, dropped)) in words.enumerate() {
            if done != 0 {
                self.words[self.base(Bit::Done) + at].fetch_or(done, Ordering::SeqCst);
            }
            if dropped != 0 {
                urgent = true;
                self.words[self.base(Bit::Dropped) + at].fetch_or(dropped, Ordering::SeqCst);
            }
        }
        if urgent {
            lock(&self.retries).append(retries);
        }
        self.tell(urgent);
    }

    fn tell(self: &Arc<Self>, urgent: bool) {
        if let Some(harvester) = &self.harvester {
            harvester.settled(self, urgent);
        }
    }

    fn base(&self, bit: Bit) -> usize {
        let words = self.words.len() / 3;
        match bit {
            Bit::Done => 0,
            Bit::Dropped => words,
            Bit::Lost => 2 * words,
        }
    }

    /// Sequentially consistent, so that a driver that looks for verdicts before it sleeps either sees
    /// this one or is seen to be asleep.
    fn set(&self, bit: Bit, index: u32) {
        let (word, mask) = place(index);
        self.words[self.base(bit) + word].fetch_or(mask, Ordering::SeqCst);
    }

    fn take_ranges(&self, bit: Bit, into: &mut Vec<Range<u32>>) {
        let base = self.base(bit);
        let words = &self.words[base..base + self.words.len() / 3];
        for (at, word) in words.iter().enumerate() {
            if word.load(Ordering::SeqCst) == 0 {
                continue;
            }
            let start = crate::batch::count(at * 64);
            push_ranges(word.swap(0, Ordering::SeqCst), start, into);
        }
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").field("len", &self.len).field("token", &self.token).finish()
    }
}

/// Appends the runs of set bits, joined to the last range where they touch.
fn push_ranges(mut bits: u64, start: u32, into: &mut Vec<Range<u32>>) {
    while bits != 0 {
        let first = bits.trailing_zeros();
        let length = (bits >> first).trailing_ones();
        let range = start + first..start + first + length;
        match into.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => into.push(range),
        }
        let upto = first + length;
        bits = if upto == 64 { 0 } else { bits >> upto << upto };
    }
}

pub(crate) fn word_count(len: u32) -> usize {
    usize::try_from(len.div_ceil(64)).unwrap_or(usize::MAX)
}

/// The word of an index, and its bit.
pub(crate) fn place(index: u32) -> (usize, u64) {
    (usize::try_from(index / 64).unwrap_or(usize::MAX), 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Urgencies(Mutex<Vec<bool>>);

    impl Harvester for Urgencies {
        fn settled(&self, _: &Arc<Board>, urgent: bool) {
            lock(&self.0).push(urgent);
        }
    }

    fn board(len: u32) -> (Arc<Board>, Arc<Urgencies>) {
        let told = Arc::new(Urgencies::default());
        let mut board = Board::new();
        board.reset(len, 9, told.clone());
        (Arc::new(board), told)
    }

    #[test]
    fn ranges_join_across_words() {
        let mut ranges = Vec::new();
        push_ranges(u64::MAX, 0, &mut ranges);
        push_ranges(0b1011, 64, &mut ranges);
        push_ranges(1 << 63, 128, &mut ranges);
        assert_eq!(ranges, [0..66, 67..68, 191..192]);
    }

    #[test]
    fn each_verdict_is_harvested_once() {
        let (board, told) = board(130);
        board.done(0).unwrap();
        board.done(129).unwrap();
        board.dropped(5);
        board.retry(7, Duration::from_secs(1)).unwrap();
        let mut harvest = Harvest::default();
        board.harvest(&mut harvest);
        assert_eq!(harvest.done, [0..1, 129..130]);
        assert_eq!(harvest.dropped.first(), Some(&(5..6)));
        assert_eq!(harvest.retried, [(7, Duration::from_secs(1))]);
        board.harvest(&mut harvest);
        assert!(harvest.is_empty());
        assert_eq!(*lock(&told.0), [false, false, true, true]);
    }

    #[test]
    fn a_revoked_delivery_refuses_its_verdict() {
        let (board, _) = board(3);
        board.revoke(1..2);
        assert!(matches!(board.done(1), Err(Error::LeaseLost)));
        assert!(board.done(2).is_ok());
        board.dropped(1);
        let mut harvest = Harvest::default();
        board.harvest(&mut harvest);
        assert_eq!(harvest.done.first(), Some(&(2..3)));
        assert!(harvest.dropped.is_empty());
    }
}
