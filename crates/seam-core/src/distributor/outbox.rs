//! What one connection has sent into a topic, and what is owed for each admission.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use super::Sending;
use super::state::After;
use crate::driver::Ticket;
use crate::{Batch, Confirmation, Datagram, Error, Events, Fate, Receipts, SendError};

/// What one connection has sent into this topic and is not done.
pub(crate) struct Outbox {
    pub(crate) credit: usize,
    pub(crate) credit_bytes: usize,
    pub(crate) held: usize,
    pub(crate) held_bytes: usize,
    pub(crate) confirm: Confirmation,
    pub(crate) events: Events,
    /// Calls that wait for credit, in the order in which they began.
    pub(crate) waiting: VecDeque<(u64, Waker)>,
    /// Whether the first of them was woken and has not looked since: it will find all that is settled till then.
    pub(crate) called: bool,
    /// What was held when the first of them looked last, and left the little that was free for a moment.
    pub(crate) lingers_at: Option<usize>,
    pub(crate) next_call: u64,
    /// Whether new calls are refused.
    pub(crate) stopped: bool,
    /// Whether a drain or an abort has closed it.
    pub(crate) closed: bool,
    /// What failed before its ticket was asked, by number. Goes with the ticket.
    pub(crate) failed: BTreeMap<u64, (Datagram, Fate, Error)>,
    /// What lost sessions gave back, until it is taken, and who waits for that.
    pub(crate) returned: VecDeque<SendError>,
    pub(crate) returning: Vec<Waker>,
}

/// What is owed for one admission.
pub(crate) struct Account {
    pub(crate) len: usize,
    pub(crate) outbox: u64,
    /// Groups that it went to.
    pub(crate) groups: usize,
    /// What its receipt waits for: groups, or, where sessions tell what they received, datagrams that some
    /// group has not received.
    pub(crate) awaiting: usize,
    /// Groups whose receipt counts.
    pub(crate) counted: u16,
    /// Groups that have not told to have received it, for each datagram; `None` while nobody told of a part.
    pub(crate) unreceived: Option<Box<[u16]>>,
    /// Datagrams that are not done in every group.
    pub(crate) undone: usize,
    /// Groups that owe an outcome, for each datagram; `None` where it is one group.
    pub(crate) owed: Option<Box<[u16]>>,
    /// Numbers that were given back to the caller, and so are never delivered again.
    pub(crate) given_back: Vec<u64>,
    /// Whether its ticket was dropped: nobody is told any more.
    pub(crate) forgotten: bool,
    pub(crate) wakers: Vec<Waker>,
}

impl Outbox {
    pub(crate) fn new(sending: Sending) -> Self {
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
            lingers_at: None,
            next_call: 0,
            stopped: false,
            closed: false,
            failed: BTreeMap::new(),
            returned: VecDeque::new(),
            returning: Vec::new(),
        }
    }

    pub(crate) fn fits(&self, batch: &Batch) -> bool {
        self.held + batch.len() <= self.credit
            && self.held_bytes + batch.bytes() <= self.credit_bytes
    }

    /// Whether a call that was woken looks once more, after whoever else can run has run, since less than it
    /// asks for and less than a quarter of the credit is free: settlements come one by one, and a call that
    /// took each alone would be woken for each. It lingers only while each look finds more than the last, so
    /// what is free is taken even if nothing else is ever settled.
    pub(crate) fn lingers(&mut self, batch: &Batch) -> bool {
        let room = self.credit.saturating_sub(self.held);
        let room_bytes = self.credit_bytes.saturating_sub(self.held_bytes);
        let little = room < batch.len().min(self.credit / 4)
            || room_bytes < batch.bytes().min(self.credit_bytes / 4);
        let before = self.lingers_at.replace(self.held);
        self.held > 0 && room > 0 && little && before.is_none_or(|before| self.held < before)
    }

    /// How many of the batch's datagrams fit now, and their bytes. One always fits where nothing is held.
    pub(crate) fn fitting(&self, batch: &Batch) -> (usize, usize) {
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
    pub(crate) fn tell_failed(&mut self, ticket: &Ticket, receipts: &mut Receipts) {
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

    /// Takes what a lost session gave back.
    pub(crate) fn take_returned(&mut self, after: &mut After) -> Option<SendError> {
        let returned = self.returned.pop_front()?;
        self.held -= 1;
        self.held_bytes -= returned.datagram().view().size();
        self.wake_first(after);
        Some(returned)
    }

    pub(crate) fn wake_first(&mut self, after: &mut After) {
        if let Some((_, waker)) = self.waiting.front()
            && !std::mem::replace(&mut self.called, true)
        {
            after.wakers.push(waker.clone());
        }
    }
}

impl Account {
    /// Notes that one group told to have received `count` datagrams from the one at `from` on; whether that
    /// was the last that the receipt waited for.
    pub(crate) fn receive(&mut self, from: usize, count: usize) -> bool {
        let before = self.awaiting;
        if self.counted == 1 && count == self.len && self.unreceived.is_none() {
            self.awaiting = 0;
        } else {
            let fresh = || vec![self.counted; self.len].into();
            let owed = self.unreceived.get_or_insert_with(fresh);
            for owed in owed.iter_mut().skip(from).take(count).filter(|owed| **owed > 0) {
                *owed -= 1;
                self.awaiting -= usize::from(*owed == 0);
            }
        }
        before > 0 && self.awaiting == 0
    }

    /// Whether every group told to have received the datagram at `at`.
    pub(crate) fn has_received(&self, at: usize) -> bool {
        match &self.unreceived {
            Some(owed) => owed.get(at).is_some_and(|owed| *owed == 0),
            None => self.awaiting == 0,
        }
    }

    pub(crate) fn is_open(&self, confirm: Confirmation) -> bool {
        if confirm == Confirmation::Settled { self.undone > 0 } else { self.awaiting > 0 }
    }
}

/// Notes that one group is done with `count` datagrams of one admission, of `size` bytes in all and `sizes` each;
/// gives their credit back once all are.
pub(crate) fn settle(
    accounts: &mut BTreeMap<u64, Account>,
    outboxes: &mut BTreeMap<u64, Outbox>,
    asking: &mut usize,
    first: u64,
    (mut count, mut size): (usize, usize),
    sizes: impl Iterator<Item = usize>,
    after: &mut After,
) {
    let Some((&base, account)) = accounts.range_mut(..=first).next_back() else { return };
    if let Some(owed) = &mut account.owed {
        (count, size) = (0, 0);
        let from = usize::try_from(first - base).unwrap_or(usize::MAX);
        for (owed, item) in owed[from..].iter_mut().zip(sizes) {
            *owed -= 1;
            if *owed == 0 {
                (count, size) = (count + 1, size + item);
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
