//! The part above sessions, in the sending process: it holds each datagram until it is done.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use seam_core::{Datagram, Datagrams};
use seam_wire::{Learned, Parcel, Sending, Unsettled};

use super::Broken;
use super::member::Sid;

#[derive(Default)]
pub(crate) struct Distributor {
    pub(crate) items: Vec<Item>,
    waiting: BTreeSet<usize>,
    delayed: BTreeSet<(u64, usize)>,
    /// For each key with something in flight: where, and how many.
    keys: HashMap<u8, (u64, usize)>,
    /// The last of each key that was delivered for the first time.
    first: HashMap<u8, usize>,
    pub(crate) done: usize,
    tokens: u64,
    /// Breaks rule 19: sent once more beside what waits.
    pub(crate) resend: Vec<usize>,
}

pub(crate) struct Item {
    pub(crate) datagram: Datagram,
    pub(crate) key: Option<u8>,
    pub(crate) place: Place,
    attempt: u32,
    possible_duplicate: bool,
    delivered: bool,
}

/// Where a datagram is: in exactly one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Waiting,
    InFlight(u64),
    Delayed,
    Done,
}

/// What the sending process knows of a session.
pub(crate) struct Flight {
    pub(crate) session: u64,
    /// Everything admitted to it, in order.
    pub(crate) sequence: Vec<Entry>,
    parcels: HashMap<u64, usize>,
    pub(crate) delivered: usize,
    pub(crate) ended: bool,
    /// Its receiving end has really lost it, or was silent for too long.
    pub(crate) may_be_lost: bool,
    pub(crate) received: u64,
}

pub(crate) struct Entry {
    pub(crate) item: usize,
    pub(crate) attempt: u32,
    pub(crate) possible_duplicate: bool,
    /// What the receiving end decided.
    pub(crate) verdict: Option<Outcome>,
    received: bool,
    learned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Released { attempt: u32, after: Duration },
}

impl Flight {
    pub(crate) fn new(session: u64) -> Self {
        Self {
            session,
            sequence: Vec::new(),
            parcels: HashMap::new(),
            delivered: 0,
            ended: false,
            may_be_lost: false,
            received: 0,
        }
    }
}

pub(crate) type Checked = Result<(), String>;

impl Distributor {
    pub(crate) fn send(&mut self, datagram: Datagram, key: Option<u8>) {
        self.waiting.insert(self.items.len());
        self.items.push(Item {
            datagram,
            key,
            place: Place::Waiting,
            attempt: 1,
            possible_duplicate: false,
            delivered: false,
        });
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done == self.items.len()
    }

    /// Delays that are over.
    pub(crate) fn advance(&mut self, now: u64) {
        while let Some(&(until, item)) = self.delayed.first()
            && until <= now
        {
            self.delayed.pop_first();
            self.items[item].place = Place::Waiting;
            self.waiting.insert(item);
        }
    }

    /// Admits what may go to this session, at most `most`.
    pub(crate) fn feed(
        &mut self,
        sending: &mut Sending,
        flight: &mut Flight,
        most: usize,
        broken: Broken,
    ) {
        let most = most.min(sending.credit());
        for item in std::mem::take(&mut self.resend) {
            if self.admit(sending, flight, &[item]) == 1 {
                self.leave_flight(item, flight.session);
                self.items[item].place = Place::Waiting;
                self.waiting.insert(item);
            }
        }
        let free = |item: &&usize| match self.items[**item].key.and_then(|key| self.keys.get(&key))
        {
            Some((session, _)) => *session == flight.session || broken == Broken::KeyMoves,
            None => true,
        };
        let chosen: Vec<usize> = self.waiting.iter().filter(free).take(most).copied().collect();
        let same = |a: &usize, b: &usize| {
            let (a, b) = (&self.items[*a], &self.items[*b]);
            (a.attempt, a.possible_duplicate) == (b.attempt, b.possible_duplicate)
        };
        let parcels: Vec<Vec<usize>> = chosen.chunk_by(same).map(<[usize]>::to_vec).collect();
        for parcel in parcels {
            if self.admit(sending, flight, &parcel) < parcel.len() {
                return;
            }
        }
    }

    fn admit(&mut self, sending: &mut Sending, flight: &mut Flight, items: &[usize]) -> usize {
        let (attempt, possible_duplicate) =
            (self.items[items[0]].attempt, self.items[items[0]].possible_duplicate);
        self.tokens += 1;
        let content: Datagrams =
            items.iter().map(|item| self.items[*item].datagram.clone()).collect();
        let taken = sending.admit(Parcel {
            token: self.tokens,
            place: 5,
            range: 0..content.len(),
            content: Arc::new(content),
            attempt,
            possible_duplicate,
        });
        flight.parcels.insert(self.tokens, flight.sequence.len());
        for &item in &items[..taken] {
            flight.sequence.push(Entry {
                item,
                attempt,
                possible_duplicate,
                verdict: None,
                received: false,
                learned: false,
            });
            self.waiting.remove(&item);
            self.items[item].place = Place::InFlight(flight.session);
            if let Some(key) = self.items[item].key {
                let held = self.keys.entry(key).or_insert((flight.session, 0));
                *held = (flight.session, held.1 + 1);
            }
        }
        taken
    }

