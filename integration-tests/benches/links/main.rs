//! What a session over TCP costs beside bare sockets.
//!
//! `cargo bench -p integration-tests --bench tcp [-- --quick] [WORD]` prints ratios and the goals for them,
//! and writes a plot beside the build. It never fails on speed: a slow machine is no bug. Sender and receiver
//! are two processes; each pair runs the two programs one after the other, in alternating order, so that what
//! else the machine does hits both; figures are medians over the pairs. A word runs only the rows whose names
//! hold it, such as `lent`, `1024`, `rtt` or `tasks`.

mod child;
mod codec;
mod echo;
mod job;
mod limit;
mod meter;
mod ours;
mod pairs;
mod plot;
mod rows;
mod tasks;

use std::io;
use std::time::Duration;

use pairs::Effort;
use plot::Bar;
use tokio::runtime::Builder;

/// The first argument of a child process; the second is its job.
const CHILD: &str = "child";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, job] = &arguments[..]
        && child == CHILD
    {
        return child::main(job);
    }
    let effort = if arguments.iter().any(|argument| argument == "--quick") {
        effort(2, 50, 150)
    } else {
        effort(5, 300, 1000)
    };
    let words = arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect();
    Ok(Builder::new_current_thread().enable_all().build()?.block_on(report(effort, words))?)
}

fn effort(pairs: usize, warm: u64, measured: u64) -> Effort {
    let [warm, measured] = [warm, measured].map(Duration::from_millis);
    Effort { pairs, warm, measured }
}

async fn report(effort: Effort, words: Vec<String>) -> io::Result<()> {
    let missing = ours::missing();
    if let Some(missing) = &missing {
        println!("rows of ours are left out: {missing}");
    }
    println!("medians of {} alternating pairs, sender and receiver in two processes", effort.pairs);
    let wanted = rows::Wanted { words, ours: missing.is_none() };
    let mut bars = rows::streams(effort, &wanted).await?;
    bars.extend(rows::tasks(effort, &wanted).await?);
    rows::trips(effort, &wanted).await?;
    if !bars.is_empty() {
        draw(&bars)?;
    }
    Ok(())
}

/// Writes the plot where the build is.
fn draw(bars: &[Bar]) -> io::Result<()> {
    let program = std::env::current_exe()?;
    let Some(target) = program.ancestors().nth(3) else { return Ok(()) };
    let path = target.join("tcp-bench.svg");
    std::fs::write(&path, plot::svg("messages a second, as a ratio; red: the goal", bars))?;
    println!("plot: {}", path.display());
    Ok(())
}
