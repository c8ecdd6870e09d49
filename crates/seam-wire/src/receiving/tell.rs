//! What a connection is told: WELCOME, ACK and PONG.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Receiving, Window};
use crate::marks::Marks;
use crate::number::{size, wide};
use crate::{Ack, Frame, Outgoing, Pong, Progress, Released, ResumeToken, Welcome};

/// What the current connection was told, and what is new to it.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What the sender said in HELLO that it has processed.
    pub(super) base: u64,
    pub(super) settled: u64,
    received: u64,
    /// Released, and not told.
    pub(super) fresh: BTreeSet<u64>,
    /// Done above `settled`, and not told.
    pub(super) untold: Marks,
}

impl Receiving {
    /// The answer to an accepted HELLO, with the session's expiry and, where it is issued, its resume token. From
    /// now on the connection that it goes to is told everything, whatever others were told.
    pub fn welcome(&mut self, expiry: Duration, token: Option<ResumeToken>) -> Welcome {
        let kept = mutant!(ToldKeptAcrossConnections).then(|| std::mem::take(&mut self.told.fresh));
        self.told.settled = self.told.base;
        let untold =
            || self.records.range(self.told.base + 1..).map(|(number, _)| *number).collect();
        self.told.fresh = kept.unwrap_or_else(untold);
        if mutant!(WelcomeWithoutRecords) {
            self.told.fresh.clear();
        }
        self.told.untold = self.sparse.clone();
        for number in self.records.keys() {
            self.told.untold.remove(*number..*number + 1);
        }
        let ack = self.next_ack();
        Welcome {
            epoch: self.epoch,
            next: self.next,
            max_frame: wide(self.max_frame),
            expiry,
            token,
            ack,
        }
    }

    /// Whether the sender can be told something that it does not know.
    #[must_use]
    pub fn ack_due(&self) -> bool {
        let (limit_seq, limit_bytes) = self.limits();
        self.told.settled < self.settled
            || self.told.received + 1 < self.next
            || self.limit_seq < limit_seq
            || self.limit_bytes < limit_bytes
            || !self.told.fresh.is_empty()
            || !self.told.untold.is_empty()
    }

    /// Writes an ACK of what is new. If that is too much for one frame another one is due.
    pub fn ack(&mut self, channel: u8, out: &mut Outgoing) {
        let ack = self.next_ack();
        Frame::Ack(ack).encode(channel, out.buffer());
    }

    /// The answer to a PING on this session's channel.
    #[must_use]
    pub fn pong(&mut self, opaque: u64) -> Pong {
        self.told.received = self.next - 1;
        self.grant();
        Pong { opaque, progress: Some(self.told_progress()) }
    }

    fn next_ack(&mut self) -> Ack {
        self.told.received = self.next - 1;
        self.grant();
        let mut room = LIST_ROOM;
        let released = self.list_released(&mut room);
        // What is not listed is not passed by: the next ACK goes on.
        let unlisted = self.told.fresh.first().map_or(u64::MAX, |number| number - 1);
        self.told.settled = self.told.settled.max(self.settled.min(unlisted));
        let mut ack = Ack { progress: self.told_progress(), released, done: Vec::new() };
        if self.told.settled == self.settled {
            self.list_done(&mut ack, room);
        }
        ack
    }

    fn list_released(&mut self, room: &mut usize) -> Vec<Released> {
        let mut released = Vec::new();
        let mut last = 0;
        while let Some(&number) = self.told.fresh.first() {
            let Some(record) = self.records.get(&number) else {
                self.told.fresh.pop_first();
                continue;
            };
            let millis = u64::try_from(record.after.as_millis()).unwrap_or(u64::MAX);
            let bytes = size(number - last) + size(record.attempt.into()) + size(millis) + 1;
            if bytes > *room {
                break;
            }
            *room -= bytes;
            self.told.fresh.pop_first();
            released.push(Released { number, attempt: record.attempt, after: record.after });
            if mutant!(RecordForgottenWhenTold) {
                self.records.remove(&number);
            }
            last = number;
        }
        released
    }

    fn list_done(&mut self, ack: &mut Ack, mut room: usize) {
        while let Some(range) = self.told.untold.next_run(self.settled + 1) {
            let bytes = size(range.start) + size(range.end - range.start);
            if bytes > room {
                return;
            }
            room -= bytes;
            self.told.untold.remove(range.clone());
            ack.done.push(range);
        }
        self.told.untold.clear();
    }

    fn told_progress(&self) -> Progress {
        Progress {
            settled: self.told.settled,
            received: self.told.received,
            limit_seq: self.limit_seq,
            limit_bytes: self.limit_bytes,
        }
    }

    fn grant(&mut self) {
        let (limit_seq, limit_bytes) = self.limits();
        self.limit_seq = self.limit_seq.max(limit_seq);
        self.limit_bytes = self.limit_bytes.max(limit_bytes);
    }

    /// The limits that the window allows now.
    fn limits(&self) -> (u64, u64) {
        let Window { count, bytes, span, records } = self.window;
        let count = count.min(records.saturating_sub(wide(self.records.len())));
        let limit_seq =
            (self.outcomes.saturating_add(count)).min(self.settled.saturating_add(span));
        (limit_seq.min(u64::MAX - 1), self.outcome_bytes.saturating_add(bytes))
    }
}

/// Bytes that the lists of an ACK may take, so that a WELCOME fits too.
const LIST_ROOM: usize = crate::CONTROL_LIMIT - 512;
