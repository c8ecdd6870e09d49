//! `seam receive`: from deliveries to lines.

use std::path::{Path, PathBuf};
use std::time::Duration;

use seam_core::{Connection, Deliveries, Receiver, Registry, Side, View, json};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::args::duration;
use crate::failure::{Failure, Outcome};
use crate::stop::Stop;

/// Receive datagrams and print them
///
/// Prints the payload of each datagram and a line break; a datagram without payload is an empty line. One is
/// acknowledged only after it was written and flushed: what was not, comes again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReceiveArgs {
    /// Where to receive, such as tcp://127.0.0.1:7420/orders.
    uri: String,

    /// Print each datagram with all its fields, as one line of JSON.
    #[arg(long, conflicts_with = "raw")]
    json: bool,

    /// Print payloads alone, without line breaks.
    #[arg(long)]
    raw: bool,

    /// End after N datagrams; if fewer came, exit code 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End once nothing has come for so long.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    idle: Option<Duration>,

    /// Append to FILE instead of printing.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  seam receive tcp://127.0.0.1:7420/orders | while read -r order; do echo \"got $order\"; done
  seam receive tcp://127.0.0.1:7420/orders --count 1
  seam receive tcp://127.0.0.1:7420/orders --json --idle 3s --output orders.jsonl
  seam receive 'tcp://127.0.0.1:7420/orders?group=audit'

Ctrl-C and SIGTERM end it gracefully: exit code 0 if nothing was left, else 1; 130 after the second.
Two receivers of one address share its datagrams; each group gets all of them.";

/// Opens the output, then receives.
pub(crate) async fn receive(registry: &Registry, args: &ReceiveArgs, stop: &Stop) -> Outcome {
    registry.check(args.uri.as_str(), Side::Server)?;
    let output = open(args.output.as_deref()).await?;
    receive_into(registry, args, output, stop).await
}

async fn open(path: Option<&Path>) -> Outcome<Box<dyn AsyncWrite + Send + Unpin>> {
    let Some(path) = path else { return Ok(Box::new(tokio::io::stdout())) };
    let file = tokio::fs::OpenOptions::new().append(true).create(true).open(path).await;
    Ok(Box::new(file.map_err(|error| Failure::file("write", path, &error))?))
}

/// Receives until the end that `args` ask for.
pub(crate) async fn receive_into(
    registry: &Registry,
    args: &ReceiveArgs,
    output: impl AsyncWrite + Unpin,
    stop: &Stop,
) -> Outcome {
    let Some(opened) = stop.or(registry.server(args.uri.as_str())).await else {
        return args.enough(0);
    };
    let connection = opened?;
    let mut receiver = connection.receiver().await?;
    let mut printer =
        Printer { output, form: Form::new(args.json, args.raw), text: Vec::new(), printed: 0 };
    let ended = print_all(&mut receiver, &mut printer, args, stop).await;
    let closed = close(&connection, receiver).await;
    ended?;
    closed?;
    args.enough(printer.printed)
}

impl ReceiveArgs {
    /// An error if more were asked for.
    fn enough(&self, printed: u64) -> Outcome {
        match self.count {
            Some(count) if printed < count => {
                Err(Failure::new(format!("only {printed} of {count} datagrams came")))
            }
            _ => Ok(()),
        }
    }
}

/// How a datagram is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Line,
    Raw,
    Json,
}

impl Form {
    /// What the options ask for, which exclude each other.
    pub(crate) fn new(json: bool, raw: bool) -> Self {
        match (json, raw) {
            (true, _) => Self::Json,
            (false, true) => Self::Raw,
            (false, false) => Self::Line,
        }
    }

    /// Appends the datagram to `text`.
    pub(crate) fn print(self, view: View<'_>, text: &mut Vec<u8>) {
        match self {
            Self::Json => text.extend_from_slice(json::encode(view).as_bytes()),
            Self::Line | Self::Raw => text.extend_from_slice(view.payload().unwrap_or_default()),
        }
        if self != Self::Raw {
            text.push(b'\n');
        }
    }
}

/// Writes datagrams, and counts those that were flushed.
struct Printer<W> {
    output: W,
    form: Form,
    text: Vec<u8>,
    printed: u64,
}

impl<W: AsyncWrite + Unpin> Printer<W> {
    /// Writes, flushes, then acknowledges.
    async fn print(&mut self, deliveries: &mut Deliveries) -> Outcome {
        self.text.clear();
        let mut count = 0;
        for view in deliveries.views() {
            self.form.print(view, &mut self.text);
            count += 1;
        }
        write(&mut self.output, &self.text).await?;
        deliveries.ack_all();
        self.printed += count;
        Ok(())
    }
}

/// Writes and flushes.
pub(crate) async fn write(output: &mut (impl AsyncWrite + Unpin), text: &[u8]) -> Outcome {
    let written = async {
        output.write_all(text).await?;
        output.flush().await
    };
    written.await.map_err(|error| {
        Failure::new(format!("cannot write the output: {error}; what was not written comes again"))
    })
}

/// Datagrams that are written together at most.
const BATCH: usize = 256;

/// How long a graceful end may take.
pub(crate) const DRAIN: Duration = Duration::from_secs(30);

async fn print_all<W: AsyncWrite + Unpin>(
    receiver: &mut Receiver,
    printer: &mut Printer<W>,
    args: &ReceiveArgs,
    stop: &Stop,
) -> Outcome {
    let mut deliveries = Deliveries::new();
    loop {
        let left = args.count.map_or(u64::MAX, |count| count - printer.printed);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(BATCH);
        if most == 0 {
            return Ok(());
        }
        let receiving = receiver.receive(most, &mut deliveries);
        let more = tokio::select! {
            biased;
            () = stop.raised() => return Ok(()),
            more = receiving => more?,
            () = after(args.idle) => return Ok(()),
        };
        if !more {
            return Ok(());
        }
        // A reader that takes nothing must not keep us from ending.
        tokio::select! {
            biased;
            printed = printer.print(&mut deliveries) => printed?,
            () = long_after(stop) => {
                let line = "the output takes nothing; what was not written comes again";
                return Err(Failure::new(line));
            }
        }
    }
}

/// Ready `idle` from now, if there is such a time.
async fn after(idle: Option<Duration>) {
    match idle {
        Some(idle) => tokio::time::sleep(idle).await,
        None => std::future::pending().await,
    }
}

async fn long_after(stop: &Stop) {
    stop.raised().await;
    tokio::time::sleep(DRAIN).await;
}

/// Waits until every acknowledgement has arrived, then closes; an error if anything was left.
async fn close(connection: &Connection, mut receiver: Receiver) -> Outcome {
    let settled = tokio::time::timeout(DRAIN, receiver.settled()).await;
    let drained = connection.drain(DRAIN).await?;
    let late = match settled {
        Ok(settled) => settled?.late,
        Err(_) => 0,
    };
    match late + drained.unsettled {
        0 => Ok(()),
        left => Err(Failure::new(format!(
            "{left} datagrams were printed and could not be acknowledged; they come again"
        ))),
    }
}
