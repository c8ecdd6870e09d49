//! What one connection has sent into a topic.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use super::Sending;
use super::account::Accounts;
use super::register::Register;
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

    /// Where a call that waits stands in the queue.
    pub(crate) fn place_of(&self, call: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&call, |(waiting, _)| *waiting).ok()
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

/// Notes that one group is done with `count` datagrams of one admission, of `size` bytes in all and `sizes` each;
/// gives their credit back once all are.
pub(crate) fn settle(
    accounts: &mut Accounts,
    outboxes: &mut Register<u64, Outbox>,
    asking: &mut usize,
    first: u64,
    (mut count, mut size): (usize, usize),
    sizes: impl Iterator<Item = usize>,
    after: &mut After,
) {
    let Some(account) = accounts.get_mut(first) else { return };
    let from = account.place(first);
    if let Some(owed) = &mut account.owed {
        (count, size) = (0, 0);
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
        *asking = asking.saturating_sub(account.wake_all(after));
        accounts.finish();
    }
}
