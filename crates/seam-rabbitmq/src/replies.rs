//! Requests over RabbitMQ's direct reply-to: replies come back on the channel that publishes the requests, without a
//! queue of their own. It is the one consumer that has nothing to acknowledge.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use lapin::types::ShortString;
use seam_core::driver::{Board, Harvester, Receiver, Settled};
use seam_core::{Datagram, Deliveries, Event, Events, Result};

use crate::mapping;

/// What a requester consumes, and names as the address for replies. The broker puts the real address in its place.
pub(crate) const PSEUDO_QUEUE: &str = "amq.rabbitmq.reply-to";

/// The address of a requester, if it is one that RabbitMQ made.
pub(crate) fn address(reply_to: &[u8]) -> Option<ShortString> {
    let text = std::str::from_utf8(reply_to).ok()?;
    let token = text.strip_prefix(PSEUDO_QUEUE)?.strip_prefix('.')?;
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if is_token { ShortString::try_new(text).ok() } else { None }
}

/// Writes the number of a request as text, so that whoever replies in AMQP's own terms can repeat it.
pub(crate) fn ask(request: &mut Datagram) {
    if let Some(number) = &mut request.envelope_mut().correlation_id {
        let text: String = number.iter().map(|byte| format!("{byte:02x}")).collect();
        *number = text.into();
    }
}

/// The number that [`ask`] wrote.
fn answered(reply: &mut Datagram) {
    let Some(text) = reply.envelope().correlation_id.clone() else { return };
    let digits = text.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    if let Some(number) = digits.collect::<Option<Vec<u8>>>() {
        reply.envelope_mut().correlation_id = Some(Bytes::from(number));
    }
}

/// Replies that came and nobody has taken.
pub(crate) struct Replies {
    state: Mutex<State>,
    /// How many wait at most; what comes then goes to nobody, and is counted.
    most: usize,
    events: Events,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Datagram>,
    waker: Option<Waker>,
    ended: bool,
}

impl Replies {
    pub(crate) fn new(most: usize, events: Events) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), most, events })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, delivery: lapin::message::Delivery) {
        let body = Bytes::from(delivery.data);
        let mut reply = mapping::decode(&delivery.properties, body, "", "").datagram;
        answered(&mut reply);
        let mut state = self.lock();
        if state.ready.len() >= self.most {
            drop(state);
            return self.events.emit(Event::LeaseLost { count: 1 });
        }
        state.ready.push_back(reply);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// There will be no more.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Replies need no verdict.
struct Unsettled;

impl Harvester for Unsettled {
    fn settled(&self, _: &Arc<Board>, _: bool) {}
}

/// Receives replies.
pub(crate) struct ReplyReceiver(pub(crate) Arc<Replies>);

#[async_trait]
impl Receiver for ReplyReceiver {
    async fn receive(&mut self, max: usize, into: &mut Deliveries) -> Result<bool> {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            let count = state.ready.len().min(max);
            if count > 0 {
                into.begin(count, 0, Arc::new(Unsettled));
                state.ready.drain(..count).for_each(|reply| into.push(reply));
                return Poll::Ready(Ok(true));
            }
            if state.ended {
                return Poll::Ready(Ok(false));
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    async fn settled(&mut self) -> Result<Settled> {
        Ok(Settled::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_survives_as_text() {
        for number in [[0_u8; 8], [0xff; 8], [1, 2, 3, 4, 5, 6, 7, 8]] {
            let mut request = Datagram::new("?");
            request.envelope_mut().correlation_id = Some(Bytes::copy_from_slice(&number));
            ask(&mut request);
            let text = request.envelope().correlation_id.clone().unwrap();
            assert!(text.iter().all(u8::is_ascii_hexdigit), "{text:?}");
            answered(&mut request);
            assert_eq!(request.envelope().correlation_id.as_deref(), Some(&number[..]));
        }
    }

    #[test]
    fn what_is_no_number_stays_as_it_is() {
        for text in ["abc", "xy", "12 apples"] {
            let mut reply = Datagram::new("!");
            reply.envelope_mut().correlation_id = Some(text.into());
            answered(&mut reply);
            assert_eq!(reply.envelope().correlation_id.as_deref(), Some(text.as_bytes()));
        }
    }

    #[test]
    fn only_addresses_that_the_broker_made_are_addresses() {
        assert!(address(b"amq.rabbitmq.reply-to.g1h2AA==.x/y").is_some());
        for other in [
            "orders",
            "amq.rabbitmq.reply-to",
            "amq.rabbitmq.reply-to.",
            "amq.rabbitmq.reply-to.a b",
        ] {
            assert!(address(other.as_bytes()).is_none(), "{other}");
        }
        assert!(address(format!("amq.rabbitmq.reply-to.{}", "x".repeat(255)).as_bytes()).is_none());
    }
}
