//! One stream of datagrams: who sends into it, the groups that receive, and what is owed to whom.
//!
//! Everything is one value under one lock, held only for short, bounded work: datagrams are copied and
//! dropped outside it, wakers are called outside it. An admission stays one run of shared datagrams all the
//! way, so its cost is that of the batch, not of each datagram.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::content::{Content, Run, Taken, bytes, number};
use super::group::{Found, Group, Name, Now};
use crate::clock::lock;
use crate::driver::{Board, Harvest, Harvester, Ticket};
use crate::{
    Batch, Confirmation, Datagram, Deliveries, Error, Event, Events, Fate, Note, Receipts, Result,
    SendError,
};

pub(super) struct Topic {
    /// The endpoint, without secrets, for errors.
    pub(super) name: String,
    state: Mutex<State>,
    /// Whether somebody waits for what an acknowledgement would change. While nobody does, boards are only
    /// enlisted, and harvested by the next receive.
    eager: AtomicBool,
    /// Boards with something to harvest: group and token.
    marked: Mutex<Vec<(u64, u64)>>,
    /// Contents to be used again.
    spare: Mutex<Vec<Arc<Content>>>,
}

#[derive(Default)]
pub(super) struct State {
    next_number: u64,
    next_id: u64,
    outboxes: BTreeMap<u64, Outbox>,
    groups: BTreeMap<u64, Group>,
    accounts: BTreeMap<u64, Account>,
    /// Set once nothing is admitted any more: the error of those who try.
    closed: Option<Error>,
    harvest: Harvest,
    /// Calls that wait for credit, and those that wait for receipts.
    hungry: usize,
    asking: usize,
    /// Drains, woken whenever something is settled.
    watchers: Vec<Waker>,
}

/// What one connection has sent into this topic and is not done.
pub(super) struct Outbox {
    credit: usize,
    credit_bytes: usize,
    held: usize,
    held_bytes: usize,
    confirm: Confirmation,
    events: Events,
    /// Calls that wait for credit, in the order in which they began.
    waiting: VecDeque<(u64, Waker)>,
    /// Whether the first of them was woken and has not looked since: it will find all that is settled till then.
    called: bool,
    next_call: u64,
    /// Whether new calls are refused.
    stopped: bool,
    /// Whether a drain or an abort has closed it.
    closed: bool,
    /// What failed before its ticket was asked, by number. Goes with the ticket.
    failed: BTreeMap<u64, (Datagram, Fate, Error)>,
}

/// What is owed for one admission.
struct Account {
    len: usize,
    outbox: u64,
    /// Groups that it went to.
    groups: usize,
    /// Groups whose receipt is still awaited.
    awaiting: usize,
    /// Datagrams that are not done in every group.
    undone: usize,
    /// Groups that owe an outcome, for each datagram; `None` where it is one group.
    owed: Option<Box<[u16]>>,
    /// Numbers that were given back to the caller, and so are never delivered again.
    given_back: Vec<u64>,
    /// Whether its ticket was dropped: nobody is told any more.
    forgotten: bool,
    wakers: Vec<Waker>,
}

/// What is done once the lock is gone.
#[derive(Default)]
struct After {
    wakers: Vec<Waker>,
    garbage: Vec<Taken>,
    /// What expired, and who is told.
    expired: Vec<Datagram>,
    told: Option<Events>,
    groups: Vec<Group>,
}

/// A member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) group: u64,
    pub(super) member: usize,
}

/// What a receiver asks for.
pub(super) struct Membership {
    pub(super) group: Name,
    pub(super) credit: usize,
    pub(super) credit_bytes: usize,
    pub(super) session_expiry: Duration,
}

/// What a sender asks for.
pub(super) struct Sending {
    pub(super) credit: usize,
    pub(super) credit_bytes: usize,
    pub(super) confirm: Confirmation,
    pub(super) events: Events,
}

/// What a poll that cannot go on waits for, beside being woken.
pub(super) enum Wait<T> {
    Ready(T),
    Until(Option<Duration>),
}

/// Tells the topic of verdicts on one member's deliveries.
pub(super) struct Hook {
    pub(super) topic: Arc<Topic>,
    pub(super) group: u64,
    pub(super) events: Events,
    pub(super) clock: Arc<dyn crate::Clock>,
    pub(super) late: AtomicU64,
}

const SPARE: usize = 64;

impl Topic {
    pub(super) fn new(name: String) -> Arc<Self> {
        Arc::new(Self {
            name,
            state: Mutex::default(),
            eager: AtomicBool::new(false),
            marked: Mutex::default(),
            spare: Mutex::default(),
        })
    }

    /// Runs `change` under the lock, then wakes and drops what it left.
    fn with<T>(&self, change: impl FnOnce(&mut State, &mut After) -> T) -> T {
        let mut after = After::default();
        let output = change(&mut lock(&self.state), &mut after);
        self.finish(after);
        output
    }

