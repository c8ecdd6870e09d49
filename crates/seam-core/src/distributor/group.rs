//! One group of receivers: what waits for it, who of it has what, and in which order.
//!
//! A plain value under the lock of its topic: it knows neither wakers nor locks nor time beyond what it is
//! told, so that it can be tested as it stands.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use slab::Slab;

use super::content::{Run, Single, Taken, Undone};
use super::lot::{Bits, Lot};
use super::register::Register;
use crate::driver::Board;
use crate::{Batch, Clock, Datagram, Timestamp, View};

/// Who a group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// The one of all receivers that name none.
    Default,
    /// The one of this name.
    Named(Box<str>),
    /// A throw-away group; no two are the same.
    Private,
}

/// One receiver of the group.
pub(crate) struct Member {
    pub(crate) credit: usize,
    pub(crate) credit_bytes: usize,
    pub(crate) unsettled: usize,
    pub(crate) unsettled_bytes: usize,
    /// Whether the next datagram for it is over its credit in bytes, until it settles something.
    full: bool,
    /// Datagrams of keys that this member has in hand.
    parked: VecDeque<Single>,
    /// False once its receiver was dropped or drains; what it has may still be settled.
    pub(crate) live: bool,
    /// Whoever waits in its `receive`.
    pub(crate) waker: Option<Waker>,
    /// Whether it was woken and has not taken anything since: if others were faster, it is first next time.
    pub(crate) called: bool,
}

/// Who has a key, and how many of it.
struct Hold {
    member: usize,
    count: usize,
}

/// Admissions not yet within the group's window: when both ends are reached, the group has received them.
struct Awaited {
    count_end: u64,
    bytes_end: u64,
    number: u64,
}

pub(crate) struct Group {
    pub(crate) name: Name,
    pub(crate) members: Register<usize, Member>,
    next_member: usize,
    pub(crate) lots: Slab<Lot>,
    queue: VecDeque<Run>,
    /// To be delivered again, in the order of admission, before anything new.
    returned: BTreeMap<u64, Single>,
    delayed: BTreeMap<(Duration, u64), Single>,
    keys: HashMap<Bytes, Hold>,
    serial: u32,
    /// Members that wait for something to take, in the order in which they began.
    pub(crate) waiting: VecDeque<usize>,
    pub(crate) admitted: u64,
    pub(crate) admitted_bytes: u64,
    pub(crate) outcomes: u64,
    pub(crate) outcome_bytes: u64,
    awaited: VecDeque<Awaited>,
    /// When its last member left, and for how long it is remembered.
    pub(crate) left: Option<Duration>,
    pub(crate) expiry: Duration,
}

/// What time it is, on both clocks; each is read at most once, and only if somebody asks.
pub(crate) struct Now<'a> {
    clock: &'a dyn Clock,
    monotonic: OnceCell<Duration>,
    wall: OnceCell<Timestamp>,
}

impl<'a> Now<'a> {
    pub(crate) fn of(clock: &'a dyn Clock) -> Self {
        Self { clock, monotonic: OnceCell::new(), wall: OnceCell::new() }
    }

    pub(crate) fn monotonic(&self) -> Duration {
        *self.monotonic.get_or_init(|| self.clock.now())
    }

    pub(crate) fn wall(&self) -> Timestamp {
        *self.wall.get_or_init(|| self.clock.wall())
    }
}

/// What a take found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) taken: Vec<Taken>,
    pub(crate) count: usize,
    /// Datagrams that had expired.
    pub(crate) expired: Vec<Undone>,
    /// Members for which something was parked meanwhile.
    pub(crate) parked_for: Vec<usize>,
}

impl Group {
    pub(crate) fn new(name: Name, expiry: Duration) -> Self {
        Self {
            name,
            members: Register::default(),
            next_member: 0,
            lots: Slab::new(),
            queue: VecDeque::new(),
            returned: BTreeMap::new(),
            delayed: BTreeMap::new(),
            keys: HashMap::new(),
            serial: 0,
            waiting: VecDeque::new(),
            admitted: 0,
            admitted_bytes: 0,
            outcomes: 0,
            outcome_bytes: 0,
            awaited: VecDeque::new(),
            left: None,
            expiry,
        }
    }

