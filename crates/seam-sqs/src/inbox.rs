//! What one receiver has: what came and is not settled, and until when it is ours. No client is touched here, and nothing
//! waits.
//!
//! Each message has a lease, which is extended while anybody has it, the receiver's own buffer included, until SQS
//! allows no more. One whose lease ended is lost: its verdict is refused, or counted as late.
//!
//! A pack is several deliveries under one lease. It is deleted once all of them are done; what is to come again waits
//! here, and only where nobody receives any more does the pack go back, whole: then what was done of it comes again, too.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use seam_broker::Most;
use seam_core::driver::{Board, Harvest, Harvester};
use seam_core::{Datagram, Deliveries, Note, Position, binary};
use tokio::time::Instant;

use crate::config::LONGEST_LEASE;
use crate::mapping::Packed;
use crate::packing::MOST_ENTRIES;

/// What one receiver has.
pub(crate) struct Inbox {
    /// How long a lease is.
    visibility: Duration,
    numbers: u64,
    held: HashMap<u64, Held>,
    ready: VecDeque<Item>,
    /// Of packs, to be handed out again then.
    parked: BTreeSet<(Instant, Place)>,
    /// Nothing is handed out any more.
    is_quiet: bool,
    /// When each lease ends.
    ends: BTreeSet<(Instant, u64)>,
    /// When each lease is to be extended.
    renewals: BTreeSet<(Instant, u64)>,
    boards: HashMap<u64, Handed>,
    tokens: u64,
    in_hand: usize,
    in_hand_bytes: usize,
    /// Deliveries that are not settled, in whoever's hand.
    open: usize,
    open_bytes: usize,
    /// Verdicts that nobody has looked at.
    marked: Vec<Arc<Board>>,
    deletes: VecDeque<Write>,
    changes: VecDeque<Write>,
    /// Writes that SQS has not answered.
    writing: usize,
    late: u64,
    /// Those that nobody was told of.
    untold_late: u64,
    waker: Option<Waker>,
    harvest: Harvest,
}

/// A message as it came.
pub(crate) struct Arrival {
    pub(crate) handle: Arc<str>,
    pub(crate) note: Note,
    pub(crate) content: Content,
}

/// What a message carries.
pub(crate) enum Content {
    One(Datagram),
    Pack(Vec<Packed>),
}

impl Arrival {
    /// Its datagrams, and their bytes.
    pub(crate) fn weight(&self) -> (usize, usize) {
        match &self.content {
            Content::One(datagram) => (1, size(datagram)),
            Content::Pack(parts) => {
                (parts.len(), parts.iter().map(|(_, datagram)| size(datagram)).sum())
            }
        }
    }
}

fn size(datagram: &Datagram) -> usize {
    datagram.view().size().max(1)
}

/// A delivery to be handed out.
struct Item {
    place: Place,
    datagram: Datagram,
    note: Note,
    size: usize,
}

/// The number of a message, and which of its datagrams.
type Place = (u64, usize);

/// A message that is ours, in whoever's hand.
struct Held {
    handle: Arc<str>,
    note: Note,
    /// Since when.
    received: Instant,
    /// Until when.
    until: Instant,
    parts: Vec<Part>,
    /// Parts that are not settled.
    open: usize,
}

/// A datagram of a message that is ours.
struct Part {
    size: usize,
    state: State,
    /// As it lies in its pack, if it is of one.
    packed: Option<Bytes>,
    /// How often it was asked for again here.
    retries: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// In nobody's hand.
    Waiting,
    /// In a hand: which batch, and where in it.
    Handed(u64, u32),
    Done,
    /// To come again with its message.
    Back,
}

/// A batch in the hands of a receiver.
struct Handed {
    board: Arc<Board>,
    /// The place of each; `None` once it is settled.
    places: Vec<Option<Place>>,
    open: usize,
}

/// What a receiver wants of a delivery.
#[derive(Clone, Copy)]
enum Verdict {
    Done,
    Again(Duration),
    /// It is not wanted, and nobody has said so.
    Dropped,
}

/// What SQS is to be told of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) handle: Arc<str>,
    /// Seconds until it is delivered again; for a delete nothing.
    pub(crate) seconds: i32,
    /// How many verdicts it carries, which may come too late.
    pub(crate) verdicts: u64,
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

/// Deliveries that are nobody's any more, to be revoked without a lock.
pub(crate) type Revoked = Vec<(Arc<Board>, Range<u32>)>;

impl Inbox {
    pub(crate) fn new(visibility: Duration) -> Self {
        Self {
            visibility,
            numbers: 0,
            held: HashMap::new(),
            ready: VecDeque::new(),
            parked: BTreeSet::new(),
            is_quiet: false,
            ends: BTreeSet::new(),
            renewals: BTreeSet::new(),
            boards: HashMap::new(),
            tokens: 0,
            in_hand: 0,
            in_hand_bytes: 0,
            open: 0,
            open_bytes: 0,
            marked: Vec::new(),
            deletes: VecDeque::new(),
            changes: VecDeque::new(),
            writing: 0,
            late: 0,
            untold_late: 0,
            waker: None,
            harvest: Harvest::default(),
        }
    }