    fn finish(&self, after: After) {
        if let Some(events) = after.told {
            events.emit(Event::Expired { count: number(after.expired.len()) });
        }
        after.wakers.into_iter().for_each(Waker::wake);
        for taken in after.garbage {
            if let Taken::Run(run) = taken {
                self.reuse(run.content);
            }
        }
    }

    /// Keeps a content for the next admission once nobody else has it.
    fn reuse(&self, mut content: Arc<Content>) {
        if let Some(empty) = Arc::get_mut(&mut content) {
            empty.clear();
            let mut spare = lock(&self.spare);
            if spare.len() < SPARE {
                spare.push(content);
            }
        }
    }

    pub(super) fn register(&self, sending: Sending) -> u64 {
        self.with(|state, _| {
            let id = state.id();
            state.outboxes.insert(id, Outbox::new(sending));
            id
        })
    }

    pub(super) fn unregister(&self, outbox: u64) {
        self.with(|state, _| state.outboxes.remove(&outbox));
    }

    /// Adds a member; makes its group if it is new.
    pub(super) fn join(&self, membership: Membership) -> Seat {
        self.with(|state, after| {
            let known = state
                .groups
                .iter()
                .find(|(_, group)| group.name == membership.group && group.name != Name::Private);
            let id = known.map(|(id, _)| *id).unwrap_or_else(|| state.id());
            let group = state
                .groups
                .entry(id)
                .or_insert_with(|| Group::new(membership.group, membership.session_expiry));
            let member = group.join(membership.credit, membership.credit_bytes);
            state.advance(id, after);
            state.wake_senders(after);
            Seat { group: id, member }
        })
    }

    /// Ends a membership: its receiver was dropped, drains, or moves. What it has in hand stays settleable.
    pub(super) fn leave(&self, seat: Seat, now: Duration) {
        self.with(|state, after| {
            let Some(group) = state.groups.get_mut(&seat.group) else { return };
            let waker = group.members.get_mut(&seat.member).and_then(|m| m.waker.take());
            after.wakers.extend(waker);
            group.leave(seat.member, now);
            let private = group.name == Name::Private && group.members.is_empty();
            wake_one(group, after);
            if private {
                state.forget(seat.group, after);
            }
        });
    }

    /// Revokes what a member has in hand: it goes to somebody else. Says how many those were.
    pub(super) fn revoke(&self, seat: Seat, now: Now) -> u64 {
        self.with(|state, after| {
            self.harvest_marked(state, now.monotonic, after);
            let revoked = state.revoke(seat, after);
            let gone = state
                .groups
                .get(&seat.group)
                .is_some_and(|group| group.name == Name::Private && group.members.is_empty());
            if gone {
                state.forget(seat.group, after);
            }
            revoked
        })
    }

    /// Whether this member receives, or still has something in hand.
    pub(super) fn is_member(&self, seat: Seat) -> bool {
        let state = lock(&self.state);
        state.groups.get(&seat.group).is_some_and(|group| group.members.contains_key(&seat.member))
    }

    /// Deliveries that a member has in hand.
    pub(super) fn in_hand(&self, seat: Seat, now: Duration) -> usize {
        self.with(|state, after| {
            self.harvest_marked(state, now, after);
            let group = state.groups.get(&seat.group);
            group.and_then(|g| g.members.get(&seat.member)).map_or(0, |member| member.unsettled)
        })
    }

    /// Datagrams of an outbox that are not done, calls that wait included.
    pub(super) fn held(&self, outbox: u64, now: Duration) -> usize {
        self.with(|state, after| {
            self.harvest_marked(state, now, after);
            state.outboxes.get(&outbox).map_or(0, |outbox| outbox.held + outbox.waiting.len())
        })
    }

    /// Wakes `waker` whenever something is settled, from now on.
    pub(super) fn watch(&self, waker: &Waker) {
        self.with(|state, _| {
            if !state.watchers.iter().any(|known| known.will_wake(waker)) {
                state.watchers.push(waker.clone());
            }
        });
        self.eager.store(true, Ordering::SeqCst);
    }

    /// Lets calls that wait go on, and refuses new ones.
    pub(super) fn stop(&self, outbox: u64) {
        self.with(|state, _| {
            if let Some(outbox) = state.outboxes.get_mut(&outbox) {
                outbox.stopped = true;
            }
        });
    }

    /// Admits nothing more. Receivers end once everything is settled.
    pub(super) fn close(&self, error: Error) {
        self.with(|state, after| {
            state.closed.get_or_insert(error);
            state.wake_senders(after);
            state.wake_members(after);
        });
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed.is_some()
    }

    /// Wakes whoever waits, to look again whether this is still its topic.
    pub(super) fn disturb(&self) {
        self.with(|state, after| {
            state.wake_senders(after);
            state.wake_members(after);
        });
    }

    /// Whether any receiver has joined.
    pub(super) fn has_members(&self) -> bool {
        !lock(&self.state).groups.is_empty()
    }