    /// Whether senders wait for this group's receipt.
    pub(crate) fn counts(&self) -> bool {
        self.name != Name::Private
    }

    /// Whether it gets what is admitted now: a throw-away group only while its receiver lives.
    pub(crate) fn is_open(&self) -> bool {
        self.counts() || self.has_live_member()
    }

    pub(crate) fn has_live_member(&self) -> bool {
        self.members.values().any(|member| member.live)
    }

    /// Whoever waits in a `receive` of any member.
    pub(crate) fn take_wakers(&mut self) -> impl Iterator<Item = Waker> {
        self.members.values_mut().filter_map(|member| member.waker.take())
    }

    pub(crate) fn join(&mut self, credit: usize, credit_bytes: usize) -> usize {
        self.left = None;
        let id = self.next_member;
        self.next_member += 1;
        let member = Member {
            credit,
            credit_bytes,
            unsettled: 0,
            unsettled_bytes: 0,
            full: false,
            parked: VecDeque::new(),
            live: true,
            waker: None,
            called: false,
        };
        self.members.insert(id, member);
        id
    }

    /// Ends the membership; what was parked for it goes back. What it has in hand stays settleable.
    pub(crate) fn leave(&mut self, member: usize, now: Duration) {
        let leaving = self.members.get_mut(&member).filter(|member| member.live);
        let Some(leaving) = leaving else { return };
        leaving.live = false;
        for single in std::mem::take(&mut leaving.parked) {
            self.release_key(single.datagram.view());
            self.returned.insert(single.number, single);
        }
        self.waiting.retain(|waiting| *waiting != member);
        self.forget_if_empty(member);
        if !self.has_live_member() {
            self.left = Some(now);
        }
    }

    /// Removes a member that has left and has nothing in hand any more.
    pub(crate) fn forget_if_empty(&mut self, member: usize) {
        if self.members.get(&member).is_some_and(|m| !m.live && m.unsettled == 0) {
            self.members.remove(&member);
        }
    }

    /// Appends an admission; whether the group has received it at once.
    ///
    /// Where sessions `tell` what they received, nothing follows from the window.
    pub(crate) fn append(&mut self, run: Run, run_bytes: usize, tell: bool) -> bool {
        self.admitted += super::content::number(run.len);
        self.admitted_bytes += super::content::number(run_bytes);
        let awaited =
            Awaited { count_end: self.admitted, bytes_end: self.admitted_bytes, number: run.first };
        self.queue.push_back(run);
        if !self.counts() || tell || (self.awaited.is_empty() && self.reached(&awaited)) {
            return true;
        }
        self.awaited.push_back(awaited);
        false
    }

    /// Puts the only datagram of `batch`, number `first`, to the run that was appended last, if nobody has any of
    /// it and it is plain and not long already.
    pub(crate) fn join_last(&mut self, batch: &mut Batch, first: u64) -> bool {
        let Some(run) = self.queue.back_mut() else { return false };
        let whole = run.from == 0 && run.content.len() == run.len;
        if run.enveloped || run.end() != first || !whole || run.len >= JOINED {
            return false;
        }
        let size = batch.bytes();
        if !super::sending::append(batch, first, &mut run.content) {
            return false;
        }
        run.len += 1;
        self.admitted += 1;
        self.admitted_bytes += super::content::number(size);
        true
    }

    /// The first number of the next admission that has come within the window since the last call.
    pub(crate) fn next_received(&mut self) -> Option<u64> {
        let awaited = self.awaited.front()?;
        if !self.reached(awaited) {
            return None;
        }
        self.awaited.pop_front().map(|awaited| awaited.number)
    }

