//! The conformance suite on a real broker.
//!
//! Without one its tests are reported as ignored; asked for without one, each fails with a line that says so.

use seam_conformance::{Options, Subject};
use seam_core::Registry;
use seam_kafka::Kafka;
use tokio::runtime::{Builder, Handle};

seam_conformance::conformance!(
    subject(),
    ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"
);

fn subject() -> Subject {
    let broker = std::env::var("SEAM_TEST_KAFKA_URL").expect(
        "SEAM_TEST_KAFKA_URL is not set: start cargo by `integration-tests/brokers run kafka --`",
    );
    let options = Options::new(|run| {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run);
    })
    .with_live_tasks(|| Handle::current().metrics().num_alive_tasks());
    // Members learn of a rebalance by their heartbeat.
    let uri = format!("kafka://{broker}/suite?partitions=4&librdkafka.heartbeat.interval.ms=300");
    Subject::new(Registry::new().with(Kafka::new()), uri, options)
}