    /// Takes what came, which is ours since `received`.
    pub(crate) fn push(&mut self, arrival: Arrival, received: Instant) {
        self.numbers += 1;
        let (number, (open, bytes)) = (self.numbers, arrival.weight());
        let Arrival { handle, note, content } = arrival;
        let until = received + self.visibility;
        let mut held = Held { handle, note, received, until, parts: Vec::new(), open };
        let datagrams = match content {
            Content::One(datagram) => vec![(None, datagram)],
            Content::Pack(parts) => {
                parts.into_iter().map(|(packed, datagram)| (Some(packed), datagram)).collect()
            }
        };
        for (packed, datagram) in datagrams {
            let (size, state) = (size(&datagram), State::Waiting);
            held.parts.push(Part { size, state, packed, retries: 0 });
            let at = held.parts.len() - 1;
            self.ready.push_back(Item { place: (number, at), datagram, note: held.note(at), size });
        }
        self.held.insert(number, held);
        (self.open, self.open_bytes) = (self.open + open, self.open_bytes + bytes);
        self.ends.insert((until, number));
        self.renewals.insert((received + self.visibility / 3, number));
    }

    /// Takes what is due of what was asked for again, and says whom to wake for it.
    pub(crate) fn unpark(&mut self, now: Instant) -> Option<Waker> {
        while let Some(&(_, place)) = self.parked.first().filter(|(at, _)| *at <= now) {
            self.parked.pop_first();
            let (number, at) = place;
            let Some(held) = self.held.get(&number) else { continue };
            let Part { size, ref packed, .. } = held.parts[at];
            // It was read before.
            let datagram = packed.as_ref().and_then(|packed| binary::decode(packed).ok());
            let Some(datagram) = datagram else { continue };
            self.ready.push_back(Item { place, datagram, note: held.note(at), size });
        }
        self.call()
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
        let mut places = Vec::with_capacity(count);
        for (index, item) in (0_u32..).zip(self.ready.drain(..count)) {
            let (number, at) = item.place;
            places.push(Some(item.place));
            if let Some(held) = self.held.get_mut(&number) {
                held.parts[at].state = State::Handed(self.tokens, index);
            }
            into.push_noted(item.datagram, item.note);
        }
        (self.in_hand, self.in_hand_bytes) = (self.in_hand + count, bytes);
        self.boards.insert(self.tokens, Handed { board, places, open: count });
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

    /// Takes over what was settled. One whose lease has ended by now is late even if nobody noticed before, as where the
    /// process stood still.
    pub(crate) fn settle(&mut self, now: Instant) {
        let mut harvest = std::mem::take(&mut self.harvest);
        for board in std::mem::take(&mut self.marked) {
            board.harvest(&mut harvest);
            let token = board.token();
            for index in harvest.done.iter().cloned().flatten() {
                self.settle_one(token, index, Verdict::Done, now);
            }
            for index in harvest.dropped.iter().cloned().flatten() {
                self.settle_one(token, index, Verdict::Dropped, now);
            }
            for (index, after) in harvest.retried.drain(..) {
                self.settle_one(token, index, Verdict::Again(after), now);
            }
        }
        self.harvest = harvest;
    }

    fn settle_one(&mut self, token: u64, index: u32, verdict: Verdict, now: Instant) {
        let counts = u64::from(!matches!(verdict, Verdict::Dropped));
        let Some((number, at)) = self.leave_hand(token, index) else {
            return self.note_late(counts);
        };
        let Some(held) = self.held.get_mut(&number) else { return self.note_late(counts) };
        if held.until <= now {
            self.note_late(counts);
            return self.close((number, at), State::Back, now);
        }
        let after = match verdict {
            Verdict::Done => return self.close((number, at), State::Done, now),
            Verdict::Again(after) => after,
            Verdict::Dropped => Duration::ZERO,
        };
        if held.parts[at].packed.is_none() {
            let seconds = held.seconds_after(after, now);
            let verdicts = u64::from(!after.is_zero());
            let write = self.let_go(number).map(|held| held.write(seconds, verdicts));
            self.changes.extend(write);
        } else if self.is_quiet {
            self.close((number, at), State::Back, now);
        } else {
            held.parts[at].state = State::Waiting;
            held.parts[at].retries += 1;
            self.parked.insert((now + after, (number, at)));
        }
    }

    /// Notes verdicts that came too late.
    fn note_late(&mut self, count: u64) {
        (self.late, self.untold_late) = (self.late + count, self.untold_late + count);
    }

    /// The place of a delivery that is in nobody's hand any more.
    fn leave_hand(&mut self, token: u64, index: u32) -> Option<Place> {
        let handed = self.boards.get_mut(&token)?;
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let place = handed.places.get_mut(at).and_then(Option::take)?;
        handed.open -= 1;
        if handed.open == 0 {
            self.boards.remove(&token);
        }
        self.in_hand -= 1;
        self.in_hand_bytes -= self.held.get(&place.0).map_or(0, |held| held.parts[place.1].size);
        Some(place)
    }

    /// A delivery is settled; with the last of its message SQS is told.
    fn close(&mut self, (number, at): Place, state: State, now: Instant) {
        let Some(held) = self.held.get_mut(&number) else { return };
        let part = &mut held.parts[at];
        part.state = state;
        (self.open, self.open_bytes) = (self.open - 1, self.open_bytes - part.size);
        held.open -= 1;
        if held.open > 0 {
            return;
        }
        let Some(held) = self.let_go(number) else { return };
        let (count, done) = (held.parts.len(), held.done());
        let verdicts = u64::try_from(done).unwrap_or(u64::MAX);
        if done == count {
            self.deletes.push_back(held.write(0, verdicts));
            return;
        }
        // The rest of a pack comes again, and these with it.
        self.note_late(verdicts);
        if held.until > now {
            self.changes.push_back(held.write(0, 0));
        }
    }

    /// A message is ours no more.
    fn let_go(&mut self, number: u64) -> Option<Held> {
        let held = self.held.remove(&number)?;
        self.ends.remove(&(held.until, number));
        for part in held.parts.iter().filter(|part| part.is_open()) {
            (self.open, self.open_bytes) = (self.open - 1, self.open_bytes - part.size);
        }
        Some(held)
    }

    /// Gives back what is in nobody's hand, now and from now on.
    pub(crate) fn give_back(&mut self, now: Instant) {
        self.is_quiet = true;
        let ready = std::mem::take(&mut self.ready).into_iter().map(|item| item.place);
        let parked = std::mem::take(&mut self.parked).into_iter().map(|(_, place)| place);
        for place in ready.chain(parked) {
            self.close(place, State::Back, now);
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

    /// SQS has answered: `again` was not done, and `lost` never will be.
    pub(crate) fn written(&mut self, kind: Kind, count: usize, again: Vec<Write>, lost: &[Write]) {
        self.writing -= count;
        self.queue(kind).extend(again);
        self.note_late(lost.iter().map(|write| write.verdicts).sum());
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

    /// The lease of a message is lost; what is to be revoked.
    pub(crate) fn lose(&mut self, number: u64, revoked: &mut Revoked) {
        let Some(held) = self.held.get(&number) else { return };
        let handed = |part: &Part| match part.state {
            State::Handed(token, index) => Some((token, index)),
            _ => None,
        };
        let handed: Vec<_> = held.parts.iter().filter_map(handed).collect();
        self.note_late(u64::try_from(held.done()).unwrap_or(u64::MAX));
        for (token, index) in handed {
            let board = self.boards.get(&token).map(|handed| handed.board.clone());
            revoked.extend(board.map(|board| (board, index..index + 1)));
            self.leave_hand(token, index);
        }
        self.ready.retain(|item| item.place.0 != number);
        self.parked.retain(|(_, place)| place.0 != number);
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

    /// When a lease is to be extended, or ends, or what was asked for again is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, u64)>| set.first().map(|(at, _)| *at);
        let parked = self.parked.first().map(|(at, _)| *at);
        [first(&self.renewals), first(&self.ends), parked].into_iter().flatten().min()
    }

    /// Ends every lease that is in a hand: what is to be revoked. They go back at once.
    pub(crate) fn end(&mut self, now: Instant) -> Revoked {
        self.give_back(now);
        let mut revoked = Revoked::new();
        for (_, handed) in std::mem::take(&mut self.boards) {
            for (index, place) in (0_u32..).zip(handed.places) {
                let Some(place) = place else { continue };
                revoked.push((handed.board.clone(), index..index + 1));
                self.close(place, State::Back, now);
            }
        }
        self.renewals.clear();
        (self.in_hand, self.in_hand_bytes) = (0, 0);
        revoked
    }

    /// What is not settled, in deliveries and bytes.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.open, self.open_bytes)
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

    /// The same, to be told as an event.
    pub(crate) fn take_untold_late(&mut self) -> u64 {
        std::mem::take(&mut self.untold_late)
    }
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Delete,
    /// Of when it is delivered again.
    Change,
}

impl Part {
    fn is_open(&self) -> bool {
        matches!(self.state, State::Waiting | State::Handed(..))
    }
}

impl Held {
    fn write(&self, seconds: i32, verdicts: u64) -> Write {
        Write { handle: self.handle.clone(), seconds, verdicts, until: self.until }
    }

    fn done(&self) -> usize {
        self.parts.iter().filter(|part| part.state == State::Done).count()
    }

    /// What is known of one delivery of it.
    fn note(&self, at: usize) -> Note {
        let (mut note, part) = (self.note.clone(), &self.parts[at]);
        note.attempt = note.attempt.saturating_add(part.retries);
        note.possible_duplicate = note.attempt > 1;
        if let (Some(_), Some(Position::Name(id))) = (&part.packed, &note.position) {
            note.position = Some(Position::Name(format!("{id}/{at}").into()));
        }
        note
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
