//! The connection that carries the sessions now: bytes in, bytes out.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use seam_core::Error;
use seam_wire::{Fault, Group, Outgoing, WireError};
use tokio::io::AsyncWrite as _;

use crate::carrier::Stream;

/// Room that is made for a read, in bytes: from the least, while little comes at once, to the most.
const LEAST_ROOM: usize = 8 << 10;
const MOST_ROOM: usize = 256 << 10;
/// How many buffers are remembered, to be used again.
const LENT: usize = 4;

/// The connection that carries the sessions now.
pub(super) struct Io {
    pub(super) stream: Box<dyn Stream>,
    pub(super) buffer: BytesMut,
    /// Handles of the buffers before it, and of itself: each can be used again once it is the last one.
    pub(super) lent: VecDeque<BytesMut>,
    /// Room that is made for a read.
    pub(super) room: usize,
    pub(super) out: Outgoing,
    /// Bytes that the operating system has, of all that was written.
    pub(super) flushed: u64,
    /// Why the socket takes nothing any more.
    pub(super) refused: Option<std::io::Error>,
    pub(super) group: Group,
    pub(super) binding: Vec<u8>,
    /// Whether nobody but the two ends can read it.
    pub(super) secret: bool,
}

impl Io {
    pub(super) fn new(stream: Box<dyn Stream>, buffer: BytesMut) -> Self {
        Self {
            stream,
            buffer,
            lent: VecDeque::new(),
            room: LEAST_ROOM,
            out: Outgoing::new(),
            flushed: 0,
            refused: None,
            group: Group::Default,
            binding: Vec::new(),
            secret: false,
        }
    }

    /// Reads what there is, once; 0 where there is nothing now.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> Result<usize, Trouble> {
        if self.buffer.capacity() - self.buffer.len() < self.room / 4 {
            self.renew();
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let stream = Pin::new(&mut self.stream);
        match tokio_util::io::poll_read_buf(stream, cx, &mut self.buffer) {
            Poll::Pending => Ok(0),
            Poll::Ready(Ok(0)) => Err(Trouble::Ended),
            Poll::Ready(Ok(count)) => {
                // As much as comes at once; a connection that is mostly idle needs little.
                if count == room {
                    self.room = (self.room * 2).min(MOST_ROOM);
                } else if count < self.room / 8 {
                    self.room = (self.room / 2).max(LEAST_ROOM);
                }
                Ok(count)
            }
            Poll::Ready(Err(error)) => Err(Trouble::Io(error)),
        }
    }

    /// Goes on in another buffer: one that all have let go of, if there is any.
    pub(super) fn renew(&mut self) {
        let room = self.room + self.buffer.len();
        let free = self.lent.iter_mut().position(|lent| lent.try_reclaim(room));
        let mut fresh = match free.and_then(|at| self.lent.remove(at)) {
            Some(free) => free,
            None => BytesMut::with_capacity(room),
        };
        self.lent.truncate(LENT - 1);
        self.lent.push_front(fresh.split_to(0));
        fresh.extend_from_slice(&self.buffer);
        self.buffer = fresh;
    }

    /// Lets go of memory that a quiet connection does not need.
    pub(super) fn rest(&mut self) {
        if self.buffer.is_empty() {
            (self.buffer, self.room) = (BytesMut::new(), LEAST_ROOM);
            self.lent.clear();
        }
    }

    /// Makes room for the rest of a frame of this size, not far ahead of what has come.
    pub(super) fn make_room(&mut self, whole: usize) {
        let missing = whole - self.buffer.len();
        let room = self.buffer.capacity() - self.buffer.len();
        let step = missing.min(self.buffer.len().max(MOST_ROOM));
        if room < step {
            self.buffer.reserve(step);
        }
    }

    /// Whether there is something that the operating system does not have yet.
    pub(super) fn is_behind(&self) -> bool {
        self.out.pending() > 0 || self.flushed < self.out.written()
    }

    /// Writes what the socket takes; whether that was everything.
    ///
    /// That it takes no more is not the end: what the peer said before it closed is still to be read, and counts
    /// for more than that it did. The end is seen by reading, or by keep-alives.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> bool {
        while self.refused.is_none() && self.out.pending() > 0 {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.out.slices(&mut slices);
            let stream = Pin::new(&mut self.stream);
            let written = match &slices[..count] {
                [one] => stream.poll_write(cx, one),
                several => stream.poll_write_vectored(cx, several),
            };
            match written {
                Poll::Pending => return false,
                Poll::Ready(Ok(0)) => self.refused = Some(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.out.advance(count);
                }
                Poll::Ready(Err(error)) => self.refused = Some(error),
            }
        }
        if self.refused.is_none() && self.flushed < self.out.written() {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) => self.flushed = self.out.written(),
                Poll::Ready(Err(error)) => self.refused = Some(error),
            }
        }
        self.refused.is_none()
    }
}

/// Why a connection ends.
pub(crate) enum Trouble {
    Wire(WireError),
    Fault(Fault),
    /// Dialling again is of no use.
    Terminal(Error),
    /// The peer asked for what it may not do.
    Denied(&'static str),
    Io(std::io::Error),
    Ended,
}

impl From<WireError> for Trouble {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}
