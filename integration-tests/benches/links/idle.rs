//! Many connections on which nothing happens: how quickly they are made, and what each costs the end that listens.

use std::error::Error;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use integration_tests::Usage;
use integration_tests::bare::{Dialling, Listening};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Builder;
use tokio::time::sleep;

use crate::child::say;
use crate::job::{Job, Outcome, Part, Program, READY};
use crate::ours;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Connections that are made at once.
const AT_ONCE: usize = 64;

/// How often who listens looks whether all have come.
const LOOK: Duration = Duration::from_millis(10);

/// Until what was needed only for the handshakes is given back.
const SETTLING: Duration = Duration::from_secs(1);

pub(crate) fn run(job: &Job, count: usize) -> Result<Outcome> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match (job.part, job.program) {
            (Part::Receive, Program::Idle(_)) => receive(job, count).await,
            (Part::Receive, _) => bare_receive(job, count).await,
            (Part::Send, Program::Idle(_)) => {
                let uri = uri(job, count);
                // Endpoints of one registry share a connection of QUIC.
                dial(count, || async { Ok(seam::registry().client(uri.as_str()).await?) }).await
            }
            (Part::Send, _) => {
                let dialling = &Dialling::new(&job.spot)?;
                dial(count, || async {
                    let mut wire = dialling.dial().await?;
                    // Nobody sees a stream of QUIC before something comes on it.
                    wire.stream.write_all(&[7]).await?;
                    Ok(wire)
                })
                .await
            }
        }
    })
}

/// Makes so many connections, and holds them until standard input ends.
async fn dial<T, F: Future<Output = Result<T>>>(
    count: usize,
    connect: impl Fn() -> F,
) -> Result<Outcome> {
    let begun = Instant::now();
    let connecting = stream::iter(0..count).map(|_| connect()).buffer_unordered(AT_ONCE);
    let all: Vec<T> = connecting.try_collect().await?;
    let seconds = begun.elapsed().as_secs_f64();
    say(READY);
    hold().await?;
    drop(all);
    Ok(Outcome { messages: u64::try_from(count)?, seconds, ..Outcome::default() })
}

/// All come from one source, of which a listener would not let so many in.
fn uri(job: &Job, count: usize) -> String {
    format!("{}&connections={count}&source_connections={count}", ours::uri(job))
}

/// Until standard input ends.
async fn hold() -> Result<()> {
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    Ok(())
}

async fn receive(job: &Job, count: usize) -> Result<Outcome> {
    let connection = seam::registry().server(uri(job, count).as_str()).await?;
    let _receiver = connection.receiver().await?;
    let before = resident()?;
    say(READY);
    let all = u64::try_from(count)?;
    while connection.statistics().peers_arrived < all {
        sleep(LOOK).await;
    }
    weighed(before, all).await
}

async fn bare_receive(job: &Job, count: usize) -> Result<Outcome> {
    let listening = Listening::new(&job.spot).await?;
    let before = resident()?;
    say(READY);
    let mut all = Vec::new();
    while all.len() < count {
        all.push(listening.accept().await?);
    }
    let outcome = weighed(before, u64::try_from(count)?).await?;
    drop(all);
    Ok(outcome)
}

async fn weighed(before: u64, count: u64) -> Result<Outcome> {
    sleep(SETTLING).await;
    let each_bytes = resident()?.saturating_sub(before) / count.max(1);
    Ok(Outcome { each_bytes, ..Outcome::default() })
}

fn resident() -> Result<u64> {
    Ok(Usage::own()?.resident)
}
