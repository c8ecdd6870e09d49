//! Requests over RabbitMQ's direct reply-to: replies come back on the channel that publishes the requests, without a
//! queue of their own. It is the one consumer that has nothing to acknowledge.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use lapin::types::ShortString;
use seam_core::driver::{Board, Harvester, Receiver, Settled};
use seam_core::{Datagram, Deliveries, Event, Events, Result};

use crate::mapping;

/// What a requester consumes, and names as the address for replies. The broker puts the real address in its place.
pub(crate) const PSEUDO_QUEUE: &str = "amq.rabbitmq.reply-to";

/// The address of a requester, if it is one that RabbitMQ made: the number of a process, and a key.
///
/// Whoever asks writes it, so it is looked at closely: RabbitMQ 3 ends the connection of whoever names a process that
/// cannot be one.
pub(crate) fn address(reply_to: &[u8]) -> Option<ShortString> {
    let text = std::str::from_utf8(reply_to).ok()?;
    let token = text.strip_prefix(PSEUDO_QUEUE)?.strip_prefix('.')?;
    let (process, key) = token.split_once('.')?;
    let is_key = !key.is_empty() && key.bytes().all(is_base64);
    match is_key && is_process(&BASE64.decode(process).ok()?) {
        true => ShortString::try_new(text).ok(),
        false => None,
    }
}

/// Whether these are a process in Erlang's external format: its node, an atom, and numbers.
fn is_process(term: &[u8]) -> bool {
    let (numbers, atom) = match term {
        [131, 88, atom @ ..] => (12, atom),
        [131, 103, atom @ ..] => (9, atom),
        _ => return false,
    };
    let (length, rest) = match atom {
        [100 | 118, high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), rest),
        [115 | 119, length, rest @ ..] => (u16::from(*length), rest),
        _ => return false,
    };
    let length = usize::from(length);
    let Some(node) = rest.get(..length) else { return false };
    let is_node = (1..=255).contains(&length) && node.is_ascii();
    is_node && rest.len() == length + numbers
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Padded, and not minded about bits that say nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

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

    /// Those of 3.10 and of 4.0.
    const MADE: [&str; 2] = [THREE, FOUR];
    const THREE: &str = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA1MDU2OTMxNgAAIwgAAAAAaw001A==.k8eDekabdQwsBArTkvpBDw==";
    const FOUR: &str = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA1MDU2OTMxNgAAA2QAAAAAaw06KQ==.yJKvGW+l03yw1i2AAKwvJw==";

    #[test]
    fn an_address_that_the_broker_made_is_one() {
        for made in MADE {
            assert_eq!(address(made.as_bytes()).unwrap().as_str(), made);
        }
    }

    #[test]
    fn what_the_broker_never_made_is_no_address() {
        for other in [
            "orders",
            "amq.rabbitmq.reply-to",
            "amq.rabbitmq.reply-to.",
            "amq.rabbitmq.reply-to.a b",
            "amq.rabbitmq.reply-to.g1h2AA==.x",
            "amq.rabbitmq.reply-to.g1h2AA=.x",
            "amq.rabbitmq.reply-to.\u{e4}.x",
        ] {
            assert!(address(other.as_bytes()).is_none(), "{other}");
        }
        for made in MADE {
            // Whatever is missing or too much, and wherever.
            for length in 0..made.len() - 1 {
                let (cut, _) = made.split_at(length);
                let is_key_only = made.rfind('.').is_some_and(|key| length > key + 1);
                assert_eq!(address(cut.as_bytes()).is_some(), is_key_only, "{cut}");
            }
            let (process, key) = made.rsplit_once('.').unwrap();
            assert!(address(format!("{process}AAAA.{key}").as_bytes()).is_none());
            let long = format!("{made}{}", "A".repeat(255));
            assert!(address(long.as_bytes()).is_none());
        }
    }
}
