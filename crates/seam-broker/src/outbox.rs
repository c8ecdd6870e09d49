//! What was admitted, until its fate is known: one for each way to publish. No client is touched here.
//!
//! A datagram is kept until the broker has answered for it, so that a failure gives it back. Of what is stored only a few
//! bytes stay, until its ticket is answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use seam_core::driver::Ticket;
use seam_core::{Batch, Confirmation, Datagram, Error, Fate, Receipts, SendError};

/// Where datagrams go.
pub trait Target: PartialEq + Send + Sync + 'static {
    /// Whether a datagram that fails takes all of its key with it that was admitted to the same target behind it: what was
    /// not sent is not sent any more, and what is under way comes back in doubt, whatever the broker says of it. By
    /// default each has its own fate.
    fn fails_by_key(&self) -> bool {
        false
    }
}

/// The datagrams of one way out to targets `T`, by the numbers of their admission.
pub struct Outbox<T> {
    /// The number of the first of `outcomes`.
    first: u64,
    outcomes: VecDeque<Outcome>,
    /// The number of the first of `bodies`.
    oldest: u64,
    /// What the broker has not answered for, and what lies behind it.
    bodies: VecDeque<Body<T>>,
    /// The number of the first that nobody has looked at to send it.
    fresh: u64,
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
struct Body<T> {
    /// Absent once it was given back.
    datagram: Option<Datagram>,
    target: Arc<T>,
    size: usize,
    /// Whether it may have left this process.
    is_sent: bool,
    /// Why one of its key failed before it.
    doom: Option<Error>,
    /// Whether the broker has answered for it, or never will.
    is_done: bool,
}

/// A datagram to be sent.
#[derive(Debug)]
pub struct Unsent<T> {
    /// By which its fate is reported.
    pub number: u64,
    /// Where it goes.
    pub target: Arc<T>,
    /// Shared with the outbox, which gives it back where it fails.
    pub datagram: Datagram,
}

/// What may be under way at once.
#[derive(Clone, Copy, Debug)]
pub struct Credit {
    /// Datagrams.
    pub count: usize,
    /// Bytes; one datagram always fits.
    pub bytes: usize,
}

/// What is to be told of a change, without any lock.
#[derive(Debug, Default)]
pub struct Told {
    /// Of whoever waits for a fate that is known now.
    pub wakers: Vec<Waker>,
    /// Datagrams that failed and that nobody asks for.
    pub forgotten: u64,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self {
            first: 0,
            outcomes: VecDeque::new(),
            oldest: 0,
            bodies: VecDeque::new(),
            fresh: 0,
            open: 0,
            open_bytes: 0,
            wakers: BTreeMap::new(),
        }
    }
}

impl<T: Target> Outbox<T> {
    /// Whether all of `batch` fits now.
    #[must_use]
    pub fn fits(&self, batch: &Batch, credit: Credit) -> bool {
        let Some(before_last) = batch.len().checked_sub(1) else { return true };
        let last = batch.views().last().map_or(0, |view| view.size());
        self.open + before_last < credit.count
            && (self.open + before_last == 0
                || self.open_bytes + batch.bytes().saturating_sub(last) < credit.bytes)
    }

    /// Takes from the front of `batch` while there is credit; one datagram always fits. How many.
    pub fn admit(&mut self, batch: &mut Batch, target: &Arc<T>, credit: Credit) -> usize {
        let (mut open, mut open_bytes, mut count) = (self.open, self.open_bytes, 0);
        for view in batch.views() {
            if open >= credit.count || (open > 0 && open_bytes >= credit.bytes) {
                break;
            }
            (open, open_bytes, count) = (open + 1, open_bytes + view.size(), count + 1);
        }
        let next = self.next();
        for datagram in batch.admit(count, next) {
            let (size, target) = (datagram.view().size(), target.clone());
            let datagram = Some(datagram);
            let (is_sent, doom, is_done) = (false, None, false);
            self.bodies.push_back(Body { datagram, target, size, is_sent, doom, is_done });
            self.outcomes.push_back(Outcome::Open);
        }
        (self.open, self.open_bytes) = (open, open_bytes);
        count
    }

    /// The next datagrams that nobody has looked at, no more than `most`.
    pub fn take_fresh(&mut self, most: usize) -> Vec<Unsent<T>> {
        let mut fresh = Vec::new();
        while fresh.len() < most && self.fresh < self.next() {
            let number = self.fresh;
            self.fresh += 1;
            let Some(body) = self.body(number).filter(|body| !body.is_done) else { continue };
            let (target, datagram) = (body.target.clone(), body.datagram.clone());
            fresh.extend(datagram.map(|datagram| Unsent { number, target, datagram }));
        }
        fresh
    }

    /// As [`Outbox::take_fresh`], for who sends what it takes: all of it counts as sent from now on.
    pub fn take_unsent(&mut self, most: usize) -> Vec<Unsent<T>> {
        let unsent = self.take_fresh(most);
        for unsent in &unsent {
            self.leaves(unsent.number);
        }
        unsent
    }

    /// Notes that a datagram leaves now. Whether it may: nobody has taken it back.
    pub fn leaves(&mut self, number: u64) -> bool {
        let body = self.body(number).filter(|body| !body.is_done && body.datagram.is_some());
        match body {
            Some(body) if body.doom.is_none() => {
                body.is_sent = true;
                true
            }
            _ => false,
        }
    }

    /// Notes that it is proved not to have left, or not to be stored.
    pub fn came_back(&mut self, number: u64) {
        if let Some(body) = self.body(number) {
            body.is_sent = false;
        }
    }

