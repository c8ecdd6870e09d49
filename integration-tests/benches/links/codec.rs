//! What a Tokio program would write: `LengthDelimitedCodec` with large buffers.

use std::hint::black_box;
use std::io;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use crate::job::Job;
use crate::meter::Meter;

const WRITE: usize = 128 << 10;
const READ: usize = 256 << 10;

pub(crate) async fn send(job: &Job, meter: &mut Meter) -> io::Result<()> {
    let socket = TcpStream::connect(job.spot.address).await?;
    socket.set_nodelay(true)?;
    let mut frames = FramedWrite::new(socket, LengthDelimitedCodec::new());
    frames.set_backpressure_boundary(WRITE);
    let payload = Bytes::from(vec![7; job.size]);
    loop {
        for _ in 0..burst(job.size) {
            frames.feed(black_box(payload.clone())).await?;
        }
        if !meter.add(burst(job.size)) {
            return SinkExt::<Bytes>::close(&mut frames).await;
        }
    }
}

pub(crate) async fn receive(job: &Job, meter: &mut Meter, ready: impl FnOnce()) -> io::Result<()> {
    let listener = TcpListener::bind(job.spot.address).await?;
    ready();
    let (socket, _) = listener.accept().await?;
    let mut frames = FramedRead::with_capacity(socket, LengthDelimitedCodec::new(), READ);
    let mut uncounted = 0;
    while let Some(payload) = frames.next().await {
        let payload = payload?;
        black_box((payload[0], payload[payload.len() - 1]));
        uncounted += 1;
        if uncounted == burst(job.size) {
            meter.add(std::mem::take(&mut uncounted));
        }
    }
    Ok(())
}

/// Messages between two looks at the clock: about a write's worth.
fn burst(size: usize) -> usize {
    (WRITE / size).max(1)
}
