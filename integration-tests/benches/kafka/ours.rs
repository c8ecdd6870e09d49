//! What ours does in each run.

use crate::job::Job;
use crate::paired::Run;

pub(crate) fn produce(job: &Job) -> Run {
    // Enough for librdkafka to fill its batches of 10,000; with 100,000 it is slower, since both keep what is under way.
    let uri = format!("kafka://{}/{}?credit=16384&credit_bytes=256MiB", job.servers, job.topic);
    let uri = format!("{uri}&unkeyed=spread&librdkafka.linger.ms={}", crate::raw::LINGER);
    Run { uri, messages: job.messages, size: job.size, batch: 500, open: 400 }
}

pub(crate) fn consume(job: &Job) -> Run {
    let uri = format!("{}&credit=100000&credit_bytes=64MiB", hold(job).uri);
    Run { uri, batch: 1024, ..hold(job) }
}

/// By the defaults.
pub(crate) fn hold(job: &Job) -> Run {
    let uri = format!("kafka://{}/{}?group={}", job.servers, job.topic, job.group);
    Run { uri, messages: job.messages, size: job.size, batch: 1, open: 0 }
}
