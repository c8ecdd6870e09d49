//! A member of a group that is not in this process: a session takes what waits, and tells what became of it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;
use std::time::Duration;

use super::content::{Taken, number};
use super::group::Now;
use super::receiving::{Release, index};
use super::{Distributor, Membership, Seat, Wait};
use crate::{Clock, Datagrams, Error, Events, Fate, SendError};

/// The place of a session in a group of a [`Distributor`].
///
/// What it takes is in its hands until it tells that it is done or released, or that the session is lost.
/// Dropping it without a word leaves that in its hands for ever; [`Member::lose`] gives it to others.
#[derive(Debug)]
pub struct Member {
    distributor: Arc<Distributor>,
    seat: Seat,
    clock: Arc<dyn Clock>,
    events: Events,
    /// Whether it may be called to take something.
    waits: AtomicBool,
}

/// What a session took at once: it names this as `token` from then on, and each datagram by its place in it.
#[derive(Debug)]
pub struct Lot {
    /// Names it to the distributor.
    pub token: u64,
    /// Its datagrams, in the order in which they are to be delivered.
    pub pieces: Vec<Piece>,
    /// Whether more may be taken at once. Where not, whoever took this is woken once there may be more.
    pub more: bool,
}

/// Datagrams of a lot that were admitted together, shared with the distributor.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Holds them.
    pub content: Arc<Datagrams>,
    /// Where in it they are.
    pub range: Range<usize>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Whether an earlier attempt may have been finished without our knowing.
    pub possible_duplicate: bool,
}

impl Member {
    pub(crate) fn new(
        distributor: Arc<Distributor>,
        membership: Membership,
        clock: Arc<dyn Clock>,
        events: Events,
    ) -> Self {
        let seat = distributor.join(membership);
        Self { distributor, seat, clock, events, waits: AtomicBool::new(false) }
    }

    /// Takes up to `max` datagrams, as many of them as `bytes` hold and at least one; wakes `cx` once there
    /// may be more than what was left. [`Wait::Ready`] with `None` once there will be no more.
    #[must_use]
    pub fn poll_take(&self, max: usize, bytes: usize, cx: &Context<'_>) -> Wait<Option<Lot>> {
        let now = Now::of(&*self.clock);
        self.distributor.with(|state, after| {
            state.offer(self.seat, bytes);
            let mut wait = state.take_lot(self.seat, max, &self.events, &now, after);
            match &mut wait {
                Wait::Ready(Some(lot)) if lot.more || state.has_more(self.seat) => lot.more = true,
                Wait::Ready(None) => {}
                Wait::Ready(Some(_)) | Wait::Until(_) => {
                    self.waits.store(true, Ordering::Relaxed);
                    state.wait(self.seat, cx);
                }
            }
            wait
        })
    }

    /// The other end has received these places of a lot; told once for each, in order.
    pub fn received(&self, token: u64, places: Range<u32>) {
        self.learn([(token, places)], []);
    }

    /// The other end is done with these places of a lot.
    pub fn done(&self, token: u64, places: Range<u32>) {
        self.learn([], [(token, places)]);
    }

    /// Both at once, each for any number of lots: what the other end has received, and what it is done with.
    pub fn learn(
        &self,
        received: impl IntoIterator<Item = (u64, Range<u32>)>,
        done: impl IntoIterator<Item = (u64, Range<u32>)>,
    ) {
        self.distributor.with(|state, after| {
            for (token, places) in received {
                state.tell_received(self.seat, token, places, after);
            }
            for (token, places) in done {
                state.tell_done(self.seat, token, places, after);
            }
        });
    }

    /// The other end let this place of a lot go: it comes again as this attempt, not before `after`, to
    /// whomever.
    pub fn release(&self, token: u64, place: u32, attempt: u32, after: Duration) {
        let due = (!after.is_zero()).then(|| self.clock.now().saturating_add(after));
        self.let_go(token, place..place + 1, &|_| Release {
            due,
            attempt: Some(attempt),
            ..Release::AGAIN
        });
    }

