//! What a topic knows: outboxes, groups, and what is owed for each admission.
//!
//! How it changes when something is sent stands in `sending`, when something is received or settled in
//! `receiving`; here is what both need.

use std::task::Waker;
use std::time::Duration;

use super::account::Accounts;
use super::content::{Taken, Undone};
use super::group::{Group, Now};
use super::outbox::{self, Outbox};
use super::register::Register;
use crate::driver::Harvest;
use crate::{Datagram, Error, Events};

#[derive(Default)]
pub(crate) struct State {
    pub(crate) next_number: u64,
    pub(crate) next_id: u64,
    pub(crate) outboxes: Register<u64, Outbox>,
    pub(crate) groups: Register<u64, Group>,
    pub(crate) accounts: Accounts,
    /// Whether members tell what they received; else it follows from what they may have in hand.
    pub(crate) told: bool,
    /// Set once nothing is admitted any more: the error of those who try.
    pub(crate) closed: Option<Error>,
    pub(crate) harvest: Harvest,
    /// Calls that wait for credit, and those that wait for receipts.
    pub(crate) hungry: usize,
    pub(crate) asking: usize,
    /// Drains, woken whenever something is settled.
    pub(crate) watchers: Vec<Waker>,
}

/// What is done once the lock is gone.
#[derive(Default)]
pub(crate) struct After {
    pub(crate) wakers: Wakers,
    pub(crate) garbage: Vec<Taken>,
    /// What expired, and who is told.
    pub(crate) expired: Vec<Datagram>,
    pub(crate) told: Option<Events>,
    pub(crate) groups: Vec<Group>,
}

/// Whom to wake; no memory of its own for one.
#[derive(Default)]
pub(crate) struct Wakers {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Wakers {
    pub(crate) fn push(&mut self, waker: Waker) {
        match self.first {
            None => self.first = Some(waker),
            Some(_) => self.more.push(waker),
        }
    }

    pub(crate) fn append(&mut self, wakers: &mut Vec<Waker>) {
        if !wakers.is_empty() {
            self.extend(wakers.drain(..));
        }
    }

    #[inline]
    pub(crate) fn wake(self) {
        if let Some(first) = self.first {
            first.wake();
            self.more.into_iter().for_each(Waker::wake);
        }
    }
}

impl Extend<Waker> for Wakers {
    fn extend<I: IntoIterator<Item = Waker>>(&mut self, wakers: I) {
        wakers.into_iter().for_each(|waker| self.push(waker));
    }
}

impl State {
    pub(crate) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Whether somebody waits for what an acknowledgement would change.
    pub(crate) fn is_watched(&self) -> bool {
        let full = |group: &Group| group.waiting.iter().any(|member| !group.has_room(*member));
        self.hungry > 0
            || self.asking > 0
            || !self.watchers.is_empty()
            || self.closed.is_some()
            || self.groups.values().any(full)
    }

    /// Drops a group: nothing is owed to it any more.
    pub(crate) fn forget(&mut self, id: u64, after: &mut After) {
        let Some(mut group) = self.groups.remove(&id) else { return };
        let awaited = std::iter::from_fn(|| group.next_awaited()).collect::<Vec<_>>();
        for undone in group.undone() {
            self.settle_undone(&undone, group.counts(), after);
        }
        for number in awaited {
            self.received(number, after);
        }
        after.wakers.extend(group.take_wakers());
        after.wakers.append(&mut self.watchers);
        for board in group.lots.iter().filter_map(|(_, lot)| lot.board.as_ref()) {
            after.wakers.append(&mut board.revoke_unheard(0..board.len()));
        }
        after.groups.push(group);
    }

    /// Drops what waits for a throw-away group whose receiver is gone; what is in hand may still be settled.
    pub(crate) fn forget_queued(&mut self, id: u64, after: &mut After) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let counts = group.counts();
        for undone in group.queued() {
            if let Some(group) = self.groups.get_mut(&id)
                && group.extract(undone.number).is_some()
            {
                group.settle_waiting(&undone.datagram);
                self.settle_undone(&undone, counts, after);
            }
        }
    }

    /// Forgets groups whose last member left long ago, as long as another group is left to hold what is not
    /// done: nothing is lost while it could still be delivered.
    pub(crate) fn forget_expired(&mut self, now: &Now<'_>, after: &mut After) {
        let expired = |group: &Group| group.forgotten_at().is_some_and(|at| at <= now.monotonic());
        let ids = self.groups.iter().filter(|(_, group)| expired(group));
        let ids: Vec<u64> = ids.map(|(id, _)| id).collect();
        for id in ids {
            if self.groups.values().filter(|group| group.counts()).count() > 1 {
                self.forget(id, after);
            }
        }
    }

    pub(crate) fn next_forgetting(&self) -> Option<Duration> {
        if self.groups.values().filter(|group| group.counts()).count() < 2 {
            return None;
        }
        self.groups.values().filter_map(Group::forgotten_at).min()
    }

    /// Notes which admissions a group has received by now.
    pub(crate) fn advance(&mut self, group: u64, after: &mut After) {
        while let Some(number) = self.groups.get_mut(&group).and_then(Group::next_received) {
            self.received(number, after);
        }
    }

    pub(crate) fn received(&mut self, number: u64, after: &mut After) {
        if let Some(account) = self.accounts.get_mut(number) {
            account.awaiting -= 1;
            if account.awaiting == 0 {
                self.asking -= account.wake_all(after);
            }
        }
    }

    /// Notes that a group will never receive a datagram, and owes nothing for it any more.
    pub(crate) fn settle_undone(&mut self, undone: &Undone, counts: bool, after: &mut After) {
        if self.told && counts && !undone.received {
            self.receive(undone.number, 1, after);
        }
        let size = undone.datagram.view().size();
        self.settle(undone.number, (1, size), std::iter::once(size), after);
    }

    /// Notes that a group that counts told to have received these datagrams of one admission.
    pub(crate) fn receive(&mut self, first: u64, count: usize, after: &mut After) {
        if let Some(account) = self.accounts.get_mut(first) {
            self.asking = self.asking.saturating_sub(account.receive(first, count, after));
        }
    }

    pub(crate) fn settle(
        &mut self,
        first: u64,
        (count, size): (usize, usize),
        sizes: impl Iterator<Item = usize>,
        after: &mut After,
    ) {
        let Self { accounts, outboxes, asking, .. } = self;
        outbox::settle(accounts, outboxes, asking, first, (count, size), sizes, after);
    }

    pub(crate) fn wake_senders(&mut self, after: &mut After) {
        self.outboxes.values_mut().for_each(|outbox| outbox.wake_first(after));
    }

    pub(crate) fn wake_members(&mut self, after: &mut After) {
        self.groups.values_mut().for_each(|group| after.wakers.extend(group.take_wakers()));
    }
}

/// Wakes the first member that waits and has room.
pub(crate) fn wake_one(group: &mut Group, after: &mut After) {
    let ready = |member: &usize| group.has_room(*member);
    let Some(at) = group.waiting.iter().position(ready) else { return };
    if let Some(member) = group.waiting.remove(at).and_then(|m| group.members.get_mut(&m)) {
        member.called = true;
        after.wakers.extend(member.waker.take());
    }
}
