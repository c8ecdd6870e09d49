//! An opened endpoint, as users hold it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::Poll;
use std::time::Duration;

use tracing::Instrument;

use crate::dead_letter::DeadLetters;
use crate::delivery::Verdict;
use crate::driver::{self, Drained};
use crate::event::{State, add};
use crate::request::Requests;
use crate::{
    Capabilities, Capability, Clock, Datagram, Endpoint, Error, Event, Events, Peer, Receiver,
    Result, SendError, Sender, Statistics, View, telemetry,
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

/// Keeps the driver's connection open; dropped with the last user handle, which aborts it.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) driver: Arc<dyn driver::Connection>,
    requests: Requests,
}

/// An opened endpoint: gives senders and receivers, events and statistics; drains.
///
/// Cheap to clone. It lives as long as any clone, [`Sender`] or [`Receiver`] of it; dropping the last one
/// aborts it: waiting sends resolve with their fate, and unsettled deliveries go to somebody else. Only
/// [`Connection::drain`] is graceful.
#[derive(Clone)]
pub struct Connection(Arc<Handle>);

impl Connection {
    pub(crate) fn new(
        endpoint: Endpoint,
        events: Events,
        clock: Arc<dyn Clock>,
        driver: Arc<dyn driver::Connection>,
    ) -> Self {
        let shared = Arc::new(Shared {
            capabilities: driver.capabilities().clone(),
            events,
            clock,
            send_timeout: endpoint.send_timeout(),
            retry_limit: endpoint.attempts(),
            dead_letters: OnceLock::new(),
            driver: Arc::downgrade(&driver),
            endpoint,
        });
        Self(Arc::new(Handle { shared, driver, requests: Requests::default() }))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// The endpoint it was opened with.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.shared.endpoint
    }

    /// What it promises, as found when it was opened.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.shared.capabilities
    }

    /// Fails, before the first loss, with one line that names what is missing and what would provide it.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`].
    pub fn require(&self, wanted: &[Capability]) -> Result<()> {
        let shared = &self.0.shared;
        shared.capabilities.require(&shared.endpoint.to_string(), wanted)
    }

    /// A way out.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Denied`], and those of the carrier.
    pub async fn sender(&self) -> Result<Sender> {
        let driver = self.0.driver.sender().await.map_err(|error| self.0.shared.name(error))?;
        Ok(Sender::new(self.0.shared.clone(), driver, Some(self.0.clone())))
    }

    /// A way in: a member of the endpoint's group from now on. Several receivers of one connection compete.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Denied`], [`Error::Misuse`] after [`Connection::accept`], and those of
    /// the carrier.
    pub async fn receiver(&self) -> Result<Receiver> {
        let driver = self.0.driver.receiver().await.map_err(|error| self.0.shared.name(error))?;
        Ok(Receiver::new(self.0.clone(), driver))
    }

    /// Sends a request and waits for its reply, `timeout` at most for both together.
    ///
    /// `reply_to` and `correlation_id` are set here, and must be empty. Servers see a request at least once.
    ///
    /// Cancel safety: dropping it gives the request up; it may be served, and its reply is counted as late.
    ///
    /// # Errors
    ///
    /// The request with its fate: [`Error::Unsupported`], [`Error::Invalid`], [`Error::TimedOut`] (then
    /// [`Fate::MaybeSent`](crate::Fate) once it was admitted), and those of [`Sender::send`].
    pub async fn request(
        &self,
        request: Datagram,
        timeout: Duration,
    ) -> Result<Datagram, SendError> {
        let span = telemetry::request(self.endpoint());
        self.0.requests.request(&self.0, request, timeout).instrument(span).await
    }

    /// The next peer, as a connection of its own; `None` once the endpoint listens no more.
    ///
    /// Excludes [`Connection::receiver`]. A peer has departed when its receiver ends.
    ///
    /// Cancel safety: dropping it loses no peer.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`], [`Error::Misuse`] after [`Connection::receiver`], [`Error::Closed`].
    pub async fn accept(&self) -> Result<Option<Self>> {
        let shared = &self.0.shared;
        let peer = self.0.driver.accept().await.map_err(|error| shared.name(error))?;
        Ok(peer.map(|driver| {
            Self::new(shared.endpoint.clone(), Events::new(), shared.clock.clone(), driver)
        }))
    }

    /// Who is at the other end, where it is one peer: on what [`Connection::accept`] gave.
    #[must_use]
    pub fn peer(&self) -> Option<&Arc<Peer>> {
        self.0.driver.peer()
    }

    /// The next datagram that a lost session gives back under `?lost=report`; `None` where there is and will
    /// be none.
    ///
    /// Cancel safety: dropping it loses nothing.
    pub async fn returned(&self) -> Option<SendError> {
        self.0.driver.returned().await
    }

    /// The next event; `None` once the connection is drained and all were taken.
    ///
    /// At most [`Events::CAPACITY`] wait; then the oldest is dropped and counted.
    ///
    /// Cancel safety: dropping it loses nothing.
    pub async fn next_event(&self) -> Option<Event> {
        self.0.shared.events.next().await
    }

    /// What has been counted since it was opened.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.0.shared.events.statistics()
    }

    /// Whether it can be used now, for readiness probes.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.shared.events.state()
    }

    /// Ends gracefully: stops receiving, lets handlers finish (senders stay usable until the last delivery
    /// is settled), settles, flushes, waits until what was sent is done, closes. After `deadline` it stops
    /// waiting and tells what was left; what was unsettled goes to somebody else.
    ///
    /// A [`Deliveries`](crate::Deliveries) that still holds verdicts must be published or dropped, or the
    /// drain waits for them to its deadline.
    ///
    /// Cancel safety: dropping it leaves the connection draining; call it again.
    ///
    /// # Errors
    ///
    /// Those of the carrier that leave unknown what was left.
    pub async fn drain(&self, deadline: Duration) -> Result<Drained> {
        let shared = &self.0.shared;
        shared.events.set_state(State::Draining);
        let draining = shared.with_dead_letters(self.0.driver.drain(deadline));
        let drained = draining.instrument(telemetry::drain(&shared.endpoint)).await;
        shared.events.set_state(State::Closed);
        drained.map_err(|error| shared.name(error))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.0.shared;
        write!(f, "Connection({}, {:?})", shared.endpoint, shared.events.state())
    }
}

/// Headers, and bytes of headers, that limits keep free for what this library adds to a dead letter.
pub(crate) const RESERVED: (usize, usize) = (4, 1 << 10);

impl Shared {
    /// Puts this endpoint's name into an error of a driver that did not say one.
    pub(crate) fn name(&self, error: Error) -> Error {
        match error {
            Error::Unsupported { capability, remedy, .. } => {
                Error::Unsupported { endpoint: self.endpoint.to_string(), capability, remedy }
            }
            other => other,
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
        Sender::new(self.clone(), replier, None).send(reply).await?;
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
