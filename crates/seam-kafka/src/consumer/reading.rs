//! What the thread of a consumer does over and over: polls, commits, pauses, and looks whether reading has come to a
//! halt.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::task::Waker;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{self, BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use seam_core::{Event, Timestamp};

use super::{Consumer, State};
use crate::background::lock;
use crate::config::Config;
use crate::inbox::{Record, Room};
use crate::rebalance::Client;
use crate::replies::CALLER;
use crate::watch::{Progress, Watch};
use crate::{headers, mapping, rebalance};

impl Consumer {
    /// Reads until it is to end.
    pub(super) fn read(&self, client: &Client) {
        let (mut full_since, mut last_commit) = (None, Instant::now());
        let (mut last_record, mut watch) = (Instant::now(), Watch::default());
        // The partitions that are paused, with the generations of their assignments.
        let mut paused = BTreeMap::new();
        loop {
            let long = full_since.is_some_and(|since: Instant| since.elapsed() > SHORT);
            let Some(now) = self.look(long) else { return };
            last_commit = self.commit(client, last_commit, now.urgent);
            self.pause(client, &mut paused, now.held);
            if now.room.is_none() && !long {
                full_since.get_or_insert_with(Instant::now);
                self.wait_for_room();
                continue;
            }
            let step = if now.urgent || now.room.is_none() { SHORT_STEP } else { STEP };
            if !now.room.is_none() {
                full_since = None;
            }
            if self.poll(client, step, now.room) {
                last_record = Instant::now();
            } else if last_record.elapsed() > QUIET {
                self.nudge(client, &mut watch, &paused);
                last_record = Instant::now();
            }
        }
    }

    /// What there is to do; `None` once that is to end. Where there has been no room for `long`, everything is held.
    fn look(&self, long: bool) -> Option<Now> {
        let state = lock(&self.state);
        if state.closing || state.failed.is_some() {
            return None;
        }
        let (room, credit) = (self.room(&state), self.config.credit);
        let urgent = state.urgent > 0 || state.inbox.is_crowded(credit);
        let held = match long && room.is_none() {
            true => state.inbox.generations(),
            false => state.inbox.blocked(credit),
        };
        Some(Now { room, urgent, held })
    }

    /// Has the client fetch anew where it came to a halt, unless it is `paused`. Asks the broker, so it is done while
    /// nothing comes.
    fn nudge(&self, client: &Client, watch: &mut Watch, paused: &BTreeMap<i32, u64>) {
        // What cannot be asked now is asked again.
        let Ok(found) = self.progress(client) else { return };
        let found = found.into_iter().filter(|found| !paused.contains_key(&found.partition));
        for (partition, next) in watch.stalled(found) {
            let _ = client.seek(&self.config.topic, partition, Offset::Offset(next), NOW);
        }
    }

    fn progress(&self, client: &Client) -> KafkaResult<Vec<Progress>> {
        let positions = client.position()?;
        let ends = rebalance::ends(client, &positions)?;
        let found = positions.elements().into_iter().filter_map(|at| {
            let partition = at.partition();
            let end = ends.find_partition(at.topic(), partition)?.offset();
            match (at.offset(), end) {
                (Offset::Offset(next), Offset::Offset(end)) => {
                    Some(Progress { partition, next, end })
                }
                _ => None,
            }
        });
        Ok(found.collect())
    }

    /// What may be read; nothing while it drains.
    fn room(&self, state: &State) -> Room {
        let Config { credit, credit_bytes, .. } = self.config;
        if state.draining { Room::default() } else { state.inbox.room(credit, credit_bytes) }
    }

    fn wait_for_room(&self) {
        let state = lock(&self.state);
        let full =
            |state: &mut State| !state.closing && state.urgent == 0 && self.room(state).is_none();
        let waited = self.changed.wait_timeout_while(state, STEP, full);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Has the client fetch no more of `held` while it goes on to be polled, and again of what was `paused` and is not
    /// held any more. An assignment begins unpaused.
    fn pause(&self, client: &Client, paused: &mut BTreeMap<i32, u64>, held: BTreeMap<i32, u64>) {
        if *paused == held {
            return;
        }
        let (mut stop, mut go_on) = (TopicPartitionList::new(), TopicPartitionList::new());
        for (number, since) in &held {
            if paused.get(number) != Some(since) {
                stop.add_partition(&self.config.topic, *number);
            }
        }
        for number in paused.keys().filter(|number| !held.contains_key(number)) {
            go_on.add_partition(&self.config.topic, *number);
        }
        // What is not ours any more is refused, and need not be done.
        let _ = client.pause(&stop);
        let _ = client.resume(&go_on);
        *paused = held;
    }

    /// Waits for records, no longer than `step`, and takes those that are there, up to `room`; whether there were any.
    fn poll(&self, client: &Client, step: Duration, room: Room) -> bool {
        let (mut wait, mut records, mut bytes) = (step, 0, 0);
        while let Some(polled) = client.poll(std::mem::take(&mut wait)) {
            match polled {
                Ok(message) => {
                    records += 1;
                    bytes += message.payload_len() + message.key_len();
                    lock(&self.read).extend(self.record(&message));
                }
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) => self.hear(error),
            }
            if records >= room.records.min(AT_ONCE) || bytes >= room.bytes {
                break;
            }
        }
        self.take_in();
        records > 0
    }

    /// Hands over what was read. That comes before any change of what is ours, or it would be taken for a part of it.
    pub(crate) fn take_in(&self) {
        let mut read = lock(&self.read);
        if read.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        let connected = std::mem::take(&mut state.disconnected);
        read.drain(..).for_each(|record| state.inbox.push(record));
        let wakers = state.inbox.wakers();
        drop((state, read));
        wakers.into_iter().for_each(Waker::wake);
        if connected {
            self.events.emit(Event::Connected);
        }
    }

    /// What a record holds, unless it is a reply to somebody else.
    fn record(&self, message: &BorrowedMessage<'_>) -> Option<Record> {
        let headers = headers::headers(message);
        let asked = self.address().map(|address| address.caller.as_bytes());
        if asked.is_some() && !headers.contains(&(CALLER, asked)) {
            return None;
        }
        Some(Record {
            partition: message.partition(),
            offset: message.offset(),
            datagram: mapping::datagram(message.key(), message.payload(), headers.into_iter()),
            time: time(message),
        })
    }
}

/// What the thread has to do.
struct Now {
    room: Room,
    /// Whether somebody waits for a commit.
    urgent: bool,
    /// The partitions of which nothing is to be fetched.
    held: BTreeMap<i32, u64>,
}

/// A wait for nothing.
const NOW: Duration = Duration::ZERO;

/// How long the thread waits for a record; a close is noticed after it.
const STEP: Duration = Duration::from_millis(20);

/// The same while somebody may make room, or settle what is to be committed.
const SHORT_STEP: Duration = Duration::from_millis(2);

/// Records that are handed over together.
const AT_ONCE: usize = 256;

/// How long nothing may come before it is asked whether something should.
const QUIET: Duration = Duration::from_secs(15);

/// How long there may be no room before the client is paused.
const SHORT: Duration = Duration::from_millis(100);

/// The time of a record, by the name that Kafka has for whose it is.
fn time(message: &BorrowedMessage<'_>) -> Option<(&'static str, Timestamp)> {
    let (name, millis) = match message.timestamp() {
        message::Timestamp::NotAvailable => return None,
        message::Timestamp::CreateTime(millis) => ("CreateTime", millis),
        message::Timestamp::LogAppendTime(millis) => ("LogAppendTime", millis),
    };
    Some((name, Timestamp::from_millis(millis).ok()?))
}
