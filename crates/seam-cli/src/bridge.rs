//! `seam bridge`: from one URI to another.

use std::convert::Infallible;
use std::pin::pin;
use std::time::{Duration, Instant};

use seam_core::{Connection, Registry, Side};
use seam_layers::{DeadLetter, Progress, Summary, bridge};

use crate::args::duration;
use crate::failure::{Failure, Outcome};
use crate::receive::DRAIN;
use crate::run::tell;
use crate::stop::Stop;

/// Carry datagrams from one URI to another, until Ctrl-C or SIGTERM
///
/// One is acknowledged at FROM only once TO has given its receipt. Every field arrives as it was. Keys keep their order:
/// one datagram of a key is under way at a time, many keys at once.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BridgeArgs {
    /// Where to receive, such as rabbitmq://localhost/orders.
    from: String,

    /// Where to send, such as kafka://localhost/orders.
    to: String,

    /// Park what cannot be carried at URI, with the reason; without it, or `dead_letter=` in FROM, the first one ends it.
    #[arg(long, value_name = "URI")]
    park: Option<String>,

    /// Most datagrams under way at once.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_once)]
    at_once: usize,

    /// How often to tell the rate on standard error.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    every: Duration,
}

const EXAMPLES: &str = "\
Examples:
  seam bridge rabbitmq://localhost/orders kafka://localhost/orders
  seam bridge 'kafka://localhost/orders?group=archive' tcp://archive:7420/orders --park rabbitmq://localhost/parked

Where TO is away it waits and tries again; where either end restarts it goes on. What is under way when it dies comes
again: at least once.

Ctrl-C and SIGTERM end it gracefully: exit code 0 if nothing was left, else 1; 130 after the second.";

fn at_once(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "give a whole number of at least 1".to_owned())
}

/// Opens both ends, and carries until it is stopped.
pub(crate) async fn carry(registry: &Registry, args: &BridgeArgs, stop: &Stop) -> Outcome {
    let (from, to) = (registry.endpoint(args.from.as_str())?, registry.endpoint(args.to.as_str())?);
    if from.uri() == to.uri() {
        return Err(Failure::usage("both ends are the same, so it would never end; give two"));
    }
    // Each URI is checked before any is opened.
    registry.check(args.from.as_str(), Side::Server)?;
    registry.check(args.to.as_str(), Side::Client)?;
    if let Some(park) = &args.park {
        registry.check(park.as_str(), Side::Client)?;
    }
    // Where it was stopped before it stood, nothing was left.
    let Some(opened) = stop.or(Ends::open(registry, args)).await else { return Ok(()) };
    let ends = opened?;
    let carried = ends.carry(args, stop).await;
    let left = ends.drain().await;
    let (summary, seconds) = carried?;
    tell(&format!(
        "carried {} datagrams in {seconds:.3} s; {} parked, {} expired",
        summary.acked,
        summary.dead_lettered,
        summary.discarded + summary.expired
    ));
    match left? {
        true => Ok(()),
        false => Err(Failure::new("not everything was carried; what is left comes again")),
    }
}

/// Both ends, and where is parked.
struct Ends {
    from: Connection,
    to: Connection,
    park: Option<Connection>,
}

impl Ends {
    async fn open(registry: &Registry, args: &BridgeArgs) -> Outcome<Self> {
        // The sink first: nothing is taken that could not go anywhere.
        let to = registry.client(args.to.as_str()).await?;
        let park = match &args.park {
            Some(park) => Some(registry.client(park.as_str()).await?),
            None => None,
        };
        let from = registry.server(args.from.as_str()).await?;
        Ok(Self { from, to, park })
    }

    /// What was carried, and in how many seconds.
    async fn carry(&self, args: &BridgeArgs, stop: &Stop) -> Outcome<(Summary, f64)> {
        let receiver = self.from.receiver().await?;
        let stopping = seam_layers::Stop::new();
        let mut carrying =
            bridge(self.to.sender().await?).with_at_once(args.at_once).with_stop(stopping.clone());
        if let Some(park) = &self.park {
            let letters = DeadLetter::new(park.sender().await?, receiver.endpoint());
            carrying = carrying.with_dead_letter(letters);
        }
        let begun = Instant::now();
        let progress = carrying.progress();
        let mut carried = pin!(carrying.run(receiver));
        let mut rates = pin!(tell_rates(&progress, args.every));
        loop {
            tokio::select! {
                biased;
                summary = carried.as_mut() => return Ok((summary?, begun.elapsed().as_secs_f64())),
                () = stop.raised(), if !stopping.is_stopped() => stopping.stop(),
                never = rates.as_mut() => match never {},
            }
        }
    }

    /// Whether nothing was left anywhere.
    async fn drain(&self) -> Outcome<bool> {
        let mut is_clean = self.from.drain(DRAIN).await?.is_clean();
        for connection in [&self.to].into_iter().chain(&self.park) {
            is_clean &= connection.drain(DRAIN).await?.is_clean();
        }
        Ok(is_clean)
    }
}

/// Tells, now and then, how fast it goes; says nothing while nothing comes.
async fn tell_rates(progress: &Progress, every: Duration) -> Infallible {
    let mut before = (0, 0);
    loop {
        tokio::time::sleep(every).await;
        let now = (progress.carried(), progress.failed());
        if now != before {
            let carried = now.0 - before.0;
            let rate = f64::from(u32::try_from(carried).unwrap_or(u32::MAX)) / every.as_secs_f64();
            let failed = match now.1 - before.1 {
                0 => String::new(),
                failed => format!("; the other end failed {failed} times"),
            };
            tell(&format!("{} carried, {rate:.0}/s, {} parked{failed}", now.0, progress.parked()));
            before = now;
        }
    }
}
