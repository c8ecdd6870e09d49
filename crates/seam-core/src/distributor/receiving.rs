//! How a topic changes when something is received: taking, settling, releasing, revoking.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use super::content::{Taken, Undone, number};
use super::group::{Found, Name, Now};
use super::hook::Hook;
use super::outbox::settle;
use super::state::{After, State, wake_one};
use super::{Seat, Wait};
use crate::{Deliveries, Events};

/// How a delivery is let go.
#[derive(Clone, Copy)]
pub(crate) struct Release {
    /// When it comes again; at once without.
    pub(crate) due: Option<Duration>,
    /// Whether it may have been finished without our knowing.
    pub(crate) possible_duplicate: bool,
    /// Which attempt the next delivery is; without, one more than this.
    pub(crate) attempt: Option<u32>,
}

impl Release {
    pub(crate) const AGAIN: Self = Self { due: None, possible_duplicate: false, attempt: None };
}

impl State {
    /// Whether only something new is of use to this member, no acknowledgement.
    pub(crate) fn is_ready(&self, seat: Seat) -> bool {
        let group = self.groups.get(&seat.group);
        self.closed.is_none() && group.is_some_and(|group| group.has_room(seat.member))
    }

    #[expect(clippy::too_many_arguments, reason = "one call site, and each is a different thing")]
    pub(crate) fn take(
        &mut self,
        seat: Seat,
        max: usize,
        into: &mut Deliveries,
        hook: &Arc<Hook>,
        now: &Now<'_>,
        copies: &mut Vec<Taken>,
        after: &mut After,
    ) -> Wait<bool> {
        let Some(found) = self.find(seat, max, now, after) else { return Wait::Ready(false) };
        let wait = self.wait_of(seat, &found);
        if let Some(group) = self.groups.get_mut(&seat.group).filter(|_| found.count > 0) {
            copies.extend(found.taken.iter().map(Taken::share));
            let token = group.next_token();
            let board = into.begin(found.count, token, hook.clone());
            group.hold(seat.member, token, Some(board), found.taken);
        }
        self.look_after(seat, found.expired, &hook.events, after);
        wait
    }

    /// What there is for a member; `None` where it gets nothing any more.
    pub(crate) fn find(
        &mut self,
        seat: Seat,
        max: usize,
        now: &Now<'_>,
        after: &mut After,
    ) -> Option<Found> {
        let group = self.groups.get_mut(&seat.group)?;
        group.members.get(&seat.member).filter(|member| member.live)?;
        let mut found = group.take(seat.member, max, now);
        for member in found.parked_for.drain(..) {
            after.wakers.extend(group.members.get_mut(&member).and_then(|m| m.waker.take()));
        }
        if found.count > 0 {
            if let Some(member) = group.members.get_mut(&seat.member) {
                (member.waker, member.called) = (None, false);
            }
            group.waiting.retain(|member| *member != seat.member);
        }
        Some(found)
    }

    /// What a member that found this waits for.
    pub(crate) fn wait_of(&self, seat: Seat, found: &Found) -> Wait<bool> {
        let Some(group) = self.groups.get(&seat.group) else { return Wait::Ready(false) };
        if found.count > 0 {
            Wait::Ready(true)
        } else if self.closed.is_some() && group.is_finished() {
            Wait::Ready(false)
        } else {
            Wait::Until(group.next_due())
        }
    }

    /// After a member took something: others get what is left, senders what has expired.
    pub(crate) fn look_after(
        &mut self,
        seat: Seat,
        expired: Vec<Undone>,
        events: &Events,
        after: &mut After,
    ) {
        let Some(group) = self.groups.get_mut(&seat.group) else { return };
        if group.has_something() {
            // What is left is more than this member takes.
            wake_one(group, after);
        }
        if !expired.is_empty() {
            self.discard(seat.group, expired, events, after);
            after.wakers.append(&mut self.watchers);
        }
    }

    /// Counts datagrams that expired while they waited as done.
    pub(crate) fn discard(
        &mut self,
        group: u64,
        expired: Vec<Undone>,
        events: &Events,
        after: &mut After,
    ) {
        for undone in expired {
            let mut counts = false;
            if let Some(group) = self.groups.get_mut(&group) {
                group.settle_waiting(&undone.datagram);
                counts = group.counts();
            }
            self.settle_undone(&undone, counts, after);
            after.expired.push(undone.datagram);
        }
        self.advance(group, after);
        if let Some(group) = self.groups.get_mut(&group)
            && self.closed.is_some()
            && group.is_finished()
        {
            after.wakers.extend(group.take_wakers());
        }
        after.told = Some(events.clone());
    }

    pub(crate) fn wait(&mut self, seat: Seat, cx: &Context<'_>) {
        let Some(group) = self.groups.get_mut(&seat.group) else { return };
        let Some(member) = group.members.get_mut(&seat.member) else { return };
        member.waker = Some(cx.waker().clone());
        let called = std::mem::take(&mut member.called);
        if group.waiting.contains(&seat.member) {
            return;
        }
        match called {
            true => group.waiting.push_front(seat.member),
            false => group.waiting.push_back(seat.member),
        }
    }

