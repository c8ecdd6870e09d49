//! What ours does in each run.

use crate::job::Job;
use crate::paired::Run;

pub(crate) fn send(job: &Job) -> Run {
    Run { batch: 100, open: 30, ..receive(job) }
}

pub(crate) fn receive(job: &Job) -> Run {
    let pack = if job.packs { "?pack=true" } else { "" };
    let uri = format!("sqs+http://key:secret@{}/bench{pack}", job.host);
    Run { uri, messages: job.messages, size: job.size, batch: 256, open: 0 }
}
