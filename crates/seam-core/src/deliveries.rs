//! Deliveries on their way in: a reusable container that lends each one.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::batch::count;
use crate::board::{Board, Harvester, place, word_count};
use crate::delivery::Verdict;
use crate::event::add;
use crate::packed::{Framing, Packed, Spot, Spots};
use crate::shared::Shared;
use crate::telemetry::{self, Operation};
use crate::{Datagram, Datagrams, Delivery, Error, Peer, Position, Result, Value, View};

/// What a delivery says beside its datagram. Absent where there is nothing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Whether an earlier attempt may have been finished without our knowing.
    pub possible_duplicate: bool,
    /// Where the broker has it.
    pub position: Option<Position>,
    /// What the broker added, by its own names.
    pub native: Natives,
}

/// Names and values that a broker added. The first needs no memory of its own.
pub type Natives = SmallVec<[(Cow<'static, str>, Value); 1]>;

impl Note {
    /// The note of attempt number `attempt`, from 1, with nothing else to say; its fields can be set.
    #[must_use]
    #[inline]
    pub fn attempt(attempt: u32) -> Self {
        Self { attempt, ..first() }
    }
}

impl Default for Note {
    /// A first attempt, of which the broker says nothing.
    fn default() -> Self {
        first()
    }
}

pub(crate) static FIRST: Note = first();

const fn first() -> Note {
    Note { attempt: 1, possible_duplicate: false, position: None, native: Natives::new_const() }
}

/// A reusable container of deliveries. [`Receiver::receive`](crate::Receiver::receive) fills it, then
/// it lends each delivery in turn. What it is made of inside may change.
///
/// What was settled is published, in one go, by the next `receive`, by [`Deliveries::publish`] or by
/// dropping the container. A delivery that was neither settled nor taken by then counts as dropped and
/// comes again.
///
/// ```
/// # use seam_core::{Datagram, Deliveries, Memory, Registry, VirtualClock};
/// # let clock = VirtualClock::new();
/// # clock.clone().block_on(async {
/// # let registry = Registry::new().with(Memory::new()).with_clock(clock);
/// let mut receiver = registry.receiver("memory://orders").await?;
/// let sender = registry.sender("memory://orders").await?;
/// sender.send(Datagram::new("12 apples")).await?;
///
/// let mut deliveries = Deliveries::new();
/// if receiver.receive(256, &mut deliveries).await? {
///     while let Some(delivery) = deliveries.lend() {
///         assert_eq!(delivery.view().payload(), Some(&b"12 apples"[..]));
///         delivery.ack();
///     }
/// }
/// # Ok::<(), seam_core::Error>(()) }).unwrap();
/// ```
#[derive(Default)]
pub struct Deliveries {
    items: Vec<Datagram>,
    /// Where the driver lends what it holds itself; `items` is then empty.
    shared: Option<(Arc<Datagrams>, Range<usize>)>,
    /// Where that lies one behind the other; `items` and `shared` are then empty.
    stretch: Option<Stretch>,
    notes: Vec<(u32, Note)>,
    next: usize,
    /// Whether lending must look: some may have expired, or were taken already.
    sparse: bool,
    done: Vec<u64>,
    gone: Vec<u64>,
    retries: Vec<(u32, Duration)>,
    board: Option<Arc<Board>>,
    /// Whether something may be settled that is not published.
    unpublished: bool,
}

/// Datagrams one behind the other, read one after the other.
struct Stretch {
    buffer: Buffer,
    framing: Framing,
    /// Where the next one begins.
    next: usize,
    count: usize,
    /// The one that was lent last.
    current: Spot,
}

enum Buffer {
    Admitted(Arc<Datagrams>),
    Read(Bytes),
}

impl Deliveries {
    /// An empty container.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Deliveries not yet lent, those included that [`Deliveries::lend`] will find expired.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count() - self.next
    }

    /// Whether everything was lent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lends the next delivery; `None` once all were lent. One that has expired meanwhile is discarded,
    /// counted and passed over.
    #[inline]
    pub fn lend(&mut self) -> Option<Lent<'_>> {
        let Some(stretch) = &mut self.stretch else { return self.lend_item() };
        if self.next >= stretch.count {
            return None;
        }
        stretch.step();
        let at = self.next;
        self.next += 1;
        Some(Lent { index: count(at), deliveries: self })
    }

    fn lend_item(&mut self) -> Option<Lent<'_>> {
        while self.next < self.count() {
            let at = self.next;
            self.next += 1;
            if !(self.sparse && self.skips(at)) {
                return Some(Lent { index: count(at), deliveries: self });
            }
        }
        None
    }

    /// The datagrams not yet lent, in order, to look at before settling them as a whole.
    pub fn views(&self) -> impl Iterator<Item = View<'_>> {
        let places = self.next..self.count();
        let (spots, places) = match &self.stretch {
            Some(Stretch { buffer, framing, next, .. }) => {
                let (bytes, offset, left) = (buffer.bytes(), *next, places.len());
                (Some(Spots { framing: *framing, bytes, offset, left }), 0..0)
            }
            None => (None, places),
        };
        let items = places.filter(|at| !self.is_gone(*at)).map(|at| self.view(at));
        spots.into_iter().flatten().chain(items)
    }

    /// Acknowledges every delivery not yet lent, and publishes.
    pub fn ack_all(&mut self) {
        for at in self.next..self.count() {
            if !self.is_gone(at) {
                let (word, bit) = place(count(at));
                self.done[word] |= bit;
            }
        }
        self.next = self.count();
        self.publish();
    }

    /// Publishes what was settled so far. Deliveries not yet lent are dropped: they come again.
    pub fn publish(&mut self) {
        if !std::mem::take(&mut self.unpublished) {
            return;
        }
        let len = self.count();
        // Before the driver learns of it, so that it may use its memory again.
        self.unshare();
        self.next = self.count();
        let Some(board) = &self.board else { return };
        let (mut acked, mut dropped) = (0u32, 0u32);
        let words = self.done.iter().zip(&self.gone).enumerate().map(|(at, (done, gone))| {
            let all = match len - at * 64 {
                rest if rest >= 64 => u64::MAX,
                rest => (1 << rest) - 1,
            };
            let open = all & !done & !gone;
            acked += (done & !gone).count_ones();
            dropped += open.count_ones();
            (*done, open)
        });
        board.publish(words, &mut self.retries);
        if let Some(shared) = board.shared() {
            let counters = shared.events.counters();
            add(&counters.acked, acked);
            telemetry::batch(
                &shared.endpoint,
                Operation::Settle,
                usize::try_from(acked).unwrap_or(0),
            );
            if dropped > 0 {
                add(&counters.dropped, dropped);
            }
        }
    }

    /// For drivers: empties the container, whose settlements core has published, and makes room for `len`
    /// deliveries, which [`Deliveries::push`] then brings. `token` is the driver's own number for them.
    ///
    /// Verdicts may be harvested from the board that is returned, now or at any later time.
    pub fn begin(&mut self, len: usize, token: u64, harvester: Arc<dyn Harvester>) -> Arc<Board> {
        self.clear();
        let len = count(len);
        self.done.resize(word_count(len), 0);
        self.gone.resize(word_count(len), 0);
        self.unpublished = len > 0;
        let mut board = self.board.take().unwrap_or_else(|| Arc::new(Board::new()));
        match Arc::get_mut(&mut board) {
            Some(board) => board.reset(len, token, harvester),
            None => {
                let mut fresh = Board::new();
                fresh.reset(len, token, harvester);
                board = Arc::new(fresh);
            }
        }
        self.board = Some(board.clone());
        board
    }

    /// For drivers: adds the next delivery, a first attempt of which there is nothing to say.
    #[inline]
    pub fn push(&mut self, datagram: Datagram) {
        self.sparse |= datagram.has_envelope() && datagram.envelope().expiry.is_some();
        self.items.push(datagram);
    }

    /// For drivers: adds the next delivery with what is to say of it.
    pub fn push_noted(&mut self, datagram: Datagram, note: Note) {
        self.notes.push((count(self.items.len()), note));
        self.push(datagram);
    }

    /// For drivers: says this of the deliveries that were brought, in their order.
    pub fn annotate(&mut self, notes: impl Iterator<Item = Note>) {
        self.notes.extend((0..).zip(notes));
    }

    /// For drivers: brings all deliveries at once, first attempts without an expiry, and shares them with the
    /// driver until they are published.
    ///
    /// # Panics
    ///
    /// If `content` has no such places.
    pub fn share(&mut self, content: Arc<Datagrams>, places: Range<usize>) {
        assert!(
            places.start <= places.end && places.end <= content.len(),
            "{places:?} is not in it"
        );
        match content.packed().map(|packed| packed.seek(places.start).offset) {
            None => self.shared = Some((content, places)),
            Some(next) => {
                let (framing, count) = (Framing::Entry, places.len());
                self.lend_stretch(Buffer::Admitted(content), framing, next, count);
            }
        }
    }

    /// For drivers: brings all deliveries at once, first attempts without envelope, as they lie in what was read:
    /// `count` of them one behind the other from `offset` on. Shares that until they are published.
    ///
    /// # Panics
    ///
    /// If they are not there, once they are lent.
    pub fn lend_read(&mut self, read: Bytes, framing: Framing, offset: usize, count: usize) {
        self.lend_stretch(Buffer::Read(read), framing, offset, count);
    }

    fn lend_stretch(&mut self, buffer: Buffer, framing: Framing, next: usize, count: usize) {
        self.stretch = Some(Stretch { buffer, framing, next, count, current: Spot::default() });
    }

    pub(crate) fn attach(&mut self, shared: &Arc<Shared>, peer: Option<&Arc<Peer>>) {
        let Some(board) = &self.board else { return };
        debug_assert_eq!(count(self.count()), board.len(), "a driver pushes what it began");
        board.attach(shared);
        if let Some(peer) = peer {
            board.set_peer(peer.clone());
        }
    }

    /// Whether anything is left to lend; passes over what was settled already or has expired.
    pub(crate) fn has_something(&mut self) -> bool {
        while self.next < self.count() && self.sparse && self.skips(self.next) {
            self.next += 1;
        }
        !self.is_empty()
    }

    pub(crate) fn delivered(&self) -> usize {
        self.count()
    }

    pub(crate) fn redelivered(&self) -> usize {
        self.notes.iter().filter(|(_, note)| note.attempt > 1).count()
    }

    /// Whether a delivery of more than `limit` attempts is among them.
    pub(crate) fn over_tried(&self, limit: u32) -> bool {
        self.notes.iter().any(|(_, note)| note.attempt > limit)
    }

    /// Takes out each delivery of more than `limit` attempts.
    pub(crate) fn take_over_tried(&mut self, limit: u32) -> Vec<Delivery> {
        let over = self.notes.iter().filter(|(_, note)| note.attempt > limit);
        let over: Vec<u32> = over.map(|(index, _)| *index).collect();
        self.sparse |= !over.is_empty();
        over.into_iter().map(|index| self.take(index)).collect()
    }

    /// Whether the delivery is no longer this container's to settle.
    fn is_gone(&self, at: usize) -> bool {
        let (word, bit) = place(count(at));
        self.gone[word] & bit != 0
    }

    /// Whether the delivery is settled already, or expired and therefore discarded now.
    fn skips(&mut self, at: usize) -> bool {
        let (word, bit) = place(count(at));
        if (self.done[word] | self.gone[word]) & bit != 0 {
            return true;
        }
        let Some(expiry) = self.view(at).envelope().expiry else { return false };
        let Some(shared) = self.shared().cloned() else {
            return false;
        };
        if shared.clock.wall() < expiry {
            return false;
        }
        self.done[word] |= bit;
        self.gone[word] |= bit;
        shared.events.emit(crate::Event::Expired { count: 1 });
        true
    }

    fn note(&self, index: u32) -> &Note {
        if self.notes.is_empty() {
            return &FIRST;
        }
        match self.notes.binary_search_by_key(&index, |(at, _)| *at) {
            Ok(at) => &self.notes[at].1,
            Err(_) => &FIRST,
        }
    }

    fn shared(&self) -> Option<&Arc<Shared>> {
        self.board.as_ref().and_then(|board| board.shared())
    }

    /// How many it was filled with.
    #[inline]
    fn count(&self) -> usize {
        match (&self.stretch, &self.shared) {
            (Some(stretch), _) => stretch.count,
            (None, Some((_, places))) => places.len(),
            (None, None) => self.items.len(),
        }
    }

    /// The delivery at `at`; of those that lie one behind the other, the one that was lent last.
    #[inline]
    fn view(&self, at: usize) -> View<'_> {
        match &self.stretch {
            Some(stretch) => stretch.current.view(stretch.buffer.bytes()),
            None => self.item(at),
        }
    }

    fn item(&self, at: usize) -> View<'_> {
        match &self.shared {
            Some((content, places)) => content.view(places.start + at),
            None => self.items[at].view(),
        }
    }

    fn unshare(&mut self) {
        (self.shared, self.stretch) = (None, None);
    }

    fn take(&mut self, index: u32) -> Delivery {
        let (word, bit) = place(index);
        self.gone[word] |= bit;
        let note = match self.notes.binary_search_by_key(&index, |(at, _)| *at) {
            Ok(at) => Some(Box::new(self.notes[at].1.clone())),
            Err(_) => None,
        };
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let datagram = match (&self.stretch, &self.shared) {
            (Some(stretch), _) => stretch.buffer.datagram(stretch.current),
            (None, Some((content, places))) => content.datagram(places.start + at),
            (None, None) => std::mem::take(&mut self.items[at]),
        };
        let board = self.board.clone().expect("a container that lends has a board");
        Delivery::new(datagram, board, index, note)
    }

    /// Publishes and lets everything go, so that a driver's [`Deliveries::begin`] has nothing to tell or drop
    /// while it holds a lock.
    pub(crate) fn clear(&mut self) {
        self.publish();
        self.items.clear();
        self.unshare();
        self.notes.clear();
        self.done.clear();
        self.gone.clear();
        self.retries.clear();
        (self.next, self.sparse) = (0, false);
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.publish();
    }
}

