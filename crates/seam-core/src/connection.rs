//! An opened endpoint, as users hold it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use crate::driver::{self, Drained};
use crate::event::State;
use crate::request::Requests;
use crate::shared::Shared;
use crate::{
    Capabilities, Capability, Clock, Datagram, Endpoint, Event, Events, Peer, Receiver, Result,
    SendError, Sender, Statistics, telemetry,
};

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
        let shared = Shared::new(endpoint, events, clock, &driver);
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
    /// [`Error::Unsupported`](crate::Error::Unsupported).
    pub fn require(&self, wanted: &[Capability]) -> Result<()> {
        let shared = &self.0.shared;
        shared.capabilities.require(&shared.endpoint.to_string(), wanted)
    }

    /// A way out.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed), [`Error::Denied`](crate::Error::Denied), and those of the carrier.
    pub async fn sender(&self) -> Result<Sender> {
        let driver = self.0.driver.sender().await.map_err(|error| self.0.shared.name(error))?;
        Ok(Sender::new(self.0.shared.clone(), driver, self.0.clone()))
    }

    /// A way in: a member of the endpoint's group from now on. Several receivers of one connection compete.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed), [`Error::Denied`](crate::Error::Denied), [`Error::Misuse`](crate::Error::Misuse) after [`Connection::accept`], and those of
    /// the carrier.
    pub async fn receiver(&self) -> Result<Receiver> {
        let driver = self.0.driver.receiver().await.map_err(|error| self.0.shared.name(error))?;
        Ok(Receiver::new(self.0.clone(), driver))
    }

    /// Sends a request and waits for its reply, `timeout` at most for both together.
    ///
    /// `reply_to` and `correlation_id` are set here, and must be empty. Servers see a request at least once.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use seam_core::{Datagram, Memory, Registry};
    /// # smol::block_on(async {
    /// # let registry = Registry::new().with(Memory::new());
    /// let mut requests = registry.receiver("memory://sum").await?;
    /// let client = registry.client("memory://sum").await?;
    /// let asking = client.request(Datagram::new("1 + 2"), Duration::from_secs(5));
    /// let serving = async {
    ///     let Some(request) = requests.next().await? else { return Ok(()) };
    ///     request.reply(Datagram::new("3")).await
    /// };
    /// let (answer, served) = futures_util::join!(asking, serving);
    /// assert_eq!(answer?.payload(), Some(&b"3"[..]));
    /// served
    /// # }).unwrap();
    /// ```
    ///
    /// Cancel safety: dropping it gives the request up; it may be served, and its reply is counted as late.
    ///
    /// # Errors
    ///
    /// The request with its fate: [`Error::Unsupported`](crate::Error::Unsupported), [`Error::Invalid`](crate::Error::Invalid), [`Error::TimedOut`](crate::Error::TimedOut) (then
    /// [`Fate::MaybeSent`](crate::Fate) once somebody has it), and those of [`Sender::send`].
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
    /// ```
    /// # use seam_core::{Datagram, Memory, Registry};
    /// # smol::block_on(async {
    /// # let registry = Registry::new().with(Memory::new());
    /// let hall = registry.server("memory://chat").await?;
    /// let anna = registry.client("memory://chat").await?;
    /// let (to_hall, mut from_hall) = (anna.sender().await?, anna.receiver().await?);
    ///
    /// let peer = hall.accept().await?.expect("anna has come");
    /// let (to_anna, mut from_anna) = (peer.sender().await?, peer.receiver().await?);
    /// to_hall.send(Datagram::new("hello")).await?;
    /// if let Some(line) = from_anna.next().await? {
    ///     to_anna.send(line.datagram().clone()).await?;
    ///     line.ack()?;
    /// }
    /// # from_hall.next().await?.expect("it was sent back").ack()?;
    /// # Ok::<(), seam_core::Error>(()) }).unwrap();
    /// ```
    ///
    /// Cancel safety: dropping it loses no peer.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`](crate::Error::Unsupported), [`Error::Misuse`](crate::Error::Misuse) after [`Connection::receiver`], [`Error::Closed`](crate::Error::Closed).
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
    /// Each connection of a program is drained by itself, all at once or those that send last. What was
    /// handed to a receiving side and not settled by it is told to its *sender*, in [`Drained::unsent`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use seam_core::{Datagram, Memory, Registry};
    /// # smol::block_on(async {
    /// # let registry = Registry::new().with(Memory::new());
    /// # let server = registry.server("memory://orders").await?;
    /// # let _receiver = server.receiver().await?;
    /// # let client = registry.client("memory://orders").await?;
    /// client.sender().await?.send(Datagram::new("12 apples")).await?;
    /// // Nobody has received it, and we do not wait.
    /// let left = client.drain(Duration::ZERO).await?;
    /// for unsent in &left.unsent {
    ///     eprintln!("{unsent}");
    /// }
    /// assert!(!left.is_clean());
    /// # Ok::<(), seam_core::Error>(()) }).unwrap();
    /// ```
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
        let Drained { unsettled, unsent } = drained.map_err(|error| shared.name(error))?;
        let unsent = unsent.into_iter().map(|error| shared.name_unsent(error)).collect();
        Ok(Drained { unsettled, unsent })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.0.shared;
        write!(f, "Connection({}, {:?})", shared.endpoint, shared.events.state())
    }
}