    /// Takes over what was settled on one board.
    pub(crate) fn harvest(&mut self, group_id: u64, token: u64, now: &Now<'_>, after: &mut After) {
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        let Some(at) = group.lot_of(token) else { return };
        let mut harvest = std::mem::take(&mut self.harvest);
        if let Some(board) = &group.lots[at].board {
            board.harvest(&mut harvest);
        }
        for range in &harvest.done {
            self.done(group_id, at, index(range.start)..index(range.end), after);
        }
        for range in &harvest.dropped {
            for place in range.clone() {
                self.release(group_id, at, index(place), Release::AGAIN, after);
            }
        }
        for (place, delay) in &harvest.retried {
            let due = (!delay.is_zero()).then(|| now.monotonic() + *delay);
            self.release(group_id, at, index(*place), Release { due, ..Release::AGAIN }, after);
        }
        self.harvest = harvest;
        self.end_lot(group_id, at, after);
        self.advance(group_id, after);
    }

    /// Notes part of a lot as done.
    pub(crate) fn done(
        &mut self,
        group_id: u64,
        lot: usize,
        range: std::ops::Range<usize>,
        after: &mut After,
    ) {
        let Self { groups, accounts, outboxes, asking, .. } = self;
        let Some(group) = groups.get_mut(&group_id) else { return };
        let entry = &mut group.lots[lot];
        let (member, pieces) = (entry.member, std::mem::take(&mut entry.taken));
        entry.open -= range.len();
        if entry.open > 0 {
            range.clone().for_each(|place| entry.settled.insert(place));
        }
        let mut start = 0;
        for taken in &pieces {
            let begin = start;
            start += taken.len();
            let (from, end) = (range.start.max(begin), range.end.min(start));
            if from >= end {
                continue;
            }
            let places = from - begin..end - begin;
            let (count, size) = (places.len(), taken.bytes(places.clone()));
            let first = taken.first() + number(places.start);
            let sizes = taken.views(places.clone()).map(|view| view.size());
            settle(accounts, outboxes, asking, first, (count, size), sizes, after);
            group.uncharge(member, count, size);
            group.outcomes += number(count);
            group.outcome_bytes += number(size);
            if taken.may_have_keys() {
                taken.views(places).for_each(|view| group.release_key(view));
            }
        }
        group.lots[lot].taken = pieces;
    }

    /// Lets one delivery of a lot go: it comes again, at `due` or at once.
    pub(crate) fn release(
        &mut self,
        group_id: u64,
        lot: usize,
        place: usize,
        how: Release,
        after: &mut After,
    ) {
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        let entry = &mut group.lots[lot];
        if entry.settled.contains(place) {
            return;
        }
        let Some((taken, at)) = entry.find(place) else { return };
        let mut single = taken.again(at, how.possible_duplicate);
        single.attempt = how.attempt.unwrap_or(single.attempt).max(1);
        single.received |= place < entry.received;
        entry.settled.insert(place);
        entry.open -= 1;
        let member = entry.member;
        group.uncharge(member, 1, single.datagram.view().size());
        group.release_key(single.datagram.view());
        let account = self.accounts.get(single.number);
        if account.is_some_and(|account| account.given_back.contains(&single.number)) {
            group.settle_waiting(&single.datagram);
            let counts = group.counts();
            self.settle_undone(&single.into_undone(), counts, after);
            return;
        }
        match how.due {
            Some(due) => group.delay(single, due),
            None => group.give_back(single),
        }
        wake_one(group, after);
    }

    /// Removes a lot that has nothing open; its member may take more, or goes if it has left.
    pub(crate) fn end_lot(&mut self, group_id: u64, lot: usize, after: &mut After) {
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        let member = group.lots[lot].member;
        if group.lots[lot].open == 0 {
            let mut taken = group.lots.remove(lot).taken;
            if after.garbage.is_empty() {
                after.garbage = taken;
            } else {
                after.garbage.append(&mut taken);
            }
        }
        group.forget_if_empty(member);
        if group.has_something() || group.has_parked(member) || group.next_due().is_some() {
            after.wakers.extend(group.members.get_mut(&member).and_then(|m| m.waker.take()));
        }
        if self.closed.is_some() && group.is_finished() {
            after.wakers.extend(group.take_wakers());
        }
        if group.name == Name::Private && group.members.is_empty() {
            self.forget(group_id, after);
        }
    }

    pub(crate) fn revoke(&mut self, seat: Seat, after: &mut After) -> u64 {
        let Some(group) = self.groups.get(&seat.group) else { return 0 };
        let lots = group.lots.iter().filter(|(_, lot)| lot.member == seat.member);
        let lots: Vec<usize> = lots.map(|(at, _)| at).collect();
        let mut revoked = 0;
        for lot in lots {
            let Some(group) = self.groups.get(&seat.group) else { break };
            let board = group.lots[lot].board.clone();
            let again = Release { possible_duplicate: true, ..Release::AGAIN };
            let open: Vec<usize> = group.lots[lot].open().map(|(place, _, _)| place).collect();
            revoked += number(open.len());
            for place in open {
                let place32 = crate::batch::count(place);
                if let Some(board) = &board {
                    after.wakers.append(&mut board.revoke_unheard(place32..place32 + 1));
                }
                self.release(seat.group, lot, place, again, after);
            }
            self.end_lot(seat.group, lot, after);
        }
        revoked
    }
}

pub(crate) fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}
