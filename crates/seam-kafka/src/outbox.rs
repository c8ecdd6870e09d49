//! What was admitted, until its fate is known: one for each producer. No client is touched here.
//!
//! Datagrams are kept in the stretches in which they were admitted, with a few bytes for each that say what became of
//! it. Only what fails costs more.

mod stretch;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::task::Waker;

use bytes::Bytes;
use seam_core::driver::Ticket;
use seam_core::{Batch, Confirmation, Datagrams, Error, Fate, Receipts, SendError, View};

pub(crate) use stretch::Lane;
use stretch::{Outcome, Slot, Stretch, to_u64, to_usize};

/// The datagrams of one producer, by the numbers of their admission.
#[derive(Default)]
pub(crate) struct Outbox {
    stretches: VecDeque<Stretch>,
    /// The number that the next datagram gets.
    next: u64,
    /// Where the last one was found that was looked for: reports come in order, mostly.
    hint: usize,
    /// What the client has and has not reported.
    in_flight: usize,
    in_flight_bytes: usize,
    /// Empty, for the next stretches.
    spare: Spare,
}

/// Memory of stretches that ended, some of it to be used again.
#[derive(Default)]
struct Spare {
    datagrams: Vec<Datagrams>,
    slots: Vec<Vec<Slot>>,
}

impl Spare {
    fn take(&mut self) -> (Datagrams, Vec<Slot>) {
        (self.datagrams.pop().unwrap_or_default(), self.slots.pop().unwrap_or_default())
    }

    fn keep_datagrams(&mut self, mut datagrams: Datagrams) {
        datagrams.clear();
        self.datagrams.push(datagrams);
        self.datagrams.truncate(SPARE);
    }

    fn keep_slots(&mut self, mut slots: Vec<Slot>) {
        slots.clear();
        self.slots.push(slots);
        self.slots.truncate(SPARE);
    }
}

/// What the client did with datagrams, from the first on.
#[derive(Default)]
pub(crate) struct Given {
    /// How many it took or refused. For the next it has no room now.
    pub(crate) count: usize,
    /// Those of them that it does not take, in order.
    pub(crate) refused: Vec<(usize, Error)>,
}

/// What a report has to be told of, without any lock.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) wakers: Vec<Waker>,
    pub(crate) forgotten: u64,
}

/// What a producer may have under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credit {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

impl Outbox {
    /// Whether there is credit for one more; one always fits.
    pub(crate) fn has_room(&self, credit: Credit) -> bool {
        self.in_flight < credit.count
            && (self.in_flight == 0 || self.in_flight_bytes < credit.bytes)
    }

    /// Whether there is room for a good part of the credit, so that calling somebody pays.
    pub(crate) fn has_much_room(&self, Credit { count, bytes }: Credit) -> bool {
        self.in_flight == 0
            || (self.in_flight <= (count - count.div_ceil(4))
                && self.in_flight_bytes <= bytes / 4 * 3)
    }