    /// Nothing of these places of a lot left this process: they go to others as if they had never been taken.
    pub fn give_back(&self, token: u64, places: Range<u32>) {
        self.let_go(token, places, &|attempt| Release { attempt: Some(attempt), ..Release::AGAIN });
    }

    fn let_go(&self, token: u64, places: Range<u32>, how: &dyn Fn(u32) -> Release) {
        self.distributor.with(|state, after| {
            let id = self.seat.group;
            let Some(group) = state.groups.get(&id) else { return };
            let Some(lot) = group.lot_of(token) else { return };
            for place in index(places.start)..index(places.end) {
                let found = state.groups.get(&id).and_then(|group| group.lots[lot].find(place));
                let Some(attempt) = found.map(|(taken, at)| taken.unchanged(at).attempt) else {
                    break;
                };
                state.release(id, lot, place, how(attempt), after);
            }
            state.end_lot(id, lot, after);
            after.wakers.append(&mut state.watchers);
        });
    }

    /// Waits no more for now: what it was woken for goes to somebody else. Whether it waited.
    pub fn rest(&self) -> bool {
        let waited = self.waits.swap(false, Ordering::Relaxed);
        if waited {
            self.distributor.cancel_receive(self.seat);
        }
        waited
    }

    /// Takes nothing any more; what is in its hands may still be settled.
    pub fn leave(&self) {
        self.distributor.leave(self.seat, self.clock.now());
    }

    /// The session is lost: what is in its hands goes to others, as another attempt and a possible duplicate.
    /// Says how many those were.
    #[must_use]
    pub fn lose(self) -> u64 {
        self.leave();
        self.distributor.revoke(self.seat, &Now::of(&*self.clock))
    }

    /// The session is lost, and its sender asked to be told: what is in its hands comes back, to the ticket
    /// where that is still waited for, else to [`Port::poll_returned`](super::Port::poll_returned). Says how many those were.
    #[must_use]
    pub fn report(self, error: &Error) -> u64 {
        self.leave();
        self.distributor.with(|state, after| state.report(self.seat, error, after))
    }
}

impl super::state::State {
    /// Sets how many bytes this member takes beside what it has.
    fn offer(&mut self, seat: Seat, bytes: usize) {
        let group = self.groups.get_mut(&seat.group);
        if let Some(member) = group.and_then(|group| group.members.get_mut(&seat.member)) {
            member.credit_bytes = member.unsettled_bytes.saturating_add(bytes);
            member.open_full();
        }
    }

    fn take_lot(
        &mut self,
        seat: Seat,
        max: usize,
        events: &Events,
        now: &Now<'_>,
        after: &mut super::state::After,
    ) -> Wait<Option<Lot>> {
        let Some(found) = self.find(seat, max, now, after) else { return Wait::Ready(None) };
        let mut wait = match self.wait_of(seat, &found) {
            Wait::Ready(_) => Wait::Ready(None),
            Wait::Until(due) => Wait::Until(due),
        };
        if let Some(group) = self.groups.get_mut(&seat.group).filter(|_| found.count > 0) {
            let pieces = found.taken.iter().map(piece).collect();
            let token = group.next_token();
            group.hold(seat.member, token, None, found.taken);
            // One that took all it asked for may be unable to take more, and must not wait in front of others.
            let more = found.count == max;
            wait = Wait::Ready(Some(Lot { token, pieces, more }));
        }
        self.look_after(seat, found.expired, events, after);
        wait
    }

    /// Whether this member may find more without anything changing, or something is due by time.
    fn has_more(&self, seat: Seat) -> bool {
        let group = self.groups.get(&seat.group);
        group.is_some_and(|group| {
            group.has_something() || group.has_parked(seat.member) || group.next_due().is_some()
        })
    }

