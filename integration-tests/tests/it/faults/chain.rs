//! A chain of bridges over every transport, each a process `seam bridge`, while each broker is restarted.
//!
//! ```text
//! sender -> tcp -> Kafka -> RabbitMQ -> SQS -> tcp -> memory -> receiver
//! ```
//!
//! LocalStack keeps nothing over a restart, and neither would any bridge be to blame for that. So SQS is paused under
//! load, as SQS itself may hang, and restarted while its queue is empty: the bridge into it is stopped until then and
//! started again afterwards, and the bridge out of it goes on. Kafka and RabbitMQ are restarted under load.
//!
//! RabbitMQ with `order=key` and a FIFO queue of SQS keep the order of each key, as TCP, Kafka and memory do.

mod ends;

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use integration_tests::{Figures, Process, Scale, seed};
use tokio::process::Command;
use tokio::time::sleep;

use super::kafka::cluster::Cluster;
use super::own::{self, Own};
use super::rabbitmq::broker::Broker;
use super::sqs::place::Place;
use super::stage::{Stage, free_address, patience};
use ends::Ends;

static SQS: own::Place = own::Place::const_new(None);

/// What a bridge has under way, and what its receiver holds, of Kafka for each partition.
const AT_ONCE: u64 = 64;
const PARTITIONS: u64 = 4;

/// What each failure may have repeated: what the bridge before had under way, and what the one behind had not settled.
/// Kafka gives back what was not committed of each partition; it and a FIFO queue of SQS drop what is sent again.
const REPEATED: u64 = PARTITIONS * AT_ONCE + 2 * AT_ONCE + 2 * AT_ONCE;

/// Messages that arrive between two failures, at least; and before the first, and after the last.
const BETWEEN: u64 = 200;
const QUIET: u64 = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs brokers: integration-tests/brokers run kafka rabbitmq sqs -- cargo test -p integration-tests --all-features -- --include-ignored"]
async fn chain_of_bridges() {
    let (stage, seed) = (Stage::new().await, seed());
    let (kafka, rabbitmq) = (Cluster::own().await, Broker::own().await);
    let sqs = Own::of(&SQS, "sqs").await;
    let scale = Scale::of_environment();
    let queue = Place::at(sqs.variable("SEAM_TEST_SQS_URL"), "chain.fifo");
    let (first, last) = (free_address(), free_address());
    let uris = [
        format!("tcp://{first}/chain"),
        format!("kafka://{}/chain?partitions={PARTITIONS}&credit={AT_ONCE}", kafka.url()),
        rabbitmq.uri(&format!("chain?order=key&credit={AT_ONCE}")),
        format!("{}&credit={AT_ONCE}", queue.directly()),
        format!("tcp://{last}/chain"),
    ];
    let start = |at: usize| Bridge::start(&stage, at, &uris[at], &uris[at + 1]);
    let ends = Ends::open(&uris[0], &uris[4], scale.pick(2_000, 20_000)).await;
    let [to_kafka, to_rabbitmq, to_sqs, out_of_sqs] = [0, 1, 2, 3].map(start);
    ends.arrive(QUIET).await;

    ends.trouble();
    kafka.restart("kafka").await;
    ends.arrive(BETWEEN).await;
    rabbitmq.restart().await;
    ends.arrive(BETWEEN).await;
    sqs.command(&["pause", "sqs"]).await;
    sleep(scale.pick(Duration::from_secs(2), Duration::from_secs(15))).await;
    sqs.command(&["resume", "sqs"]).await;
    ends.arrive(BETWEEN).await;
    let mut carried = vec![to_sqs.stop().await];
    queue.until_empty().await;
    sqs.command(&["restart", "sqs"]).await;
    let to_sqs = start(2);
    ends.arrive(BETWEEN).await;
    ends.calm().await;
    ends.arrive(QUIET).await;

    let found = ends.finish().await;
    for bridge in [to_kafka, to_rabbitmq, to_sqs, out_of_sqs] {
        carried.push(bridge.stop().await);
    }
    let report = found.report;
    Figures::new("chain_of_bridges", seed, report)
        .with("sent", report.sent)
        .with("seconds", format!("{:.1}", found.took.as_secs_f64()))
        .with("altered", found.altered)
        .with("quiet", found.quiet)
        .with("carried", carried.iter().map(u64::to_string).collect::<Vec<_>>().join("+"))
        .print();
    for uri in &uris[1..4] {
        seam::registry().remove(uri.as_str()).await.unwrap();
    }
    let wrong = [report.lost, report.corrupt, report.unexpected, report.unsettled, found.altered];
    assert_eq!((wrong, report.acknowledged), ([0; 5], report.sent), "{report}");
    assert!(report.duplicated <= REPEATED, "{report}");
    // What a broker has to deliver again may come behind later ones of its key, even where no bridge had carried it. So
    // order is held where nothing is: before the first failure, and after the last.
    assert!(found.astray.is_empty(), "{:#?}", found.astray);
    assert!(found.quiet >= 2 * usize::try_from(QUIET).unwrap());
}

/// A process `seam bridge`.
struct Bridge {
    process: Process,
    complaints: PathBuf,
}

impl Bridge {
    fn start(stage: &Stage, at: usize, from: &str, to: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_command"));
        command.args(["bridge", from, to, "--at-once", &AT_ONCE.to_string()]);
        let complaints = stage.folder().join(format!("bridge-{at}.txt"));
        command.stderr(File::create(&complaints).unwrap());
        Self { process: Process::spawn(command).unwrap(), complaints }
    }

    /// Ends it gracefully, with nothing left in its hands; how many it has carried.
    async fn stop(mut self) -> u64 {
        // One that has ended by itself says why.
        let terminated = self.process.terminate();
        let status = self.process.exit(patience()).await.unwrap();
        let said = fs::read_to_string(&self.complaints).unwrap();
        assert!(terminated.is_ok() && status.success(), "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.ends_with("; 0 parked, 0 expired"), "{said}");
        let count = last.strip_prefix("seam: carried ").and_then(|rest| rest.split(' ').next());
        count.unwrap().parse().unwrap()
    }
}
