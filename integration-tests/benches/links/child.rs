//! A child process does its part of one run, and says what it found.

use std::error::Error;
use std::io::{Write, stdout};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::job::{Job, Part, Program, READY};
use crate::meter::Meter;
use crate::{bare, codec, echo, idle, limit, ours, tasks};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Does the job and says its outcome, as one line of JSON.
pub(crate) fn main(job: &str) -> Result<()> {
    let job: Job = serde_json::from_str(job)?;
    if let Program::Idle(count) | Program::BareIdle(count) = job.program {
        let outcome = idle::run(&job, count)?;
        say(&serde_json::to_string(&outcome)?);
        return Ok(());
    }
    if job.pinned {
        pin()?;
    }
    let mut result = None;
    let allocations = if job.counting {
        allocation_counter::measure(|| result = Some(run(&job))).count_total
    } else {
        allocation_counter::opt_out(|| result = Some(run(&job)));
        0
    };
    let mut outcome = result.expect("it ran")?.finish();
    outcome.allocations = allocations;
    say(&serde_json::to_string(&outcome)?);
    Ok(())
}

fn run(job: &Job) -> Result<Meter> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let meter = Meter::new(job);
    match job.part {
        Part::Send => runtime.block_on(send(job, meter)),
        Part::Receive => runtime.block_on(receive(job, meter)),
    }
}

async fn send(job: &Job, mut meter: Meter) -> Result<Meter> {
    match job.program {
        Program::Std => limit::send(job, &mut meter)?,
        Program::Bare => bare::send(job, &mut meter).await?,
        Program::Codec => codec::send(job, &mut meter).await?,
        Program::Echo => echo::send(job, &mut meter).await?,
        Program::Mpsc(count) => return Ok(tasks::send(job, count, meter).await?),
        ours if ours.is_ours() => return Ok(ours::send(job, meter).await?),
        other => unreachable!("{other:?} has no sender"),
    }
    Ok(meter)
}

async fn receive(job: &Job, mut meter: Meter) -> Result<Meter> {
    let ready = || say(READY);
    match job.program {
        Program::Std => limit::receive(job, &mut meter, ready)?,
        Program::Bare => bare::receive(job, &mut meter, ready).await?,
        Program::Codec => codec::receive(job, &mut meter, ready).await?,
        Program::Echo => echo::receive(job, &mut meter, ready).await?,
        Program::Mpsc(_) => tasks::receive(job, &mut meter, ready).await?,
        ours if ours.is_ours() => ours::receive(job, &mut meter, ready).await?,
        other => unreachable!("{other:?} has no receiver"),
    }
    Ok(meter)
}

/// Both processes run on the last core that they may use.
fn pin() -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|core| allowed.is_set(*core));
    let mut one = CpuSet::new();
    one.set(last.ok_or("no core to run on")?);
    Ok(sched_setaffinity(None, &one)?)
}

pub(crate) fn say(line: &str) {
    let mut output = stdout().lock();
    let said = writeln!(output, "{line}").and_then(|()| output.flush());
    said.expect("the parent listens");
}
