//! A bare echo: the least that a request and its reply can cost.

use std::error::Error;
use std::io;
use std::time::Instant;

use integration_tests::bare::{Dialling, Listening};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::job::Job;
use crate::limit::HEADER;
use crate::meter::Meter;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

pub(crate) async fn send(job: &Job, meter: &mut Meter) -> Result<()> {
    let mut wire = Dialling::new(&job.spot)?.dial().await?;
    let request = vec![7; HEADER + job.size];
    let mut reply = vec![0; request.len()];
    loop {
        let start = Instant::now();
        wire.stream.write_all(&request).await?;
        wire.stream.flush().await?;
        wire.stream.read_exact(&mut reply).await?;
        if !meter.trip(start) {
            return Ok(wire.finish().await?);
        }
    }
}

pub(crate) async fn receive(job: &Job, meter: &mut Meter, ready: impl FnOnce()) -> Result<()> {
    let listening = Listening::new(&job.spot).await?;
    ready();
    let mut wire = listening.accept().await?;
    let mut request = vec![0; HEADER + job.size];
    loop {
        match wire.stream.read_exact(&mut request).await {
            Ok(_) => wire.stream.write_all(&request).await?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(wire.finish().await?);
            }
            Err(error) => return Err(error.into()),
        }
        wire.stream.flush().await?;
        meter.add(1);
    }
}
