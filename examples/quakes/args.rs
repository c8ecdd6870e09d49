//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Streams 1,707 real earthquake records, and ten damaged ones, through an address, whatever carries it.
#[derive(Debug, Parser)]
#[command(
    name = "quakes",
    after_help = "Exit code: 0 where everything adds up, 1 where not, 2 for wrong usage."
)]
pub(crate) struct Args {
    /// Where the records go.
    #[arg(long, value_name = "URI", default_value = "memory://quakes")]
    pub(crate) via: String,

    /// Where alerts go [default: that of --via, with `-alerts` after its address].
    #[arg(long, value_name = "URI")]
    pub(crate) alerts: Option<String>,

    /// Where damaged records go [default: that of --via, with `-parked` after its address].
    #[arg(long, value_name = "URI")]
    pub(crate) parked: Option<String>,

    /// Do one half, for two processes, by a URI that reaches beyond one; `work` ends by Ctrl-C, or by --idle.
    #[arg(long, value_enum)]
    pub(crate) only: Option<Only>,

    /// With `--only work`: end once nothing has come for so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "only")]
    pub(crate) idle: Option<Duration>,

    /// Records sent per second, all producers together [default: as fast as they go].
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,

    /// Records handled at once, each of another network.
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: u16,

    /// Records to send, one JSON object a line [default: those that come with this example].
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,

    /// Append what was sent, receipted, delivered and settled to a file of this process in DIR. A producer that
    /// is started again goes on behind its last settled record.
    #[arg(long, value_name = "DIR")]
    pub(crate) ledger: Option<PathBuf>,

    /// Add up the ledgers in DIR, print one line of figures, and do nothing else.
    #[arg(long, value_name = "DIR", conflicts_with = "ledger")]
    pub(crate) check: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Only {
    /// Send the records, wait for their receipts, end.
    Produce,
    /// Handle what comes.
    Work,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give seconds, such as 5 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
