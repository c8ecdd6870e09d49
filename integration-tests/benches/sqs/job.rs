//! What one process does, and what it found.

use std::error::Error;

use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use crate::paired::child;
use crate::{ours, raw};

/// A program that is measured.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) enum Program {
    /// Ours, batches of 100, receipts asked for later.
    Send,
    /// Batches of ten, one after the other.
    RawSend,
    /// Ours, each delivery settled for itself.
    Receive,
    /// Ten by a call, and ten deleted by the next, one after the other.
    RawReceive,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Job {
    pub(crate) program: Program,
    pub(crate) messages: usize,
    /// Bytes of each.
    pub(crate) size: usize,
    /// Whether ours packs them.
    pub(crate) packs: bool,
    /// Where the stub listens.
    pub(crate) host: String,
}

/// Does the job and says its outcome, as one line of JSON.
pub(crate) fn main(job: &str) -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    child(&runtime, job, async |job: Job| {
        Ok(match job.program {
            Program::Send => ours::send(&job).send().await?,
            Program::Receive => ours::receive(&job).receive().await?,
            Program::RawSend => raw::send(&job).await?,
            Program::RawReceive => raw::receive(&job).await?,
        })
    })
}
