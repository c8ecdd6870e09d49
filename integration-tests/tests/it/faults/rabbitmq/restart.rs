//! What the suite promises of a restart, and nobody else can try.

use std::sync::Arc;

use integration_tests::Scale;
use seam_conformance::{Options, Subject, Verdict, check};
use tokio::runtime::Builder;

use super::super::stage::Stage;
use super::broker::Broker;

#[test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p integration-tests --features rabbitmq -- --include-ignored"]
fn a_restart_of_the_broker_loses_nothing() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (_stage, broker) = runtime.block_on(async { (Stage::new().await, Broker::own().await) });
    let runtime = Arc::new(runtime);
    let broker = Arc::new(broker);
    let queues = ["suite-restart", "suite-restart-classic?queue_type=classic"];
    for queue in Scale::of_environment().pick(&queues[..1], &queues) {
        let (runtime, restarted) = (runtime.clone(), broker.clone());
        let options = Options::new(move |run| runtime.block_on(run)).with_patience(3.0);
        let options = options.with_restart(move || {
            let broker = restarted.clone();
            Box::pin(async move { broker.restart().await })
        });
        let subject = Subject::new(seam::registry(), broker.uri(queue), options);
        let verdict = check("a_restart_of_the_broker_loses_nothing", &subject);
        assert_eq!(verdict, Verdict::Passed, "{queue}");
    }
}
