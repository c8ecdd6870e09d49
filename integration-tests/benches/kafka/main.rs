//! What the transport costs beside librdkafka by itself.
//!
//! `cargo bench -p integration-tests --bench kafka [-- --quick] [WORD]` prints ratios and the goals for them; it never
//! fails on speed. Producers write to the mock broker that librdkafka brings, in a process of its own, since a real one
//! saturates first. Consumers read a topic of a real broker, that of `SEAM_TEST_KAFKA_URL`; without one those rows are
//! left out, and it says so. Each run is a process; each pair runs both programs, in alternating order; figures are
//! medians over the pairs. A word runs only the rows whose names hold it, such as `produce`, `100` or `consume`.

mod job;
mod mock;
mod ours;
#[path = "../paired/mod.rs"]
mod paired;
mod raw;
mod rows;

use tokio::runtime::Builder;

use paired::{CHILD, wishes};
use rows::Effort;

/// The first argument of a process that is a broker.
const MOCK: &str = "mock";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [child, job] if child == CHILD => return job::main(job),
        [mock] if mock == MOCK => return mock::main(),
        _ => {}
    }
    let (is_quick, words) = wishes(arguments);
    let effort = if is_quick {
        Effort { pairs: 2, messages: 50_000, waiting: 50_000 }
    } else {
        Effort { pairs: 5, messages: 1_000_000, waiting: 1_000_000 }
    };
    Ok(Builder::new_current_thread().enable_all().build()?.block_on(rows::report(effort, words))?)
}
