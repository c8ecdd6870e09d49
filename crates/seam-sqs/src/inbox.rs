//! What one receiver has: what came and is not settled, and until when it is ours. No client is touched here, and nothing
//! waits.
//!
//! Each delivery has a lease, which is extended while anybody has it, the receiver's own buffer included, until SQS
//! allows no more. One whose lease ended is lost: its verdict is refused, or counted as late.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use seam_broker::Most;
use seam_core::driver::{Board, Harvest, Harvester};
use seam_core::{Datagram, Deliveries, Note};
use tokio::time::Instant;

use crate::config::LONGEST_LEASE;
use crate::packing::MOST_ENTRIES;

/// What one receiver has.
pub(crate) struct Inbox {
    /// How long a lease is.
    visibility: Duration,
    numbers: u64,
    held: HashMap<u64, Held>,
    ready: VecDeque<Item>,
    /// When each lease ends.
    ends: BTreeSet<(Instant, u64)>,
    /// When each lease is to be extended.
    renewals: BTreeSet<(Instant, u64)>,
    boards: HashMap<u64, Handed>,
    tokens: u64,
    in_hand: usize,
    in_hand_bytes: usize,
    held_bytes: usize,
    /// Verdicts that nobody has looked at.
    marked: Vec<Arc<Board>>,
    deletes: VecDeque<Write>,
    changes: VecDeque<Write>,
    /// Writes that SQS has not answered.
    writing: usize,
    late: u64,
    waker: Option<Waker>,
    harvest: Harvest,
}

/// A delivery as it came.
pub(crate) struct Item {
    pub(crate) handle: Arc<str>,
    pub(crate) datagram: Datagram,
    pub(crate) note: Note,
    pub(crate) size: usize,
    number: u64,
}

impl Item {
    pub(crate) fn new(handle: &str, datagram: Datagram, note: Note) -> Self {
        let size = datagram.view().size().max(1);
        Self { handle: handle.into(), datagram, note, size, number: 0 }
    }
}

/// A delivery that is ours, in whoever's hand.
struct Held {
    handle: Arc<str>,
    /// Since when.
    received: Instant,
    /// Until when.
    until: Instant,
    size: usize,
    /// The batch that it was handed out in, and its place there.
    place: Option<(u64, u32)>,
}

/// A batch in the hands of a receiver.
struct Handed {
    board: Arc<Board>,
    /// The number of each; `None` once it is settled.
    numbers: Vec<Option<u64>>,
    open: usize,
}

/// What SQS is to be told of one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) handle: Arc<str>,
    /// Seconds until it is delivered again; for a delete nothing.
    pub(crate) seconds: i32,
    /// Whether it is a verdict that may come too late.
    pub(crate) is_verdict: bool,
    /// The lease ends then, and with it what can be told.
    pub(crate) until: Instant,
}

/// A lease that is to be extended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renewal {
    pub(crate) number: u64,
    pub(crate) handle: Arc<str>,
    pub(crate) seconds: i32,
}

/// Deliveries that are nobody's any more; to be revoked without a lock.
pub(crate) type Revoked = Vec<(Arc<Board>, Range<u32>)>;

impl Inbox {
    pub(crate) fn new(visibility: Duration) -> Self {
        Self {
            visibility,
            numbers: 0,
            held: HashMap::new(),
            ready: VecDeque::new(),
            ends: BTreeSet::new(),
            renewals: BTreeSet::new(),
            boards: HashMap::new(),
            tokens: 0,
            in_hand: 0,
            in_hand_bytes: 0,
            held_bytes: 0,
            marked: Vec::new(),
            deletes: VecDeque::new(),
            changes: VecDeque::new(),
            writing: 0,
            late: 0,
            waker: None,
            harvest: Harvest::default(),
        }
    }

    /// Takes what came, which is ours since `received`.
    pub(crate) fn push(&mut self, mut item: Item, received: Instant) {
        self.numbers += 1;
        let (number, size, handle) = (self.numbers, item.size, item.handle.clone());
        item.number = number;
        let until = received + self.visibility;
        self.held.insert(number, Held { handle, received, until, size, place: None });
        self.held_bytes += size;
        self.ends.insert((until, number));
        self.renewals.insert((received + self.visibility / 3, number));
        self.ready.push_back(item);
    }

    /// Whom to wake since there is something to hand out.
    pub(crate) fn call(&mut self) -> Option<Waker> {
        if self.ready.is_empty() { None } else { self.waker.take() }
    }

    /// Whom to wake whatever there is.
    pub(crate) fn call_all(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    pub(crate) fn wait(&mut self, waker: &Waker) {
        self.waker = Some(waker.clone());
    }

    /// Whether somebody waits for a delivery.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waker.is_some()
    }

