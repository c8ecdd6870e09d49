//! The way in: one client for each connection, polled, committed and dropped by a thread of its own.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use seam_core::driver::Receiver;
use seam_core::{Clock, Error, Event, Events, Result, Start};

use crate::background::{Bell, Threads, lock};
use crate::config::{Config, Group};
use crate::fetch::Fetch;
use crate::inbox::{Inbox, Revoked};
use crate::member::Member;
use crate::rebalance::{Client, Rebalances};
use crate::replies::{Address, random};
use crate::topic::Topic;
use crate::{admin, failure};

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
                let fetch = Fetch::new(&client);
                self.begin(&client, partitions)?;
                lock(&self.state).began = true;
                self.bell.ring();
                self.read(&client, fetch);
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

/// Between two commits that nobody waits for.
const COMMIT: Duration = Duration::from_millis(200);

/// How long a broker may take to answer where nothing else can be done meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

mod reading;