    /// The number of the next admission that has not come within the window.
    pub(crate) fn next_awaited(&mut self) -> Option<u64> {
        self.awaited.pop_front().map(|awaited| awaited.number)
    }

    /// Whether nothing waits and nobody has anything in hand.
    pub(crate) fn is_finished(&self) -> bool {
        self.queue.is_empty()
            && self.returned.is_empty()
            && self.delayed.is_empty()
            && self.lots.is_empty()
            && self.members.values().all(|member| member.parked.is_empty())
    }

    /// When it is forgotten, if nobody joins before.
    pub(crate) fn forgotten_at(&self) -> Option<Duration> {
        self.left.map(|left| left.saturating_add(self.expiry))
    }

    /// Datagrams of an admission that ends at these counts which the group has received.
    pub(crate) fn received_of(&self, number: u64, len: u64) -> u64 {
        match self.awaited.iter().find(|awaited| awaited.number == number) {
            None => len,
            Some(awaited) => {
                let (window, _) = self.window();
                let beyond = awaited.count_end.saturating_sub(self.outcomes.saturating_add(window));
                if self.bytes_reached(awaited) { len.saturating_sub(beyond) } else { 0 }
            }
        }
    }

    fn reached(&self, awaited: &Awaited) -> bool {
        let (window, _) = self.window();
        awaited.count_end <= self.outcomes.saturating_add(window) && self.bytes_reached(awaited)
    }

    fn bytes_reached(&self, awaited: &Awaited) -> bool {
        let (window, window_bytes) = self.window();
        // One admission always fits where nothing is in the way: a datagram may be larger than the window.
        awaited.bytes_end <= self.outcome_bytes.saturating_add(window_bytes)
            || (window > 0 && self.outcomes + 1 >= awaited.count_end)
    }

    /// What its live members take together before they settle, in datagrams and bytes.
    fn window(&self) -> (u64, u64) {
        self.members.values().filter(|member| member.live).fold((0, 0), |sum, member| {
            let count = sum.0.saturating_add(super::content::number(member.credit));
            (count, sum.1.saturating_add(super::content::number(member.credit_bytes)))
        })
    }

    /// Whether anything is there that a member could take, keys and delays aside.
    pub(crate) fn has_something(&self) -> bool {
        !self.returned.is_empty() || !self.queue.is_empty()
    }

    /// Whether something is there for this very member.
    pub(crate) fn has_parked(&self, member: usize) -> bool {
        self.members.get(&member).is_some_and(|member| !member.parked.is_empty())
    }

