//! What was admitted, until its fate is known: one for each producer. No client is touched here.

use std::collections::{HashSet, VecDeque};
use std::task::Waker;

use bytes::Bytes;
use seam_core::driver::Ticket;
use seam_core::{Batch, Confirmation, Datagram, Error, Fate, Position, Receipts, SendError};

/// The datagrams of one producer, by the numbers of their admission.
#[derive(Default)]
pub(crate) struct Outbox {
    /// The number of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
    /// What the client has and has not reported.
    in_flight: usize,
    in_flight_bytes: usize,
}

/// What shares the fate of a key: what is sent to the topic, and replies in each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    Topic,
    Reply(i32),
}

impl Lane {
    /// Why it failed: where the topic of replies is gone, so is who waited for them.
    fn blame(self, error: Error) -> Error {
        match (self, error) {
            (Self::Reply(_), Error::NotFound { .. }) => Error::RequesterGone,
            (_, error) => error,
        }
    }
}

struct Entry {
    lane: Lane,
    /// Kept until it is stored or taken.
    datagram: Datagram,
    size: usize,
    outcome: Outcome,
    /// Whether the client will still report it.
    reported: bool,
    /// Whoever waits for this one.
    waker: Option<Waker>,
}

enum Outcome {
    Open,
    Stored(Position),
    Failed(Fate, Error),
    /// Its ticket has the answer.
    Taken,
    /// Nobody will ask.
    Forgotten,
}

/// What a report has to be told of, without any lock.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) wakers: Vec<Waker>,
    pub(crate) forgotten: u64,
}

impl Outbox {
    /// The number that the next datagram gets.
    pub(crate) fn next(&self) -> u64 {
        self.first + u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }

    /// Whether there is credit for one more; one always fits.
    pub(crate) fn has_room(&self, credit: usize, bytes: usize) -> bool {
        self.in_flight < credit && (self.in_flight == 0 || self.in_flight_bytes < bytes)
    }

    /// Whether the client has reported everything.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// Takes over the front of `batch`: in the client's hands, or refused before that.
    pub(crate) fn admit(&mut self, batch: &mut Batch, lane: Lane, refused: Option<Error>) {
        let number = self.next();
        let Some(datagram) = batch.admit(1, number).next() else { return };
        let size = datagram.view().size();
        let reported = refused.is_some();
        if !reported {
            self.in_flight += 1;
            self.in_flight_bytes += size;
        }
        let outcome = match refused {
            Some(error) => Outcome::Failed(Fate::NotSent, lane.blame(error)),
            None => Outcome::Open,
        };
        self.entries.push_back(Entry { lane, datagram, size, outcome, reported, waker: None });
    }

    /// Notes what the client says of one datagram. Where it failed, all that is open behind it under the same key
    /// comes back too: whatever becomes of it, it has not succeeded.
    pub(crate) fn report(
        &mut self,
        number: u64,
        result: Result<Position, (Fate, Error)>,
        told: &mut Told,
    ) {
        let Some(entry) = self.entry(number).filter(|entry| !entry.reported) else { return };
        entry.reported = true;
        let size = entry.size;
        let failed = match (result, &entry.outcome) {
            (Ok(position), Outcome::Open) => {
                entry.outcome = Outcome::Stored(position);
                entry.datagram = Datagram::default();
                None
            }
            (Err((fate, error)), Outcome::Open) => {
                let error = entry.lane.blame(error);
                entry.outcome = Outcome::Failed(fate, error.clone());
                Some((key_of(entry), error))
            }
            (Err((_, error)), Outcome::Forgotten) => {
                told.forgotten += 1;
                Some((key_of(entry), error))
            }
            _ => None,
        };
        told.wakers.extend(entry.waker.take());
        self.in_flight -= 1;
        self.in_flight_bytes -= size;
        if let Some((key, error)) = failed {
            self.fail_behind(number, &HashSet::from([key]), &error, told);
        }
        self.tidy();
    }

