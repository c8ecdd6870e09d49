//! How a topic changes when something is sent: admission, receipts, and what comes back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;

use super::Distributor;
use super::content::{Run, Undone, number};
use super::group::Group;
use super::outbox::{Account, Outbox};
use super::state::{After, State, wake_one};
use crate::clock::lock;
use crate::driver::Ticket;
use crate::{Batch, Confirmation, Datagram, Datagrams, Error, Event, Fate, Receipts, SendError};

impl State {
    pub(crate) fn refusal(&self, outbox: u64, call: Option<u64>, name: &str) -> Option<Error> {
        if let Some(error) = &self.closed {
            return Some(error.clone());
        }
        match self.outboxes.get(&outbox) {
            Some(Outbox { closed: false, stopped, .. }) if call.is_some() || !stopped => None,
            _ => Some(Error::Closed { endpoint: name.to_owned() }),
        }
    }

    pub(crate) fn is_first(&self, outbox: u64, call: Option<u64>) -> bool {
        let waiting = self.outboxes.get(&outbox).and_then(|outbox| outbox.waiting.front());
        waiting.is_none_or(|(first, _)| Some(*first) == call)
    }

    pub(crate) fn has_looked(&mut self, outbox: u64) {
        if let Some(outbox) = self.outboxes.get_mut(&outbox) {
            outbox.called = false;
            outbox.lingers_at = None;
        }
    }

    /// Whether all of `batch` fits now.
    pub(crate) fn fits(&self, outbox: u64, batch: &Batch) -> bool {
        self.outboxes.get(&outbox).is_some_and(|outbox| outbox.fits(batch))
    }

    /// Whether the first call that waits does better to look once more before it takes what little is free.
    pub(crate) fn lingers(&mut self, outbox: u64, batch: &Batch) -> bool {
        self.outboxes.get_mut(&outbox).is_some_and(|outbox| outbox.lingers(batch))
    }

    /// Whether nobody waits for an acknowledgement but the senders of one connection, the first of which was
    /// woken already.
    pub(crate) fn one_is_called(&self) -> bool {
        let mut waiting = self.outboxes.values().filter(|outbox| !outbox.waiting.is_empty());
        self.asking == 0
            && self.watchers.is_empty()
            && self.closed.is_none()
            && waiting.next().is_some_and(|outbox| outbox.called)
            && waiting.next().is_none()
            && !self.groups.values().any(Group::is_starved)
    }

    pub(crate) fn enqueue(&mut self, outbox: u64, call: &mut Option<u64>, cx: &Context<'_>) {
        let Some(outbox) = self.outboxes.get_mut(&outbox) else { return };
        if let Some(number) = *call {
            if let Some((_, waker)) = outbox.waiting.iter_mut().find(|(n, _)| *n == number) {
                waker.clone_from(cx.waker());
            }
            return;
        }
        outbox.next_call += 1;
        outbox.waiting.push_back((outbox.next_call, cx.waker().clone()));
        *call = Some(outbox.next_call);
        self.hungry += 1;
    }

    pub(crate) fn leave_queue(&mut self, outbox: u64, call: &mut Option<u64>, after: &mut After) {
        let (Some(number), Some(outbox)) = (call.take(), self.outboxes.get_mut(&outbox)) else {
            return;
        };
        if outbox.waiting.front().is_some_and(|(first, _)| *first == number) {
            outbox.called = false;
            outbox.lingers_at = None;
        }
        let before = outbox.waiting.len();
        outbox.waiting.retain(|(waiting, _)| *waiting != number);
        self.hungry -= before - outbox.waiting.len();
        outbox.wake_first(after);
        after.wakers.append(&mut self.watchers);
    }

    /// Admits what fits from the front of `batch`.
    pub(crate) fn admit(
        &mut self,
        outbox_id: u64,
        batch: &mut Batch,
        topic: &Distributor,
        after: &mut After,
    ) {
        let Some(outbox) = self.outboxes.get_mut(&outbox_id) else { return };
        if batch.is_empty() || !self.groups.values().any(Group::counts) {
            return;
        }
        let (count, size) = outbox.fitting(batch);
        if count == 0 {
            return;
        }
        outbox.held += count;
        outbox.held_bytes += size;
        let first = self.next_number;
        self.next_number += number(count);
        let enveloped = batch.has_envelopes();
        let content = fill(batch, count, first, topic);
        let run = Run { content, from: 0, len: count, first, enveloped };
        let (mut awaiting, mut groups, mut counted) = (0, 0usize, 0);
        for group in self.groups.values_mut().filter(|group| group.is_open()) {
            groups += 1;
            counted += u16::from(group.counts());
            if !group.append(run.clone(), size, self.told) {
                awaiting += 1;
            }
            wake_one(group, after);
        }
        if self.told {
            awaiting = count;
        }
        let owing = u16::try_from(groups).unwrap_or(u16::MAX);
        let account = Account {
            len: count,
            outbox: outbox_id,
            groups,
            awaiting,
            counted,
            unreceived: None,
            undone: count,
            owed: (owing > 1).then(|| vec![owing; count].into()),
            given_back: Vec::new(),
            forgotten: false,
            wakers: Vec::new(),
        };
        self.accounts.insert(first, account);
        if awaiting == 0 && outbox.confirm <= Confirmation::Received {
            batch.confirm(outbox.confirm);
        }
    }

