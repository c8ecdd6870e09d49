//! The conformance suite on a real broker, once for each form of an endpoint that promises something else.
//!
//! Without a broker its tests are reported as ignored; asked for without one, each fails with a line that says so.

use seam_conformance::{Options, Subject};
use tokio::runtime::{Builder, Handle};

use crate::stage::{broker, registry};

fn subject(scheme: &str, path: &str) -> Subject {
    let options = Options::new(|run| {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run);
    })
    .with_live_tasks(|| Handle::current().metrics().num_alive_tasks());
    Subject::new(registry(), format!("{scheme}://{}/{path}", broker()), options)
}

/// A queue that is kept by Raft: the default.
mod quorum {
    seam_conformance::conformance!(
        crate::conformance::subject("rabbitmq", "suite"),
        ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"
    );
}

/// A queue that counts no attempts.
mod classic {
    seam_conformance::conformance!(
        crate::conformance::subject("rabbitmq", "suite?queue_type=classic"),
        ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"
    );
}

/// Groups and private receivers, by AMQP's own URI.
mod exchange {
    seam_conformance::conformance!(
        crate::conformance::subject("amqp", "%2f?address=suite&exchange=suite"),
        ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"
    );
}

/// One receiver at a time, so that keys keep their order.
mod ordered {
    seam_conformance::conformance!(
        crate::conformance::subject("rabbitmq", "suite?order=key"),
        ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"
    );
}
