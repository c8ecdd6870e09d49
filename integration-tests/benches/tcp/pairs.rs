//! Runs of one thing and of another, side by side, each in two processes.

use std::io;
use std::time::Duration;

use integration_tests::Process;
use seam_conformance::free_port;
use tokio::process::Command;

use crate::job::{Job, Outcome, Part, Program, READY};

/// How many pairs, and how long each run.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) pairs: usize,
    pub(crate) warm: Duration,
    pub(crate) measured: Duration,
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
    pub(crate) async fn run(
        effort: Effort,
        one: Program,
        other: Program,
        size: usize,
    ) -> io::Result<Self> {
        let mut pairs = Vec::new();
        for at in 0..effort.pairs {
            let run = |program| run(effort, program, size, false);
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

/// Allocations for each message of `program`, by a run of its own.
pub(crate) async fn allocations(effort: Effort, program: Program, size: usize) -> io::Result<f64> {
    run(effort, program, size, true).await.map(|sample| sample.allocations())
}

async fn run(effort: Effort, program: Program, size: usize, counting: bool) -> io::Result<Sample> {
    let job = |part, port| Job {
        program,
        part,
        size,
        port,
        warm: effort.warm,
        measured: effort.measured,
        pinned: matches!(program, Program::Request | Program::Echo),
        counting,
    };
    let port = free_port();
    let mut receiver = spawn(&job(Part::Receive, port))?;
    if receiver.line(PATIENCE).await? != READY {
        return Err(io::Error::other("the receiver is not ready"));
    }
    let mut sender = spawn(&job(Part::Send, port))?;
    let sender = sender.report(PATIENCE).await?;
    let receiver = receiver.report(PATIENCE).await?;
    Ok(Sample { sender, receiver })
}

/// How long a run may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(120);

fn spawn(job: &Job) -> io::Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(crate::CHILD).arg(serde_json::to_string(job)?);
    Process::spawn(command)
}
