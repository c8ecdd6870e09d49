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
    /// `mandatory`, with 1,000 confirms outstanding.
    RawSend,
    /// Ours, each delivery settled for itself.
    Receive,
    /// Every hundredth delivery acknowledged with all before it.
    RawReceive,
    /// Ours, holding all that its credit allows, and settling nothing.
    Hold,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Job {
    pub(crate) program: Program,
    pub(crate) messages: usize,
    /// `user:password@host:port`.
    pub(crate) authority: String,
    pub(crate) queue: String,
    /// `quorum` or `classic`.
    pub(crate) kind: String,
}

/// Bytes of each message.
pub(crate) const SIZE: usize = 1024;

/// Messages under way in either direction.
pub(crate) const WINDOW: u16 = 1000;

/// Does the job and says its outcome, as one line of JSON.
pub(crate) fn main(job: &str) -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    child(&runtime, job, async |job: Job| {
        Ok(match job.program {
            Program::Send => ours::send(&job).send().await?,
            Program::Receive => ours::receive(&job).receive().await?,
            Program::Hold => ours::hold(&job).hold().await?,
            Program::RawSend => raw::send(&job).await?,
            Program::RawReceive => raw::receive(&job).await?,
        })
    })
}