    /// The first of `ticket` that is open, from its datagram number `from` on, counted from 0.
    pub(crate) fn first_open(&self, ticket: &Ticket, from: usize) -> Option<(usize, u64)> {
        let numbers = ticket.ranges().flat_map(|(first, count)| first..first + u64::from(count));
        let mut numbers = numbers.enumerate().skip(from);
        numbers.find(|(_, number)| {
            self.look(*number).is_some_and(|entry| matches!(entry.outcome, Outcome::Open))
        })
    }

    pub(crate) fn wait(&mut self, number: u64, waker: &Waker) {
        if let Some(entry) = self.entry(number) {
            entry.waker = Some(waker.clone());
        }
    }

    /// The answers for `ticket`; what is still open comes back as withdrawn, in doubt.
    pub(crate) fn take(&mut self, ticket: &Ticket, told: &mut Told) -> Receipts {
        let mut receipts = Receipts::all(ticket.len(), Confirmation::Stored);
        let (mut withdrawn, mut earliest) = (HashSet::new(), None);
        let numbers = ticket.ranges().flat_map(|(first, count)| first..first + u64::from(count));
        for (index, number) in (0_u32..).zip(numbers) {
            let Some(entry) = self.entry(number) else { continue };
            match std::mem::replace(&mut entry.outcome, Outcome::Taken) {
                Outcome::Stored(position) => receipts.place(index, position),
                Outcome::Failed(fate, error) => {
                    let datagram = std::mem::take(&mut entry.datagram);
                    receipts.fail(index, SendError::new(datagram, fate, error));
                }
                Outcome::Open => {
                    withdrawn.insert(key_of(entry));
                    earliest = earliest.or(Some(number));
                    // A late failure must still know the key.
                    let datagram = entry.datagram.clone();
                    receipts
                        .fail(index, SendError::new(datagram, Fate::MaybeSent, Error::Withdrawn));
                }
                Outcome::Taken | Outcome::Forgotten => {}
            }
        }
        if let Some(earliest) = earliest {
            self.fail_behind(earliest, &withdrawn, &Error::Withdrawn, told);
        }
        self.tidy();
        receipts
    }

    /// Nobody will ask for `ticket`.
    pub(crate) fn forget(&mut self, ticket: &Ticket, told: &mut Told) {
        for number in ticket.ranges().flat_map(|(first, count)| first..first + u64::from(count)) {
            let Some(entry) = self.entry(number) else { continue };
            match std::mem::replace(&mut entry.outcome, Outcome::Forgotten) {
                Outcome::Failed(..) => told.forgotten += 1,
                Outcome::Taken => entry.outcome = Outcome::Taken,
                _ => {}
            }
        }
        self.tidy();
    }

    /// Answers everything that is open: in doubt, for the client is gone.
    pub(crate) fn end(&mut self, error: &Error, told: &mut Told) {
        for entry in &mut self.entries {
            told.wakers.extend(entry.waker.take());
            entry.reported = true;
            match entry.outcome {
                Outcome::Open => entry.outcome = Outcome::Failed(Fate::MaybeSent, error.clone()),
                Outcome::Forgotten => told.forgotten += 1,
                _ => {}
            }
        }
        (self.in_flight, self.in_flight_bytes) = (0, 0);
        self.tidy();
    }

    /// A copy of each datagram that failed and that no ticket has answered.
    pub(crate) fn unsent(&self) -> Vec<SendError> {
        let failed = self.entries.iter().filter_map(|entry| match &entry.outcome {
            Outcome::Failed(fate, error) => {
                Some(SendError::new(entry.datagram.clone(), *fate, error.clone()))
            }
            _ => None,
        });
        failed.collect()
    }

    fn fail_behind(
        &mut self,
        number: u64,
        keys: &HashSet<(Lane, Option<Bytes>)>,
        error: &Error,
        told: &mut Told,
    ) {
        let behind = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        for entry in self.entries.iter_mut().skip(behind.saturating_add(1)) {
            if matches!(entry.outcome, Outcome::Open) && keys.contains(&key_of(entry)) {
                entry.outcome = Outcome::Failed(Fate::MaybeSent, error.clone());
                told.wakers.extend(entry.waker.take());
            }
        }
    }

