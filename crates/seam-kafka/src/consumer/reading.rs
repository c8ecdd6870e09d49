//! What the thread of a consumer does over and over: polls, commits, pauses, and looks whether reading has come to a
//! halt.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::task::Waker;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};
use seam_core::Event;

use super::{Consumer, State};
use crate::background::lock;
use crate::config::Config;
use crate::fetch::{Fetch, Record};
use crate::inbox::{Gathered, Room};
use crate::rebalance::Client;
use crate::replies::CALLER;
use crate::watch::{Progress, Watch};
use crate::{mapping, rebalance};

impl Consumer {
    /// Reads until it is to end.
    pub(super) fn read(&self, client: &Client, mut fetch: Fetch<'_>) {
        let (mut full_since, mut last_commit) = (None, Instant::now());
        let (mut last_record, mut watch) = (Instant::now(), Watch::default());
        // The partitions that are paused, with the generations of their assignments.
        let mut paused = BTreeMap::new();
        let mut taken = Taken::default();
        loop {
            let long = full_since.is_some_and(|since: Instant| since.elapsed() > SHORT);
            let Some(now) = self.look(long) else { return };
            last_commit = self.commit(client, last_commit, now.urgent);
            self.pause(client, &mut paused, &now.held);
            if now.room.is_none() && !long {
                full_since.get_or_insert_with(Instant::now);
                self.wait_for_room();
                continue;
            }
            let step = if now.urgent || now.room.is_none() { SHORT_STEP } else { STEP };
            if !now.room.is_none() {
                full_since = None;
            }
            if self.poll(client, (&mut fetch, &mut taken), step, &now) {
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
        Some(Now { room, assigned: !state.inbox.assigned().is_empty(), urgent, held })
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
    fn pause(&self, client: &Client, paused: &mut BTreeMap<i32, u64>, held: &BTreeMap<i32, u64>) {
        if paused == held {
            return;
        }
        let (mut stop, mut go_on) = (TopicPartitionList::new(), TopicPartitionList::new());
        for (number, since) in held {
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
        paused.clone_from(held);
    }

    /// Hears what the client has to say, and takes the records that are there, up to `room`; whether there were any.
    /// Waits no longer than `step` for the first.
    fn poll(
        &self,
        client: &Client,
        (fetch, taken): (&mut Fetch<'_>, &mut Taken),
        step: Duration,
        now: &Now,
    ) -> bool {
        let Now { mut room, assigned, .. } = *now;
        let (said, mut wait) = if assigned && !room.is_none() { (NOW, step) } else { (step, NOW) };
        self.listen(client, taken, said);
        room.records = room.records.min(AT_ONCE);
        while !room.is_none() {
            let read = fetch.read(room, std::mem::take(&mut wait), |record| match record {
                Ok(record) => self.take(record, taken),
                Err(code) => self.hear(KafkaError::MessageConsumption(code)),
            });
            if read.is_none() {
                break;
            }
            room = room.less(read);
        }
        self.hand_over(taken)
    }

    /// Hears what the client has to say: of assignments, and what fails.
    fn listen(&self, client: &Client, taken: &mut Taken, mut wait: Duration) {
        while let Some(said) = client.poll(std::mem::take(&mut wait)) {
            match said {
                Ok(message) => {
                    self.take(Record::of(&message), taken);
                    self.hand_over(taken);
                }
                Err(error) => self.hear(error),
            }
        }
    }

    /// Takes a record, unless it is a reply to somebody else.
    fn take(&self, record: Record<'_>, taken: &mut Taken) {
        let headers = record.headers();
        let asked = self.address().map(|address| address.caller.as_bytes());
        if asked.is_some() && !headers.contains(&(CALLER, asked)) {
            return;
        }
        let (run, offset, time) = (taken.of(record.partition()), record.offset(), record.time());
        match (record.key(), record.payload()) {
            (None, Some(payload)) if headers.is_empty() => run.push_plain(offset, time, payload),
            (key, payload) => {
                run.push(offset, time, mapping::datagram(key, payload, headers.into_iter()));
            }
        }
    }

    /// Hands over what was taken; whether there was anything. That comes before any change of what is ours, or it would
    /// be held for a part of that.
    fn hand_over(&self, taken: &mut Taken) -> bool {
        if taken.runs.is_empty() {
            return false;
        }
        let mut state = lock(&self.state);
        let connected = std::mem::take(&mut state.disconnected);
        state.inbox.take_in(&mut taken.runs, &mut taken.spare);
        let wakers = state.inbox.wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        if connected {
            self.events.emit(Event::Connected);
        }
        true
    }
}

/// What was read and is not handed over yet.
#[derive(Default)]
struct Taken {
    runs: Vec<Gathered>,
    /// To be used for others.
    spare: Vec<Gathered>,
}

impl Taken {
    /// Where the next record of `partition` goes.
    fn of(&mut self, partition: i32) -> &mut Gathered {
        let last = self.runs.pop_if(|run| run.takes(partition));
        let run = last.unwrap_or_else(|| Gathered::new(partition, self.spare.pop()));
        self.runs.push_mut(run)
    }
}

/// What the thread has to do.
struct Now {
    room: Room,
    /// Whether any partition is ours.
    assigned: bool,
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
const AT_ONCE: usize = 1024;

/// How long nothing may come before it is asked whether something should.
const QUIET: Duration = Duration::from_secs(15);

/// How long there may be no room before the client is paused.
const SHORT: Duration = Duration::from_millis(100);
