//! A cluster of pretence: librdkafka's own, inside this process, whose brokers fail as they are told.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaApiKey;
use rdkafka::types::RDKafkaRespErr;

/// Brokers of it.
pub(super) const BROKERS: i32 = 3;

/// All of its brokers.
pub(super) const ALL: i32 = -1;

/// The cluster; it ends when this is dropped.
pub(super) type Pretence = MockCluster<'static, DefaultProducerContext>;

/// One with the topic `load` of so many partitions, and the URI of that topic, to which a parameter can be added.
pub(super) fn pretend(partitions: i32) -> (Pretence, String) {
    let cluster = MockCluster::new(BROKERS).unwrap();
    cluster.create_topic("load", partitions, BROKERS).unwrap();
    // It creates no topic that a client asks for. A member that joins again waits for as long as a session lasts, twice
    // where it is cut meanwhile; and a session outlasts what a test keeps its brokers down for.
    let more = "declare=no&librdkafka.session.timeout.ms=12000";
    let uri = format!("kafka://{}/load?{more}", cluster.bootstrap_servers());
    (cluster, uri)
}

/// Has the next requests of these kinds fail, each once with each error; one that is the transport's cuts.
pub(super) fn fail_requests(
    cluster: &Pretence,
    kinds: &[RDKafkaApiKey],
    errors: &[RDKafkaRespErr],
) {
    kinds.iter().for_each(|kind| cluster.request_errors(*kind, errors));
}