    fn look(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Lets go of what nobody will ask for any more.
    fn tidy(&mut self) {
        while let Some(entry) = self.entries.front() {
            let answered = match entry.outcome {
                Outcome::Taken | Outcome::Forgotten => entry.reported,
                _ => false,
            };
            if !answered {
                return;
            }
            self.entries.pop_front();
            self.first += 1;
        }
    }
}

fn key_of(entry: &Entry) -> (Lane, Option<Bytes>) {
    (entry.lane, entry.datagram.envelope().key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(keys: &[&'static str]) -> (Outbox, Ticket) {
        let mut outbox = Outbox::default();
        let mut batch: Batch = keys.iter().map(|key| Datagram::new("x").with_key(*key)).collect();
        while !batch.is_empty() {
            outbox.admit(&mut batch, Lane::Topic, None);
        }
        (outbox, batch.take_ticket())
    }

    fn stored(offset: i64) -> Result<Position, (Fate, Error)> {
        Ok(Position::Offset { partition: 0, offset })
    }

    #[test]
    fn nothing_of_a_key_succeeds_behind_a_failure() {
        let (mut outbox, ticket) = admitted(&["a", "b", "a", "b"]);
        let mut told = Told::default();
        outbox.report(0, Err((Fate::NotSent, Error::Full)), &mut told);
        (1..4).for_each(|number| outbox.report(number, stored(9), &mut told));
        let receipts = outbox.take(&ticket, &mut told);
        let fates: Vec<_> = receipts.failed().iter().map(|(at, e)| (*at, e.fate())).collect();
        assert_eq!(fates, [(0, Fate::NotSent), (2, Fate::MaybeSent)]);
        assert!(outbox.is_idle() && outbox.entries.is_empty());
    }

    #[test]
    fn what_is_withdrawn_is_in_doubt_until_it_is_reported() {
        let (mut outbox, ticket) = admitted(&["a", "a"]);
        let mut told = Told::default();
        outbox.report(0, stored(7), &mut told);
        assert_eq!(outbox.first_open(&ticket, 0), Some((1, 1)));
        let receipts = outbox.take(&ticket, &mut told);
        assert_eq!(receipts.failed()[0].1.fate(), Fate::MaybeSent);
        assert!(!outbox.is_idle());
        outbox.report(1, stored(8), &mut told);
        assert!(outbox.is_idle() && outbox.entries.is_empty());
    }

    #[test]
    fn a_forgotten_failure_is_told() {
        let (mut outbox, ticket) = admitted(&["a", "a"]);
        let mut told = Told::default();
        outbox.forget(&ticket, &mut told);
        outbox.report(0, stored(7), &mut told);
        outbox.report(1, Err((Fate::MaybeSent, Error::Full)), &mut told);
        assert_eq!(told.forgotten, 1);
    }

    #[test]
    fn a_reply_without_topic_is_for_a_requester_that_is_gone() {
        let mut outbox = Outbox::default();
        let mut batch: Batch = std::iter::once(Datagram::new("!")).collect();
        let gone = || Error::NotFound { what: String::new(), remedy: String::new() };
        outbox.admit(&mut batch, Lane::Reply(3), None);
        outbox.report(0, Err((Fate::NotSent, gone())), &mut Told::default());
        let receipts = outbox.take(&batch.take_ticket(), &mut Told::default());
        assert!(matches!(receipts.failed()[0].1.error(), Error::RequesterGone));
    }

    #[test]
    fn one_datagram_fits_any_credit() {
        let (outbox, _) = admitted(&[]);
        assert!(outbox.has_room(1, 0));
        let (outbox, _) = admitted(&["a"]);
        assert!(!outbox.has_room(2, 1) && outbox.has_room(2, 3));
    }
}
