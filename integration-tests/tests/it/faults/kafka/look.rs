//! What lies in a topic and what a group has committed, as a foreign client sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use seam_conformance::ledger::{Ledger, Stamp};
use seam_core::{Deliveries, Position};
use tokio::time::timeout;

use super::super::stage::patience;

/// How long the broker may take to answer.
const ANSWER: Duration = Duration::from_secs(20);

/// A topic and the group `seam.<topic>` that works on it.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) broker: String,
    pub(super) name: &'static str,
    pub(super) partitions: i32,
}

/// The offset to be read next, by partition; those without one are left out.
pub(super) type Offsets = BTreeMap<i32, i64>;

impl Topic {
    pub(super) fn uri(&self, more: &str) -> String {
        let Self { broker, name, partitions } = self;
        format!("kafka://{broker}/{name}?partitions={partitions}&send_timeout=10m{more}")
    }

    pub(super) async fn remove(&self) {
        seam::registry().remove(self.uri("").as_str()).await.unwrap();
    }

    /// What the group has committed.
    pub(super) async fn committed(&self) -> Offsets {
        self.ask(|client, all| {
            let committed = client.committed_offsets(all, ANSWER).unwrap();
            let known = committed.elements().into_iter().filter_map(|element| {
                let Offset::Offset(offset) = element.offset() else { return None };
                Some((element.partition(), offset))
            });
            known.collect()
        })
        .await
    }

    /// Where its partitions end.
    pub(super) async fn ends(&self) -> Offsets {
        let name = self.name;
        self.ask(move |client, all| {
            let end = |partition| client.fetch_watermarks(name, partition, ANSWER).unwrap().1;
            all.elements().iter().map(|at| (at.partition(), end(at.partition()))).collect()
        })
        .await
    }

    /// What lies in it, by partition and offset.
    pub(super) async fn read(&self) -> BTreeMap<(i32, i64), Stamp> {
        let ends = self.ends().await;
        let uri = self.uri("&private&from=earliest");
        let mut receiver = seam::registry().receiver(uri.as_str()).await.unwrap();
        let (mut found, mut deliveries) = (BTreeMap::new(), Deliveries::new());
        let all: i64 = ends.values().sum();
        while i64::try_from(found.len()).unwrap() < all {
            let receiving = receiver.receive(1024, &mut deliveries);
            assert!(timeout(patience(), receiving).await.expect("all can be read").unwrap());
            while let Some(lent) = deliveries.lend() {
                let Some(Position::Offset { partition, offset }) = lent.note().position else {
                    panic!("Kafka tells where it was");
                };
                found.insert((partition, offset), Stamp::of(lent.view()).unwrap());
                lent.ack();
            }
        }
        found
    }

    /// Waits until the group has so many members, each of which has partitions.
    pub(super) async fn until_shared(&self, members: u64) {
        let (group, broker) = (format!("seam.{}", self.name), self.broker.clone());
        let looking = tokio::task::spawn_blocking(move || {
            let config = ClientConfig::from_iter([("bootstrap.servers".to_owned(), broker)]);
            let client: BaseConsumer = config.create().unwrap();
            let until = Instant::now() + patience();
            let shared = || {
                let list = client.fetch_group_list(Some(&group), ANSWER).ok()?;
                let group = list.groups().first()?;
                let stable = group.state() == "Stable";
                let holding = group.members().iter().filter(|member| {
                    // Version, length of the topic list; an empty one has no topic.
                    member.assignment().is_some_and(|bytes| bytes.get(2..6) != Some(&[0; 4]))
                });
                (stable && u64::try_from(holding.count()) == Ok(members)).then_some(())
            };
            while shared().is_none() {
                assert!(Instant::now() < until, "the group never had {members} members");
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        looking.await.unwrap();
    }

    async fn ask(
        &self,
        question: impl FnOnce(&BaseConsumer, TopicPartitionList) -> Offsets + Send + 'static,
    ) -> Offsets {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.broker)
            .set("group.id", format!("seam.{}", self.name));
        let mut all = TopicPartitionList::new();
        all.add_partition_range(self.name, 0, self.partitions - 1);
        let asked = tokio::task::spawn_blocking(move || {
            let client: BaseConsumer = config.create().unwrap();
            question(&client, all)
        });
        timeout(patience(), asked).await.expect("the broker answers").unwrap()
    }
}

/// How many records lie below what is committed and are not settled in the books: each of them is lost where its
/// member dies.
pub(super) fn committed_too_far(
    committed: &Offsets,
    records: &BTreeMap<(i32, i64), Stamp>,
    books: &Ledger,
) -> usize {
    let below = records.iter().filter(|((partition, offset), _)| {
        committed.get(partition).is_some_and(|committed| offset < committed)
    });
    let mut numbers: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for (_, stamp) in below {
        numbers.entry(&*stamp.producer).or_default().insert(stamp.number);
    }
    // From one open number to the next: asking for each by itself would walk the books again and again.
    let lost = numbers.iter().map(|(producer, numbers)| {
        let (mut lost, mut next) = (0, 0);
        while let Some(below) = numbers.range(next..).next() {
            let open = books.first_open(producer, *below);
            lost += usize::from(numbers.contains(&open));
            next = open + 1;
        }
        lost
    });
    lost.sum()
}
