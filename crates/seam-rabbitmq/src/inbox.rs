//! What one receiver has of one channel: what came and is not settled, by delivery tag. No client is touched here, and
//! nothing waits.
//!
//! Tags of a channel are consecutive, so what is known of each is a ring above the lowest that is not settled. What is
//! settled without a gap is acknowledged at once with everything below it; what lies behind something open, one by one.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use seam_broker::Most;
use seam_core::driver::{Board, Harvest, Harvester};
use seam_core::{Datagram, Deliveries, Note};

/// What one receiver has.
#[derive(Default)]
pub(crate) struct Inbox {
    /// Whether the queue counts attempts by itself.
    counts: bool,
    /// The tag of the first of `slots`.
    lowest: u64,
    slots: VecDeque<Slot>,
    ready: VecDeque<Item>,
    /// Not to be handed out, or not to be requeued, before its time.
    parked: Vec<(Duration, Parked)>,
    /// On its way to the end of the queue, with what it came as. Until the broker knows that it is, nothing is handed out:
    /// whatever ends the program then would take its last attempt.
    yielding: HashMap<u64, (Item, Original)>,
    /// How many attempts were made of what loses its last one where it is requeued.
    last: Option<u32>,
    /// Whether what comes again comes with the end of the channel, all of it in its order.
    holds_back: bool,
    boards: HashMap<u64, Handed>,
    numbers: u64,
    in_hand: usize,
    in_hand_bytes: usize,
    /// Not settled, in whoever's hand.
    held: usize,
    held_bytes: usize,
    /// Verdicts that nobody has looked at.
    marked: Vec<Arc<Board>>,
    writes: Writes,
    /// Being published for a later time, and not acknowledged before.
    delaying: usize,
    /// Settled, and not among the writes: how many are [`State::Done`].
    untold: usize,
    late: u64,
    waker: Option<Waker>,
    harvest: Harvest,
}

/// A delivery that nobody has.
pub(crate) struct Item {
    pub(crate) tag: u64,
    pub(crate) datagram: Datagram,
    pub(crate) note: Option<Note>,
    /// Attempts made before it came: what a delayed retry goes on from.
    pub(crate) attempts: u32,
    pub(crate) size: usize,
}

/// A message as it came, to be published once more for a later time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Original {
    /// Absent where there is nothing but the mode.
    pub(crate) properties: Option<Box<BasicProperties>>,
    pub(crate) body: Bytes,
}

enum Parked {
    /// Due at that time: handed out then.
    Item(Box<Item>),
    /// To be given back to the broker then.
    Tag(u64),
}

/// What is known of a delivery tag.
struct Slot {
    state: State,
    size: usize,
    attempts: u32,
    original: Original,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Settled by being published for a later time, which is not done.
    Delayed,
    /// Settled, and the broker is not told.
    Done,
    /// The broker is told, by this tag alone.
    Told,
}

/// A batch in the hands of a receiver.
struct Handed {
    board: Arc<Board>,
    /// The tag and size of each; `None` once it is settled.
    tags: Vec<Option<(u64, usize)>>,
    open: usize,
}

/// Whether a delivery comes again.
enum Again {
    Never,
    /// By the broker itself.
    Now,
    /// As a message of its own.
    After(Wait),
}

/// What the broker is to be told.
#[derive(Default)]
pub(crate) struct Writes {
    /// Acknowledged; with everything below where the flag is set.
    pub(crate) acks: Vec<(u64, bool)>,
    /// To be delivered again, at once.
    pub(crate) requeues: Vec<u64>,
    /// To be delivered again later.
    pub(crate) delays: Vec<Delay>,
}

/// A message to be published for a later time.
pub(crate) struct Delay {
    pub(crate) tag: u64,
    pub(crate) wait: Wait,
    /// Attempts made so far.
    pub(crate) attempts: u32,
    pub(crate) original: Original,
}

/// For how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all: it goes to the end of the queue, with its attempts.
    No,
    /// For no less.
    AtLeast(Duration),
    /// For no more; it is looked at again then.
    AtMost(Duration),
}

