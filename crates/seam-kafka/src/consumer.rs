//! The way in: one client for each connection, polled, committed and dropped by a thread of its own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{self, BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use seam_core::driver::Receiver;
use seam_core::{Clock, Error, Event, Events, Result, Start, Timestamp};

use crate::background::{Bell, Threads, lock};
use crate::config::{Config, Group};
use crate::inbox::{Inbox, Record, Revoked, Room};
use crate::member::Member;
use crate::rebalance::{Client, Rebalances};
use crate::replies::{Address, CALLER, random};
use crate::topic::Topic;
use crate::watch::{Progress, Watch};
use crate::{admin, failure, headers, mapping};

/// What there is to read.
pub(crate) enum Reads {
    /// This topic, for receivers.
    Topic(Topic),
    /// The topic of replies, for one caller; it is yet to be found, or created.
    Replies,
}

/// What a connection reads, shared by its receivers.
pub(crate) struct Consumer {
    pub(crate) config: Config,
    reads: Reads,
    /// Where replies come, once that is known.
    address: OnceLock<Address>,
    endpoint: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Events,
    pub(crate) state: Mutex<State>,
    /// What the thread has read and not yet handed over.
    read: Mutex<Vec<Record>>,
    /// For the thread: there is room, something to commit, or an end.
    pub(crate) changed: Condvar,
    /// For futures: it is placed, committed or ended.
    pub(crate) bell: Bell,
}

/// What changes while it reads.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) inbox: Inbox,
    /// Whether its client is made and reads, or waits for its partitions.
    began: bool,
    /// Whether it knows where it begins.
    pub(crate) placed: bool,
    /// Whether receivers get nothing any more.
    pub(crate) draining: bool,
    /// Whether the thread is to end.
    pub(crate) closing: bool,
    pub(crate) ended: bool,
    pub(crate) failed: Option<Error>,
    disconnected: bool,
    /// Calls that wait for a commit.
    pub(crate) urgent: usize,
    /// What was settled and not committed when it was closed.
    last: Vec<(i32, i64)>,
}

impl Consumer {
    /// Starts to read.
    pub(crate) fn start(
        native: ClientConfig,
        config: Config,
        reads: Reads,
        endpoint: String,
        (clock, events): (Arc<dyn Clock>, Events),
        threads: &Threads,
    ) -> Result<Arc<Self>> {
        let private = config.group == Group::Private;
        let inbox = if private { Inbox::private() } else { Inbox::default() };
        let state = State { inbox, ..State::default() };
        let consumer = Arc::new(Self {
            config,
            reads,
            address: OnceLock::new(),
            endpoint,
            clock,
            events,
            state: Mutex::new(state),
            read: Mutex::default(),
            changed: Condvar::new(),
            bell: Bell::default(),
        });
        let reading = consumer.clone();
        threads.spawn("seam-kafka-in", move || reading.run(&native))?;
        Ok(consumer)
    }

    /// Whether a caller reads its replies; then it has one receiver, and ends with it.
    pub(crate) fn is_of_replies(&self) -> bool {
        matches!(self.reads, Reads::Replies)
    }

    /// Where replies come, once there is a receiver.
    pub(crate) fn address(&self) -> Option<&Address> {
        self.address.get()
    }

    /// A receiver, once it is known where it begins.
    pub(crate) async fn receiver(self: &Arc<Self>) -> Result<Box<dyn Receiver>> {
        let member = lock(&self.state).inbox.join();
        let receiver = Box::new(Member::new(self.clone(), member));
        let begins = self.config.group == Group::Private || self.config.from != Start::Earliest;
        self.known(|state| if begins { state.placed } else { state.began }).await;
        match &lock(&self.state).failed {
            Some(error) => Err(error.clone()),
            None => Ok(receiver),
        }
    }

    /// Waits until it is known where it begins, or that it never will be.
    pub(crate) async fn opened(&self) {
        self.known(|state| state.placed).await;
    }

    async fn known(&self, known: impl Fn(&State) -> bool + Send + Sync) {
        let known = || {
            let state = lock(&self.state);
            known(&state) || state.ended || state.failed.is_some()
        };
        self.bell.until(known).await;
    }