    /// Whether the client has reported everything.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// Gives the client what is in `batch`, in order, while there is `credit` and it has room. `give` is told the
    /// datagrams for which there is credit, and the number by which the first is to be reported.
    pub(crate) fn admit(
        &mut self,
        batch: &mut Batch,
        lane: Lane,
        credit: Credit,
        give: impl FnOnce(&mut dyn Iterator<Item = View<'_>>, u64) -> Given,
    ) {
        let (datagrams, mut slots) = self.spare.take();
        for view in batch.views() {
            if !self.has_room(credit) {
                break;
            }
            let slot = Slot::open(view.size());
            self.in_flight += 1;
            self.in_flight_bytes += slot.size;
            slots.push(slot);
        }
        let Given { count, refused } = give(&mut batch.views().take(slots.len()), self.next);
        for slot in slots.drain(count..) {
            self.in_flight -= 1;
            self.in_flight_bytes -= slot.size;
        }
        let mut failures = BTreeMap::new();
        for (place, error) in refused {
            let slot = &mut slots[place];
            (slot.outcome, slot.reported) = (Outcome::Failed, true);
            self.in_flight -= 1;
            self.in_flight_bytes -= slot.size;
            failures.insert(place, (Fate::NotSent, lane.blame(error)));
        }
        if slots.is_empty() {
            self.spare.keep_datagrams(datagrams);
            self.spare.keep_slots(slots);
            return;
        }
        let first = self.next;
        self.next += to_u64(slots.len());
        self.keep(batch, Stretch::new(first, lane, datagrams, slots, failures));
    }

    /// Takes the datagrams of `new` over from `batch`.
    fn keep(&mut self, batch: &mut Batch, mut new: Stretch) {
        let count = new.slots.len();
        match self.stretches.back_mut().filter(|last| last.may_grow(&new)) {
            Some(last) => {
                for datagram in batch.admit(count, new.first) {
                    last.datagrams.push(datagram);
                }
                last.grow(&mut new);
                self.spare.keep_datagrams(new.datagrams);
                self.spare.keep_slots(new.slots);
            }
            None => {
                batch.admit_into(count, new.first, &mut new.datagrams);
                self.stretches.push_back(new);
            }
        }
    }

    /// Notes what the client says of one datagram. Where it failed, all that is open behind it under the same key
    /// comes back too: whatever becomes of it, it has not succeeded.
    pub(crate) fn report(
        &mut self,
        number: u64,
        result: Result<(i32, i64), (Fate, Error)>,
        told: &mut Told,
    ) {
        let Some((stretch, place)) = self.find(number) else { return };
        let slot = &mut stretch.slots[place];
        if std::mem::replace(&mut slot.reported, true) {
            return;
        }
        let (size, outcome) = (slot.size, slot.outcome);
        stretch.unreported -= 1;
        let failed = match (result, outcome) {
            (Ok((partition, offset)), Outcome::Open) => {
                (slot.partition, slot.offset) = (partition, offset);
                stretch.close(place, Outcome::Stored, told);
                None
            }
            (Err((fate, error)), Outcome::Open) => {
                let error = stretch.lane.blame(error);
                stretch.fail(place, fate, error.clone(), told);
                Some((stretch.key(place), error))
            }
            (Err((_, error)), Outcome::Forgotten) => {
                told.forgotten += 1;
                Some((stretch.key(place), error))
            }
            (Err((Fate::NotSent, _)), Outcome::Failed) => {
                // It failed with what lay before it, in doubt; the doubt is gone.
                let failure = stretch.failures.get_mut(&place);
                failure.into_iter().for_each(|(fate, _)| *fate = Fate::NotSent);
                None
            }
            _ => None,
        };
        let stored = stretch.release();
        stored.into_iter().for_each(|stored| self.spare.keep_datagrams(stored));
        self.in_flight -= 1;
        self.in_flight_bytes -= size;
        if let Some((key, error)) = failed {
            self.fail_behind(number, &HashSet::from([key]), &error, told);
        }
        self.tidy();
    }

    /// The first of `ticket` that is open, from its datagram number `from` on, counted from 0.
    pub(crate) fn first_open(&self, ticket: &Ticket, from: usize) -> Option<(usize, u64)> {
        let mut before = 0;
        for (first, count) in ticket.ranges() {
            let end = first + u64::from(count);
            let skipped = from.saturating_sub(before);
            let mut number = first + to_u64(skipped);
            while number < end
                && let Some((stretch, place)) = self.look(number)
            {
                let upto = end.min(stretch.end());
                if stretch.open > 0
                    && let Some(open) = stretch.first_open(place..stretch.place(upto))
                {
                    let number = stretch.first + to_u64(open);
                    return Some((before + to_usize(number - first), number));
                }
                number = upto;
            }
            before += to_usize(u64::from(count));
        }
        None
    }

    pub(crate) fn wait(&mut self, number: u64, waker: &Waker) {
        let Some((stretch, place)) = self.find(number) else { return };
        match stretch.wakers.iter_mut().find(|(at, _)| *at == place) {
            Some((_, known)) => known.clone_from(waker),
            None => stretch.wakers.push((place, waker.clone())),
        }
    }

    /// The answers for `ticket`; what is still open comes back as withdrawn, in doubt.
    pub(crate) fn take(&mut self, ticket: &Ticket, told: &mut Told) -> Receipts {
        let mut receipts = Receipts::all(ticket.len(), Confirmation::Stored);
        let (mut withdrawn, mut earliest) = (HashSet::new(), None);
        let numbers = ticket.ranges().flat_map(|(first, count)| first..first + u64::from(count));
        for (index, number) in (0_u32..).zip(numbers) {
            let Some((stretch, place)) = self.find(number) else { continue };
            match stretch.answer(place, Outcome::Taken) {
                Outcome::Stored => receipts.place(index, stretch.slots[place].position()),
                Outcome::Failed => {
                    let (fate, error) = stretch
                        .failures
                        .remove(&place)
                        .unwrap_or((Fate::MaybeSent, Error::Withdrawn));
                    let datagram = stretch.datagrams.datagram(place);
                    receipts.fail(index, SendError::new(datagram, fate, error));
                }
                Outcome::Open => {
                    withdrawn.insert(stretch.key(place));
                    earliest = earliest.or(Some(number));
                    let datagram = stretch.datagrams.datagram(place);
                    let error = SendError::new(datagram, Fate::MaybeSent, Error::Withdrawn);
                    receipts.fail(index, error);
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
            let Some((stretch, place)) = self.find(number) else { continue };
            if stretch.answer(place, Outcome::Forgotten) == Outcome::Failed {
                stretch.failures.remove(&place);
                told.forgotten += 1;
            }
        }
        self.tidy();
    }

    /// Answers everything that is open: in doubt, for the client is gone.
    pub(crate) fn end(&mut self, error: &Error, told: &mut Told) {
        for stretch in &mut self.stretches {
            stretch.unreported = 0;
            for place in 0..stretch.slots.len() {
                let slot = &mut stretch.slots[place];
                let lost = !std::mem::replace(&mut slot.reported, true);
                match slot.outcome {
                    Outcome::Open => stretch.fail(place, Fate::MaybeSent, error.clone(), told),
                    Outcome::Forgotten if lost => told.forgotten += 1,
                    _ => {}
                }
            }
        }
        (self.in_flight, self.in_flight_bytes) = (0, 0);
        self.tidy();
    }

    /// A copy of each datagram that failed and that no ticket has answered.
    pub(crate) fn unsent(&self) -> Vec<SendError> {
        let failed = self.stretches.iter().flat_map(|stretch| {
            stretch.failures.iter().map(|(place, (fate, error))| {
                SendError::new(stretch.datagrams.datagram(*place), *fate, error.clone())
            })
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
        for stretch in self.stretches.iter_mut().filter(|stretch| stretch.end() > number) {
            let behind = stretch.place(number + 1);
            for place in behind..stretch.slots.len() {
                if stretch.slots[place].outcome == Outcome::Open
                    && keys.contains(&stretch.key(place))
                {
                    stretch.fail(place, Fate::MaybeSent, error.clone(), told);
                }
            }
        }
    }

    fn look(&self, number: u64) -> Option<(&Stretch, usize)> {
        let at = self.stretches.partition_point(|stretch| stretch.end() <= number);
        let stretch = self.stretches.get(at).filter(|stretch| stretch.first <= number)?;
        Some((stretch, stretch.place(number)))
    }

    fn find(&mut self, number: u64) -> Option<(&mut Stretch, usize)> {
        let holds = |stretch: &Stretch| (stretch.first..stretch.end()).contains(&number);
        if !self.stretches.get(self.hint).is_some_and(holds) {
            self.hint = self.stretches.partition_point(|stretch| stretch.end() <= number);
        }
        let stretch = self.stretches.get_mut(self.hint).filter(|stretch| holds(stretch))?;
        let place = stretch.place(number);
        Some((stretch, place))
    }

    /// Lets go of what nobody will ask for any more.
    fn tidy(&mut self) {
        while let Some(first) = self.stretches.front() {
            if first.unreported > 0 || first.unanswered > 0 {
                return;
            }
            let Some(Stretch { slots, .. }) = self.stretches.pop_front() else { return };
            self.hint = self.hint.saturating_sub(1);
            self.spare.keep_slots(slots);
        }
    }
}

/// So much memory of stretches that ended is used again.
const SPARE: usize = 4;

#[cfg(test)]
mod tests;
