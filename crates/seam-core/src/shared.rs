//! What the user types of one connection share: limits, deadlines, counts, errors that name the endpoint.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::Poll;
use std::time::Duration;

use crate::dead_letter::DeadLetters;
use crate::delivery::Verdict;
use crate::driver;
use crate::event::add;
use crate::sender::Outlet;
use crate::{
    Capabilities, Capability, Clock, Datagram, Endpoint, Error, Events, Result, SendError, View,
};

/// What the user types of one connection share. Holds no strong reference to the driver: deliveries keep
/// it alive, and must not keep the connection.
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) capabilities: Capabilities,
    pub(crate) events: Events,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) send_timeout: Duration,
    pub(crate) retry_limit: Option<u32>,
    pub(crate) dead_letters: OnceLock<Arc<DeadLetters>>,
    pub(crate) driver: Weak<dyn driver::Connection>,
}

/// Headers, and bytes of headers, that limits keep free for what this library adds to a dead letter.
pub(crate) const RESERVED: (usize, usize) = (4, 1 << 10);

impl Shared {
    pub(crate) fn new(
        endpoint: Endpoint,
        events: Events,
        clock: Arc<dyn Clock>,
        driver: &Arc<dyn driver::Connection>,
    ) -> Arc<Self> {
        Arc::new(Self {
            capabilities: driver.capabilities().clone(),
            events,
            clock,
            send_timeout: endpoint.send_timeout(),
            retry_limit: endpoint.attempts(),
            dead_letters: OnceLock::new(),
            driver: Arc::downgrade(driver),
            endpoint,
        })
    }

    /// Puts this endpoint's name into an error of a driver that did not say one, or said that of whoever
    /// opened the address first.
    pub(crate) fn name(&self, error: Error) -> Error {
        match error {
            Error::Closed { .. } => self.closed(),
            Error::Unsupported { capability, remedy, .. } => {
                Error::Unsupported { endpoint: self.endpoint.to_string(), capability, remedy }
            }
            other => other,
        }
    }

    /// As [`Shared::name`], for a datagram that was given back.
    pub(crate) fn name_unsent(&self, error: SendError) -> SendError {
        match error.error() {
            Error::Closed { .. } => error.because(self.closed()),
            _ => error,
        }
    }

    pub(crate) fn unsupported(&self, capability: Capability) -> Error {
        Error::Unsupported {
            endpoint: self.endpoint.to_string(),
            capability,
            remedy: capability.remedy().to_owned(),
        }
    }

    pub(crate) fn closed(&self) -> Error {
        Error::Closed { endpoint: self.endpoint.to_string() }
    }

    pub(crate) fn timed_out(&self, operation: &'static str) -> Error {
        let remedy = "see whether a receiver is there and keeps up, or raise `?send_timeout=`";
        Error::TimedOut { operation, after: self.send_timeout, remedy }
    }

    /// Whether this endpoint can carry the datagram; `reserve` is headers and bytes beyond the limits.
    pub(crate) fn check(&self, view: View<'_>, reserve: (usize, usize)) -> Result<()> {
        let limits = self.capabilities.limits();
        let payload = view.payload().map_or(0, <[u8]>::len);
        fits("payload (bytes)", payload, limits.payload)?;
        if view.is_plain() && view.payload().is_some_and(|payload| !payload.is_empty()) {
            return Ok(());
        }
        if !self.capabilities.has(Capability::Envelope) {
            return Err(self.unsupported(Capability::Envelope));
        }
        let envelope = view.envelope();
        fits("key (bytes)", envelope.key.as_ref().map_or(0, bytes::Bytes::len), limits.key)?;
        fits("headers (count)", envelope.headers.len(), limits.headers + reserve.0)?;
        fits("headers (bytes)", envelope.header_bytes(), limits.header_bytes + reserve.1)?;
        for (name, value) in &envelope.headers {
            fits("header name (bytes)", name.len(), limits.header_name)?;
            fits("header value (nesting)", value.depth(), limits.header_depth)?;
            if name.is_empty() {
                return Err(Error::invalid("header", "has an empty name"));
            }
        }
        self.check_times(view)
    }