    pub(super) fn poll_admit(
        &self,
        outbox: u64,
        batch: &mut Batch,
        call: &mut Option<u64>,
        now: Duration,
        cx: &Context<'_>,
    ) -> Wait<Result<()>> {
        self.with(|state, after| {
            if let Some(error) = state.refusal(outbox, *call, &self.name) {
                state.leave_queue(outbox, call, after);
                return Wait::Ready(Err(error));
            }
            if state.is_first(outbox, *call) {
                state.admit(outbox, batch, self, after);
                if !batch.is_empty() {
                    // Only now is it worth to look at what was acknowledged and not harvested.
                    self.eager.store(true, Ordering::SeqCst);
                    self.harvest_marked(state, now, after);
                    state.forget_expired(now, after);
                    state.admit(outbox, batch, self, after);
                }
                state.has_looked(outbox);
                if batch.is_empty() {
                    state.leave_queue(outbox, call, after);
                    self.look_for_others(state, now, after);
                    return Wait::Ready(Ok(()));
                }
            }
            state.enqueue(outbox, call, cx);
            Wait::Until(state.next_forgetting())
        })
    }

    /// A call that waits for credit is dropped.
    pub(super) fn cancel_admit(&self, outbox: u64, call: &mut Option<u64>, now: Duration) {
        self.with(|state, after| {
            state.leave_queue(outbox, call, after);
            self.look_for_others(state, now, after);
        });
    }

    /// A call that was woken for what is acknowledged goes: those that still wait must not miss the rest.
    fn look_for_others(&self, state: &mut State, now: Duration, after: &mut After) {
        if state.hungry > 0 {
            self.eager.store(true, Ordering::SeqCst);
            self.harvest_marked(state, now, after);
        }
    }

    pub(super) fn poll_receipts(
        &self,
        outbox: u64,
        ticket: &Ticket,
        now: Duration,
        cx: &Context<'_>,
    ) -> Poll<Receipts> {
        self.with(|state, after| {
            if let Some(receipts) = state.receipts(outbox, ticket) {
                return Poll::Ready(receipts);
            }
            self.eager.store(true, Ordering::SeqCst);
            self.harvest_marked(state, now, after);
            match state.receipts(outbox, ticket) {
                Some(receipts) => Poll::Ready(receipts),
                None => {
                    state.ask(outbox, ticket, cx);
                    Poll::Pending
                }
            }
        })
    }

    pub(super) fn withdraw(&self, outbox: u64, ticket: &Ticket, now: Duration) -> Receipts {
        self.with(|state, after| {
            self.harvest_marked(state, now, after);
            after.wakers.append(&mut state.watchers);
            state.withdraw(outbox, ticket, after)
        })
    }

    /// Nobody asks for this ticket any more.
    pub(super) fn forget(&self, outbox: u64, ticket: &Ticket) {
        self.with(|state, _| {
            for (first, len) in ticket.ranges() {
                let range = first..first + u64::from(len);
                let accounts = state.accounts.range_mut(range.clone());
                accounts.for_each(|(_, account)| account.forgotten = true);
                if let Some(outbox) = state.outboxes.get_mut(&outbox) {
                    outbox.failed.retain(|number, _| !range.contains(number));
                }
            }
        });
    }

    /// Closes an outbox; what is not done comes back with its fate. What was received stays.
    pub(super) fn cut(&self, outbox: u64, now: Duration) -> Vec<SendError> {
        self.with(|state, after| {
            self.harvest_marked(state, now, after);
            state.cut(outbox, &self.name, after)
        })
    }

    /// Refills `into`; `None` once this member gets nothing any more.
    pub(super) fn poll_receive(
        &self,
        seat: Seat,
        max: usize,
        into: &mut Deliveries,
        hook: &Arc<Hook>,
        now: Now,
        cx: &Context<'_>,
    ) -> Wait<bool> {
        let mut copies = Vec::new();
        let waits = self.with(|state, after| {
            if self.eager.load(Ordering::SeqCst) && !state.is_watched() {
                self.eager.store(false, Ordering::SeqCst);
            }
            self.harvest_marked(state, now.monotonic, after);
            let mut waits = state.take(seat, max, into, hook, now, &mut copies, after);
            if matches!(waits, Wait::Until(_)) && !state.is_ready(seat) {
                self.eager.store(true, Ordering::SeqCst);
                self.harvest_marked(state, now.monotonic, after);
                waits = state.take(seat, max, into, hook, now, &mut copies, after);
            }
            if matches!(waits, Wait::Until(_)) {
                state.wait(seat, cx);
            }
            waits
        });
        match &copies[..] {
            [Taken::Run(run)] if !run.enveloped => {
                into.share(run.content.clone(), run.from..run.from + run.len);
            }
            _ => copies.iter().for_each(|taken| deliver(taken, into)),
        }
        waits
    }

