//! What the suite promises of a restart, and nobody else can try.

use std::sync::Arc;

use seam_conformance::{Options, Subject, Verdict, check};
use tokio::runtime::Builder;

use super::super::stage::Stage;
use super::cluster::Cluster;

#[test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test --workspace --all-features -- --include-ignored"]
fn a_restart_of_the_broker_loses_nothing() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (_stage, cluster) = runtime.block_on(async { (Stage::new().await, Cluster::own().await) });
    let uri = format!("kafka://{}/suite?partitions=4", cluster.url());
    let cluster = Arc::new(cluster);
    let options = Options::new(move |run| runtime.block_on(run)).with_patience(3.0).with_restart({
        move || {
            let cluster = cluster.clone();
            Box::pin(async move { cluster.restart("kafka").await })
        }
    });
    let subject = Subject::new(seam::registry(), uri, options);
    assert_eq!(check("a_restart_of_the_broker_loses_nothing", &subject), Verdict::Passed);
}