impl Writes {
    pub(crate) fn is_empty(&self) -> bool {
        self.acks.is_empty() && self.requeues.is_empty() && self.delays.is_empty()
    }
}

impl Inbox {
    /// A channel begins, whose first tag is 1. `counts` says whether its queue counts attempts, `last` how many were made of
    /// what must not lose another one unseen.
    pub(crate) fn begin(&mut self, counts: bool, last: Option<u32>) {
        (self.lowest, self.counts, self.last) = (1, counts, last);
    }

    /// Takes what came next. What is not due before a time waits until then: here, or on the broker where `delay` says so.
    pub(crate) fn push(&mut self, item: Item, original: Original, due: Option<Due>) {
        let Item { size, attempts, .. } = item;
        self.slots.push_back(Slot { state: State::Open, size, attempts, original });
        (self.held, self.held_bytes) = (self.held + 1, self.held_bytes + size);
        match due {
            _ if self.holds_back => {}
            None => self.ready.push_back(item),
            Some(Due::Here(at)) => self.parked.push((at, Parked::Item(Box::new(item)))),
            Some(Due::Later(wait)) => self.delay(item.tag, Wait::AtMost(wait), item.attempts),
            Some(Due::Behind) => self.give_way(item),
        }
    }

    /// Sends what nobody has seen to the end of the queue, which counts no attempt.
    fn give_way(&mut self, item: Item) {
        let Item { tag, attempts, .. } = item;
        if let Some(slot) = self.slot(tag) {
            let original = slot.original.clone();
            self.delay(tag, Wait::No, attempts);
            self.yielding.insert(tag, (item, original));
        }
    }

    /// Whom to wake since there is something to hand out.
    pub(crate) fn call(&mut self) -> Option<Waker> {
        if self.is_starved() { None } else { self.waker.take() }
    }

