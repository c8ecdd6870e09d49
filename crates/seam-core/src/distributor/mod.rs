//! The distributor: it holds each datagram of a sending process until it is done in every group.
//!
//! One for each direction of an address. Memory hands what it holds to receivers of the same process; links
//! hand it to sessions, each of which is a member of a group, and tell what the other end received and settled.
//!
//! - `content`: datagrams that were admitted together stay together, shared by all groups.
//! - `group`, `lot`: what waits for a group of receivers, and which of them has what. Plain values.
//! - `outbox`, `account`: what one connection has sent, and what is owed for each admission.
//! - `register`: a map for keys that rise.
//! - `state`, `sending`, `receiving`: what a distributor knows, and how that changes. No lock, waker call or wait.
//! - `hook`, `member`: how it learns of verdicts: from the boards of local receivers, or from a session.
//! - `port`: the driver's sender over it.
//!
//! Everything is one value under one lock, held only for short, bounded work: datagrams are copied and
//! dropped outside it, wakers are called outside it. An admission stays one run of shared datagrams all the
//! way, so its cost is that of the batch, not of each datagram.

mod account;
mod content;
pub(crate) mod group;
pub(crate) mod hook;
mod lot;
mod member;
mod outbox;
mod port;
mod receiving;
mod register;
mod sending;
mod state;
pub(crate) mod timer;

pub use self::group::Name;
pub use self::member::{Lot, Member, Piece};
pub use self::port::{Admission, Port};

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use self::content::{Taken, number};
use self::group::{Group, Now};
use self::hook::Hook;
use self::outbox::Outbox;
use self::state::{After, State, wake_one};
use crate::clock::lock;
use crate::driver::Ticket;
use crate::{
    Batch, Confirmation, Datagrams, Deliveries, Error, Event, Events, Note, Receipts, Result,
    SendError,
};

/// Holds each datagram of a sending process until it is done in every group. The page above says more.
pub struct Distributor {
    /// The endpoint, without secrets, for errors.
    pub(crate) name: String,
    state: Mutex<State>,
    /// Whether somebody waits for what an acknowledgement would change. While nobody does, boards are only
    /// enlisted, and harvested by the next receive.
    pub(crate) eager: AtomicBool,
    /// Boards with something to harvest: group and token.
    pub(crate) marked: Mutex<Vec<(u64, u64)>>,
    /// Contents to be used again.
    pub(crate) spare: Mutex<Vec<Arc<Datagrams>>>,
}

/// A member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) group: u64,
    pub(crate) member: usize,
}

/// What a receiver asks for.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Which group it joins.
    pub group: Name,
    /// Datagrams that it may have in hand.
    pub credit: usize,
    /// Bytes that it may have in hand, beside one datagram of any size.
    pub credit_bytes: usize,
    /// How long its group is remembered once its last member has left.
    pub session_expiry: Duration,
}

/// What a sender asks for.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Datagrams that may be waiting or under way.
    pub credit: usize,
    /// Their bytes, beside one datagram of any size.
    pub credit_bytes: usize,
    /// What a receipt stands for.
    pub confirm: Confirmation,
    /// Where is told what failed and nobody asked for.
    pub events: Events,
}

/// What a poll that cannot go on waits for, beside being woken.
#[derive(Debug)]
pub enum Wait<T> {
    /// It has come.
    Ready(T),
    /// For the clock to reach this time, if one is given, or to be woken.
    Until(Option<Duration>),
}

const SPARE: usize = 64;

impl Distributor {
    /// An empty one, where a receipt follows from what receivers may have in hand. `name` is the endpoint,
    /// without secrets, for errors.
    #[must_use]
    pub(crate) fn new(name: String) -> Arc<Self> {
        Self::with_state(name, State::default())
    }

    /// An empty one, whose members tell what they received. `name` is the endpoint, without secrets, for errors.
    #[must_use]
    pub fn told(name: String) -> Arc<Self> {
        Self::with_state(name, State { told: true, ..State::default() })
    }