    /// When the next delayed datagram is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.delayed.keys().next().map(|(due, _)| *due)
    }

    /// Whether some member waits for what it has in hand to be settled.
    pub(crate) fn is_starved(&self) -> bool {
        self.waiting.iter().any(|member| !self.has_room(*member))
    }

    pub(crate) fn has_room(&self, member: usize) -> bool {
        self.members.get(&member).is_some_and(|m| m.unsettled < m.credit && !m.full)
    }

    /// Whether `next` would go to `member` now and is over its credit in bytes: it takes no more then.
    fn is_full(&mut self, member: usize, next: &Datagram, now: &Now<'_>) -> bool {
        let theirs = self.owner(next).is_none_or(|owner| owner == member);
        let later = next.envelope().deliver_at.is_some_and(|at| at > now.wall());
        let Some(m) = self.members.get_mut(&member) else { return true };
        m.full = theirs && !later && !is_expired(next, now) && !m.fits(next.view().size());
        m.full
    }

    /// Takes up to `max` datagrams for `member`.
    pub(crate) fn take(&mut self, member: usize, max: usize, now: &Now<'_>) -> Found {
        self.promote(now);
        let mut found = Found::default();
        self.take_parked(member, max, now, &mut found);
        self.take_returned(member, max, now, &mut found);
        self.take_new(member, max, now, &mut found);
        found
    }

    /// The token of the next lot: where it will be, and a serial number so that no two are the same.
    pub(crate) fn next_token(&mut self) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        u64::from(self.serial) << 32 | super::content::number(self.lots.vacant_key())
    }

    /// Where the lot of this token is; `None` once it is settled or revoked.
    pub(crate) fn lot_of(&self, token: u64) -> Option<usize> {
        let at = usize::try_from(token & u64::from(u32::MAX)).ok()?;
        self.lots.get(at).filter(|lot| lot.token == token).map(|_| at)
    }

    /// Notes what was taken as `member`'s.
    pub(crate) fn hold(
        &mut self,
        member: usize,
        token: u64,
        board: Option<Arc<Board>>,
        taken: Vec<Taken>,
    ) {
        let open = taken.iter().map(Taken::len).sum();
        let settled = Bits::default();
        self.lots.insert(Lot { member, board, token, received: 0, taken, open, settled });
    }

    /// The datagram of this number if some member has it in hand.
    pub(crate) fn in_hand(&self, number: u64) -> Option<Datagram> {
        let mut open = self.lots.iter().flat_map(|(_, lot)| lot.open());
        let found =
            open.find(|(_, taken, at)| taken.first() + super::content::number(*at) == number);
        found.map(|(_, taken, at)| taken.datagram(at))
    }

    /// Every datagram that waits here.
    pub(crate) fn queued(&self) -> Vec<Undone> {
        let mut all = Vec::new();
        for run in &self.queue {
            all.extend((run.first..).zip(run.views()).map(|(number, view)| Undone {
                number,
                datagram: view.to_datagram(),
                seen: false,
                received: false,
            }));
        }
        let parked = self.members.values().flat_map(|member| member.parked.iter());
        let singles = self.returned.values().chain(self.delayed.values()).chain(parked);
        all.extend(singles.map(|single| single.clone().into_undone()));
        all
    }

    /// Every datagram that is not done here.
    pub(crate) fn undone(&self) -> Vec<Undone> {
        let mut all = self.queued();
        for lot in self.lots.iter().map(|(_, lot)| lot) {
            all.extend(lot.open().map(|(place, taken, at)| Undone {
                seen: true,
                received: place < lot.received,
                ..taken.unchanged(at).into_undone()
            }));
        }
        all
    }

    /// Moves what is due to where it is taken from.
    fn promote(&mut self, now: &Now<'_>) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now.monotonic() {
                return;
            }
            let single = entry.remove();
            self.take_up_room(&single.datagram);
            self.returned.insert(single.number, single);
        }
    }

    fn take_parked(&mut self, member: usize, max: usize, now: &Now<'_>, found: &mut Found) {
        while found.count < max && self.has_room(member) {
            let next = self.members.get(&member).and_then(|m| m.parked.front());
            let Some(next) = next.map(|single| single.datagram.clone()) else { return };
            if self.is_full(member, &next, now) {
                return;
            }
            let Some(m) = self.members.get_mut(&member) else { return };
            let Some(single) = m.parked.pop_front() else { return };
            // Its key is counted already.
            if is_expired(&single.datagram, now) {
                self.release_key(single.datagram.view());
                found.expired.push(single.into_undone());
            } else {
                m.charge(1, single.datagram.view().size());
                found.push(Taken::Single(single));
            }
        }
    }

    fn take_returned(&mut self, member: usize, max: usize, now: &Now<'_>, found: &mut Found) {
        while found.count < max && self.has_room(member) && !self.has_parked(member) {
            let next = self.returned.values().next();
            let Some(next) = next.map(|single| single.datagram.clone()) else { return };
            if self.is_full(member, &next, now) {
                return;
            }
            let Some((_, single)) = self.returned.pop_first() else { return };
            self.take_single(member, single, now, found);
        }
    }

    fn take_new(&mut self, member: usize, max: usize, now: &Now<'_>, found: &mut Found) {
        while found.count < max && self.has_room(member) && !self.has_parked(member) {
            let Some(run) = self.queue.front_mut() else { return };
            if run.enveloped {
                let next = run.datagram(0);
                if self.is_full(member, &next, now) {
                    return;
                }
                let Some(run) = self.queue.front_mut() else { return };
                let run = run.split_front(1);
                if self.queue.front().is_some_and(|run| run.len == 0) {
                    self.queue.pop_front();
                }
                self.take_enveloped(member, run, now, found);
                continue;
            }
            let Some(m) = self.members.get_mut(&member) else { return };
            let room = (max - found.count).min(m.credit - m.unsettled).min(run.len);
            let (count, size) = m.fitting(run, room);
            if count == 0 {
                m.full = true;
                return;
            }
            m.charge(count, size);
            let taken = run.split_front(count);
            if run.len == 0 {
                self.queue.pop_front();
            }
            found.push(Taken::Run(taken));
        }
    }

    /// Takes one new datagram that may have a key, a time or an expiry.
    fn take_enveloped(&mut self, member: usize, run: Run, now: &Now<'_>, found: &mut Found) {
        let datagram = &run.datagram(0);
        let envelope = datagram.envelope();
        let later = envelope.deliver_at.filter(|at| *at > now.wall());
        let held = self.owner(datagram).is_some_and(|owner| owner != member);
        if later.is_none() && !held && !is_expired(datagram, now) {
            self.count_key(datagram, member);
            if let Some(m) = self.members.get_mut(&member) {
                m.charge(1, datagram.view().size());
            }
            found.push(Taken::Run(run));
            return;
        }
        let single = Single {
            datagram: datagram.clone(),
            number: run.first,
            attempt: 1,
            possible_duplicate: false,
            received: false,
        };
        match later {
            Some(at) => self.delay(single, now.monotonic() + at.saturating_since(now.wall())),
            None => self.take_single(member, single, now, found),
        }
    }

    fn take_single(&mut self, member: usize, single: Single, now: &Now<'_>, found: &mut Found) {
        if is_expired(&single.datagram, now) {
            found.expired.push(single.into_undone());
            return;
        }
        let owner = self.owner(&single.datagram).unwrap_or(member);
        self.count_key(&single.datagram, owner);
        let Some(m) = self.members.get_mut(&owner) else { return };
        if owner == member {
            m.charge(1, single.datagram.view().size());
            found.push(Taken::Single(single));
        } else {
            m.parked.push_back(single);
            found.parked_for.push(owner);
        }
    }

    /// Holds a datagram back until `due`; meanwhile it takes no room in the window.
    pub(crate) fn delay(&mut self, single: Single, due: Duration) {
        self.settle_waiting(&single.datagram);
        self.delayed.insert((due, single.number), single);
    }

    /// Notes that a datagram which no member has in hand takes no room in the window any more.
    pub(crate) fn settle_waiting(&mut self, datagram: &Datagram) {
        self.outcomes += 1;
        self.outcome_bytes += super::content::number(datagram.view().size());
    }

    fn take_up_room(&mut self, datagram: &Datagram) {
        let size = super::content::number(datagram.view().size());
        self.outcomes = self.outcomes.saturating_sub(1);
        self.outcome_bytes = self.outcome_bytes.saturating_sub(size);
    }

    /// Puts a datagram that was released where it is taken from next.
    pub(crate) fn give_back(&mut self, single: Single) {
        self.returned.insert(single.number, single);
    }

    /// Notes that `count` datagrams of `size` bytes of `member` are settled.
    pub(crate) fn uncharge(&mut self, member: usize, count: usize, size: usize) {
        if let Some(m) = self.members.get_mut(&member) {
            m.unsettled -= count;
            m.unsettled_bytes -= size;
            m.full = false;
        }
    }

    /// One datagram of this key is no longer in its member's hands.
    pub(crate) fn release_key(&mut self, view: View<'_>) {
        let Some(key) = view.key() else { return };
        let Some(hold) = self.keys.get_mut(key) else { return };
        hold.count -= 1;
        if hold.count == 0 {
            self.keys.remove(key);
        }
    }

    /// Removes the datagram of this number from wherever it waits; `None` if it does not wait here.
    pub(crate) fn extract(&mut self, number: u64) -> Option<Undone> {
        if let Some(single) = self.returned.remove(&number) {
            return Some(single.into_undone());
        }
        if let Some(key) = self.delayed.keys().find(|key| key.1 == number).copied() {
            let single = self.delayed.remove(&key)?;
            self.take_up_room(&single.datagram);
            return Some(single.into_undone());
        }
        let parked = self.members.values_mut().find_map(|member| {
            let at = member.parked.iter().position(|single| single.number == number)?;
            member.parked.remove(at)
        });
        if let Some(single) = parked {
            self.release_key(single.datagram.view());
            return Some(single.into_undone());
        }
        let datagram = self.extract_queued(number)?;
        Some(Undone { number, datagram, seen: false, received: false })
    }

    fn extract_queued(&mut self, number: u64) -> Option<Datagram> {
        let at = self.queue.partition_point(|run| run.end() <= number);
        let run = self.queue.get_mut(at).filter(|run| run.first <= number)?;
        let front = usize::try_from(number - run.first).ok()?;
        let before = run.split_front(front);
        let one = run.split_front(1);
        if run.len == 0 {
            self.queue.remove(at);
        }
        if before.len > 0 {
            self.queue.insert(at, before);
        }
        Some(one.datagram(0))
    }

    /// The member that has others of this key in hand and still takes more. After it has left, the key goes
    /// to whoever takes the next one: first deliveries stay in order.
    fn owner(&self, datagram: &Datagram) -> Option<usize> {
        let hold = self.keys.get(datagram.view().key()?)?;
        self.members.get(&hold.member).filter(|member| member.live).map(|_| hold.member)
    }

    fn count_key(&mut self, datagram: &Datagram, member: usize) {
        let Some(key) = &datagram.envelope().key else { return };
        let hold = self.keys.entry(key.clone()).or_insert(Hold { member, count: 0 });
        hold.member = member;
        hold.count += 1;
    }
}