    /// Whom to wake whatever there is.
    pub(crate) fn call_all(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    pub(crate) fn wait(&mut self, waker: &Waker) {
        self.waker = Some(waker.clone());
    }

    /// Fills `into` with no more than `most`; whether there was anything.
    pub(crate) fn hand_out(
        &mut self,
        most: &Most,
        into: &mut Deliveries,
        harvester: Arc<dyn Harvester>,
    ) -> bool {
        if self.is_starved() {
            return false;
        }
        let sizes = self.ready.iter().map(|item| item.size);
        let (count, bytes) = most.fitting(sizes, self.in_hand, self.in_hand_bytes);
        if count == 0 {
            return false;
        }
        self.numbers += 1;
        let board = into.begin(count, self.numbers, harvester);
        let mut tags = Vec::with_capacity(count);
        for Item { tag, datagram, note, size, .. } in self.ready.drain(..count) {
            tags.push(Some((tag, size)));
            match note {
                None => into.push(datagram),
                Some(note) => into.push_noted(datagram, note),
            }
        }
        (self.in_hand, self.in_hand_bytes) = (self.in_hand + count, bytes);
        self.boards.insert(self.numbers, Handed { board, tags, open: count });
        true
    }

    /// Notes that there are verdicts on a board; whether nobody had noted it.
    pub(crate) fn mark(&mut self, board: &Arc<Board>) -> bool {
        let is_news = board.mark();
        if is_news {
            self.marked.push(board.clone());
        }
        is_news
    }

    /// Takes over what was settled; how many settlements came too late.
    pub(crate) fn settle(&mut self) -> u64 {
        let mut late = 0;
        let mut harvest = std::mem::take(&mut self.harvest);
        for board in std::mem::take(&mut self.marked) {
            board.harvest(&mut harvest);
            // What is not there any more went with its channel.
            let mut handed = self.boards.remove(&board.token());
            for index in harvest.done.iter().cloned().flatten() {
                late += u64::from(!self.release(handed.as_mut(), index, &Again::Never));
            }
            for index in harvest.dropped.iter().cloned().flatten() {
                self.release(handed.as_mut(), index, &Again::Now);
            }
            for (index, after) in harvest.retried.drain(..) {
                let again = match after.is_zero() {
                    true if self.counts => Again::Now,
                    true => Again::After(Wait::No),
                    false => Again::After(Wait::AtLeast(after)),
                };
                late += u64::from(!self.release(handed.as_mut(), index, &again));
            }
            if let Some(handed) = handed.filter(|handed| handed.open > 0) {
                self.boards.insert(board.token(), handed);
            }
        }
        self.harvest = harvest;
        self.late += late;
        late
    }

    /// Ends one delivery. Whether it was open.
    fn release(&mut self, handed: Option<&mut Handed>, index: u32, again: &Again) -> bool {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(handed) = handed else { return false };
        let Some((tag, size)) = handed.tags.get_mut(at).and_then(Option::take) else {
            return false;
        };
        handed.open -= 1;
        self.in_hand -= 1;
        self.in_hand_bytes -= size;
        match again {
            Again::Never => self.done(tag),
            Again::Now => self.requeue(tag),
            Again::After(wait) => {
                let made = self.slot(tag).map_or(0, |slot| slot.attempts);
                self.delay(tag, *wait, made.saturating_add(1));
                if let Some(slot) = self.slot(tag) {
                    slot.state = State::Delayed;
                }
            }
        }
        true
    }

    fn slot(&mut self, tag: u64) -> Option<&mut Slot> {
        let at = tag.checked_sub(self.lowest)?;
        self.slots.get_mut(usize::try_from(at).ok()?)
    }

    fn done(&mut self, tag: u64) {
        self.untold += usize::from(self.close(tag, State::Done));
    }

    /// Notes that a delivery is settled, and lets go of it. Whether it was known.
    fn close(&mut self, tag: u64, state: State) -> bool {
        let Some(slot) = self.slot(tag) else { return false };
        slot.state = state;
        slot.original = Original::default();
        let size = slot.size;
        (self.held, self.held_bytes) = (self.held - 1, self.held_bytes - size);
        true
    }

    fn requeue(&mut self, tag: u64) {
        if !self.holds_back && self.close(tag, State::Told) {
            self.writes.requeues.push(tag);
        }
    }

    fn delay(&mut self, tag: u64, wait: Wait, attempts: u32) {
        if let Some(slot) = self.slot(tag) {
            let original = std::mem::take(&mut slot.original);
            self.delaying += 1;
            self.writes.delays.push(Delay { tag, wait, attempts, original });
        }
    }

    /// What was to be published for a later time is, or is not: then it goes back to the broker at `again`.
    pub(crate) fn delayed(&mut self, tag: u64, outcome: Result<(), Duration>) {
        if self.slot(tag).is_none() {
            return;
        }
        self.delaying -= 1;
        match outcome {
            Ok(()) => self.done(tag),
            Err(again) => match self.yielding.remove(&tag) {
                // Better among others than not at all.
                Some((item, original)) => {
                    if let Some(slot) = self.slot(tag) {
                        slot.original = original;
                    }
                    self.ready.push_back(item);
                }
                None => self.parked.push((again, Parked::Tag(tag))),
            },
        }
    }

    /// Takes what is due; when the next is.
    pub(crate) fn unpark(&mut self, now: Duration) -> Option<Duration> {
        if self.parked.is_empty() {
            return None;
        }
        let (due, parked): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.parked).into_iter().partition(|(at, _)| *at <= now);
        self.parked = parked;
        for (_, parked) in due {
            match parked {
                Parked::Item(item) => self.ready.push_back(*item),
                Parked::Tag(tag) => self.requeue(tag),
            }
        }
        self.parked.iter().map(|(at, _)| *at).min()
    }

    /// Gives back what is in nobody's hand, and what will be, with the end of the channel: then the broker has all of it in
    /// the order in which it came.
    pub(crate) fn hold_back(&mut self) {
        self.holds_back = true;
        self.ready.clear();
        self.parked.clear();
    }

