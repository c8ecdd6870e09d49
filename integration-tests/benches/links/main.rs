//! What a session over TCP, TLS, QUIC and Unix sockets costs beside bare streams of the same.
//!
//! `cargo bench -p integration-tests --bench links [-- --quick] [WORD]...` prints ratios and the goals for them,
//! and writes a plot beside the build. It never fails on speed: a slow machine is no bug. Sender and receiver
//! are two processes; each pair runs the two programs one after the other, in alternating order, so that what
//! else the machine does hits both; figures are medians over the pairs. Words run only the rows whose names
//! hold one of them, such as `tls`, `lent`, `1024`, `rtt`, `tasks` or `idle`.

mod bare;
mod child;
mod codec;
mod echo;
mod idle;
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
use tempfile::TempDir;
use tokio::runtime::Builder;

/// The first argument of a child process; the second is its job.
const CHILD: &str = "child";

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, job] = &arguments[..]
        && child == CHILD
    {
        return child::main(job);
    }
    let folder = tempfile::TempDir::new()?;
    let hosts = ["localhost".to_owned()];
    seam_certificates::issue::write_new(folder.path(), &hosts, "client", VALID)?;
    let effort = if arguments.iter().any(|argument| argument == "--quick") {
        effort(2, 50, 150, 200, &folder)
    } else {
        effort(5, 300, 1000, 10_000, &folder)
    };
    let words = arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect();
    Ok(Builder::new_current_thread().enable_all().build()?.block_on(report(&effort, words))?)
}

/// How long the certificates are good.
const VALID: Duration = Duration::from_secs(24 * 3600);

fn effort(pairs: usize, warm: u64, measured: u64, idle: usize, folder: &TempDir) -> Effort {
    let [warm, measured] = [warm, measured].map(Duration::from_millis);
    Effort { pairs, warm, measured, idle, folder: folder.path().to_owned() }
}

async fn report(effort: &Effort, words: Vec<String>) -> io::Result<()> {
    println!("medians of {} alternating pairs, sender and receiver in two processes", effort.pairs);
    let wanted = rows::Wanted(words);
    let mut bars = rows::streams(effort, &wanted).await?;
    bars.extend(rows::tasks(effort, &wanted).await?);
    rows::trips(effort, &wanted).await?;
    rows::idle(effort, &wanted).await?;
    if !bars.is_empty() {
        draw(&bars)?;
    }
    Ok(())
}

/// Writes the plot where the build is.
fn draw(bars: &[Bar]) -> io::Result<()> {
    let program = std::env::current_exe()?;
    let Some(target) = program.ancestors().nth(3) else { return Ok(()) };
    let path = target.join("links-bench.svg");
    std::fs::write(&path, plot::svg("messages a second, as a ratio; red: the goal", bars))?;
    println!("plot: {}", path.display());
    Ok(())
}
