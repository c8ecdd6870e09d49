//! One stream of a connection, both ways, as a stream of bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use quinn::{RecvStream, SendStream, VarInt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::dialled::Shared;
use crate::failure;

/// One stream, both ways. Dropping it lets what was written get through, and the connection go once nobody has a stream of it.
pub(crate) struct Lane {
    /// Both until it is dropped.
    halves: Option<(SendStream, RecvStream)>,
    shared: Arc<Shared>,
    is_shut_down: bool,
}

impl Lane {
    pub(crate) fn new(send: SendStream, receive: RecvStream, shared: Arc<Shared>) -> Self {
        Self { halves: Some((send, receive)), shared, is_shut_down: false }
    }

    fn send(&mut self) -> &mut SendStream {
        &mut self.halves.as_mut().expect("only a drop takes it").0
    }

    fn receive(&mut self) -> &mut RecvStream {
        &mut self.halves.as_mut().expect("only a drop takes it").1
    }
}

impl AsyncRead for Lane {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.receive().poll_read_buf(cx, buffer);
        read.map_err(|error| failure::of_read(&self.shared.endpoint, self.shared.end, error))
    }
}

impl AsyncWrite for Lane {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(self.send()).poll_write(cx, bytes);
        written.map_err(|error| failure::of_write(&self.shared.endpoint, self.shared.end, error))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match self.as_mut().poll_write(cx, slice) {
                Poll::Ready(Ok(count)) => {
                    written += count;
                    if count < slice.len() {
                        break;
                    }
                }
                // What was written counts; the rest meets the same answer at the next call.
                Poll::Pending | Poll::Ready(Err(_)) if written > 0 => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The connection sends what it has by itself.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut_down = true;
        Poll::Ready(self.send().finish().map_err(io::Error::from))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let Some((mut send, mut receive)) = self.halves.take() else { return };
        let shared = self.shared.clone();
        if !self.is_shut_down {
            // It may be in the middle of a frame, and the connection may be what is wrong: nobody begins on it again.
            shared.is_doubtful.store(true, Ordering::Relaxed);
        }
        // It may have ended already.
        drop(receive.stop(DONE));
        let closing = shared.closing.clone();
        closing.spawn(async move {
            // Nothing is read from it any more; what was written is still to be told apart from what was not.
            drop(send.finish());
            drop(timeout(GET_THROUGH, send.stopped()).await);
            drop(shared);
        });
    }
}

/// Nobody reads it any more.
const DONE: VarInt = VarInt::from_u32(0);

/// How long what was written may take to get through before a connection is closed behind it.
const GET_THROUGH: Duration = Duration::from_millis(500);
