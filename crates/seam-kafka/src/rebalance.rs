//! What the client's group decides: partitions come and go, on the thread that polls.

use std::sync::{Arc, OnceLock, PoisonError, Weak};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use seam_core::Start;

use crate::background::lock;
use crate::config::Group;
use crate::consumer::{Consumer, PATIENCE, State};
use crate::fetch::Queue;
use crate::inbox::Assigned;

/// The client of a consumer.
pub(crate) type Client = BaseConsumer<Rebalances>;

/// Hears of assignments, on the thread that polls.
pub(crate) struct Rebalances {
    consumer: Arc<Consumer>,
    /// Where partitions are to hand their records to.
    pub(crate) records: OnceLock<Weak<Queue>>,
}

impl ClientContext for Rebalances {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, _: &str) {
        self.consumer.hear(error);
    }
}

impl ConsumerContext for Rebalances {
    fn rebalance(&self, client: &Client, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let cooperative = matches!(client.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let outcome = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let placed = self.place(client, list);
            self.consumer.assigned(client, &placed);
            if cooperative { client.incremental_assign(&placed) } else { client.assign(&placed) }
        } else {
            self.give_up(client, list);
            if cooperative { client.incremental_unassign(list) } else { client.unassign() }
        };
        if let Err(error) = outcome {
            self.consumer.hear(error);
        }
    }
}

impl Rebalances {
    pub(crate) fn new(consumer: Arc<Consumer>) -> Self {
        Self { consumer, records: OnceLock::new() }
    }

    /// Where the group has no offset yet, what `from=` says, unless that is what Kafka does by itself.
    fn place(&self, client: &Client, list: &TopicPartitionList) -> TopicPartitionList {
        if self.consumer.config.from == Start::Earliest {
            return list.clone();
        }
        let placed = client.committed_offsets(list.clone(), PATIENCE).and_then(|committed| {
            let mut fresh = TopicPartitionList::new();
            let mut placed = TopicPartitionList::new();
            for element in committed.elements() {
                let known = matches!(element.offset(), Offset::Offset(_));
                let into = if known { &mut placed } else { &mut fresh };
                // Known to the broker, so it is read from there; without an offset, as the client does.
                into.add_partition(element.topic(), element.partition());
            }
            for element in self.consumer.place(client, &fresh)?.elements() {
                placed.add_partition_offset(
                    element.topic(),
                    element.partition(),
                    element.offset(),
                )?;
            }
            Ok(placed)
        });
        placed.unwrap_or_else(|_| list.clone())
    }

    fn give_up(&self, client: &Client, list: &TopicPartitionList) {
        let partitions: Vec<i32> =
            list.elements().iter().map(|element| element.partition()).collect();
        if !client.assignment_lost() {
            self.consumer.settle_before_leaving(&partitions);
            let mut offsets = lock(&self.consumer.state).inbox.uncommitted();
            offsets.retain(|(partition, _)| partitions.contains(partition));
            self.consumer.commit_now(client, &offsets);
        }
        self.consumer.revoke(&partitions);
    }
}

impl Consumer {
    /// `list` with the offsets at which `from=` begins.
    pub(crate) fn place(
        &self,
        client: &Client,
        list: &TopicPartitionList,
    ) -> KafkaResult<TopicPartitionList> {
        let topic = &self.config.topic;
        let mut placed = TopicPartitionList::new();
        for element in list.elements() {
            let partition = element.partition();
            let (low, high) = client.fetch_watermarks(topic, partition, PATIENCE)?;
            let offset = match self.config.from {
                Start::Earliest => low,
                Start::Latest => high,
                Start::At(time) => {
                    let mut asked = TopicPartitionList::new();
                    asked.add_partition_offset(
                        topic,
                        partition,
                        Offset::Offset(time.as_millis()),
                    )?;
                    let found = client.offsets_for_times(asked, PATIENCE)?;
                    let found = found.find_partition(topic, partition).map(|found| found.offset());
                    match found {
                        Some(Offset::Offset(offset)) => offset,
                        _ => high,
                    }
                }
            };
            placed.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        }
        Ok(placed)
    }

    /// Takes over partitions; those with an offset begin there.
    pub(crate) fn assigned(&self, client: &Client, list: &TopicPartitionList) {
        let seen = self.seen(client, list);
        let partitions = list.elements();
        let partitions = partitions.iter().map(|element| {
            let start = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            let number = element.partition();
            let end = seen.as_ref().and_then(|seen| seen.find_partition(element.topic(), number));
            let seen = match (&self.config.group, end.map(|end| end.offset())) {
                (Group::Private, _) => 0,
                (Group::Named(_), Some(Offset::Offset(end))) => end,
                (Group::Named(_), _) => i64::MAX,
            };
            Assigned { partition: number, start, seen }
        });
        if let Some(records) = client.context().records.get().and_then(Weak::upgrade) {
            for element in list.elements() {
                records.collect(client, element.topic(), element.partition());
            }
        }
        let mut state = lock(&self.state);
        state.inbox.assign(partitions);
        state.placed = true;
        drop(state);
        self.bell.ring();
    }

    /// Where these partitions end now. What lies before may have been delivered to a member that did not commit it.
    fn seen(&self, client: &Client, list: &TopicPartitionList) -> Option<TopicPartitionList> {
        if self.config.group == Group::Private || list.count() == 0 {
            return None;
        }
        ends(client, list).ok()
    }

    /// Stops handing out these partitions and gives what is in hand a little time.
    fn settle_before_leaving(&self, partitions: &[i32]) {
        let state = lock(&self.state);
        let busy = |state: &mut State| state.inbox.quiet(partitions) && !state.closing;
        let waited = self.changed.wait_timeout_while(state, self.config.revoke_wait, busy);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// `list` with where its partitions end now, as the brokers tell.
pub(crate) fn ends(client: &Client, list: &TopicPartitionList) -> KafkaResult<TopicPartitionList> {
    let mut ends = list.clone();
    ends.set_all_offsets(Offset::End)?;
    client.offsets_for_times(ends, PATIENCE)
}
