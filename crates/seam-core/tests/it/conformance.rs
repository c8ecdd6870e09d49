//! The public suite, on `memory://` and Tokio.

use std::time::{Duration, Instant};

use seam_conformance::{Options, Subject};
use seam_core::{Clock, Memory, Registry, Sleep, Timestamp};
use tokio::runtime::{Builder, Handle};

seam_conformance::conformance!(memory());

/// Each behaviour gets a memory and a runtime of its own.
fn memory() -> Subject {
    let registry = Registry::new().with(Memory::new()).with_clock(TokioClock(Instant::now()));
    let options = Options::new(|run| {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(run);
    })
    .with_live_tasks(|| Handle::current().metrics().num_alive_tasks());
    Subject::new(registry, "memory://conformance", options)
}

#[derive(Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall(&self) -> Timestamp {
        seam_core::SystemClock::new().wall()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}
