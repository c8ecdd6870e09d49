//! What somebody would write by hand over an asynchronous stream: frames gathered into large writes, parsed where they
//! were read.

use std::error::Error;

use integration_tests::bare::{Dialling, Listening};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::job::Job;
use crate::limit::{Reads, Writes};
use crate::meter::Meter;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

pub(crate) async fn send(job: &Job, meter: &mut Meter) -> Result<()> {
    let mut wire = Dialling::new(&job.spot)?.dial().await?;
    let mut writes = Writes::new(job);
    loop {
        wire.stream.write_all(writes.next()).await?;
        if !meter.add(writes.batch) {
            return Ok(wire.finish().await?);
        }
    }
}

pub(crate) async fn receive(job: &Job, meter: &mut Meter, ready: impl FnOnce()) -> Result<()> {
    let listening = Listening::new(&job.spot).await?;
    ready();
    let mut wire = listening.accept().await?;
    let mut reads = Reads::new(job);
    loop {
        let read = wire.stream.read(reads.room()).await?;
        if read == 0 {
            return Ok(wire.finish().await?);
        }
        meter.add(reads.took(read)?);
    }
}