    /// Gives back to the broker all that is in nobody's hand.
    pub(crate) fn give_back(&mut self) {
        for item in std::mem::take(&mut self.ready) {
            self.give_back_item(item);
        }
        for (_, parked) in std::mem::take(&mut self.parked) {
            match parked {
                Parked::Item(item) => self.give_back_item(*item),
                Parked::Tag(tag) => self.requeue(tag),
            }
        }
    }

    fn give_back_item(&mut self, item: Item) {
        match self.last == Some(item.attempts) {
            true => self.give_way(item),
            false => self.requeue(item.tag),
        }
    }

    /// What the broker is to be told now.
    pub(crate) fn take_writes(&mut self) -> Writes {
        let mut upto = None;
        while let Some(state) = self.slots.front().map(|slot| slot.state) {
            match state {
                State::Open | State::Delayed => break,
                State::Done => upto = Some(self.lowest),
                State::Told => {}
            }
            self.slots.pop_front();
            self.lowest += 1;
        }
        let mut writes = std::mem::take(&mut self.writes);
        writes.acks.extend(upto.map(|tag| (tag, true)));
        for (tag, slot) in (self.lowest..).zip(&mut self.slots) {
            if slot.state == State::Done {
                slot.state = State::Told;
                writes.acks.push((tag, false));
            }
        }
        self.untold = 0;
        let (lowest, slots) = (self.lowest, &self.slots);
        self.yielding.retain(|tag, _| {
            let at = tag.checked_sub(lowest).and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| slots.get(at)).is_some_and(|slot| slot.state == State::Open)
        });
        writes
    }

    /// Whether there is something to tell, beside what nobody has looked at.
    pub(crate) fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// What is not settled, in messages and bytes.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.held, self.held_bytes)
    }

    /// Whether everything that was settled is told to the broker, as far as can be seen here.
    pub(crate) fn is_told(&self) -> bool {
        self.marked.is_empty() && self.untold == 0 && self.writes.is_empty() && self.delaying == 0
    }

    /// Whether nobody has anything, and nothing is on its way elsewhere.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_hand == 0 && self.is_told()
    }

    /// Messages that the broker may wait for acknowledgements of.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is nothing to hand out, so that settling makes room for more.
    pub(crate) fn is_starved(&self) -> bool {
        self.ready.is_empty() || !self.yielding.is_empty()
    }

    pub(crate) fn in_hand(&self) -> usize {
        self.in_hand
    }

    /// Settlements since the last call that came too late.
    pub(crate) fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }

    /// The channel is gone: what was settled in time and not told comes again, and counts as late. How many.
    pub(crate) fn note_untold(&mut self) -> u64 {
        let settled = |slot: &&Slot| matches!(slot.state, State::Done | State::Delayed);
        let untold = u64::try_from(self.slots.iter().filter(settled).count()).unwrap_or(u64::MAX);
        self.late += untold;
        untold
    }

    /// The channel ended, and with it every lease: what is to be revoked, and how many deliveries were in hand.
    pub(crate) fn lose(&mut self) -> (Revoked, u64) {
        let (mut revoked, mut in_hand) = (Vec::new(), 0);
        for handed in self.boards.drain().map(|(_, handed)| handed) {
            for (index, _) in (0_u32..).zip(&handed.tags).filter(|(_, tag)| tag.is_some()) {
                revoked.push((handed.board.clone(), index..index + 1));
                in_hand += 1;
            }
        }
        self.slots.clear();
        self.ready.clear();
        self.parked.clear();
        self.yielding.clear();
        self.writes = Writes::default();
        (self.in_hand, self.in_hand_bytes, self.delaying) = (0, 0, 0);
        (self.held, self.held_bytes) = (0, 0);
        (self.untold, self.lowest) = (0, 1);
        (revoked, in_hand)
    }
}

/// Deliveries that are nobody's any more; to be revoked without a lock.
pub(crate) type Revoked = Vec<(Arc<Board>, Range<u32>)>;

/// When something is to be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Then, by the clock; until then it waits here.
    Here(Duration),
    /// After this, which it spends on the broker.
    Later(Duration),
    /// Behind all that waits on the broker.
    Behind,
}

#[cfg(test)]
mod tests;