    /// Fills `into` with no more than `most`; whether there was anything.
    pub(crate) fn hand_out(
        &mut self,
        most: &Most,
        into: &mut Deliveries,
        harvester: Arc<dyn Harvester>,
    ) -> bool {
        let sizes = self.ready.iter().map(|item| item.size);
        let (count, bytes) = most.fitting(sizes, self.in_hand, self.in_hand_bytes);
        if count == 0 {
            return false;
        }
        self.tokens += 1;
        let board = into.begin(count, self.tokens, harvester);
        let mut numbers = Vec::with_capacity(count);
        for (index, item) in (0_u32..).zip(self.ready.drain(..count)) {
            numbers.push(Some(item.number));
            if let Some(held) = self.held.get_mut(&item.number) {
                held.place = Some((self.tokens, index));
            }
            into.push_noted(item.datagram, item.note);
        }
        (self.in_hand, self.in_hand_bytes) = (self.in_hand + count, bytes);
        self.boards.insert(self.tokens, Handed { board, numbers, open: count });
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

    /// Takes over what was settled; how many settlements came too late. One whose lease has ended by now is late even if
    /// nobody noticed before, as where the process stood still.
    pub(crate) fn settle(&mut self, now: Instant) -> u64 {
        let mut late = 0;
        let mut harvest = std::mem::take(&mut self.harvest);
        for board in std::mem::take(&mut self.marked) {
            board.harvest(&mut harvest);
            let token = board.token();
            for index in harvest.done.iter().cloned().flatten() {
                match self.release(token, index).filter(|held| held.until > now) {
                    Some(held) => self.deletes.push_back(held.write(0, true)),
                    None => late += 1,
                }
            }
            for index in harvest.dropped.iter().cloned().flatten() {
                let held = self.release(token, index);
                self.changes.extend(held.map(|held| held.write(0, false)));
            }
            for (index, after) in harvest.retried.drain(..) {
                match self.release(token, index).filter(|held| held.until > now) {
                    Some(held) => {
                        let seconds = held.seconds_after(after, now);
                        self.changes.push_back(held.write(seconds, !after.is_zero()));
                    }
                    None => late += 1,
                }
            }
        }
        self.harvest = harvest;
        self.late += late;
        late
    }

    /// Ends one delivery in hand, if it is still ours.
    fn release(&mut self, token: u64, index: u32) -> Option<Held> {
        let number = self.leave_hand(token, index)?;
        self.let_go(number)
    }

    /// The number of a delivery that is in nobody's hand any more.
    fn leave_hand(&mut self, token: u64, index: u32) -> Option<u64> {
        let handed = self.boards.get_mut(&token)?;
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let number = handed.numbers.get_mut(at).and_then(Option::take)?;
        handed.open -= 1;
        if handed.open == 0 {
            self.boards.remove(&token);
        }
        self.in_hand -= 1;
        self.in_hand_bytes -= self.held.get(&number).map_or(0, |held| held.size);
        Some(number)
    }

    fn let_go(&mut self, number: u64) -> Option<Held> {
        let held = self.held.remove(&number)?;
        self.ends.remove(&(held.until, number));
        self.held_bytes -= held.size;
        Some(held)
    }

    /// Gives back what is in nobody's hand.
    pub(crate) fn give_back(&mut self) {
        for item in std::mem::take(&mut self.ready) {
            let held = self.let_go(item.number);
            self.changes.extend(held.map(|held| held.write(0, false)));
        }
    }

    /// The next call of deletes, then of changes: full ones, or all where `is_due`.
    pub(crate) fn take_writes(&mut self, is_due: bool) -> Option<(Vec<Write>, Kind)> {
        for kind in [Kind::Delete, Kind::Change] {
            let writes = self.queue(kind);
            let count = writes.len().min(MOST_ENTRIES);
            if count == MOST_ENTRIES || (is_due && count > 0) {
                let writes = writes.drain(..count).collect();
                self.writing += count;
                return Some((writes, kind));
            }
        }
        None
    }

    fn queue(&mut self, kind: Kind) -> &mut VecDeque<Write> {
        match kind {
            Kind::Delete => &mut self.deletes,
            Kind::Change => &mut self.changes,
        }
    }

    /// SQS has answered: `again` was not done, and `lost` never will be. How many of those were verdicts.
    pub(crate) fn written(
        &mut self,
        kind: Kind,
        count: usize,
        again: Vec<Write>,
        lost: &[Write],
    ) -> u64 {
        self.writing -= count;
        self.queue(kind).extend(again);
        let lost = lost.iter().filter(|write| write.is_verdict).count();
        let lost = u64::try_from(lost).unwrap_or(u64::MAX);
        self.late += lost;
        lost
    }

    /// The leases that are to be extended now, no more than go into one call.
    pub(crate) fn take_renewals(&mut self, now: Instant) -> Vec<Renewal> {
        let is_due = |(at, _): &(Instant, u64)| *at <= now;
        if !self.renewals.first().is_some_and(is_due) {
            return Vec::new();
        }
        // With one that is due go those that soon will be.
        let soon = now + self.visibility / 6;
        let mut renewals = Vec::new();
        while renewals.len() < MOST_ENTRIES
            && let Some(&(at, number)) = self.renewals.first().filter(|(at, _)| *at <= soon)
        {
            self.renewals.remove(&(at, number));
            let Some(held) = self.held.get(&number) else { continue };
            let seconds = held.seconds_after(self.visibility, now);
            if seconds > 0 {
                renewals.push(Renewal { number, handle: held.handle.clone(), seconds });
            }
        }
        renewals
    }

    /// A lease was extended by a call that began `then`; or it was not, and is tried again after a while.
    pub(crate) fn renewed(&mut self, renewal: &Renewal, then: Instant, is_done: bool) {
        let visibility = self.visibility;
        let Some(held) = self.held.get_mut(&renewal.number) else { return };
        let next = if is_done {
            self.ends.remove(&(held.until, renewal.number));
            let seconds = u64::try_from(renewal.seconds).unwrap_or(0);
            held.until = then + Duration::from_secs(seconds);
            self.ends.insert((held.until, renewal.number));
            then + visibility / 3
        } else {
            Instant::now() + visibility / 12
        };
        self.renewals.insert((next, renewal.number));
    }

    /// The lease of a delivery is lost; what is to be revoked.
    pub(crate) fn lose(&mut self, number: u64, revoked: &mut Revoked) {
        let Some(place) = self.held.get(&number).map(|held| held.place) else { return };
        match place {
            None => self.ready.retain(|item| item.number != number),
            Some((token, index)) => {
                let board = self.boards.get(&token).map(|handed| handed.board.clone());
                revoked.extend(board.map(|board| (board, index..index + 1)));
                self.leave_hand(token, index);
            }
        }
        self.let_go(number);
    }

    /// Loses every lease that has ended.
    pub(crate) fn expire(&mut self, now: Instant) -> Revoked {
        let mut revoked = Revoked::new();
        while let Some(&(_, number)) = self.ends.first().filter(|(until, _)| *until <= now) {
            self.lose(number, &mut revoked);
        }
        revoked
    }

    /// When a lease is to be extended, or ends.
    pub(crate) fn next_lease(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, u64)>| set.first().map(|(at, _)| *at);
        [first(&self.renewals), first(&self.ends)].into_iter().flatten().min()
    }