    /// A receive that waits is dropped: what it was woken for goes to somebody else.
    pub(super) fn cancel_receive(&self, seat: Seat) {
        self.with(|state, after| {
            let Some(group) = state.groups.get_mut(&seat.group) else { return };
            if let Some(member) = group.members.get_mut(&seat.member) {
                member.waker = None;
            }
            group.waiting.retain(|member| *member != seat.member);
            wake_one(group, after);
        });
    }

    /// Tells those that wait of acknowledgements. Where that is one sender alone, it is woken once: it will find
    /// what else is acknowledged until it looks, and nobody looks for it in between.
    fn tell(&self, now: Duration) {
        self.with(|state, after| {
            self.harvest_marked(state, now, after);
            if state.one_is_called() {
                self.eager.store(false, Ordering::SeqCst);
            }
        });
    }

    /// Looks at what was settled on this member's boards.
    pub(super) fn harvest(&self, now: Duration) {
        self.with(|state, after| self.harvest_marked(state, now, after));
    }

    fn harvest_marked(&self, state: &mut State, now: Duration, after: &mut After) {
        let marked = std::mem::take(&mut *lock(&self.marked));
        for (group, token) in &marked {
            state.harvest(*group, *token, now, after);
        }
        if !marked.is_empty() {
            after.wakers.append(&mut state.watchers);
        }
        let mut marked = marked;
        marked.clear();
        let mut list = lock(&self.marked);
        if list.is_empty() && list.capacity() < marked.capacity() {
            *list = marked;
        }
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.name)
    }
}

impl Harvester for Hook {
    fn settled(&self, board: &Arc<Board>, urgent: bool) {
        if board.mark() {
            lock(&self.topic.marked).push((self.group, board.token()));
        }
        if urgent {
            self.topic.harvest(self.clock.now());
        } else if self.topic.eager.load(Ordering::SeqCst) {
            self.topic.tell(self.clock.now());
        }
        if board.is_revoked() {
            self.too_late(board);
        }
    }
}

impl Hook {
    /// Counts what was acknowledged on deliveries that were no longer ours.
    fn too_late(&self, board: &Board) {
        self.topic.harvest(self.clock.now());
        let mut harvest = Harvest::default();
        board.harvest(&mut harvest);
        let count = harvest.done.iter().map(|range| u64::from(range.end - range.start)).sum();
        if count > 0 {
            self.late.fetch_add(count, Ordering::Relaxed);
            self.events.emit(Event::SettlementFailed { count });
        }
    }
}

impl Outbox {
    fn new(sending: Sending) -> Self {
        let Sending { credit, credit_bytes, confirm, events } = sending;
        Self {
            credit,
            credit_bytes,
            held: 0,
            held_bytes: 0,
            confirm,
            events,
            waiting: VecDeque::new(),
            called: false,
            next_call: 0,
            stopped: false,
            closed: false,
            failed: BTreeMap::new(),
        }
    }

    /// How many of the batch's datagrams fit now, and their bytes. One always fits where nothing is held.
    fn fitting(&self, batch: &Batch) -> (usize, usize) {
        let room = self.credit.saturating_sub(self.held).min(batch.len());
        if room == batch.len() && self.held_bytes + batch.bytes() <= self.credit_bytes {
            return (room, batch.bytes());
        }
        let (mut count, mut size) = (0, 0);
        for view in batch.views().take(room) {
            let next = size + view.size();
            let alone = self.held == 0 && count == 0;
            if !alone && self.held_bytes + next > self.credit_bytes {
                break;
            }
            (count, size) = (count + 1, next);
        }
        (count, size)
    }

    /// Moves what failed of a ticket into its receipts.
    fn tell_failed(&mut self, ticket: &Ticket, receipts: &mut Receipts) {
        if self.failed.is_empty() {
            return;
        }
        let mut index = 0;
        for (first, len) in ticket.ranges() {
            for number in first..first + u64::from(len) {
                if let Some((datagram, fate, error)) = self.failed.remove(&number) {
                    receipts.fail(index, SendError::new(datagram, fate, error));
                }
                index += 1;
            }
        }
    }

    fn wake_first(&mut self, after: &mut After) {
        if let Some((_, waker)) = self.waiting.front()
            && !std::mem::replace(&mut self.called, true)
        {
            after.wakers.push(waker.clone());
        }
    }
}

impl State {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn refusal(&self, outbox: u64, call: Option<u64>, name: &str) -> Option<Error> {
        if let Some(error) = &self.closed {
            return Some(error.clone());
        }
        match self.outboxes.get(&outbox) {
            Some(Outbox { closed: false, stopped, .. }) if call.is_some() || !stopped => None,
            _ => Some(Error::Closed { endpoint: name.to_owned() }),
        }
    }

    fn is_first(&self, outbox: u64, call: Option<u64>) -> bool {
        let waiting = self.outboxes.get(&outbox).and_then(|outbox| outbox.waiting.front());
        waiting.is_none_or(|(first, _)| Some(*first) == call)
    }

