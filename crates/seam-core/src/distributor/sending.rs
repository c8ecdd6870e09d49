//! How a topic changes when something is sent: admission, receipts, and what comes back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;

use super::Distributor;
use super::content::{Run, Undone, number};
use super::group::Group;
use super::outbox::Outbox;
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
            if let Some(place) = outbox.place_of(number) {
                outbox.waiting[place].1.clone_from(cx.waker());
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
        if let Some(place) = outbox.place_of(number) {
            outbox.waiting.remove(place);
            self.hungry -= 1;
        }
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
        let confirm = outbox.confirm;
        let first = self.next_number;
        self.next_number += number(count);
        if self.join(outbox_id, batch, count, first, after) {
            return;
        }
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
        self.accounts.open((first, count), outbox_id, (groups, counted), awaiting);
        if awaiting == 0 && confirm <= Confirmation::Received {
            batch.confirm(confirm);
        }
    }

    /// Puts a single plain datagram to what was admitted last, if that waits untouched for one session's group:
    /// what many calls send one by one is then one run.
    fn join(
        &mut self,
        outbox: u64,
        batch: &mut Batch,
        count: usize,
        first: u64,
        after: &mut After,
    ) -> bool {
        let plain = self.told && count == 1 && batch.len() == 1 && !batch.has_envelopes();
        let Some(account) = self.accounts.last_mut().filter(|_| plain) else { return false };
        let confirm = self.outboxes.get(&outbox).map(|outbox| outbox.confirm);
        let fits = account.is_simple()
            && account.outbox == outbox
            && account.end() == first
            && confirm.is_some_and(|confirm| confirm <= Confirmation::Received);
        let mut open = self.groups.values_mut().filter(|group| group.is_open());
        let (Some(group), None) = (open.next().filter(|_| fits), open.next()) else { return false };
        if !group.join_last(batch, first) {
            return false;
        }
        account.join(count);
        wake_one(group, after);
        true
    }

    /// The receipts of a ticket, if everything in it has its fate.
    pub(crate) fn receipts(&mut self, outbox: u64, ticket: &Ticket) -> Option<Receipts> {
        let Some(Outbox { confirm, closed, .. }) = self.outboxes.get(&outbox) else {
            return Some(Receipts::all(ticket.len(), Confirmation::Received));
        };
        let confirm = *confirm;
        let open = |numbers| self.accounts.first_open(&numbers, confirm).is_some();
        if !*closed && numbers(ticket).any(open) {
            return None;
        }
        let mut receipts = Receipts::all(ticket.len(), confirm);
        if let Some(outbox) = self.outboxes.get_mut(&outbox) {
            outbox.tell_failed(ticket, &mut receipts);
        }
        Some(receipts)
    }

    /// Wakes `cx` once the first of a ticket's accounts that must be waited for may have changed.
    pub(crate) fn ask(&mut self, outbox: u64, ticket: &Ticket, cx: &Context<'_>) {
        let confirm = self.outboxes.get(&outbox).map_or(Confirmation::Received, |o| o.confirm);
        for numbers in numbers(ticket) {
            if let Some(account) = self.accounts.first_open(&numbers, confirm) {
                let theirs = account.first.max(numbers.start)..account.end().min(numbers.end);
                self.asking += usize::from(account.wait(theirs, cx.waker()));
                return;
            }
        }
    }

    /// Nobody asks for these numbers any more.
    pub(crate) fn forget_ticket(&mut self, numbers: Range<u64>) {
        let parts: Vec<Range<u64>> = self.parts_of(numbers).map(|(_, _, part)| part).collect();
        for part in parts {
            if let Some(account) = self.accounts.get_mut(part.start) {
                self.asking = self.asking.saturating_sub(usize::from(account.forget(&part)));
            }
        }
    }

    pub(crate) fn withdraw(&mut self, outbox: u64, ticket: &Ticket, after: &mut After) -> Receipts {
        let confirm = self.outboxes.get(&outbox).map_or(Confirmation::Received, |o| o.confirm);
        let mut receipts = Receipts::all(ticket.len(), confirm);
        let accounts: Vec<(u64, usize, Range<u64>)> =
            numbers(ticket).flat_map(|numbers| self.parts_of(numbers)).collect();
        let mut lanes = HashMap::new();
        let mut failed = BTreeMap::new();
        for (first, len, theirs) in accounts {
            let kept = self.kept(confirm, first, len);
            for number in theirs.filter(|number| !kept(*number)) {
                let Some((datagram, fate)) = self.take_back(number, after) else { continue };
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

    /// The accounts that hold `numbers`, as first number and length, and which of `numbers` each holds.
    fn parts_of(&self, numbers: Range<u64>) -> impl Iterator<Item = (u64, usize, Range<u64>)> {
        self.accounts.of(numbers.clone()).map(move |account| {
            let theirs = numbers.start.max(account.first)..numbers.end.min(account.end());
            (account.first, account.len, theirs)
        })
    }

    /// Which numbers of an admission are beyond failing.
    pub(crate) fn kept(
        &self,
        confirm: Confirmation,
        first: u64,
        len: usize,
    ) -> impl Fn(u64) -> bool + use<> {
        let (mut upto, mut parts) = (first, Vec::new());
        let account = self.accounts.get(first).filter(|_| confirm != Confirmation::Settled);
        if let Some(account) = account {
            let end = first + number(len);
            match self.told {
                _ if account.awaiting == 0 => upto = end,
                true => parts.extend((first..end).filter(|number| account.has_received(*number))),
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
            let Some(account) = self.accounts.get(number) else { continue };
            let Some(owner) = self.outboxes.get(&outbox).filter(|_| account.outbox == outbox)
            else {
                continue;
            };
            if self.kept(owner.confirm, account.first, account.len)(number) {
                continue;
            }
            let forgotten = account.is_forgotten(number);
            if let Some((datagram, fate)) = self.take_back(number, after)
                && let Some(outbox) = self.outboxes.get_mut(&outbox)
            {
                if forgotten {
                    outbox.events.emit(Event::Forgotten { count: 1 });
                } else {
                    outbox.failed.insert(number, (datagram, fate, Error::Withdrawn));
                }
            }
        }
        self.accounts.wake_all(after);
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
    pub(crate) fn take_back(&mut self, number: u64, after: &mut After) -> Option<(Datagram, Fate)> {
        let (mut datagram, mut unseen, mut in_hand) = (None, 0usize, false);
        let groups = self.accounts.get(number)?.groups;
        let ids: Vec<u64> = self.groups.keys().collect();
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
        if in_hand && let Some(account) = self.accounts.get_mut(number) {
            account.given_back.push(number);
        }
        let fate = if unseen == groups { Fate::NotSent } else { Fate::MaybeSent };
        Some((datagram, fate))
    }

    pub(crate) fn cut(&mut self, outbox: u64, name: &str, after: &mut After) -> Vec<SendError> {
        if self.outboxes.get(&outbox).is_none_or(|outbox| outbox.closed) {
            return Vec::new();
        }
        let theirs = self.accounts.iter().filter(|account| account.outbox == outbox);
        let theirs: Vec<(u64, usize)> =
            theirs.map(|account| (account.first, account.len)).collect();
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
                } else if let Some((datagram, fate)) = self.take_back(number, after) {
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
        self.accounts.wake_all(after);
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

/// Each range of numbers of a ticket.
fn numbers(ticket: &Ticket) -> impl Iterator<Item = Range<u64>> {
    ticket.ranges().map(|(first, len)| first..first + u64::from(len))
}

/// Puts the only datagram of a batch behind those of a content that nobody else has.
pub(super) fn append(batch: &mut Batch, first: u64, content: &mut Arc<Datagrams>) -> bool {
    match Arc::get_mut(content) {
        Some(content) => {
            content.extend(batch.admit(1, first));
            true
        }
        None => false,
    }
}
