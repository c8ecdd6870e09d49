//! What the command line says.

use std::future::Future;
use std::time::Duration;

use clap::{Parser, Subcommand};
use seam_core::{Endpoint, Error, Kind, Parameter, Scheme, Shape, Uri};

use crate::bridge::BridgeArgs;
#[cfg(feature = "tls")]
use crate::certs::CertsCommand;
use crate::describe::{CapsArgs, TransportsArgs};
use crate::failure::{Failure, Outcome};
use crate::receive::ReceiveArgs;
use crate::request::RequestArgs;
use crate::send::SendArgs;
use crate::serve::ServeArgs;
use crate::stop::Stop;

/// Sends and receives datagrams over whatever a URI names
///
/// A URI picks the carrier: scheme://host:port/address?parameter=value. `seam transports` lists the schemes and
/// their parameters, `seam caps URI` what an endpoint promises. All receivers of an address share its datagrams.
#[derive(Debug, Parser)]
#[command(name = "seam", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Args {
    /// Tell on standard error what happens on connections.
    #[arg(short, long, global = true, display_order = 100)]
    pub(crate) verbose: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Send(SendArgs),
    Receive(ReceiveArgs),
    Request(RequestArgs),
    Serve(ServeArgs),
    Bridge(BridgeArgs),
    Caps(CapsArgs),
    Transports(TransportsArgs),
    Remove(RemoveArgs),
    #[cfg(feature = "tls")]
    #[command(subcommand)]
    Certs(CertsCommand),
}

/// Delete what opening a URI has created on its broker
///
/// A queue or topic, with what is in it. That it does not exist is no error.
#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArgs {
    /// What to delete.
    pub(crate) uri: String,
}

const EXAMPLES: &str = "\
In one terminal, then in another:
  seam receive tcp://127.0.0.1:7420/orders
  seam send tcp://127.0.0.1:7420/orders < orders.txt

Ask and answer:
  seam serve tcp://127.0.0.1:7420/sum --echo
  seam request tcp://127.0.0.1:7420/sum hello

Data goes to standard output, all else to standard error. Durations are written 250ms, 30s, 5m, 1h.
Exit code 0: done. 1: not done, one line says why. 2: wrong usage. 130: ended by a second Ctrl-C or \
SIGTERM; the first one ends gracefully.";

/// Reads a duration as URIs have it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let read = Uri::builder(OPTION.name).address(DURATION).set(DURATION, text).build();
    let read = read.and_then(|uri| Endpoint::resolve(&uri, &OPTION));
    match read.map(|endpoint| endpoint.duration(DURATION)) {
        Ok(Some(duration)) => Ok(duration),
        Ok(None) => Err("give a duration, such as 30s".to_owned()),
        Err(Error::InvalidEndpoint { reason }) => Err(reason),
        Err(error) => Err(error.to_string()),
    }
}

const DURATION: &str = "duration";

/// Stands for a URI whose only parameter is an option of ours.
static OPTION: Scheme =
    Scheme::new("option", Shape::Address, &[Parameter::new(DURATION, Kind::Duration)]);

/// Reads datagrams per second; gives the time of one.
pub(crate) fn rate(text: &str) -> Result<Duration, String> {
    let rate: Option<f64> = text.parse().ok();
    let interval =
        rate.filter(|rate| *rate > 0.0).map(|rate| Duration::try_from_secs_f64(1.0 / rate));
    match interval {
        Some(Ok(interval)) if interval <= SLOWEST => Ok(interval.max(Duration::from_nanos(1))),
        _ => Err("give datagrams per second, such as 100 or 0.5".to_owned()),
    }
}

/// The longest time of one datagram: slower is a slip, and more than a clock can add.
const SLOWEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What `future` yields, unless a signal comes first.
pub(crate) async fn unless_stopped<T>(
    stop: &Stop,
    future: impl Future<Output = seam_core::Result<T>>,
) -> Outcome<T> {
    match stop.or(future).await {
        Some(yielded) => Ok(yielded?),
        None => Err(Failure::new("stopped by a signal")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn durations_are_read_as_uris_have_them() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        let complaint = "`duration` must be a whole number with ms, s, m, h or d, such as 30s";
        for text in ["3", "1.5s", "", "s&x=1", "%"] {
            assert_eq!(duration(text), Err(complaint.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_rate_is_more_than_nothing() {
        assert_eq!(rate("100"), Ok(Duration::from_millis(10)));
        assert_eq!(rate("0.5"), Ok(Duration::from_secs(2)));
        for text in ["0", "-1", "NaN", "fast", "", "1e-300", "1e-9"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert!(rate("1e300").is_ok());
    }
}