    /// Ends every lease that is in a hand: what is to be revoked. They go back at once.
    pub(crate) fn end(&mut self) -> Revoked {
        self.give_back();
        let mut revoked = Revoked::new();
        for (_, handed) in self.boards.drain() {
            for (index, number) in (0_u32..).zip(handed.numbers) {
                let Some(held) = number.and_then(|number| self.held.remove(&number)) else {
                    continue;
                };
                self.changes.push_back(held.write(0, false));
                revoked.push((handed.board.clone(), index..index + 1));
            }
        }
        self.held.clear();
        self.ends.clear();
        self.renewals.clear();
        (self.in_hand, self.in_hand_bytes, self.held_bytes) = (0, 0, 0);
        revoked
    }

    /// What is not settled, in messages and bytes.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.held.len(), self.held_bytes)
    }

    /// What waits to be handed out.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(crate) fn in_hand(&self) -> usize {
        self.in_hand
    }

    /// Whether there is something to tell.
    pub(crate) fn has_writes(&self) -> bool {
        !self.deletes.is_empty() || !self.changes.is_empty()
    }

    /// Whether SQS has answered all that was settled.
    pub(crate) fn is_told(&self) -> bool {
        self.marked.is_empty() && !self.has_writes() && self.writing == 0
    }

    /// Whether nobody has anything, and SQS knows it.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_hand == 0 && self.is_told()
    }

    /// Settlements since the last call that came too late.
    pub(crate) fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Delete,
    /// Of when it is delivered again.
    Change,
}

impl Held {
    fn write(&self, seconds: i32, is_verdict: bool) -> Write {
        Write { handle: self.handle.clone(), seconds, is_verdict, until: self.until }
    }

    /// So long from now, or as long as SQS allows since it was received.
    fn seconds_after(&self, after: Duration, now: Instant) -> i32 {
        let age = now.saturating_duration_since(self.received) + Duration::from_secs(1);
        let rest = i32::try_from(LONGEST_LEASE.saturating_sub(age).as_secs()).unwrap_or(0);
        crate::publisher::seconds(after).min(rest)
    }
}

#[cfg(test)]
mod tests;