impl Stretch {
    #[inline]
    fn step(&mut self) {
        self.current = self.framing.read(self.buffer.bytes(), self.next);
        self.next = self.current.end;
    }
}

impl Buffer {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Admitted(content) => content.packed().map_or(&[], Packed::bytes),
            Self::Read(bytes) => bytes,
        }
    }

    /// Owned; what was read is shared where it is not small.
    fn datagram(&self, spot: Spot) -> Datagram {
        match self {
            Self::Read(bytes) if spot.payload().len() > Datagram::INLINE => {
                Datagram::new(bytes.slice(spot.payload())).with_tag(spot.tag())
            }
            _ => spot.view(self.bytes()).to_datagram(),
        }
    }
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A delivery, lent by its container until it is settled, taken or dropped. Dropped, it comes again.
///
/// A verdict here costs nothing but a bit; all of them are published together.
#[must_use = "a delivery that is dropped without a verdict comes again"]
pub struct Lent<'a> {
    index: u32,
    deliveries: &'a mut Deliveries,
}

impl Lent<'_> {
    /// The datagram.
    #[must_use]
    #[inline]
    pub fn view(&self) -> View<'_> {
        self.deliveries.view(usize::try_from(self.index).unwrap_or(usize::MAX))
    }

    /// Which attempt this is, whether it may be a duplicate, its position, and what the broker added.
    #[must_use]
    pub fn note(&self) -> &Note {
        self.deliveries.note(self.index)
    }

    /// Who sent it, where the carrier knows.
    #[must_use]
    pub fn peer(&self) -> Option<&Arc<Peer>> {
        self.deliveries.board.as_ref().and_then(|board| board.peer())
    }

    /// Marks the datagram as done. Cannot fail; what comes too late is told by
    /// [`Receiver::settled`](crate::Receiver::settled) and by an event.
    #[inline]
    pub fn ack(self) {
        let (word, bit) = place(self.index);
        self.deliveries.done[word] |= bit;
    }

    /// Asks for it again, not before `after`. Takes effect when the container is published.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] without capability `Redelivery`, or `Delay` where `after` is not zero;
    /// [`Error::Invalid`] beyond [`Limits::delay`](crate::Limits). The delivery then comes again at once.
    pub fn retry(self, after: Duration) -> Result<()> {
        let shared = self.deliveries.shared().cloned();
        let verdict = match &shared {
            Some(shared) => shared.judge_retry(after, self.note().attempt)?,
            None => Verdict::Retry { after },
        };
        match verdict {
            Verdict::DeadLetter { reason } => return self.dead_letter(reason),
            _ => {
                let (word, bit) = place(self.index);
                self.deliveries.gone[word] |= bit;
                self.deliveries.retries.push((self.index, after));
                if let Some(shared) = shared {
                    add(&shared.events.counters().retried, 1u64);
                }
            }
        }
        Ok(())
    }

    /// Hands it to the dead-letter endpoint with this reason, then acknowledges it.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] where the endpoint has no `?dead_letter=`. The delivery then comes again.
    pub fn dead_letter(self, reason: impl Into<Box<str>>) -> Result<()> {
        self.take().dead_letter(reason).map_err(Error::from)
    }

    /// Marks it as done without having been processed; counted apart.
    ///
    /// # Errors
    ///
    /// None today; a transport that could not would say [`Error::Unsupported`].
    pub fn discard(self) -> Result<()> {
        let (word, bit) = place(self.index);
        self.deliveries.done[word] |= bit;
        self.deliveries.gone[word] |= bit;
        if let Some(shared) = self.deliveries.shared() {
            add(&shared.events.counters().discarded, 1u64);
        }
        Ok(())
    }

    /// Makes it owned, to hand it to another task.
    #[must_use = "a delivery that is dropped without a verdict comes again"]
    pub fn take(self) -> Delivery {
        self.deliveries.take(self.index)
    }
}

impl fmt::Debug for Lent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("datagram", &self.view()).field("note", self.note()).finish()
    }
}