    /// Whether the broker has answered for everything.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open == 0
    }

    /// How many bytes the payload of a datagram has, which is still here.
    pub fn payload(&mut self, number: u64) -> usize {
        let datagram = self.body(number).and_then(|body| body.datagram.as_ref());
        datagram.and_then(Datagram::payload).map_or(0, <[u8]>::len)
    }

    /// Notes what the broker answers for a datagram; the first answer counts.
    pub fn report(&mut self, number: u64, result: Result<(), (Fate, Error)>, told: &mut Told) {
        let doom = self.body(number).and_then(|body| body.doom.take());
        // It is there, and yet it has not succeeded.
        let result = match (result, doom) {
            (Ok(()), Some(error)) => Err((Fate::MaybeSent, error)),
            (result, _) => result,
        };
        if let Err((_, error)) = &result {
            self.doom(number, &error.clone(), told);
        }
        self.conclude(number, result, told);
        self.tidy();
    }

    fn conclude(&mut self, number: u64, result: Result<(), (Fate, Error)>, told: &mut Told) {
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
    }

    /// Has what was admitted behind a datagram that failed, under the same key of a target that fails by key, fail too.
    fn doom(&mut self, failed: u64, error: &Error, told: &mut Told) {
        let Some(first) = self.body(failed) else { return };
        let (target, Some(failed_key)) = (first.target.clone(), key(first)) else { return };
        let mut unsent = Vec::new();
        for (number, body) in (self.oldest..).zip(&mut self.bodies) {
            if number <= failed
                || body.is_done
                || body.target != target
                || key(body).as_ref() != Some(&failed_key)
            {
                continue;
            }
            match body.is_sent {
                true => drop(body.doom.get_or_insert_with(|| error.clone())),
                false => unsent.push(number),
            }
        }
        for number in unsent {
            self.conclude(number, Err((Fate::NotSent, error.clone())), told);
        }
    }

    /// Answers for everything that was sent and has no answer: in doubt.
    pub fn lose(&mut self, error: &Error, told: &mut Told) {
        self.fail(error, told, |is_sent| is_sent);
    }

    /// Answers for everything that was not sent: it will not be.
    pub fn refuse(&mut self, error: &Error, told: &mut Told) {
        self.fail(error, told, |is_sent| !is_sent);
    }

    /// Answers for everything that is open: in doubt where it may have left.
    pub fn end(&mut self, error: &Error, told: &mut Told) {
        self.fail(error, told, |_| true);
    }

    fn fail(&mut self, error: &Error, told: &mut Told, which: fn(bool) -> bool) {
        for number in self.oldest..self.next() {
            let Some(is_sent) = self.body(number).map(|body| body.is_sent) else { continue };
            if which(is_sent) {
                let fate = if is_sent { Fate::MaybeSent } else { Fate::NotSent };
                self.conclude(number, Err((fate, error.clone())), told);
            }
        }
        self.tidy();
    }

    /// The first of `ticket` of which nothing is known, from its datagram number `from` on, counted from 0; and its
    /// number here.
    #[must_use]
    pub fn first_open(&self, ticket: &Ticket, from: usize) -> Option<(usize, u64)> {
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
    pub fn wait(&mut self, number: u64, waker: &Waker) {
        let wakers = self.wakers.entry(number).or_default();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    /// The answers for `ticket`; what is still open comes back as withdrawn, and is not sent any more.
    pub fn take(&mut self, ticket: &Ticket, told: &mut Told) -> Receipts {
        let mut receipts = Receipts::all(ticket.len(), Confirmation::Stored);
        let numbers = ticket.ranges().flat_map(|(first, count)| first..first + u64::from(count));
        for (index, number) in (0_u32..).zip(numbers) {
            let Some(outcome) = self.outcome(number) else { continue };
            match std::mem::replace(outcome, Outcome::Taken) {
                Outcome::Failed(error) => receipts.fail(index, error),
                Outcome::Open => receipts.fail(index, self.withdraw(number, told)),
                Outcome::Stored | Outcome::Taken | Outcome::Forgotten => {}
            }
        }
        self.tidy();
        receipts
    }

    /// Gives one back of which nothing is known; it still counts while it is under way.
    fn withdraw(&mut self, number: u64, told: &mut Told) -> SendError {
        self.wakers.remove(&number);
        self.doom(number, &Error::Withdrawn, told);
        let is_sent = self.body(number).is_some_and(|body| body.is_sent);
        let (datagram, fate) = match is_sent {
            true => (self.body(number).and_then(|body| body.datagram.take()), Fate::MaybeSent),
            false => (self.close(number).flatten(), Fate::NotSent),
        };
        SendError::new(datagram.unwrap_or_default(), fate, Error::Withdrawn)
    }

    /// Nobody will ask for `ticket`.
    pub fn forget(&mut self, ticket: &Ticket, told: &mut Told) {
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
    #[must_use]
    pub fn unsent(&self) -> Vec<SendError> {
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
    fn next(&self) -> u64 {
        self.first + at_u64(self.outcomes.len())
    }

    fn outcome(&mut self, number: u64) -> Option<&mut Outcome> {
        self.outcomes.get_mut(at_usize(number.checked_sub(self.first)?))
    }

    fn body(&mut self, number: u64) -> Option<&mut Body<T>> {
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
        self.fresh = self.fresh.max(self.oldest);
    }
}

/// The key by which a datagram fails with others, if it does.
fn key<T: Target>(body: &Body<T>) -> Option<Bytes> {
    body.datagram.as_ref().filter(|_| body.target.fails_by_key())?.envelope().key.clone()
}

fn at_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn at_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