    fn has_looked(&mut self, outbox: u64) {
        if let Some(outbox) = self.outboxes.get_mut(&outbox) {
            outbox.called = false;
        }
    }

    /// Whether nobody waits for an acknowledgement but the senders of one connection, the first of which was
    /// woken already.
    fn one_is_called(&self) -> bool {
        let mut waiting = self.outboxes.values().filter(|outbox| !outbox.waiting.is_empty());
        self.asking == 0
            && self.watchers.is_empty()
            && self.closed.is_none()
            && waiting.next().is_some_and(|outbox| outbox.called)
            && waiting.next().is_none()
            && !self.groups.values().any(Group::is_starved)
    }

    fn enqueue(&mut self, outbox: u64, call: &mut Option<u64>, cx: &Context<'_>) {
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

    fn leave_queue(&mut self, outbox: u64, call: &mut Option<u64>, after: &mut After) {
        let (Some(number), Some(outbox)) = (call.take(), self.outboxes.get_mut(&outbox)) else {
            return;
        };
        if outbox.waiting.front().is_some_and(|(first, _)| *first == number) {
            outbox.called = false;
        }
        let before = outbox.waiting.len();
        outbox.waiting.retain(|(waiting, _)| *waiting != number);
        self.hungry -= before - outbox.waiting.len();
        outbox.wake_first(after);
        after.wakers.append(&mut self.watchers);
    }

    /// Admits what fits from the front of `batch`.
    fn admit(&mut self, outbox_id: u64, batch: &mut Batch, topic: &Topic, after: &mut After) {
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
        let mut awaiting = 0;
        for group in self.groups.values_mut() {
            if !group.append(run.clone(), size) {
                awaiting += 1;
            }
            wake_one(group, after);
        }
        let groups = u16::try_from(self.groups.len()).unwrap_or(u16::MAX);
        let account = Account {
            len: count,
            outbox: outbox_id,
            groups: self.groups.len(),
            awaiting,
            undone: count,
            owed: (groups > 1).then(|| vec![groups; count].into()),
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
    fn receipts(&mut self, outbox: u64, ticket: &Ticket) -> Option<Receipts> {
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

    fn ask(&mut self, outbox: u64, ticket: &Ticket, cx: &Context<'_>) {
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

    fn accounts_of<'a>(
        &'a self,
        ticket: &'a Ticket,
    ) -> impl Iterator<Item = (&'a u64, &'a Account)> {
        let range = |(first, len)| self.accounts.range(first..first + u64::from(len));
        ticket.ranges().flat_map(range)
    }

    fn withdraw(&mut self, outbox: u64, ticket: &Ticket, after: &mut After) -> Receipts {
        let confirm = self.outboxes.get(&outbox).map_or(Confirmation::Received, |o| o.confirm);
        let mut receipts = Receipts::all(ticket.len(), confirm);
        let accounts: Vec<(u64, usize)> =
            self.accounts_of(ticket).map(|(first, account)| (*first, account.len)).collect();
        let mut lanes = HashMap::new();
        let mut failed = BTreeMap::new();
        for (first, len) in accounts {
            let kept = self.kept(confirm, first, len);
            for number in (first..first + number(len)).skip(kept) {
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

    /// How many of an admission are beyond failing.
    fn kept(&self, confirm: Confirmation, first: u64, len: usize) -> usize {
        if confirm == Confirmation::Settled { 0 } else { self.received_of(first, len) }
    }

    /// Fails what of these keys was admitted after the number that failed and has no receipt: none of it may
    /// succeed any more. Its tickets tell.
    fn fail_lanes(&mut self, outbox: u64, lanes: &HashMap<Bytes, u64>, after: &mut After) {
        let behind = |number: u64, datagram: &Datagram| {
            let key = datagram.envelope().key.as_ref().and_then(|key| lanes.get(key));
            key.is_some_and(|failed| number > *failed)
        };
        let undone = self.groups.values().flat_map(Group::undone);
        let numbers: BTreeSet<u64> =
            undone.filter(|(number, datagram)| behind(*number, datagram)).map(|(n, _)| n).collect();
        for number in numbers {
            let Some((&first, account)) = self.accounts.range(..=number).next_back() else {
                continue;
            };
            let Some(owner) = self.outboxes.get(&outbox).filter(|_| account.outbox == outbox)
            else {
                continue;
            };
            let kept = self.kept(owner.confirm, first, account.len);
            if number < first + self::number(kept) {
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
    fn received_of(&self, first: u64, len: usize) -> usize {
        let groups = self.groups.values().filter(|group| group.counts());
        let least = groups.map(|group| group.received_of(first, number(len))).min();
        least.and_then(|least| usize::try_from(least).ok()).unwrap_or(len)
    }

    /// Takes one datagram back from wherever it waits; `None` if every group is done with it. Not sent is
    /// only what still waited in every group that it went to, and was never delivered.
    fn take_back(
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
            if let Some((found, seen)) = group.extract(number) {
                group.settle_waiting(&found);
                self.settle(number, std::slice::from_ref(&found), after);
                self.advance(id, after);
                unseen += usize::from(!seen);
                datagram = Some(found);
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

    fn cut(&mut self, outbox: u64, name: &str, after: &mut After) -> Vec<SendError> {
        if self.outboxes.get(&outbox).is_none_or(|outbox| outbox.closed) {
            return Vec::new();
        }
        let theirs = self.accounts.iter().filter(|(_, account)| account.outbox == outbox);
        let theirs: Vec<(u64, usize, bool)> =
            theirs.map(|(first, a)| (*first, a.len, a.awaiting == 0)).collect();
        let closed = Error::Closed { endpoint: name.to_owned() };
        let confirm = self.outboxes.get(&outbox).map_or(Confirmation::Received, |o| o.confirm);
        let mut failed = BTreeMap::new();
        let mut unsent = BTreeMap::new();
        let mut undone = BTreeMap::new();
        if !theirs.is_empty() {
            undone.extend(self.groups.values().flat_map(Group::undone));
        }
        for (first, len, received) in theirs {
            let received = if received { len } else { self.received_of(first, len) };
            let end = first + number(received);
            let kept = undone.range(first..end).map(|(n, d)| (*n, (d.clone(), Fate::MaybeSent)));
            unsent.extend(kept);
            for number in end..first + number(len) {
                if let Some((datagram, fate)) = self.take_back(first, number, after) {
                    failed.insert(number, (datagram.clone(), fate, closed.clone()));
                    unsent.insert(number, (datagram, fate));
                }
            }
        }
        if confirm == Confirmation::Settled {
            let all = unsent.iter().map(|(n, (d, fate))| (*n, (d.clone(), *fate, closed.clone())));
            failed.extend(all);
        }
        if let Some(outbox) = self.outboxes.get_mut(&outbox) {
            outbox.failed.append(&mut failed);
            outbox.closed = true;
            after.wakers.extend(outbox.waiting.iter().map(|(_, waker)| waker.clone()));
        }
        for account in self.accounts.values_mut() {
            after.wakers.append(&mut account.wakers);
        }
        self.asking = 0;
        let give = |(datagram, fate)| SendError::new(datagram, fate, closed.clone());
        unsent.into_values().map(give).collect()
    }

    /// Whether only something new is of use to this member, no acknowledgement.
    fn is_ready(&self, seat: Seat) -> bool {
        let group = self.groups.get(&seat.group);
        self.closed.is_none() && group.is_some_and(|group| group.has_room(seat.member))
    }

    /// Whether somebody waits for what an acknowledgement would change.
    fn is_watched(&self) -> bool {
        let full = |group: &Group| group.waiting.iter().any(|member| !group.has_room(*member));
        self.hungry > 0
            || self.asking > 0
            || !self.watchers.is_empty()
            || self.closed.is_some()
            || self.groups.values().any(full)
    }

    #[expect(clippy::too_many_arguments, reason = "one call site, and each is a different thing")]
    fn take(
        &mut self,
        seat: Seat,
        max: usize,
        into: &mut Deliveries,
        hook: &Arc<Hook>,
        now: Now,
        copies: &mut Vec<Taken>,
        after: &mut After,
    ) -> Wait<bool> {
        let Some(group) = self.groups.get_mut(&seat.group) else { return Wait::Ready(false) };
        if !group.members.get(&seat.member).is_some_and(|member| member.live) {
            return Wait::Ready(false);
        }
        let Found { taken, count, expired, parked_for } = group.take(seat.member, max, now);
        for member in parked_for {
            after.wakers.extend(group.members.get_mut(&member).and_then(|m| m.waker.take()));
        }
        let wait = if count > 0 {
            copies.extend(taken.iter().map(Taken::share));
            let token = group.next_token();
            let board = into.begin(count, token, hook.clone());
            group.hold(seat.member, board, taken);
            if let Some(member) = group.members.get_mut(&seat.member) {
                member.waker = None;
            }
            group.waiting.retain(|member| *member != seat.member);
            Wait::Ready(true)
        } else if self.closed.is_some() && group.is_finished() {
            Wait::Ready(false)
        } else {
            Wait::Until(group.next_due())
        };
        if group.has_something() {
            // What is left is more than this member takes.
            wake_one(group, after);
        }
        if !expired.is_empty() {
            self.discard(seat.group, expired, hook, after);
            after.wakers.append(&mut self.watchers);
        }
        wait
    }

    /// Counts datagrams that expired while they waited as done.
    fn discard(
        &mut self,
        group: u64,
        expired: Vec<(u64, Datagram)>,
        hook: &Hook,
        after: &mut After,
    ) {
        for (number, datagram) in expired {
            if let Some(group) = self.groups.get_mut(&group) {
                group.settle_waiting(&datagram);
            }
            self.settle(number, std::slice::from_ref(&datagram), after);
            after.expired.push(datagram);
        }
        self.advance(group, after);
        if let Some(group) = self.groups.get_mut(&group)
            && self.closed.is_some()
            && group.is_finished()
        {
            after.wakers.extend(group.take_wakers());
        }
        after.told = Some(hook.events.clone());
    }

    fn wait(&mut self, seat: Seat, cx: &Context<'_>) {
        let Some(group) = self.groups.get_mut(&seat.group) else { return };
        let Some(member) = group.members.get_mut(&seat.member) else { return };
        member.waker = Some(cx.waker().clone());
        if !group.waiting.contains(&seat.member) {
            group.waiting.push_back(seat.member);
        }
    }

    /// Takes over what was settled on one board.
    fn harvest(&mut self, group_id: u64, token: u64, now: Duration, after: &mut After) {
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        let Some(at) = group.lot_of(token) else { return };
        let mut harvest = std::mem::take(&mut self.harvest);
        group.lots[at].board.harvest(&mut harvest);
        for range in &harvest.done {
            self.done(group_id, at, index(range.start)..index(range.end), after);
        }
        for range in &harvest.dropped {
            for place in range.clone() {
                self.release(group_id, at, index(place), None, false, after);
            }
        }
        for (place, delay) in &harvest.retried {
            let due = (!delay.is_zero()).then(|| now + *delay);
            self.release(group_id, at, index(*place), due, false, after);
        }
        self.harvest = harvest;
        self.end_lot(group_id, at, after);
        self.advance(group_id, after);
    }

    /// Notes part of a lot as done.
    fn done(
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
            let items = &taken.items()[from - begin..end - begin];
            let size = bytes(items);
            settle(accounts, outboxes, asking, taken.first() + number(from - begin), items, after);
            group.uncharge(member, items.len(), size);
            group.outcomes += number(items.len());
            group.outcome_bytes += number(size);
            if taken.may_have_keys() {
                items.iter().for_each(|datagram| group.release_key(datagram));
            }
        }
        group.lots[lot].taken = pieces;
    }

    /// Lets one delivery of a lot go: it comes again, at `due` or at once.
    fn release(
        &mut self,
        group_id: u64,
        lot: usize,
        place: usize,
        due: Option<Duration>,
        possible_duplicate: bool,
        after: &mut After,
    ) {
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        let entry = &mut group.lots[lot];
        if entry.settled.contains(place) {
            return;
        }
        let found = entry.find(place);
        let Some(single) = found.map(|(taken, at)| taken.again(at, possible_duplicate)) else {
            return;
        };
        entry.settled.insert(place);
        entry.open -= 1;
        let member = entry.member;
        group.uncharge(member, 1, single.datagram.view().size());
        group.release_key(&single.datagram);
        let account = self.accounts.range(..=single.number).next_back();
        if account.is_some_and(|(_, account)| account.given_back.contains(&single.number)) {
            group.settle_waiting(&single.datagram);
            let datagram = single.datagram;
            self.settle(single.number, std::slice::from_ref(&datagram), after);
            return;
        }
        match due {
            Some(due) => group.delay(single, due),
            None => group.give_back(single),
        }
        wake_one(group, after);
    }

    /// Removes a lot that has nothing open; its member may take more, or goes if it has left.
    fn end_lot(&mut self, group_id: u64, lot: usize, after: &mut After) {
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        let member = group.lots[lot].member;
        if group.lots[lot].open == 0 {
            after.garbage.extend(group.lots.remove(lot).taken);
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

    fn revoke(&mut self, seat: Seat, after: &mut After) -> u64 {
        let Some(group) = self.groups.get(&seat.group) else { return 0 };
        let lots = group.lots.iter().filter(|(_, lot)| lot.member == seat.member);
        let lots: Vec<usize> = lots.map(|(at, _)| at).collect();
        let mut revoked = 0;
        for lot in lots {
            let Some(group) = self.groups.get(&seat.group) else { break };
            let board = group.lots[lot].board.clone();
            let open: Vec<usize> = group.lots[lot].open().map(|(place, _, _)| place).collect();
            revoked += number(open.len());
            for place in open {
                let place32 = crate::batch::count(place);
                after.wakers.append(&mut board.revoke_unheard(place32..place32 + 1));
                self.release(seat.group, lot, place, None, true, after);
            }
            self.end_lot(seat.group, lot, after);
        }
        revoked
    }

    /// Drops a group: nothing is owed to it any more.
    fn forget(&mut self, id: u64, after: &mut After) {
        let Some(mut group) = self.groups.remove(&id) else { return };
        let awaited = std::iter::from_fn(|| group.next_awaited()).collect::<Vec<_>>();
        for (number, datagram) in group.undone() {
            self.settle(number, std::slice::from_ref(&datagram), after);
        }
        for number in awaited {
            self.received(number, after);
        }
        after.wakers.extend(group.take_wakers());
        after.wakers.append(&mut self.watchers);
        for (_, lot) in &group.lots {
            after.wakers.append(&mut lot.board.revoke_unheard(0..lot.board.len()));
        }
        after.groups.push(group);
    }

    /// Forgets groups whose last member left long ago, as long as another group is left to hold what is not
    /// done: nothing is lost while it could still be delivered.
    fn forget_expired(&mut self, now: Duration, after: &mut After) {
        let expired = |group: &Group| group.forgotten_at().is_some_and(|at| at <= now);
        let ids = self.groups.iter().filter(|(_, group)| expired(group));
        let ids: Vec<u64> = ids.map(|(id, _)| *id).collect();
        for id in ids {
            if self.groups.values().filter(|group| group.counts()).count() > 1 {
                self.forget(id, after);
            }
        }
    }

    fn next_forgetting(&self) -> Option<Duration> {
        if self.groups.values().filter(|group| group.counts()).count() < 2 {
            return None;
        }
        self.groups.values().filter_map(Group::forgotten_at).min()
    }

    /// Notes which admissions a group has received by now.
    fn advance(&mut self, group: u64, after: &mut After) {
        while let Some(number) = self.groups.get_mut(&group).and_then(Group::next_received) {
            self.received(number, after);
        }
    }

    fn received(&mut self, number: u64, after: &mut After) {
        if let Some(account) = self.accounts.get_mut(&number) {
            account.awaiting -= 1;
            if account.awaiting == 0 && !account.wakers.is_empty() {
                self.asking -= 1;
                after.wakers.append(&mut account.wakers);
            }
        }
    }

    fn settle(&mut self, first: u64, items: &[Datagram], after: &mut After) {
        settle(&mut self.accounts, &mut self.outboxes, &mut self.asking, first, items, after);
    }

    fn wake_senders(&mut self, after: &mut After) {
        self.outboxes.values_mut().for_each(|outbox| outbox.wake_first(after));
    }

    fn wake_members(&mut self, after: &mut After) {
        self.groups.values_mut().for_each(|group| after.wakers.extend(group.take_wakers()));
    }
}

impl Account {
    fn is_open(&self, confirm: Confirmation) -> bool {
        if confirm == Confirmation::Settled { self.undone > 0 } else { self.awaiting > 0 }
    }
}

/// Notes that one group is done with datagrams of one admission; gives their credit back once all are.
fn settle(
    accounts: &mut BTreeMap<u64, Account>,
    outboxes: &mut BTreeMap<u64, Outbox>,
    asking: &mut usize,
    first: u64,
    items: &[Datagram],
    after: &mut After,
) {
    let Some((&base, account)) = accounts.range_mut(..=first).next_back() else { return };
    let (mut count, mut size) = (items.len(), 0);
    match &mut account.owed {
        None => size = bytes(items),
        Some(owed) => {
            count = 0;
            let from = usize::try_from(first - base).unwrap_or(usize::MAX);
            for (owed, item) in owed[from..].iter_mut().zip(items) {
                *owed -= 1;
                if *owed == 0 {
                    (count, size) = (count + 1, size + item.view().size());
                }
            }
        }
    }
    account.undone -= count;
    if let Some(outbox) = outboxes.get_mut(&account.outbox) {
        outbox.held -= count;
        outbox.held_bytes -= size;
        outbox.wake_first(after);
    }
    if account.undone == 0 {
        if !account.wakers.is_empty() {
            *asking = asking.saturating_sub(1);
        }
        after.wakers.append(&mut account.wakers);
        accounts.remove(&base);
    }
}

/// Moves the first `count` datagrams of a batch into a content.
fn fill(batch: &mut Batch, count: usize, first: u64, topic: &Topic) -> Arc<Content> {
    let mut content = lock(&topic.spare).pop().unwrap_or_default();
    match Arc::get_mut(&mut content) {
        Some(items) if count == batch.len() => batch.admit_all(first, items),
        Some(items) => items.extend(batch.admit(count, first)),
        None => content = Arc::new(batch.admit(count, first).collect()),
    }
    content
}

/// Wakes the first member that waits and has room.
fn wake_one(group: &mut Group, after: &mut After) {
    let ready = |member: &usize| group.has_room(*member);
    let Some(at) = group.waiting.iter().position(ready) else { return };
    if let Some(member) = group.waiting.remove(at) {
        after.wakers.extend(group.members.get_mut(&member).and_then(|m| m.waker.take()));
    }
}

fn deliver(taken: &Taken, into: &mut Deliveries) {
    match taken {
        Taken::Run(run) => run.items().iter().for_each(|datagram| into.push(datagram.clone())),
        Taken::Single(single) => {
            let mut note = Note::attempt(single.attempt);
            note.possible_duplicate = single.possible_duplicate;
            into.push_noted(single.datagram.clone(), note);
        }
    }
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}
