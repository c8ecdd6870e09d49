//! Streams real earthquake records through an address, whatever carries it.
//!
//! Producers send each record under the key of its network. Workers handle one record of a network at a time
//! and many networks at once; they raise an alert for each strong quake on a second address, try a lookup
//! that fails now and then again with growing delay, and dead-letter damaged records to a third. A desk
//! receives on each of the two. At the end a table says what was sent, settled, retried and parked, and
//! whether it adds up.

mod args;
mod books;
mod desk;
mod places;
mod produce;
mod record;
mod table;
mod tally;
mod work;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;

use args::{Args, Only};
use books::Books;
use places::Places;
use tally::Tally;

/// How long a graceful end may take.
const DRAIN: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("quakes: {failure}");
            failure.code()
        }
    }
}

/// Why it cannot go on, in one line.
#[derive(Debug)]
enum Failure {
    Seam(seam::Error),
    File(String),
}

impl Failure {
    fn file(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::File(format!("cannot {what} {}: {error}", path.display()))
    }

    /// 2 for what the command line says, 1 for what happened.
    fn code(&self) -> ExitCode {
        use seam::Error;
        let usage = matches!(
            self,
            Self::Seam(
                Error::InvalidEndpoint { .. }
                    | Error::UnknownScheme { .. }
                    | Error::NotCompiledIn { .. }
                    | Error::Unsupported { .. }
            )
        );
        if usage { ExitCode::from(2) } else { ExitCode::FAILURE }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seam(error) => error.fmt(f),
            Self::File(line) => line.fmt(f),
        }
    }
}

impl From<seam::Error> for Failure {
    fn from(error: seam::Error) -> Self {
        Self::Seam(error)
    }
}

/// Whether everything adds up.
async fn run(args: &Args) -> Result<bool, Failure> {
    if let Some(folder) = &args.check {
        return books::check(folder);
    }
    let places = Places::new(args)?;
    let books = Arc::new(Books::open(args)?);
    let records = record::load(args.input.as_deref())?;
    let tally = Arc::new(Tally::default());
    let stop = stop_on_signal(tally.clone());

    let begun = Instant::now();
    let works = args.only != Some(Only::Produce);
    let produces = args.only != Some(Only::Work);
    let desks = if works { Some(desk::open(&places, &tally).await?) } else { None };
    let workers =
        if works { Some(work::start(args, &places, &books, &tally).await?) } else { None };
    if produces {
        produce::run(args, &places, &books, &tally, &stop, records).await?;
    }
    if let (Some(workers), Some(desks)) = (workers, desks) {
        if produces {
            tally.wait_until_handled().await;
        } else {
            tally.wait_until_idle(args.idle, &stop).await;
        }
        let left = workers.finish().await?;
        tally.wait_until_received().await;
        desks.finish().await?;
        tally.left(left);
    }
    books.close()?;
    print(&table::render(&tally, &places, begun.elapsed(), args.only))?;
    Ok(tally.adds_up(args.only))
}

/// Prints a line, or says that it cannot: the output may be a pipe that nobody reads, or a full disk.
fn print(line: &str) -> Result<(), Failure> {
    let written = writeln!(std::io::stdout(), "{line}");
    written.map_err(|error| Failure::File(format!("cannot write the result: {error}")))
}

/// Raised by the first signal, which drains; the second ends the process and says what was left.
fn stop_on_signal(tally: Arc<Tally>) -> seam::layers::Stop {
    let stop = seam::layers::Stop::new();
    let raised = stop.clone();
    tokio::spawn(async move {
        signal().await;
        eprintln!("quakes: draining; once more to stop at once");
        raised.stop();
        signal().await;
        eprintln!("quakes: stopped; {}", tally.unfinished());
        std::process::exit(130);
    });
    stop
}

/// Ready with the next Ctrl-C or SIGTERM.
async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