    /// A receiving end got entry `index` of a session; whether some end got its datagram before.
    pub(crate) fn delivered(&mut self, flight: &Flight, index: usize) -> Result<bool, String> {
        let item = flight.sequence[index].item;
        if !flight.ended && self.items[item].place != Place::InFlight(flight.session) {
            return Err(format!(
                "S10: delivered in {}, and it is {:?}",
                flight.session, self.items[item].place
            ));
        }
        let first = !std::mem::replace(&mut self.items[item].delivered, true);
        if let Some(key) = self.items[item].key.filter(|_| first) {
            if self.first.get(&key).is_some_and(|last| *last > item) {
                return Err(format!("O1: {item} of key {key} came after {:?}", self.first[&key]));
            }
            self.first.insert(key, item);
        }
        Ok(!first)
    }

    pub(crate) fn learned(&mut self, flight: &mut Flight, learned: &Learned, now: u64) -> Checked {
        let all = |places: &[(u64, std::ops::Range<u32>)]| -> Vec<(u64, u32)> {
            places
                .iter()
                .flat_map(|(token, range)| range.clone().map(|place| (*token, place)))
                .collect()
        };
        for (token, place) in all(&learned.received) {
            let index = index_of(flight, token, place)?;
            let entry = &mut flight.sequence[index];
            if std::mem::replace(&mut entry.received, true) || index >= flight.delivered {
                return Err(format!("S9: entry {index} is told as received, wrongly or twice"));
            }
        }
        for (token, place) in all(&learned.done) {
            let item = self.outcome(flight, token, place, Outcome::Done)?;
            self.items[item].place = Place::Done;
            self.done += 1;
        }
        for released in &learned.released {
            let (attempt, after) = (released.attempt, released.after);
            let outcome = Outcome::Released { attempt, after };
            let item = self.outcome(flight, released.token, released.place, outcome)?;
            self.items[item].place = Place::Delayed;
            self.items[item].attempt = attempt;
            self.delayed.insert((now + u64::try_from(after.as_millis()).unwrap(), item));
        }
        Ok(())
    }

    fn outcome(
        &mut self,
        flight: &mut Flight,
        token: u64,
        place: u32,
        outcome: Outcome,
    ) -> Result<usize, String> {
        let index = index_of(flight, token, place)?;
        let entry = &mut flight.sequence[index];
        if entry.verdict != Some(outcome) {
            return Err(format!(
                "S1: entry {index} is learned as {outcome:?}, it is {:?}",
                entry.verdict
            ));
        }
        if std::mem::replace(&mut entry.learned, true) || !entry.received {
            return Err(format!("S9: entry {index} is learned twice, or before it was received"));
        }
        let item = entry.item;
        if self.items[item].place != Place::InFlight(flight.session) {
            return Err(format!("S9: an outcome for what is {:?}", self.items[item].place));
        }
        self.leave_flight(item, flight.session);
        Ok(item)
    }

    fn leave_flight(&mut self, item: usize, session: u64) {
        let Some(key) = self.items[item].key else { return };
        if let Some((at, count)) = self.keys.get_mut(&key)
            && *at == session
        {
            *count -= 1;
            if *count == 0 {
                self.keys.remove(&key);
            }
        }
    }

    /// The session ended with these left.
    pub(crate) fn lost(
        &mut self,
        flight: &mut Flight,
        left: &Unsettled,
        broken: Broken,
    ) -> Checked {
        flight.ended = true;
        let mut count = 0;
        for (token, places, sent) in &left.open {
            for place in places.clone() {
                let index = index_of(flight, *token, place)?;
                let entry = &mut flight.sequence[index];
                if std::mem::replace(&mut entry.learned, true) {
                    return Err(format!("S9: entry {index} is left, and its outcome was told"));
                }
                if !sent && index < flight.delivered {
                    return Err(format!(
                        "S1: entry {index} is left as never sent, and was delivered"
                    ));
                }
                count += 1;
                let (item, again) = (entry.item, u32::from(*sent));
                self.leave_flight(item, flight.session);
                self.items[item].place = Place::Waiting;
                self.items[item].attempt += again;
                self.items[item].possible_duplicate |= *sent;
                self.waiting.insert(item);
            }
        }
        if broken == Broken::DelayedForgotten {
            self.delayed.clear();
        }
        let open = flight.sequence.iter().filter(|entry| !entry.learned).count();
        if open > 0 || left.unsettled != count {
            return Err(format!("S1: {open} entries are neither learned nor left"));
        }
        Ok(())
    }

    /// Breaks rule 16: what a session may still resume goes elsewhere.
    pub(crate) fn take_back(&mut self, flight: &Flight) {
        for entry in flight.sequence.iter().filter(|entry| !entry.learned) {
            self.leave_flight(entry.item, flight.session);
            self.items[entry.item].place = Place::Waiting;
            self.waiting.insert(entry.item);
        }
    }

    pub(crate) fn check(&self, flights: &HashMap<Sid, Flight>) -> Checked {
        for (key, (session, _)) in &self.keys {
            let elsewhere = |flight: &&Flight| !flight.ended && flight.session != *session;
            for flight in flights.values().filter(elsewhere) {
                let held = flight.sequence.iter().rev().take(60).filter(|entry| !entry.learned);
                if held.filter(|entry| self.items[entry.item].key == Some(*key)).count() > 0 {
                    return Err(format!("S11: key {key} is in flight in two sessions"));
                }
            }
        }
        Ok(())
    }
}

fn index_of(flight: &Flight, token: u64, place: u32) -> Result<usize, String> {
    let start = flight.parcels.get(&token).ok_or("S9: an outcome of no parcel")?;
    let index = start + usize::try_from(place - 5).unwrap();
    (index < flight.sequence.len())
        .then_some(index)
        .ok_or_else(|| "S9: an outcome of no datagram".into())
}
