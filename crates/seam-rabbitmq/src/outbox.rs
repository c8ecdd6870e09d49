//! What was admitted, until its fate is known: one for each way to publish. No client is touched here.
//!
//! A datagram is kept until the broker has confirmed it, so that a failure gives it back. Of what is confirmed only a
//! few bytes stay, until its ticket is answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use seam_core::driver::Ticket;
use seam_core::{Batch, Confirmation, Datagram, Error, Fate, Receipts, SendError};

use crate::way::Target;

/// The datagrams of one publisher, by the numbers of their admission.
#[derive(Default)]
pub(crate) struct Outbox {
    /// The number of the first of `outcomes`.
    first: u64,
    outcomes: VecDeque<Outcome>,
    /// The number of the first of `bodies`.
    oldest: u64,
    /// What the broker has not answered for, and what lies behind it.
    bodies: VecDeque<Body>,
    /// The number of the first that was not given to the client.
    unsent: u64,
    open: usize,
    open_bytes: usize,
    wakers: BTreeMap<u64, Vec<Waker>>,
}

/// What is known of a datagram.
enum Outcome {
    /// Nothing yet.
    Open,
    Stored,
    Failed(SendError),
    /// Its ticket is answered.
    Taken,
    /// Nobody will ask.
    Forgotten,
}

/// A datagram for which the broker has not answered.
struct Body {
    /// Absent once it was given back.
    datagram: Option<Datagram>,
    target: Arc<Target>,
    size: usize,
    /// Whether the broker has answered for it, or never will.
    is_done: bool,
}

/// A datagram to be given to the client.
pub(crate) struct Unsent {
    pub(crate) number: u64,
    pub(crate) target: Arc<Target>,
    pub(crate) datagram: Datagram,
}

/// What a publisher may have under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credit {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

/// What is to be told of a change, without any lock.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) wakers: Vec<Waker>,
    pub(crate) forgotten: u64,
}

impl Outbox {
    /// Whether all of `batch` fits now.
    pub(crate) fn fits(&self, batch: &Batch, credit: Credit) -> bool {
        let Some(before_last) = batch.len().checked_sub(1) else { return true };
        let last = batch.views().last().map_or(0, |view| view.size());
        self.open + before_last < credit.count
            && (self.open + before_last == 0
                || self.open_bytes + batch.bytes().saturating_sub(last) < credit.bytes)
    }

    /// Takes from the front of `batch` while there is credit; one datagram always fits. How many.
    pub(crate) fn admit(
        &mut self,
        batch: &mut Batch,
        target: &Arc<Target>,
        credit: Credit,
    ) -> usize {
        let (mut open, mut open_bytes, mut count) = (self.open, self.open_bytes, 0);
        for view in batch.views() {
            if open >= credit.count || (open > 0 && open_bytes >= credit.bytes) {
                break;
            }
            (open, open_bytes, count) = (open + 1, open_bytes + view.size(), count + 1);
        }
        let next = self.end();
        for datagram in batch.admit(count, next) {
            let (size, target) = (datagram.view().size(), target.clone());
            self.bodies.push_back(Body { datagram: Some(datagram), target, size, is_done: false });
            self.outcomes.push_back(Outcome::Open);
        }
        (self.open, self.open_bytes) = (open, open_bytes);
        count
    }

    /// The next datagrams that were not given to the client, no more than `most`. They count as given from now on.
    pub(crate) fn take_unsent(&mut self, most: usize) -> Vec<Unsent> {
        let mut unsent = Vec::new();
        while unsent.len() < most && self.unsent < self.end() {
            let number = self.unsent;
            self.unsent += 1;
            let Some(body) = self.body(number) else { continue };
            let (target, datagram) = (body.target.clone(), body.datagram.clone());
            unsent.extend(datagram.map(|datagram| Unsent { number, target, datagram }));
        }
        unsent
    }

    /// Whether the broker has answered for everything.
    pub(crate) fn is_idle(&self) -> bool {
        self.open == 0
    }

    /// How many bytes the payload of a datagram has, which is still here.
    pub(crate) fn payload(&mut self, number: u64) -> usize {
        let datagram = self.body(number).and_then(|body| body.datagram.as_ref());
        datagram.and_then(Datagram::payload).map_or(0, <[u8]>::len)
    }

    /// Notes what the broker answers for a datagram.
    pub(crate) fn report(
        &mut self,
        number: u64,
        result: Result<(), (Fate, Error)>,
        told: &mut Told,
    ) {
        let Some(datagram) = self.close(number) else { return };
        let Some(outcome) = self.outcome(number) else { return };
        match (&outcome, result) {
            (Outcome::Open, Ok(())) => *outcome = Outcome::Stored,
            (Outcome::Open, Err((fate, error))) => {
                let datagram = datagram.unwrap_or_default();
                *outcome = Outcome::Failed(SendError::new(datagram, fate, error));
            }
            (Outcome::Forgotten, Err(_)) => {
                *outcome = Outcome::Taken;
                told.forgotten += 1;
            }
            (Outcome::Forgotten, Ok(())) => *outcome = Outcome::Taken,
            _ => {}
        }
        told.wakers.extend(self.wakers.remove(&number).into_iter().flatten());
        self.tidy();
    }

