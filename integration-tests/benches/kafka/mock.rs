//! The broker that librdkafka brings for its own tests, as a process.

use std::io::Read;

use rdkafka::mocking::MockCluster;

use crate::paired::say;

pub(crate) const TOPIC: &str = "bench";
pub(crate) const PARTITIONS: i32 = 4;

/// Says where it listens, and serves until its input ends.
pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = MockCluster::new(1)?;
    cluster.create_topic(TOPIC, PARTITIONS, 1)?;
    say(&format!("{:?}", cluster.bootstrap_servers()))?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
