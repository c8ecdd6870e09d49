//! What ours does in each run.

use crate::job::{Job, SIZE, WINDOW};
use crate::paired::Run;

pub(crate) fn send(job: &Job) -> Run {
    Run { batch: 100, open: 9, ..receive(job) }
}

pub(crate) fn receive(job: &Job) -> Run {
    let uri = format!("{}&credit={WINDOW}&credit_bytes=64MiB", hold(job).uri);
    Run { uri, batch: 256, ..hold(job) }
}

/// By the defaults.
pub(crate) fn hold(job: &Job) -> Run {
    let Job { authority, queue, kind, .. } = job;
    let uri = format!("rabbitmq://{authority}/{queue}?queue_type={kind}");
    Run { uri, messages: job.messages, size: SIZE, batch: 1, open: 0 }
}