    /// Answers for everything that was given to the client and is not confirmed: in doubt.
    pub(crate) fn lose(&mut self, error: &Error, told: &mut Told) {
        for number in self.oldest..self.unsent {
            self.report(number, Err((Fate::MaybeSent, error.clone())), told);
        }
    }

    /// Answers for everything that was not given to the client: it was not sent.
    pub(crate) fn refuse(&mut self, error: &Error, told: &mut Told) {
        for number in self.unsent..self.end() {
            self.report(number, Err((Fate::NotSent, error.clone())), told);
        }
        self.unsent = self.end();
    }

    /// The first of `ticket` of which nothing is known, from its datagram number `from` on, counted from 0; and its
    /// number here.
    pub(crate) fn first_open(&self, ticket: &Ticket, from: usize) -> Option<(usize, u64)> {
        let mut before = 0;
        for (first, count) in ticket.ranges() {
            let count = at_usize(count.into());
            let mut open = (from.max(before)..before + count)
                .map(|index| (index, first + at_u64(index - before)))
                .filter(|(_, number)| self.is_open(*number));
            if let Some(found) = open.next() {
                return Some(found);
            }
            before += count;
        }
        None
    }

    fn is_open(&self, number: u64) -> bool {
        let at = number.checked_sub(self.first).map(at_usize);
        matches!(at.and_then(|at| self.outcomes.get(at)), Some(Outcome::Open))
    }

    /// Has `waker` woken once something is known of this datagram.
    pub(crate) fn wait(&mut self, number: u64, waker: &Waker) {
        let wakers = self.wakers.entry(number).or_default();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    /// The answers for `ticket`; what is still open comes back as withdrawn, and is not sent any more.
    pub(crate) fn take(&mut self, ticket: &Ticket) -> Receipts {
        let mut receipts = Receipts::all(ticket.len(), Confirmation::Stored);
        let numbers = ticket.ranges().flat_map(|(first, count)| first..first + u64::from(count));
        for (index, number) in (0_u32..).zip(numbers) {
            let Some(outcome) = self.outcome(number) else { continue };
            match std::mem::replace(outcome, Outcome::Taken) {
                Outcome::Failed(error) => receipts.fail(index, error),
                Outcome::Open => receipts.fail(index, self.withdraw(number)),
                Outcome::Stored | Outcome::Taken | Outcome::Forgotten => {}
            }
        }
        self.tidy();
        receipts
    }

    /// Gives one back of which nothing is known; it still counts where the client has it.
    fn withdraw(&mut self, number: u64) -> SendError {
        self.wakers.remove(&number);
        let is_unsent = number >= self.unsent;
        let datagram = match is_unsent {
            true => self.close(number).flatten(),
            false => self.body(number).and_then(|body| body.datagram.take()),
        };
        let fate = if is_unsent { Fate::NotSent } else { Fate::MaybeSent };
        SendError::new(datagram.unwrap_or_default(), fate, Error::Withdrawn)
    }

    /// Nobody will ask for `ticket`.
    pub(crate) fn forget(&mut self, ticket: &Ticket, told: &mut Told) {
        for number in ticket.ranges().flat_map(|(first, count)| first..first + u64::from(count)) {
            let Some(outcome) = self.outcome(number) else { continue };
            *outcome = match std::mem::replace(outcome, Outcome::Taken) {
                Outcome::Open => Outcome::Forgotten,
                Outcome::Failed(_) => {
                    told.forgotten += 1;
                    Outcome::Taken
                }
                _ => Outcome::Taken,
            };
        }
        self.tidy();
    }

    /// A copy of each datagram that failed and that no ticket has answered.
    pub(crate) fn unsent(&self) -> Vec<SendError> {
        let failed = self.outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Failed(error) => {
                let (datagram, fate) = (error.datagram().clone(), error.fate());
                Some(SendError::new(datagram, fate, error.error().clone()))
            }
            _ => None,
        });
        failed.collect()
    }

    /// The number that the next datagram gets.
    fn end(&self) -> u64 {
        self.first + at_u64(self.outcomes.len())
    }

    fn outcome(&mut self, number: u64) -> Option<&mut Outcome> {
        self.outcomes.get_mut(at_usize(number.checked_sub(self.first)?))
    }

    fn body(&mut self, number: u64) -> Option<&mut Body> {
        self.bodies.get_mut(at_usize(number.checked_sub(self.oldest)?))
    }

    /// Takes the datagram of what is done, and its credit back; `None` where that was done before.
    #[allow(clippy::option_option, reason = "done before, and given back before, are two things")]
    fn close(&mut self, number: u64) -> Option<Option<Datagram>> {
        let body = self.body(number).filter(|body| !body.is_done)?;
        body.is_done = true;
        let (datagram, size) = (body.datagram.take(), body.size);
        self.open -= 1;
        self.open_bytes -= size;
        Some(datagram)
    }

    /// Lets go of what nobody asks for any more, from the front.
    fn tidy(&mut self) {
        while self.bodies.front().is_some_and(|body| body.is_done) {
            self.bodies.pop_front();
            self.oldest += 1;
        }
        while matches!(self.outcomes.front(), Some(Outcome::Taken)) && self.first < self.oldest {
            self.outcomes.pop_front();
            self.first += 1;
        }
        self.unsent = self.unsent.max(self.oldest);
    }
}

fn at_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn at_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