impl Member {
    /// One datagram always fits where nothing is in hand, however large it is.
    fn fits(&self, size: usize) -> bool {
        self.unsettled == 0 || self.unsettled_bytes.saturating_add(size) <= self.credit_bytes
    }

    /// How many of the first `room` of a run fit the credit in bytes, and their bytes.
    fn fitting(&self, run: &Run, room: usize) -> (usize, usize) {
        let all = run.bytes(0..room);
        if self.unsettled_bytes.saturating_add(all) <= self.credit_bytes {
            return (room, all);
        }
        let (mut count, mut size) = (0, 0);
        for view in run.views().take(room) {
            let next = size + view.size();
            let alone = self.unsettled == 0 && count == 0;
            if !alone && self.unsettled_bytes + next > self.credit_bytes {
                break;
            }
            (count, size) = (count + 1, next);
        }
        (count, size)
    }

    /// Lets it look again whether the next datagram fits.
    pub(crate) fn open_full(&mut self) {
        self.full = false;
    }

    fn charge(&mut self, count: usize, size: usize) {
        self.unsettled += count;
        self.unsettled_bytes += size;
    }
}

impl Found {
    fn push(&mut self, taken: Taken) {
        self.count += taken.len();
        // Neighbours of one admission stay one run.
        if let (Some(Taken::Run(last)), Taken::Run(next)) = (self.taken.last_mut(), &taken)
            && Arc::ptr_eq(&last.content, &next.content)
            && last.from + last.len == next.from
        {
            last.len += next.len;
            return;
        }
        self.taken.push(taken);
    }
}

/// Datagrams that were admitted one by one and become one run.
const JOINED: usize = 256;

fn is_expired(datagram: &Datagram, now: &Now<'_>) -> bool {
    datagram.envelope().expiry.is_some_and(|expiry| expiry <= now.wall())
}