    /// Hands out nothing any more; waits until what is in hand is settled, or until the clock has reached `until`.
    pub(crate) async fn quiet(&self, until: Duration) {
        let wakers = {
            let mut state = lock(&self.state);
            state.draining = true;
            state.inbox.wakers()
        };
        wakers.into_iter().for_each(Waker::wake);
        let settled = self.bell.until(|| lock(&self.state).inbox.in_hand() == 0);
        seam_core::clock::deadline(&*self.clock, until, settled).await;
    }

    /// Takes everything back, at once, and has the thread commit and leave; how many deliveries nobody settled.
    pub(crate) fn close(&self) -> u64 {
        let mut state = lock(&self.state);
        state.draining = true;
        if std::mem::replace(&mut state.closing, true) {
            return 0;
        }
        state.last = state.inbox.uncommitted();
        let assigned = state.inbox.assigned();
        drop(state);
        let unsettled = self.revoke(&assigned);
        self.changed.notify_all();
        unsettled
    }

    /// Waits until the thread is done after [`Consumer::close`], or until the clock has reached `until`.
    pub(crate) async fn ended(&self, until: Duration) {
        let ended = self.bell.until(|| lock(&self.state).ended);
        seam_core::clock::deadline(&*self.clock, until, ended).await;
    }

    pub(crate) fn is_ended(&self) -> bool {
        lock(&self.state).ended
    }

    /// Reads, commits, and leaves.
    fn run(self: &Arc<Self>, native: &ClientConfig) {
        let outcome = self.partitions(native).and_then(|partitions| {
            let named = format!("seam.private.{:016x}", random());
            let client = self.config.consumer(native.clone(), &named);
            let client = client.create_with_context(Rebalances::new(self.clone()));
            let reading = client.and_then(|client: Client| {
                self.begin(&client, partitions)?;
                lock(&self.state).began = true;
                self.bell.ring();
                self.read(&client);
                self.leave(&client);
                Ok(())
            });
            reading.map_err(|error| failure::error(&self.endpoint, error))
        });
        if let Err(error) = outcome {
            self.fail(error);
        }
        let assigned = lock(&self.state).inbox.assigned();
        self.revoke(&assigned);
        lock(&self.state).ended = true;
        self.wake_all();
    }

    /// The partitions of a private reader; for replies, once their topic is there.
    fn partitions(&self, native: &ClientConfig) -> Result<Range<i32>> {
        match &self.reads {
            Reads::Topic(topic) => Ok(0..topic.partitions),
            Reads::Replies => {
                let wanted = || !lock(&self.state).closing;
                let topic = admin::ensure(native, &self.config, &self.endpoint, &wanted)?;
                let address = self
                    .address
                    .get_or_init(|| Address::new(topic.cluster, topic.name, topic.partitions));
                Ok(address.partition..address.partition + 1)
            }
        }
    }

    /// Joins the group, or takes every partition for itself.
    fn begin(&self, client: &Client, partitions: Range<i32>) -> KafkaResult<()> {
        if let Group::Named(_) = self.config.group {
            return client.subscribe(&[&self.config.topic]);
        }
        let mut all = TopicPartitionList::new();
        all.add_partition_range(&self.config.topic, partitions.start, partitions.end - 1);
        let placed = self.place(client, &all)?;
        self.assigned(client, &placed);
        client.assign(&placed)
    }

