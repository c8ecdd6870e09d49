//! What one process does, and what it found.

use std::error::Error;

use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use crate::paired::child;
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
    let runtime = Builder::new_current_thread().enable_all().build()?;
    child(&runtime, job, async |job: Job| {
        Ok(match job.program {
            Program::Produce => ours::produce(&job).send().await?,
            Program::Consume => ours::consume(&job).receive().await?,
            Program::Hold => ours::hold(&job).hold().await?,
            Program::RawBase => raw::produce(&job)?,
            Program::RawFuture => raw::produce_by_futures(&job).await?,
            Program::RawConsume => raw::consume(&job)?,
        })
    })
}
