//! What the transport costs beside the SDK by itself, in calls, throughput and CPU.
//!
//! `cargo bench -p integration-tests --bench sqs [-- --quick] [WORD]` prints ratios and the goals for them; it never fails
//! on speed. It needs no broker: both halves call a stub, a queue in the memory of another process that counts calls. Raw
//! is one caller with full batches of ten. Each run is a process with a stub of its own; each pair runs both programs, in
//! alternating order; figures are medians over the pairs. A word runs only the rows whose names hold it, such as `send`,
//! `receive` or `packed`.

mod job;
mod ours;
#[path = "../paired/mod.rs"]
mod paired;
mod raw;
mod rows;
mod stub;

use tokio::runtime::Builder;

use paired::{CHILD, wishes};
use rows::Effort;

/// The first argument of a process that is a stub.
const STUB: &str = "stub";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [child, job] if child == CHILD => return job::main(job),
        [stub] if stub == STUB => return stub::main(),
        _ => {}
    }
    let (is_quick, words) = wishes(arguments);
    let effort = if is_quick {
        Effort { pairs: 2, messages: 10_000 }
    } else {
        Effort { pairs: 5, messages: 200_000 }
    };
    Ok(Builder::new_current_thread().enable_all().build()?.block_on(rows::report(effort, words))?)
}