    fn tell_done(
        &mut self,
        seat: Seat,
        token: u64,
        places: Range<u32>,
        after: &mut super::state::After,
    ) {
        let group = self.groups.get(&seat.group);
        let Some(lot) = group.and_then(|group| group.lot_of(token)) else { return };
        self.done(seat.group, lot, index(places.start)..index(places.end), after);
        self.end_lot(seat.group, lot, after);
        after.wakers.append(&mut self.watchers);
    }

    fn tell_received(
        &mut self,
        seat: Seat,
        token: u64,
        places: Range<u32>,
        after: &mut super::state::After,
    ) {
        let Self { groups, accounts, asking, .. } = self;
        let Some(group) = groups.get_mut(&seat.group) else { return };
        let Some(lot) = group.lot_of(token) else { return };
        let counts = group.counts();
        let lot = &mut group.lots[lot];
        let (from, end) = (index(places.start), index(places.end));
        lot.received = lot.received.max(end);
        let mut start = 0;
        for taken in &lot.taken {
            let begin = start;
            start += taken.len();
            let (from, end) = (from.max(begin), end.min(start));
            let before = matches!(taken, Taken::Single(single) if single.received);
            if from >= end || !counts || before {
                continue;
            }
            let first = taken.first() + number(from - begin);
            if let Some(account) = accounts.get_mut(first) {
                *asking = asking.saturating_sub(account.receive(first, end - from, after));
            }
        }
    }

    /// Gives back what a lost session had in hand.
    fn report(&mut self, seat: Seat, error: &Error, after: &mut super::state::After) -> u64 {
        let Some(group) = self.groups.get(&seat.group) else { return 0 };
        let counts = group.counts();
        let theirs = group.lots.iter().filter(|(_, lot)| lot.member == seat.member);
        let theirs: Vec<usize> = theirs.map(|(at, _)| at).collect();
        let mut count = 0;
        for at in theirs {
            let Some(group) = self.groups.get_mut(&seat.group) else { break };
            let lot = &group.lots[at];
            let open: Vec<_> = lot
                .open()
                .map(|(place, taken, at)| (place, place < lot.received, taken.unchanged(at)))
                .collect();
            for (place, received, mut single) in open {
                single.received |= received;
                count += 1;
                self.give_back(single, counts, error, after);
                self.done(seat.group, at, place..place + 1, after);
            }
            self.end_lot(seat.group, at, after);
        }
        after.wakers.append(&mut self.watchers);
        count
    }

    fn give_back(
        &mut self,
        single: super::content::Single,
        counts: bool,
        error: &Error,
        after: &mut super::state::After,
    ) {
        let Some(account) = self.accounts.get_mut(single.number) else { return };
        let (id, forgotten) = (account.outbox, account.is_forgotten(single.number));
        if account.given_back.contains(&single.number) {
            return;
        }
        account.given_back.push(single.number);
        let confirm = self.outboxes.get(&id).map(|outbox| outbox.confirm);
        let asked =
            !forgotten && (!single.received || confirm == Some(crate::Confirmation::Settled));
        if counts && !single.received {
            self.receive(single.number, 1, after);
        }
        let Some(outbox) = self.outboxes.get_mut(&id) else { return };
        let (datagram, fate) = (single.datagram, Fate::MaybeSent);
        if asked {
            outbox.failed.insert(single.number, (datagram, fate, error.clone()));
            return;
        }
        // Its place in the send buffer is free once it was taken.
        outbox.held += 1;
        outbox.held_bytes += datagram.view().size();
        outbox.returned.push_back(SendError::new(datagram, fate, error.clone()));
        after.wakers.append(&mut outbox.returning);
    }
}

fn piece(taken: &Taken) -> Piece {
    match taken {
        Taken::Run(run) => Piece {
            range: run.from..run.from + run.len,
            content: run.content.clone(),
            attempt: 1,
            possible_duplicate: false,
        },
        Taken::Single(single) => Piece {
            range: 0..1,
            content: Arc::new(single.datagram.clone().into()),
            attempt: single.attempt,
            possible_duplicate: single.possible_duplicate,
        },
    }
}