    fn with_state(name: String, state: State) -> Arc<Self> {
        Arc::new(Self {
            name,
            state: Mutex::new(state),
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

    #[inline]
    fn finish(&self, after: After) {
        let After { wakers, garbage, expired, told, groups } = after;
        if let Some(events) = told {
            events.emit(Event::Expired { count: number(expired.len()) });
        }
        wakers.wake();
        if !garbage.is_empty() {
            self.clear(garbage);
        }
        drop((expired, groups));
    }

    fn clear(&self, garbage: Vec<Taken>) {
        for taken in garbage {
            if let Taken::Run(run) = taken {
                self.reuse(run.content);
            }
        }
    }

    /// Keeps a content for the next admission once nobody else has it.
    fn reuse(&self, mut content: Arc<Datagrams>) {
        if let Some(empty) = Arc::get_mut(&mut content) {
            empty.clear();
            let mut spare = lock(&self.spare);
            if spare.len() < SPARE {
                spare.push(content);
            }
        }
    }

    pub(crate) fn register(&self, sending: Sending) -> u64 {
        self.with(|state, _| {
            let id = state.id();
            state.outboxes.insert(id, Outbox::new(sending));
            id
        })
    }

    pub(crate) fn unregister(&self, outbox: u64) {
        self.with(|state, _| state.outboxes.remove(&outbox));
    }

    /// Adds a member; makes its group if it is new.
    pub(crate) fn join(&self, membership: Membership) -> Seat {
        self.with(|state, after| {
            let known = state
                .groups
                .iter()
                .find(|(_, group)| group.name == membership.group && group.name != Name::Private);
            let id = known.map(|(id, _)| id).unwrap_or_else(|| {
                let id = state.id();
                let group = Group::new(membership.group, membership.session_expiry);
                state.groups.insert(id, group);
                id
            });
            let group = state.groups.get_mut(&id);
            let member =
                group.map_or(0, |group| group.join(membership.credit, membership.credit_bytes));
            state.advance(id, after);
            state.wake_senders(after);
            Seat { group: id, member }
        })
    }

    /// Ends a membership: its receiver was dropped, drains, or moves. What it has in hand stays settleable.
    pub(crate) fn leave(&self, seat: Seat, now: Duration) {
        self.with(|state, after| {
            let Some(group) = state.groups.get_mut(&seat.group) else { return };
            let waker = group.members.get_mut(&seat.member).and_then(|m| m.waker.take());
            after.wakers.extend(waker);
            group.leave(seat.member, now);
            if group.is_open() {
                wake_one(group, after);
            } else if group.members.is_empty() {
                state.forget(seat.group, after);
            } else {
                state.forget_queued(seat.group, after);
            }
        });
    }

    /// Revokes what a member has in hand: it goes to somebody else. Says how many those were.
    pub(crate) fn revoke(&self, seat: Seat, now: &Now<'_>) -> u64 {
        self.with(|state, after| {
            self.harvest_marked(state, now, after);
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
    pub(crate) fn is_member(&self, seat: Seat) -> bool {
        let state = lock(&self.state);
        state.groups.get(&seat.group).is_some_and(|group| group.members.contains_key(&seat.member))
    }

    /// Deliveries that a member has in hand.
    pub(crate) fn in_hand(&self, seat: Seat, now: &Now<'_>) -> usize {
        self.with(|state, after| {
            self.harvest_marked(state, now, after);
            let group = state.groups.get(&seat.group);
            group.and_then(|g| g.members.get(&seat.member)).map_or(0, |member| member.unsettled)
        })
    }

    /// Datagrams of an outbox that are not done, calls that wait included.
    pub(crate) fn held(&self, outbox: u64, now: &Now<'_>) -> usize {
        self.with(|state, after| {
            self.harvest_marked(state, now, after);
            state.outboxes.get(&outbox).map_or(0, |outbox| outbox.held + outbox.waiting.len())
        })
    }

    /// Wakes `waker` whenever something is settled, from now on.
    pub(crate) fn watch(&self, waker: &Waker) {
        self.with(|state, _| {
            if !state.watchers.iter().any(|known| known.will_wake(waker)) {
                state.watchers.push(waker.clone());
            }
        });
        self.eager.store(true, Ordering::SeqCst);
    }

    /// Lets calls that wait go on, and refuses new ones.
    pub(crate) fn stop(&self, outbox: u64) {
        self.with(|state, _| {
            if let Some(outbox) = state.outboxes.get_mut(&outbox) {
                outbox.stopped = true;
            }
        });
    }

    /// Admits nothing more, because of `error`. Receivers end once everything is settled.
    pub fn close(&self, error: Error) {
        self.with(|state, after| {
            state.closed.get_or_insert(error);
            state.wake_senders(after);
            state.wake_members(after);
        });
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed.is_some()
    }

    /// Wakes whoever waits, to look again whether this is still its topic.
    pub(crate) fn disturb(&self) {
        self.with(|state, after| {
            state.wake_senders(after);
            state.wake_members(after);
        });
    }

    /// Adds a session as a member of a group, which reports what expires to `events`.
    #[must_use]
    pub fn session(
        self: &Arc<Self>,
        membership: Membership,
        clock: Arc<dyn crate::Clock>,
        events: Events,
    ) -> Member {
        Member::new(self.clone(), membership, clock, events)
    }

    pub(crate) fn poll_returned(&self, outbox: u64, cx: &Context<'_>) -> Poll<Option<SendError>> {
        self.with(|state, after| {
            let Some(outbox) = state.outboxes.get_mut(&outbox) else { return Poll::Ready(None) };
            if let Some(returned) = outbox.take_returned(after) {
                return Poll::Ready(Some(returned));
            }
            if outbox.closed {
                return Poll::Ready(None);
            }
            if !outbox.returning.iter().any(|waker| waker.will_wake(cx.waker())) {
                outbox.returning.push(cx.waker().clone());
            }
            Poll::Pending
        })
    }

    /// Whether any receiver has joined.
    pub(crate) fn has_members(&self) -> bool {
        !lock(&self.state).groups.is_empty()
    }

    pub(crate) fn poll_admit(
        &self,
        outbox: u64,
        batch: &mut Batch,
        call: &mut Option<u64>,
        now: &Now<'_>,
        cx: &Context<'_>,
    ) -> Wait<Result<()>> {
        self.with(|state, after| {
            if let Some(error) = state.refusal(outbox, *call, &self.name) {
                state.leave_queue(outbox, call, after);
                return Wait::Ready(Err(error));
            }
            if state.is_first(outbox, *call) {
                if call.is_some() && !state.fits(outbox, batch) {
                    self.harvest_marked(state, now, after);
                    if state.lingers(outbox, batch) {
                        cx.waker().wake_by_ref();
                        return Wait::Until(state.next_forgetting());
                    }
                }
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

    /// Admits all of a batch if that needs no waiting; else nothing.
    pub(crate) fn admit_now(
        &self,
        outbox: u64,
        batch: &mut Batch,
        now: &Now<'_>,
    ) -> Option<Result<()>> {
        self.with(|state, after| {
            let may = state.refusal(outbox, None, &self.name).is_none();
            if !may || !state.is_first(outbox, None) || !state.fits(outbox, batch) {
                return None;
            }
            state.admit(outbox, batch, self, after);
            if !batch.is_empty() {
                // There is no group to take it.
                return None;
            }
            self.look_for_others(state, now, after);
            Some(Ok(()))
        })
    }

    /// A call that waits for credit is dropped.
    pub(crate) fn cancel_admit(&self, outbox: u64, call: &mut Option<u64>, now: &Now<'_>) {
        self.with(|state, after| {
            state.leave_queue(outbox, call, after);
            self.look_for_others(state, now, after);
        });
    }

    /// A call that was woken for what is acknowledged goes: those that still wait must not miss the rest.
    fn look_for_others(&self, state: &mut State, now: &Now<'_>, after: &mut After) {
        if state.hungry > 0 {
            self.eager.store(true, Ordering::SeqCst);
            self.harvest_marked(state, now, after);
        }
    }

    pub(crate) fn poll_receipts(
        &self,
        outbox: u64,
        ticket: &Ticket,
        now: &Now<'_>,
        cx: &Context<'_>,
    ) -> Poll<Receipts> {
        self.with(|state, after| {
            if let Some(receipts) = state.receipts(outbox, ticket) {
                return Poll::Ready(receipts);
            }
            self.eager.store(true, Ordering::SeqCst);
            if self.harvest_marked(state, now, after)
                && let Some(receipts) = state.receipts(outbox, ticket)
            {
                return Poll::Ready(receipts);
            }
            state.ask(outbox, ticket, cx);
            Poll::Pending
        })
    }

    pub(crate) fn withdraw(&self, outbox: u64, ticket: &Ticket, now: &Now<'_>) -> Receipts {
        self.with(|state, after| {
            self.harvest_marked(state, now, after);
            after.wakers.append(&mut state.watchers);
            state.withdraw(outbox, ticket, after)
        })
    }

    /// Nobody asks for this ticket any more.
    pub(crate) fn forget(&self, outbox: u64, ticket: &Ticket) {
        self.with(|state, _| {
            for (first, len) in ticket.ranges() {
                let range = first..first + u64::from(len);
                state.forget_ticket(range.clone());
                if let Some(outbox) = state.outboxes.get_mut(&outbox) {
                    outbox.failed.retain(|number, _| !range.contains(number));
                }
            }
        });
    }

    /// Closes an outbox; what is not done comes back with its fate. What was received stays.
    pub(crate) fn cut(&self, outbox: u64, now: &Now<'_>) -> Vec<SendError> {
        self.with(|state, after| {
            self.harvest_marked(state, now, after);
            state.cut(outbox, &self.name, after)
        })
    }

    /// Refills `into`; `None` once this member gets nothing any more.
    pub(crate) fn poll_receive(
        &self,
        seat: Seat,
        max: usize,
        into: &mut Deliveries,
        hook: &Arc<Hook>,
        now: &Now<'_>,
        cx: &Context<'_>,
    ) -> Wait<bool> {
        let mut copies = Vec::new();
        let waits = self.with(|state, after| {
            if self.eager.load(Ordering::SeqCst) && !state.is_watched() {
                self.eager.store(false, Ordering::SeqCst);
            }
            self.harvest_marked(state, now, after);
            let mut waits = state.take(seat, max, into, hook, now, &mut copies, after);
            if matches!(waits, Wait::Until(_)) && !state.is_ready(seat) {
                self.eager.store(true, Ordering::SeqCst);
                self.harvest_marked(state, now, after);
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
    pub(crate) fn cancel_receive(&self, seat: Seat) {
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
    pub(crate) fn tell(&self, now: &Now<'_>) {
        self.with(|state, after| {
            self.harvest_marked(state, now, after);
            if state.one_is_called() {
                self.eager.store(false, Ordering::SeqCst);
            }
        });
    }

    /// Looks at what was settled on this member's boards.
    pub(crate) fn harvest(&self, now: &Now<'_>) {
        self.with(|state, after| {
            self.harvest_marked(state, now, after);
        });
    }

    /// Takes over what was settled on boards; whether there was any.
    fn harvest_marked(&self, state: &mut State, now: &Now<'_>, after: &mut After) -> bool {
        let mut marked = {
            let mut list = lock(&self.marked);
            if list.is_empty() {
                return false;
            }
            std::mem::take(&mut *list)
        };
        for (group, token) in marked.drain(..) {
            state.harvest(group, token, now, after);
        }
        after.wakers.append(&mut state.watchers);
        let mut list = lock(&self.marked);
        if list.is_empty() && list.capacity() < marked.capacity() {
            *list = marked;
        }
        true
    }
}

impl fmt::Debug for Distributor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Distributor({})", self.name)
    }
}

fn deliver(taken: &Taken, into: &mut Deliveries) {
    match taken {
        Taken::Run(run) => run.views().for_each(|view| into.push(view.to_datagram())),
        Taken::Single(single) => {
            let mut note = Note::attempt(single.attempt);
            note.possible_duplicate = single.possible_duplicate;
            into.push_noted(single.datagram.clone(), note);
        }
    }
}
