//! What the sending half learns from ACK, WELCOME and PONG, and each datagram's outcome once.

use std::ops::Range;
use std::time::Duration;

use super::held::Form;
use super::{Sending, rule};
use crate::{Ack, Progress, WireError};

/// What was learned: each datagram is told once as received, and once as done or released. To be used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// Received by the peer: token and places.
    pub received: Vec<(u64, Range<u32>)>,
    /// Done: token and places.
    pub done: Vec<(u64, Range<u32>)>,
    /// To be delivered again.
    pub released: Vec<LearnedRelease>,
}

/// A datagram that its receiver released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnedRelease {
    /// Whose it is.
    pub token: u64,
    /// Its place.
    pub place: u32,
    /// Which attempt its next delivery is.
    pub attempt: u32,
    /// How long to wait before it, at least.
    pub after: Duration,
}

impl Learned {
    /// Empties it, and keeps its memory.
    pub fn clear(&mut self) {
        self.received.clear();
        self.done.clear();
        self.released.clear();
    }
}

impl Sending {
    /// Takes outcomes and credit.
    ///
    /// # Errors
    ///
    /// [`WireError::Protocol`]: it tells what cannot be; the connection must close, the session stays.
    pub fn on_ack(&mut self, ack: &Ack, learned: &mut Learned) -> Result<(), WireError> {
        self.check(ack)?;
        let Progress { settled, received, .. } = ack.progress;
        self.progress = ack.progress;
        // A journal may have taken the receiving half back behind what an earlier connection was told.
        if received > self.confirmed {
            self.push_places(self.confirmed + 1..received + 1, &mut learned.received);
            self.confirmed = received;
        }
        self.learn_released(ack, learned);
        for range in &ack.done {
            self.learn_done(range.clone(), learned);
        }
        if settled > self.acked {
            self.learn_done(self.acked + 1..settled + 1, learned);
            self.ping_due |= self.known_released.any(self.acked + 1..settled + 1);
            self.acked = settled;
            self.known.forget_below(settled + 1);
            self.known_released.forget_below(settled + 1);
            self.release_front();
        }
        Ok(())
    }

    fn check(&self, ack: &Ack) -> Result<(), WireError> {
        let (new, old) = (&ack.progress, &self.progress);
        if !self.connected {
            return Err(rule("WELCOME comes before ACK"));
        }
        if new.settled < old.settled || new.received < old.received {
            return Err(rule("`settled` and `received` never fall"));
        }
        if new.limit_seq < old.limit_seq || new.limit_bytes < old.limit_bytes {
            return Err(rule("credit never falls"));
        }
        if new.limit_seq == u64::MAX {
            return Err(rule("credit has an end"));
        }
        if new.received >= self.cursor {
            return Err(rule("nothing is received that was not sent"));
        }
        for released in &ack.released {
            let number = released.number;
            let done = number > self.acked
                && self.known.any(number..number + 1)
                && !self.known_released.any(number..number + 1);
            if done || ack.done.iter().any(|range| range.contains(&number)) {
                return Err(rule("what is done is never released"));
            }
            if !self.ends_a_datagram(number) {
                return Err(rule("the outcome of a datagram is told for its last number"));
            }
        }
        Ok(())
    }

    fn ends_a_datagram(&self, number: u64) -> bool {
        let place = self.held.partition_point(|held| held.end() <= number);
        match self.held.get(place) {
            Some(held) if held.first <= number => {
                !matches!(held.form, Form::Fragments(_)) || number + 1 == held.end()
            }
            _ => true,
        }
    }

    fn learn_released(&mut self, ack: &Ack, learned: &mut Learned) {
        for released in &ack.released {
            let number = released.number;
            if number <= self.acked {
                // Told again, since the receiving half does not know that it was processed.
                self.ping_due = true;
                continue;
            }
            if self.known.any(number..number + 1) && !mutant!(OutcomeAppliedTwice) {
                continue;
            }
            if mutant!(ResendUnderOldNumber) {
                self.cursor = self.cursor.min(number);
                continue;
            }
            self.each_place(number..number + 1, |token, places, _| {
                learned.released.extend(places.map(|place| LearnedRelease {
                    token,
                    place,
                    attempt: released.attempt,
                    after: released.after,
                }));
            });
            self.finished += 1;
            self.known.insert(number..number + 1);
            self.known_released.insert(number..number + 1);
        }
    }

    /// Those of `numbers` whose outcome is not known are done.
    fn learn_done(&mut self, numbers: Range<u64>, learned: &mut Learned) {
        let mut count = 0;
        if mutant!(OutcomeAppliedTwice) {
            count += self.push_places(numbers.clone(), &mut learned.done);
        } else {
            for gap in self.known.gaps(numbers.clone()) {
                count += self.push_places(gap, &mut learned.done);
            }
        }
        self.finished += count;
        self.known.insert(numbers);
    }

    /// Appends the datagrams told by `numbers`, and counts them.
    fn push_places(&self, numbers: Range<u64>, into: &mut Vec<(u64, Range<u32>)>) -> u64 {
        let mut count = 0;
        self.each_place(numbers, |token, places, _| {
            count += u64::from(places.end - places.start);
            match into.last_mut() {
                Some((last, before)) if *last == token && before.end == places.start => {
                    before.end = places.end;
                }
                _ => into.push((token, places)),
            }
        });
        count
    }
}