    fn check_times(&self, view: View<'_>) -> Result<()> {
        let envelope = view.envelope();
        if envelope.expiry.is_none() && envelope.deliver_at.is_none() {
            return Ok(());
        }
        let now = self.clock.wall();
        if envelope.expiry.is_some_and(|expiry| expiry <= now) {
            return Err(Error::Expired);
        }
        let Some(deliver_at) = envelope.deliver_at else { return Ok(()) };
        if !self.capabilities.has(Capability::Schedule) {
            return Err(self.unsupported(Capability::Schedule));
        }
        let limit = self.capabilities.limits().schedule;
        if deliver_at.saturating_since(now) > limit {
            let reason = format!("{deliver_at} is more than {limit:?} ahead");
            return Err(Error::invalid("deliver_at", reason));
        }
        Ok(())
    }

    /// What a retry comes to here.
    pub(crate) fn judge_retry(&self, after: Duration, attempt: u32) -> Result<Verdict> {
        if !self.capabilities.has(Capability::Redelivery) {
            return Err(self.unsupported(Capability::Redelivery));
        }
        if self.retry_limit.is_some_and(|limit| attempt >= limit)
            && self.dead_letters.get().is_some()
        {
            return Ok(Verdict::DeadLetter { reason: used_up(attempt) });
        }
        if !after.is_zero() {
            if !self.capabilities.has(Capability::Delay) {
                return Err(self.unsupported(Capability::Delay));
            }
            let limit = self.capabilities.limits().delay;
            if after > limit {
                let reason = format!("{after:?} is over the limit of {limit:?}");
                return Err(Error::invalid("delay", reason));
            }
        }
        Ok(Verdict::Retry { after })
    }

    /// Sends `reply` to whoever sent `request`.
    pub(crate) async fn reply(self: &Arc<Self>, request: View<'_>, reply: Datagram) -> Result<()> {
        let envelope = request.envelope();
        let Some(reply_to) = envelope.reply_to.clone() else {
            return Err(Error::invalid(
                "reply",
                "the datagram is no request: it has no `reply_to`",
            ));
        };
        let mut reply = reply;
        reply.envelope_mut().correlation_id.clone_from(&envelope.correlation_id);
        let driver = self.driver.upgrade().ok_or_else(|| self.closed())?;
        let replier = driver.replier(&reply_to).await.map_err(|error| self.name(error))?;
        drop(driver);
        Outlet::new(self.clone(), replier).send(reply, (0, 0)).await?;
        Ok(())
    }

    /// Runs `future`, and beside it what the dead-letter endpoint waits for.
    pub(crate) async fn with_dead_letters<F: Future>(self: &Arc<Self>, future: F) -> F::Output {
        let Some(route) = self.dead_letters.get() else { return future.await };
        let (mut future, mut pump) = (pin!(future), pin!(route.pump()));
        poll_fn(|cx| {
            let pumping = pump.as_mut().poll(cx);
            debug_assert!(pumping.is_pending(), "a pump has no end of its own");
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(output),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    pub(crate) fn count_failures(&self, failed: &[(u32, SendError)]) {
        for (_, error) in failed {
            self.count_fate(error);
        }
    }

    pub(crate) fn count_fate(&self, error: &SendError) {
        let counters = self.events.counters();
        match error.fate() {
            crate::Fate::NotSent => add(&counters.not_sent, 1u64),
            crate::Fate::MaybeSent => add(&counters.maybe_sent, 1u64),
        }
    }
}

pub(crate) fn used_up(attempt: u32) -> Box<str> {
    format!("gave up after {attempt} attempts").into()
}

fn fits(what: &'static str, size: usize, limit: usize) -> Result<()> {
    if size > limit { Err(Error::TooLarge { what, size, limit }) } else { Ok(()) }
}