    fn read(&self, client: &Client) {
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
            if self.poll(client, step, now.room) || !paused.is_empty() {
                last_record = Instant::now();
            } else if last_record.elapsed() > QUIET {
                self.nudge(client, &mut watch);
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

    /// Has the client fetch anew where it came to a halt. Asks the broker, so it is done while nothing comes.
    fn nudge(&self, client: &Client, watch: &mut Watch) {
        // What cannot be asked now is asked again.
        let Ok(found) = self.progress(client) else { return };
        for (partition, next) in watch.stalled(found.into_iter()) {
            let _ = client.seek(&self.config.topic, partition, Offset::Offset(next), NOW);
        }
    }

    fn progress(&self, client: &Client) -> KafkaResult<Vec<Progress>> {
        let positions = client.position()?;
        let mut ends = positions.clone();
        ends.set_all_offsets(Offset::End)?;
        let ends = client.offsets_for_times(ends, PATIENCE)?;
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
        let topic = &self.config.topic;
        let list = |from: &BTreeMap<i32, u64>, without: &BTreeMap<i32, u64>| {
            let mut list = TopicPartitionList::new();
            for (number, since) in from {
                if without.get(number) != Some(since) {
                    list.add_partition(topic, *number);
                }
            }
            list
        };
        // What is not ours any more is refused, and need not be done.
        let (stop, go_on) = (list(&held, paused), list(paused, &held));
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

    /// What the client says: mostly it goes on by itself.
    pub(crate) fn hear(&self, error: KafkaError) {
        let code = error.rdkafka_error_code();
        let private = self.config.group == Group::Private;
        if private && code == Some(Code::GroupAuthorizationFailed) {
            // It looks for the coordinator of its group, although it is of none, and needs no answer.
            return;
        }
        let ends = code.is_some_and(failure::is_final);
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        let error = match code {
            Some(code) => failure::of_code_lacking(&self.endpoint, code, "READ"),
            None => failure::error(&self.endpoint, error),
        };
        if ends || fatal {
            return self.fail(error);
        }
        if !matches!(error, Error::Disconnected { .. }) {
            return;
        }
        if !std::mem::replace(&mut lock(&self.state).disconnected, true) {
            self.events.emit(Event::Disconnected { reason: error.to_string() });
        }
    }

    fn fail(&self, error: Error) {
        lock(&self.state).failed.get_or_insert(error);
        self.wake_all();
    }

    fn wake_all(&self) {
        let wakers = lock(&self.state).inbox.wakers();
        wakers.into_iter().for_each(Waker::wake);
        self.bell.ring();
    }

    /// Commits where that is due; when it was last done.
    ///
    /// It waits for the broker's answer, since librdkafka 2.12 tells nobody what became of a commit that does not.
    /// Records go on being fetched meanwhile.
    fn commit(&self, client: &Client, last: Instant, urgent: bool) -> Instant {
        if self.config.group == Group::Private || (!urgent && last.elapsed() < COMMIT) {
            return last;
        }
        let offsets = lock(&self.state).inbox.uncommitted();
        if !offsets.is_empty() {
            self.commit_now(client, &offsets);
            // There may be more to hand out, and somebody who waited for this.
            self.wake_all();
        }
        Instant::now()
    }

    fn list(&self, offsets: &[(i32, i64)]) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(&self.config.topic, *partition, Offset::Offset(*offset))?;
        }
        Ok(list)
    }

    /// Commits these offsets and waits for it.
    pub(crate) fn commit_now(&self, client: &Client, offsets: &[(i32, i64)]) {
        if self.config.group == Group::Private || offsets.is_empty() {
            return;
        }
        match self.list(offsets).and_then(|list| client.commit(&list, CommitMode::Sync)) {
            Ok(()) => lock(&self.state).inbox.committed(offsets),
            Err(error) => self.hear(error),
        }
    }

    /// Leaves the group; what is settled is committed, the rest is read again by somebody else.
    fn leave(&self, client: &Client) {
        let mut state = lock(&self.state);
        let mut offsets = std::mem::take(&mut state.last);
        offsets.extend(state.inbox.uncommitted());
        let assigned = state.inbox.assigned();
        drop(state);
        self.commit_now(client, &offsets);
        self.revoke(&assigned);
        client.unsubscribe();
    }

    /// Takes these partitions back from whoever has deliveries of them; how many nobody settled.
    pub(crate) fn revoke(&self, partitions: &[i32]) -> u64 {
        let mut state = lock(&self.state);
        let (revoked, count): (Revoked, u64) = state.inbox.revoke(partitions);
        let wakers = state.inbox.wakers();
        drop(state);
        revoked.into_iter().for_each(|(board, deliveries)| board.revoke(deliveries));
        wakers.into_iter().for_each(Waker::wake);
        if count > 0 {
            self.events.emit(Event::LeaseLost { count });
        }
        self.bell.ring();
        count
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

/// Between two commits that nobody waits for.
const COMMIT: Duration = Duration::from_millis(200);

/// How long there may be no room before the client is paused.
const SHORT: Duration = Duration::from_millis(100);

/// How long a broker may take to answer where nothing else can be done meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The time of a record, by the name that Kafka has for whose it is.
fn time(message: &BorrowedMessage<'_>) -> Option<(&'static str, Timestamp)> {
    let (name, millis) = match message.timestamp() {
        message::Timestamp::NotAvailable => return None,
        message::Timestamp::CreateTime(millis) => ("CreateTime", millis),
        message::Timestamp::LogAppendTime(millis) => ("LogAppendTime", millis),
    };
    Some((name, Timestamp::from_millis(millis).ok()?))
}
