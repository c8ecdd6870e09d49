//! What one process does, and what it found.

use std::error::Error;

use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use crate::paired::say;
use crate::{ours, raw};

/// A program that is measured.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) enum Program {
    /// Ours, batches of 500, receipts asked for later.
    Produce,
    /// librdkafka's queue, filled by one thread that polls now and then.
    RawBase,
    /// A future for each message, 10,000 in flight.
    RawFuture,
    /// Ours, each delivery settled for itself.
    Consume,
    /// Polled, each message's offset stored for itself.
    RawConsume,
    /// Ours, holding all that its credit allows, and settling nothing.
    Hold,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Job {
    pub(crate) program: Program,
    pub(crate) size: usize,
    pub(crate) messages: usize,
    pub(crate) servers: String,
    pub(crate) topic: String,
    pub(crate) group: String,
}

/// Does the job and says its outcome, as one line of JSON.
pub(crate) fn main(job: &str) -> Result<(), Box<dyn Error>> {
    let job: Job = serde_json::from_str(job)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let outcome = match job.program {
        Program::Produce => runtime.block_on(ours::produce(&job).send())?,
        Program::Consume => runtime.block_on(ours::consume(&job).receive())?,
        Program::Hold => runtime.block_on(ours::hold(&job).hold())?,
        Program::RawBase => raw::produce(&job)?,
        Program::RawFuture => runtime.block_on(raw::produce_by_futures(&job))?,
        Program::RawConsume => raw::consume(&job)?,
    };
    say(&serde_json::to_string(&outcome)?)?;
    Ok(())
}
