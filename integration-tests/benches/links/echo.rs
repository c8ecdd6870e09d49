//! A bare echo over Tokio: the least that a request and its reply can cost.

use std::io;
use std::net::Ipv4Addr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::job::Job;
use crate::meter::Meter;

const HEADER: usize = 8;

pub(crate) async fn send(job: &Job, meter: &mut Meter) -> io::Result<()> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, job.port)).await?;
    socket.set_nodelay(true)?;
    let request = vec![7; HEADER + job.size];
    let mut reply = vec![0; request.len()];
    loop {
        let start = Instant::now();
        socket.write_all(&request).await?;
        socket.read_exact(&mut reply).await?;
        if !meter.trip(start) {
            return socket.shutdown().await;
        }
    }
}

pub(crate) async fn receive(job: &Job, meter: &mut Meter, ready: impl FnOnce()) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, job.port)).await?;
    ready();
    let (mut socket, _) = listener.accept().await?;
    socket.set_nodelay(true)?;
    let mut request = vec![0; HEADER + job.size];
    loop {
        match socket.read_exact(&mut request).await {
            Ok(_) => socket.write_all(&request).await?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        meter.add(1);
    }
}