    /// The receipts of a ticket, if everything in it has its fate.
    pub(crate) fn receipts(&mut self, outbox: u64, ticket: &Ticket) -> Option<Receipts> {
        let Some(Outbox { confirm, closed, .. }) = self.outboxes.get(&outbox) else {
            return Some(Receipts::all(ticket.len(), Confirmation::Received));
        };
        let confirm = *confirm;
        if !closed && self.accounts_of(ticket).any(|(_, account)| account.is_open(confirm)) {
            return None;
        }
        let mut receipts = Receipts::all(ticket.len(), confirm);
        if let Some(outbox) = self.outboxes.get_mut(&outbox) {
            outbox.tell_failed(ticket, &mut receipts);
        }
        Some(receipts)
    }

    pub(crate) fn ask(&mut self, outbox: u64, ticket: &Ticket, cx: &Context<'_>) {
        let confirm = self.outboxes.get(&outbox).map_or(Confirmation::Received, |o| o.confirm);
        for (first, len) in ticket.ranges() {
            let mut range = self.accounts.range_mut(first..first + u64::from(len));
            if let Some((_, account)) = range.find(|(_, account)| account.is_open(confirm)) {
                if account.wakers.is_empty() {
                    self.asking += 1;
                }
                if !account.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                    account.wakers.push(cx.waker().clone());
                }
                return;
            }
        }
    }

    pub(crate) fn accounts_of<'a>(
        &'a self,
        ticket: &'a Ticket,
    ) -> impl Iterator<Item = (&'a u64, &'a Account)> {
        let range = |(first, len)| self.accounts.range(first..first + u64::from(len));
        ticket.ranges().flat_map(range)
    }

    pub(crate) fn withdraw(&mut self, outbox: u64, ticket: &Ticket, after: &mut After) -> Receipts {
        let confirm = self.outboxes.get(&outbox).map_or(Confirmation::Received, |o| o.confirm);
        let mut receipts = Receipts::all(ticket.len(), confirm);
        let accounts: Vec<(u64, usize)> =
            self.accounts_of(ticket).map(|(first, account)| (*first, account.len)).collect();
        let mut lanes = HashMap::new();
        let mut failed = BTreeMap::new();
        for (first, len) in accounts {
            let kept = self.kept(confirm, first, len);
            for number in (first..first + number(len)).filter(|number| !kept(*number)) {
                let Some((datagram, fate)) = self.take_back(first, number, after) else { continue };
                if let Some(key) = &datagram.envelope().key {
                    lanes.entry(key.clone()).or_insert(number);
                }
                failed.insert(number, (datagram, fate, Error::Withdrawn));
            }
        }
        if !lanes.is_empty() {
            self.fail_lanes(outbox, &lanes, after);
        }
        if let Some(outbox) = self.outboxes.get_mut(&outbox) {
            outbox.failed.append(&mut failed);
            outbox.tell_failed(ticket, &mut receipts);
        }
        receipts
    }

    /// Which numbers of an admission are beyond failing.
    pub(crate) fn kept(
        &self,
        confirm: Confirmation,
        first: u64,
        len: usize,
    ) -> impl Fn(u64) -> bool + use<> {
        let (mut upto, mut parts) = (first, Vec::new());
        let account = self.accounts.get(&first).filter(|_| confirm != Confirmation::Settled);
        if let Some(account) = account {
            let received = |at: &usize| account.has_received(*at);
            match self.told {
                _ if account.awaiting == 0 => upto = first + number(len),
                true => parts.extend((0..len).filter(received).map(|at| first + number(at))),
                false => upto = first + number(self.received_of(first, len)),
            }
        }
        move |number| number < upto || parts.binary_search(&number).is_ok()
    }

    /// Fails what of these keys was admitted after the number that failed and has no receipt: none of it may
    /// succeed any more. Its tickets tell.
    pub(crate) fn fail_lanes(
        &mut self,
        outbox: u64,
        lanes: &HashMap<Bytes, u64>,
        after: &mut After,
    ) {
        let behind = |undone: &Undone| {
            let key = undone.datagram.envelope().key.as_ref().and_then(|key| lanes.get(key));
            key.is_some_and(|failed| undone.number > *failed)
        };
        let undone = self.groups.values().flat_map(Group::undone).filter(behind);
        let numbers: BTreeSet<u64> = undone.map(|undone| undone.number).collect();
        for number in numbers {
            let Some((&first, account)) = self.accounts.range(..=number).next_back() else {
                continue;
            };
            let Some(owner) = self.outboxes.get(&outbox).filter(|_| account.outbox == outbox)
            else {
                continue;
            };
            if self.kept(owner.confirm, first, account.len)(number) {
                continue;
            }
            let forgotten = account.forgotten;
            if let Some((datagram, fate)) = self.take_back(first, number, after)
                && let Some(outbox) = self.outboxes.get_mut(&outbox)
            {
                if forgotten {
                    outbox.events.emit(Event::Forgotten { count: 1 });
                } else {
                    outbox.failed.insert(number, (datagram, fate, Error::Withdrawn));
                }
            }
        }
        for account in self.accounts.values_mut() {
            after.wakers.append(&mut account.wakers);
        }
        self.asking = 0;
    }

    /// How many of an admission every group that counts has received.
    pub(crate) fn received_of(&self, first: u64, len: usize) -> usize {
        let groups = self.groups.values().filter(|group| group.counts());
        let least = groups.map(|group| group.received_of(first, number(len))).min();
        least.and_then(|least| usize::try_from(least).ok()).unwrap_or(len)
    }

    /// Takes one datagram back from wherever it waits; `None` if every group is done with it. Not sent is
    /// only what still waited in every group that it went to, and was never delivered.
    pub(crate) fn take_back(
        &mut self,
        first: u64,
        number: u64,
        after: &mut After,
    ) -> Option<(Datagram, Fate)> {
        let (mut datagram, mut unseen, mut in_hand) = (None, 0usize, false);
        let groups = self.accounts.get(&first)?.groups;
        let ids: Vec<u64> = self.groups.keys().copied().collect();
        for id in ids {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            if let Some(found) = group.extract(number) {
                let counts = group.counts();
                group.settle_waiting(&found.datagram);
                self.settle_undone(&found, counts, after);
                self.advance(id, after);
                unseen += usize::from(!found.seen);
                datagram = Some(found.datagram);
            } else if let Some(found) = group.in_hand(number) {
                in_hand = true;
                datagram = Some(found);
            }
        }
        let datagram = datagram?;
        if in_hand && let Some(account) = self.accounts.get_mut(&first) {
            account.given_back.push(number);
        }
        let fate = if unseen == groups { Fate::NotSent } else { Fate::MaybeSent };
        Some((datagram, fate))
    }

    pub(crate) fn cut(&mut self, outbox: u64, name: &str, after: &mut After) -> Vec<SendError> {
        if self.outboxes.get(&outbox).is_none_or(|outbox| outbox.closed) {
            return Vec::new();
        }
        let theirs = self.accounts.iter().filter(|(_, account)| account.outbox == outbox);
        let theirs: Vec<(u64, usize)> = theirs.map(|(first, a)| (*first, a.len)).collect();
        let closed = || Error::Closed { endpoint: name.to_owned() };
        let closed = self.closed.clone().unwrap_or_else(closed);
        let confirm = self.outboxes.get(&outbox).map_or(Confirmation::Received, |o| o.confirm);
        let mut failed = BTreeMap::new();
        let mut unsent = BTreeMap::new();
        let mut undone = BTreeMap::new();
        if !theirs.is_empty() {
            let all = self.groups.values().flat_map(Group::undone);
            undone.extend(all.map(|undone| (undone.number, undone.datagram)));
        }
        for (first, len) in theirs {
            let received = self.kept(Confirmation::Received, first, len);
            for number in first..first + number(len) {
                if received(number) {
                    let kept = undone.get(&number).map(|d| (d.clone(), Fate::MaybeSent));
                    unsent.extend(kept.map(|kept| (number, kept)));
                } else if let Some((datagram, fate)) = self.take_back(first, number, after) {
                    failed.insert(number, (datagram.clone(), fate, closed.clone()));
                    unsent.insert(number, (datagram, fate));
                }
            }
        }
        if confirm == Confirmation::Settled {
            let all = unsent.iter().map(|(n, (d, fate))| (*n, (d.clone(), *fate, closed.clone())));
            failed.extend(all);
        }
        let mut returned = Vec::new();
        if let Some(outbox) = self.outboxes.get_mut(&outbox) {
            returned.extend(std::iter::from_fn(|| outbox.take_returned(after)));
            after.wakers.append(&mut outbox.returning);
            outbox.failed.append(&mut failed);
            outbox.closed = true;
            after.wakers.extend(outbox.waiting.iter().map(|(_, waker)| waker.clone()));
        }
        for account in self.accounts.values_mut() {
            after.wakers.append(&mut account.wakers);
        }
        self.asking = 0;
        let give = |(datagram, fate)| SendError::new(datagram, fate, closed.clone());
        returned.extend(unsent.into_values().map(give));
        returned
    }
}

/// Moves the first `count` datagrams of a batch into a content.
fn fill(batch: &mut Batch, count: usize, first: u64, topic: &Distributor) -> Arc<Datagrams> {
    let mut content = lock(&topic.spare).pop().unwrap_or_default();
    match Arc::get_mut(&mut content) {
        Some(empty) => batch.admit_into(count, first, empty),
        None => content = Arc::new(batch.admit(count, first).collect()),
    }
    content
}
