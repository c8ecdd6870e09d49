//! Senders and receivers as the ecosystem's [`Sink`] and [`Stream`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_sink::Sink;

use crate::{Datagram, Delivery, Error, Fate, Receiver, Result, SendError, SendErrors, Sender};

type Next = Pin<Box<dyn Future<Output = (Box<Receiver>, Result<Option<Delivery>>)> + Send>>;

/// Owned deliveries as a [`Stream`], made by [`Receiver::into_stream`].
pub struct DeliveryStream {
    state: StreamState,
}

impl DeliveryStream {
    pub(crate) fn new(receiver: Receiver) -> Self {
        Self { state: StreamState::Idle(Box::new(receiver)) }
    }
}

enum StreamState {
    Idle(Box<Receiver>),
    Waiting(Next),
    Ended,
}

impl Stream for DeliveryStream {
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut next: Next = match std::mem::replace(&mut self.state, StreamState::Ended) {
            StreamState::Ended => return Poll::Ready(None),
            StreamState::Waiting(next) => next,
            StreamState::Idle(mut receiver) => Box::pin(async move {
                let item = receiver.next().await;
                (receiver, item)
            }),
        };
        let Poll::Ready((receiver, item)) = next.as_mut().poll(cx) else {
            self.state = StreamState::Waiting(next);
            return Poll::Pending;
        };
        if matches!(item, Ok(Some(_))) {
            self.state = StreamState::Idle(receiver);
        }
        Poll::Ready(item.transpose())
    }
}

impl fmt::Debug for DeliveryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveryStream")
    }
}

type Work = Pin<Box<dyn Future<Output = (Box<Sender>, Result<(), SendErrors>)> + Send>>;

/// A [`Sink`] of datagrams, made by [`Sender::into_sink`].
///
/// What goes in is fed; flushing and closing wait for every receipt. An error tells each datagram that
/// failed, with its fate; the sink goes on after it.
pub struct DatagramSink {
    state: SinkState,
}

enum SinkState {
    Idle(Box<Sender>),
    Feeding(Work),
    Flushing(Work),
    /// Only while a poll moves the sender from one state to the next.
    Moving,
}

impl DatagramSink {
    pub(crate) fn new(sender: Sender) -> Self {
        Self { state: SinkState::Idle(Box::new(sender)) }
    }

    /// Drives what was begun until the sender is free.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendErrors>> {
        let (SinkState::Feeding(work) | SinkState::Flushing(work)) = &mut self.state else {
            return Poll::Ready(Ok(()));
        };
        let Poll::Ready((sender, outcome)) = work.as_mut().poll(cx) else { return Poll::Pending };
        self.state = SinkState::Idle(sender);
        Poll::Ready(outcome)
    }

    fn is_idle(&self) -> bool {
        matches!(self.state, SinkState::Idle(_))
    }

    fn begin(&mut self, work: impl FnOnce(Box<Sender>) -> SinkState) {
        self.state = match std::mem::replace(&mut self.state, SinkState::Moving) {
            SinkState::Idle(sender) => work(sender),
            busy => busy,
        };
    }
}

impl Sink<Datagram> for DatagramSink {
    type Error = SendErrors;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendErrors>> {
        self.poll_idle(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, datagram: Datagram) -> Result<(), SendErrors> {
        if !self.is_idle() {
            let error = Error::Misuse {
                what: "a sink was given a datagram while it was busy",
                remedy: "wait for `poll_ready` first",
            };
            let error = SendError::new(datagram, Fate::NotSent, error);
            return Err(SendErrors { receipted: 0, failed: vec![error] });
        }
        self.begin(|mut sender| {
            SinkState::Feeding(Box::pin(async move {
                let fed = sender.feed(datagram).await;
                (sender, fed.map_err(|error| SendErrors { receipted: 0, failed: vec![error] }))
            }))
        });
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendErrors>> {
        if matches!(self.state, SinkState::Feeding(_)) {
            match self.poll_idle(cx) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
        }
        self.begin(|mut sender| {
            SinkState::Flushing(Box::pin(async move {
                let flushed = sender.flush().await;
                (sender, flushed.map(drop))
            }))
        });
        self.poll_idle(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendErrors>> {
        self.poll_flush(cx)
    }
}

impl fmt::Debug for DatagramSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatagramSink")
    }
}
