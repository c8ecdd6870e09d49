//! What the transport costs beside lapin by itself.
//!
//! `cargo bench -p integration-tests --bench rabbitmq [-- --quick] [WORD]` prints ratios and the goals for them; it never
//! fails on speed. It needs a broker, that of `SEAM_TEST_RABBITMQ_URL`. Each run is a process; each pair runs both
//! programs, in alternating order; figures are medians over the pairs. A word runs only the rows whose names hold it,
//! such as `quorum`, `classic`, `send` or `receive`.

mod job;
mod ours;
#[path = "../paired/mod.rs"]
mod paired;
mod raw;
mod rows;

use tokio::runtime::Builder;

use paired::{CHILD, wishes};
use rows::Effort;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, job] = &arguments[..]
        && child == CHILD
    {
        return job::main(job);
    }
    let (is_quick, words) = wishes(arguments);
    let effort = if is_quick {
        Effort { pairs: 2, messages: 5_000, waiting: 20_000 }
    } else {
        Effort { pairs: 5, messages: 100_000, waiting: 1_000_000 }
    };
    Ok(Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(rows::report(effort, words))?)
}
