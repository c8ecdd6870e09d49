//! The conformance suite on a real broker, once for each kind of queue.
//!
//! Without a broker its tests are reported as ignored; asked for without one, each fails with a line that says so.

use std::sync::{Condvar, Mutex};

use seam_conformance::{Options, Subject};
use tokio::runtime::{Builder, Handle};

use crate::stage::{registry, uri};

fn subject(queue: &str) -> Subject {
    let options = Options::new(|run| {
        let _place = Place::take();
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run);
    })
    .with_live_tasks(|| Handle::current().metrics().num_alive_tasks())
    // A call of LocalStack takes tens of milliseconds while others run beside it.
    .with_patience(3.0);
    Subject::new(registry(), uri(queue), options)
}

/// A place among those that run at once: LocalStack does one thing at a time, however many ask.
struct Place;

static FREE: Mutex<usize> = Mutex::new(3);
static FREED: Condvar = Condvar::new();

impl Place {
    fn take() -> Self {
        let mut free = FREED.wait_while(FREE.lock().unwrap(), |free| *free == 0).unwrap();
        *free -= 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *FREE.lock().unwrap() += 1;
        FREED.notify_one();
    }
}

/// What most queues are.
mod standard {
    seam_conformance::conformance!(
        crate::conformance::subject("suite"),
        ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"
    );
}

/// A queue that keeps the order of each key. One poll at a time: LocalStack shows a group to two of them where several
/// of its messages are given back, and then whichever answer is read first comes first.
mod fifo {
    seam_conformance::conformance!(
        crate::conformance::subject("suite.fifo?polls=1"),
        ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"
    );
}

/// A standard queue whose senders have small datagrams share messages.
mod packed {
    seam_conformance::conformance!(
        crate::conformance::subject("suite?pack=true"),
        ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"
    );
}
