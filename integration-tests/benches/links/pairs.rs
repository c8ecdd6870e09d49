//! Runs of one thing and of another, side by side, each in two processes.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use integration_tests::Process;
use integration_tests::bare::{Over, Spot};
use seam_conformance::free_port;
use tokio::process::Command;

use crate::job::{Job, Outcome, Part, Program, READY};

/// How many pairs, how long each run, and how many connections that do nothing.
#[derive(Clone)]
pub(crate) struct Effort {
    pub(crate) pairs: usize,
    pub(crate) warm: Duration,
    pub(crate) measured: Duration,
    pub(crate) idle: usize,
    /// Where certificates and sockets are.
    pub(crate) folder: PathBuf,
}

/// What a run is of.
#[derive(Clone, Copy)]
pub(crate) struct What {
    pub(crate) over: Over,
    pub(crate) program: Program,
    /// Bytes of payload.
    pub(crate) size: usize,
}

/// What both processes of a run found.
#[derive(Clone, Default)]
pub(crate) struct Sample {
    sender: Outcome,
    receiver: Outcome,
}

impl Sample {
    /// Messages in a second, as the receiver saw them.
    pub(crate) fn rate(&self) -> f64 {
        self.receiver.messages_f64() / self.receiver.seconds
    }

    /// CPU seconds of both for a million messages.
    pub(crate) fn cpu(&self) -> f64 {
        let per_message = |outcome: &Outcome| outcome.cpu_seconds / outcome.messages_f64();
        (per_message(&self.sender) + per_message(&self.receiver)) * 1e6
    }

    /// The larger peak, in MiB.
    pub(crate) fn peak(&self) -> f64 {
        let kibibytes = self.sender.peak_bytes.max(self.receiver.peak_bytes) >> 10;
        f64::from(u32::try_from(kibibytes).unwrap_or(u32::MAX)) / 1024.0
    }

    /// Allocations of both for each message.
    pub(crate) fn allocations(&self) -> f64 {
        let per_message =
            |outcome: &Outcome| to_f64(outcome.allocations) / to_f64(outcome.all_messages);
        per_message(&self.sender) + per_message(&self.receiver)
    }

    /// Microseconds of a round trip: p50, p99, p99.9.
    pub(crate) fn trips(&self) -> [f64; 3] {
        self.sender.trips
    }
}

impl Outcome {
    fn messages_f64(&self) -> f64 {
        to_f64(self.messages.max(1))
    }
}

fn to_f64(count: u64) -> f64 {
    // Exact up to 2^52, some weeks of messages.
    let (high, low) = (count >> 32, count & u64::from(u32::MAX));
    let [high, low] = [high, low].map(|half| f64::from(u32::try_from(half).expect("it is half")));
    high * 4_294_967_296.0 + low
}

/// Both sides of each pair.
pub(crate) struct Pairs(pub(crate) Vec<(Sample, Sample)>);

impl Pairs {
    /// Alternates which goes first.
    pub(crate) async fn run(effort: &Effort, one: What, other: Program) -> io::Result<Self> {
        let other = What { program: other, ..one };
        let mut pairs = Vec::new();
        for at in 0..effort.pairs {
            let run = |what| run(effort, what, false);
            pairs.push(if at % 2 == 0 {
                let other = run(other).await?;
                (run(one).await?, other)
            } else {
                (run(one).await?, run(other).await?)
            });
        }
        Ok(Self(pairs))
    }

    pub(crate) fn median(&self, value: impl Fn(&Sample, &Sample) -> f64) -> f64 {
        let mut values: Vec<f64> = self.0.iter().map(|(one, other)| value(one, other)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Allocations for each message, by a run of its own.
pub(crate) async fn allocations(effort: &Effort, what: What) -> io::Result<f64> {
    run(effort, what, true).await.map(|sample| sample.allocations())
}

async fn run(effort: &Effort, what: What, counting: bool) -> io::Result<Sample> {
    let job = Job { counting, ..job(effort, what) };
    let mut receiver = spawn(&Job { part: Part::Receive, ..job.clone() })?;
    ready(&mut receiver).await?;
    let mut sender = spawn(&job)?;
    let sender = sender.report(PATIENCE).await?;
    let receiver = receiver.report(PATIENCE).await?;
    Ok(Sample { sender, receiver })
}

/// Connections in a second, and bytes of memory for each at the end that listens.
pub(crate) async fn idle(effort: &Effort, what: What) -> io::Result<(f64, u64)> {
    let job = job(effort, what);
    let mut listener = spawn(&Job { part: Part::Receive, ..job.clone() })?;
    ready(&mut listener).await?;
    let mut dialler = spawn(&job)?;
    ready(&mut dialler).await?;
    let listened: Outcome = listener.report(PATIENCE).await?;
    dialler.hush();
    let dialled: Outcome = dialler.report(PATIENCE).await?;
    Ok((dialled.messages_f64() / dialled.seconds, listened.each_bytes))
}

/// What the sender is to do.
fn job(effort: &Effort, What { over, program, size }: What) -> Job {
    Job {
        program,
        spot: Spot::new(over, (Ipv4Addr::LOCALHOST, free_port()).into(), &effort.folder),
        part: Part::Send,
        size,
        warm: effort.warm,
        measured: effort.measured,
        pinned: matches!(program, Program::Request | Program::Echo),
        counting: false,
    }
}

async fn ready(child: &mut Process) -> io::Result<()> {
    match child.line(PATIENCE).await? {
        line if line == READY => Ok(()),
        line => Err(io::Error::other(format!("a child is not ready: {line}"))),
    }
}

/// How long a run may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(120);

fn spawn(job: &Job) -> io::Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(crate::CHILD).arg(serde_json::to_string(job)?);
    Process::spawn(command)
}
