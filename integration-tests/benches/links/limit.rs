//! The limit: blocking sockets of the standard library, framed by hand, parsed where they were read.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};

use integration_tests::bare::Over;

use crate::job::Job;
use crate::meter::Meter;

/// Length, tag, and two bytes that are nothing yet.
pub(crate) const HEADER: usize = 8;
const WRITE: usize = 128 << 10;
const READ: usize = 256 << 10;

pub(crate) fn send(job: &Job, meter: &mut Meter) -> io::Result<()> {
    if job.spot.over == Over::Unix {
        return write(UnixStream::connect(job.spot.path())?, job, meter);
    }
    let socket = TcpStream::connect(job.spot.address)?;
    socket.set_nodelay(true)?;
    write(socket, job, meter)
}

fn write(mut socket: impl Write, job: &Job, meter: &mut Meter) -> io::Result<()> {
    let mut writes = Writes::new(job);
    loop {
        socket.write_all(writes.next())?;
        if !meter.add(writes.batch) {
            return Ok(());
        }
    }
}

/// Frames gathered into one large write after the other.
pub(crate) struct Writes {
    payload: Vec<u8>,
    pub(crate) batch: usize,
    buffer: Vec<u8>,
}

impl Writes {
    pub(crate) fn new(job: &Job) -> Self {
        let frame = HEADER + job.size;
        let batch = (WRITE / frame).max(1);
        Self { payload: vec![7; job.size], batch, buffer: Vec::with_capacity(batch * frame) }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> &[u8] {
        self.buffer.clear();
        for _ in 0..self.batch {
            append(&mut self.buffer, black_box(&self.payload));
        }
        &self.buffer
    }
}

#[inline]
fn append(buffer: &mut Vec<u8>, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("it fits");
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&header);
    buffer.extend_from_slice(payload);
}

pub(crate) fn receive(job: &Job, meter: &mut Meter, ready: impl FnOnce()) -> io::Result<()> {
    if job.spot.over == Over::Unix {
        let listener = UnixListener::bind(job.spot.path())?;
        ready();
        return read(listener.accept()?.0, job, meter);
    }
    let listener = TcpListener::bind(job.spot.address)?;
    ready();
    read(listener.accept()?.0, job, meter)
}

fn read(mut socket: impl Read, job: &Job, meter: &mut Meter) -> io::Result<()> {
    let mut reads = Reads::new(job);
    loop {
        let read = socket.read(reads.room())?;
        if read == 0 {
            return Ok(());
        }
        meter.add(reads.took(read)?);
    }
}

/// What was read, parsed where it lies.
pub(crate) struct Reads {
    buffer: Vec<u8>,
    end: usize,
}

impl Reads {
    pub(crate) fn new(job: &Job) -> Self {
        Self { buffer: vec![0; READ.max(HEADER + job.size)], end: 0 }
    }

    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.end..]
    }

    /// How many frames are whole with the bytes that were read into the room.
    #[inline]
    pub(crate) fn took(&mut self, read: usize) -> io::Result<usize> {
        self.end += read;
        let (messages, used) = parse(&self.buffer[..self.end])?;
        self.buffer.copy_within(used..self.end, 0);
        self.end -= used;
        Ok(messages)
    }
}

/// How many whole frames `bytes` begins with, and how many bytes they are.
fn parse(bytes: &[u8]) -> io::Result<(usize, usize)> {
    let (mut messages, mut used) = (0, 0);
    while let Some((header, rest)) = bytes[used..].split_first_chunk::<HEADER>() {
        let [a, b, c, d, tag @ .., 0, 0] = *header else { return Err(foreign()) };
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(io::Error::other)?;
        if u16::from_le_bytes(tag) != 0 || length == 0 {
            return Err(foreign());
        }
        let Some(payload) = rest.get(..length) else { break };
        black_box((payload[0], payload[length - 1]));
        messages += 1;
        used += HEADER + length;
    }
    Ok((messages, used))
}

fn foreign() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no frame of ours")
}
