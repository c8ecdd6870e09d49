//! The arithmetic of the ledger: events in, figures out. No clock, file or lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::{Entry, Event, Outcome, Stamp};

/// What a ledger comes to. `Display` is one line of figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Messages that somebody set out to send.
    pub sent: u64,
    /// Messages with a receipt.
    pub acknowledged: u64,
    /// Acknowledged, and never delivered; counted for each group.
    pub lost: u64,
    /// Deliveries of a message beyond the first, in a group.
    pub duplicated: u64,
    /// Of those, the ones that were not announced: first attempts by their note, and no new attempt of the
    /// sender.
    pub unannounced: u64,
    /// First deliveries that came after a later number of their key, in a group.
    pub reordered: u64,
    /// Deliveries whose body or key is not the one that was stamped.
    pub corrupt: u64,
    /// Deliveries of what nobody sent, or what was proved not to be sent.
    pub unexpected: u64,
    /// Messages of which the sender does not know whether they were sent.
    pub indeterminate: u64,
    /// Messages that were settled only on a later delivery than their first.
    pub recovered: u64,
    /// Delivered, and never settled; counted for each group.
    pub unsettled: u64,
    /// Events that could not be written to the ledger's file.
    pub unwritten: u64,
}

impl Report {
    /// Whether nothing went wrong: announced repeats and honest doubt are no fault.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let faults = [
            self.lost,
            self.unannounced,
            self.reordered,
            self.corrupt,
            self.unexpected,
            self.unwritten,
        ];
        faults == [0; 6]
    }

    /// Fails the test that calls it, with the line of figures, where anything went wrong.
    ///
    /// # Panics
    ///
    /// If the report is not clean.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {} acknowledged {} lost {} duplicated {} unannounced {} reordered {} corrupt {} \
             unexpected {} indeterminate {} recovered {} unsettled {}",
            self.sent,
            self.acknowledged,
            self.lost,
            self.duplicated,
            self.unannounced,
            self.reordered,
            self.corrupt,
            self.unexpected,
            self.indeterminate,
            self.recovered,
            self.unsettled,
        )?;
        if self.unwritten > 0 {
            write!(f, " unwritten {}", self.unwritten)?;
        }
        Ok(())
    }
}

/// Everything that was told so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By producer and number.
    messages: HashMap<String, BTreeMap<u64, Message>>,
    /// Groups that are to get every message.
    expected: BTreeSet<String>,
    /// The highest number that a group has got of a key of a producer.
    highest: HashMap<Lane, u64>,
    reordered: u64,
    corrupt: u64,
    /// Deliveries without a stamp.
    foreign: u64,
}

/// Group, producer and key.
type Lane = (String, String, String);

#[derive(Debug, Default)]
struct Message {
    sent: bool,
    receipted: bool,
    not_sent: bool,
    maybe_sent: bool,
    groups: BTreeMap<String, Arrival>,
}

/// What one group saw of a message.
#[derive(Debug, Default)]
struct Arrival {
    deliveries: u64,
    unannounced: u64,
    /// The highest attempt of the sender that arrived.
    attempt: u32,
    settled: bool,
    recovered: bool,
}

impl Message {
    /// Whether it is proved that nobody else has seen it.
    fn is_not_sent(&self) -> bool {
        self.not_sent && !self.receipted && !self.maybe_sent
    }

    fn is_indeterminate(&self) -> bool {
        self.sent && !self.receipted && (self.maybe_sent || !self.not_sent)
    }
}

impl Tally {
    pub(super) fn add(&mut self, entry: Entry) {
        match entry.event {
            Event::Group { group } => {
                self.expected.insert(group);
            }
            Event::Sent { stamp } => self.message(&stamp).sent = true,
            Event::Outcome { stamp, outcome } => {
                let message = self.message(&stamp);
                match outcome {
                    Outcome::Receipted => message.receipted = true,
                    Outcome::NotSent => message.not_sent = true,
                    Outcome::MaybeSent => {
                        message.maybe_sent = true;
                        // A receipt before it is withdrawn: the message was given back.
                        message.receipted = false;
                    }
                }
            }
            Event::Delivered { stamp: None, .. } => self.foreign += 1,
            Event::Delivered { stamp: Some(stamp), group, intact, again } => {
                self.corrupt += u64::from(!intact);
                self.deliver(&stamp, group, again);
            }
            Event::Settled { stamp, group } => {
                let arrival = self.message(&stamp).groups.entry(group).or_default();
                arrival.recovered |= !arrival.settled && arrival.deliveries > 1;
                arrival.settled = true;
            }
        }
    }

    fn deliver(&mut self, stamp: &Stamp, group: String, again: bool) {
        let arrival = self.message(stamp).groups.entry(group.clone()).or_default();
        arrival.deliveries += 1;
        let first = arrival.deliveries == 1;
        if !first && !again && stamp.attempt <= arrival.attempt {
            arrival.unannounced += 1;
        }
        arrival.attempt = arrival.attempt.max(stamp.attempt);
        // A first delivery that says it is a repeat was seen by somebody who could not tell.
        if first && !again && stamp.attempt == 1 {
            let lane = (group, stamp.producer.clone(), stamp.key.clone());
            let highest = self.highest.entry(lane).or_insert(stamp.number);
            self.reordered += u64::from(stamp.number < *highest);
            *highest = stamp.number.max(*highest);
        }
    }

    pub(super) fn first_open(&self, producer: &str, from: u64) -> u64 {
        let Some(messages) = self.messages.get(producer) else { return from };
        let is_settled = |m: &Message| m.groups.values().any(|arrival| arrival.settled);
        let mut next = from;
        while messages.get(&next).is_some_and(is_settled) {
            next += 1;
        }
        next
    }

    pub(super) fn report(&self, unwritten: u64) -> Report {
        let mut report = Report {
            reordered: self.reordered,
            corrupt: self.corrupt,
            unexpected: self.foreign,
            unwritten,
            ..Report::default()
        };
        let groups = self.groups();
        for message in self.messages.values().flat_map(BTreeMap::values) {
            report.sent += u64::from(message.sent);
            report.acknowledged += u64::from(message.receipted);
            report.indeterminate += u64::from(message.is_indeterminate());
            let mut recovered = false;
            for arrival in message.groups.values() {
                recovered |= arrival.recovered;
                report.duplicated += arrival.deliveries.saturating_sub(1);
                report.unannounced += arrival.unannounced;
                report.unsettled += u64::from(arrival.deliveries > 0 && !arrival.settled);
                if !message.sent || message.is_not_sent() {
                    report.unexpected += arrival.deliveries;
                }
            }
            report.recovered += u64::from(recovered);
            if message.receipted {
                let missed = |group: &&String| !message.groups.contains_key(*group);
                let missed = groups.iter().filter(missed).count();
                report.lost += u64::try_from(missed).unwrap_or(u64::MAX);
            }
        }
        report
    }

    /// The groups that must get everything: those announced, else the one without name.
    fn groups(&self) -> BTreeSet<String> {
        if self.expected.is_empty() {
            return BTreeSet::from([String::new()]);
        }
        self.expected.clone()
    }

    fn message(&mut self, stamp: &Stamp) -> &mut Message {
        if !self.messages.contains_key(&stamp.producer) {
            self.messages.insert(stamp.producer.clone(), BTreeMap::new());
        }
        let messages = self.messages.get_mut(&stamp.producer).expect("inserted above");
        messages.entry(stamp.number).or_default()
    }
}
