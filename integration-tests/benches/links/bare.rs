//! What somebody would write by hand over an asynchronous stream: frames gathered into large writes, parsed where they
//! were read.

use std::error::Error;
use std::hint::black_box;

use integration_tests::bare::{Dialling, Listening};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::job::Job;
use crate::limit::{HEADER, READ, WRITE, append, parse};
use crate::meter::Meter;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

pub(crate) async fn send(job: &Job, meter: &mut Meter) -> Result<()> {
    let mut wire = Dialling::new(&job.spot)?.dial().await?;
    let payload = vec![7; job.size];
    let frame = HEADER + job.size;
    let batch = (WRITE / frame).max(1);
    let mut buffer = Vec::with_capacity(batch * frame);
    loop {
        buffer.clear();
        for _ in 0..batch {
            append(&mut buffer, black_box(&payload));
        }
        wire.stream.write_all(&buffer).await?;
        if !meter.add(batch) {
            return Ok(wire.finish().await?);
        }
    }
}

pub(crate) async fn receive(job: &Job, meter: &mut Meter, ready: impl FnOnce()) -> Result<()> {
    let listening = Listening::new(&job.spot).await?;
    ready();
    let mut wire = listening.accept().await?;
    let mut buffer = vec![0; READ.max(HEADER + job.size)];
    let mut end = 0;
    loop {
        let read = wire.stream.read(&mut buffer[end..]).await?;
        if read == 0 {
            return Ok(wire.finish().await?);
        }
        end += read;
        let (messages, used) = parse(&buffer[..end])?;
        buffer.copy_within(used..end, 0);
        end -= used;
        meter.add(messages);
    }
}
