//! What a transport writes: a few traits, in batches, usable behind `dyn` since a URI chooses at run time.
//!
//! Users never meet these; they hold [`Registry`](crate::Registry), [`Connection`](crate::Connection),
//! [`Sender`](crate::Sender), [`Receiver`](crate::Receiver) and [`Delivery`](crate::Delivery), written once
//! over them. Limits, capabilities, deadlines, expiry, counting and tracing live there, so that no transport
//! can get them subtly wrong. What a transport declares in its [`Capabilities`] is held by the conformance
//! suite.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use crate::batch::Ticket;
pub use crate::board::{Board, Harvest, Harvester};
pub use crate::packed::Framing;
use crate::{
    Authorise, Batch, Capabilities, Capability, Clock, Cost, Deliveries, Endpoint, Error, Events,
    Load, Peer, Receipts, Result, Scheme, SendError, Side,
};

/// A carrier: it checks and opens endpoints of its schemes.
///
/// # Contract
///
/// - [`Transport::check`] does no I/O, and promises only what will hold.
/// - What [`Transport::open`] returns promises at least as much.
#[async_trait]
pub trait Transport: Debug + Send + Sync + 'static {
    /// Each scheme it answers to, with every parameter it takes. Core parses them and refuses the rest.
    fn schemes(&self) -> &'static [Scheme];

    /// What `endpoint` will promise at least; `AtOpen` where only the other side can tell.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`] for values that do not fit together.
    fn check(&self, endpoint: &Endpoint, side: Side) -> Result<Capabilities>;

    /// Opens `endpoint`. Core ends it after `?connect_timeout=`; a dropped call leaves nothing behind.
    ///
    /// # Errors
    ///
    /// Those of the carrier; retryable where the same call may succeed later.
    async fn open(&self, endpoint: &Endpoint, context: OpenContext) -> Result<Arc<dyn Connection>>;

    /// What `load` costs over `endpoint`, where calls are billed. By default they are not.
    ///
    /// # Errors
    ///
    /// Those of [`Transport::check`].
    fn cost(&self, endpoint: &Endpoint, load: Load) -> Result<Option<Cost>> {
        let _ = (endpoint, load);
        Ok(None)
    }

    /// Deletes what opening `endpoint` creates elsewhere, for tests and for removing an address.
    /// By default there is nothing to delete.
    ///
    /// # Errors
    ///
    /// Those of the carrier. That it does not exist is no error.
    async fn remove(&self, endpoint: &Endpoint) -> Result<()> {
        let _ = endpoint;
        Ok(())
    }
}

/// What a transport is given with an endpoint.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenContext {
    /// Which side the program is on.
    pub side: Side,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where the connection reports what happens.
    pub events: Events,
    /// Who may do what.
    pub authorise: Authorise,
}

impl OpenContext {
    /// A context with events of its own that allows everything.
    #[must_use]
    pub fn new(side: Side, clock: Arc<dyn Clock>) -> Self {
        Self { side, clock, events: Events::new(), authorise: Authorise::default() }
    }

    /// Sets where the connection reports what happens.
    #[must_use]
    pub fn with_events(mut self, events: Events) -> Self {
        self.events = events;
        self
    }

    /// Sets who may do what.
    #[must_use]
    pub fn with_authorise(mut self, authorise: Authorise) -> Self {
        self.authorise = authorise;
        self
    }
}

/// An opened endpoint.
///
/// # Contract
///
/// - It lives by itself: keep-alives, receipts, settlements and reconnection need nobody to poll it.
/// - Dropping the last handle aborts it, at once and without waiting: calls that wait resolve with their
///   fate, and what is unsettled goes to somebody else. Senders and receivers it gave do not keep it.
#[async_trait]
pub trait Connection: Debug + Send + Sync + 'static {
    /// What it promises, as found: this queue, this peer.
    fn capabilities(&self) -> &Capabilities;

    /// A way out.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Denied`], and those of the carrier.
    async fn sender(&self) -> Result<Arc<dyn Sender>>;

    /// A way in, a member of the endpoint's group from now on.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Denied`], [`Error::Misuse`] after [`Connection::accept`], and those of
    /// the carrier.
    async fn receiver(&self) -> Result<Box<dyn Receiver>>;

    /// A sender of requests and the private receiver of their replies, live before the first request.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] by default.
    async fn caller(&self) -> Result<Caller> {
        Err(self.unsupported(Capability::Reply))
    }

    /// A way to an address that some [`Connection::caller`] made; refuses any other.
    ///
    /// # Errors
    ///
    /// [`Error::RequesterGone`]; [`Error::Denied`] for an address of another form or broker;
    /// [`Error::Unsupported`] by default.
    async fn replier(&self, reply_to: &[u8]) -> Result<Arc<dyn Sender>> {
        let _ = reply_to;
        Err(self.unsupported(Capability::Reply))
    }

    /// The next peer, as a connection of its own; `None` once the endpoint listens no more.
    /// Dropping the call loses no peer.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] after [`Connection::receiver`]; [`Error::Unsupported`] by default.
    async fn accept(&self) -> Result<Option<Arc<dyn Connection>>> {
        Err(self.unsupported(Capability::Peers))
    }

    /// Who is at the other end, where it is one peer.
    fn peer(&self) -> Option<&Arc<Peer>> {
        None
    }

    /// The next datagram that a lost session gives back under `?lost=report`; `None` once there will be no
    /// more. By default there is none. Dropping the call loses nothing.
    async fn returned(&self) -> Option<SendError> {
        None
    }

    /// Stops receiving, waits for what is being handled, settles, flushes, closes; all until `deadline`,
    /// counted from now. Senders stay usable until the last delivery is settled.
    ///
    /// # Errors
    ///
    /// Only those that leave unknown what was left.
    async fn drain(&self, deadline: Duration) -> Result<Drained>;

    /// The error of a capability that is missing here.
    fn unsupported(&self, capability: Capability) -> Error {
        Error::Unsupported {
            endpoint: "this endpoint".to_owned(),
            capability,
            remedy: capability.remedy().to_owned(),
        }
    }
}

/// The sending half that a transport writes.
///
/// # Contract
///
/// - The order of admission, the order in which calls are first polled, is the order on the wire.
///   A call that waits for credit holds back later ones.
/// - Each datagram is sent whole or not at all, whatever the caller drops.
#[async_trait]
pub trait Sender: Send + Sync + 'static {
    /// Admits from the front while there is credit, until `batch` is empty; what is left in it is unsent.
    ///
    /// The first poll admits what fits now. Dropping the call leaves in `batch` what was not admitted, and
    /// the ticket of what was.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] and those of the carrier; what is left in `batch` was not sent.
    async fn admit(&self, batch: &mut Batch) -> Result<()>;

    /// As [`Sender::admit`], where all of `batch` can be admitted without waiting. `None` where not, or where
    /// that is not known: then nothing has changed, and `admit` is called. By default it is not known.
    ///
    /// Worth to be written where an admission is cheap: it spares the future.
    fn admit_now(&self, batch: &mut Batch) -> Option<Result<()>> {
        let _ = batch;
        None
    }

    /// The fate of every datagram of the ticket: a range, and the exceptions. Starts a flush where it must
    /// wait. Dropping the call keeps the ticket.
    async fn receipts(&self, ticket: &mut Ticket) -> Receipts;

    /// Gives up, at once: what has no receipt yet comes back, `NotSent` where no byte of it left this
    /// process, else `MaybeSent`, because of [`Error::Withdrawn`]. It may still arrive from where it is, and
    /// goes nowhere else.
    fn withdraw(&self, ticket: Ticket) -> Receipts;

    /// Nobody will ask for this ticket any more; what was admitted goes on. A driver that keeps anything for
    /// the asker drops it here, and reports a later failure as [`Event::Forgotten`](crate::Event). By
    /// default it keeps nothing.
    fn forget(&self, ticket: &Ticket) {
        let _ = ticket;
    }
}

/// The receiving half that a transport writes.
///
/// # Contract
///
/// - A refill holds at least one delivery and at most `max`.
/// - Each delivery comes whole or not at all, first deliveries in the order of their key.
/// - What is neither settled nor current any more is delivered again.
/// - Dropping it leaves its deliveries settleable until the connection drains or is dropped.
#[async_trait]
pub trait Receiver: Send + 'static {
    /// Refills `into`, whose verdicts core has published; `false` once closed and drained.
    ///
    /// Dropping the call loses nothing: the next one gets the same deliveries.
    ///
    /// # Errors
    ///
    /// [`Error::SessionLost`] and those of the carrier that end this receiver.
    async fn receive(&mut self, max: usize, into: &mut Deliveries) -> Result<bool>;

    /// As [`Receiver::receive`], where it need not wait. `None` where it must, or where that is not known: then
    /// nothing has changed, and `receive` is called. By default it is not known.
    fn receive_now(&mut self, max: usize, into: &mut Deliveries) -> Option<Result<bool>> {
        let _ = (max, into);
        None
    }

    /// Waits for the strongest confirmation of settlements that the carrier gives.
    ///
    /// # Errors
    ///
    /// [`Error::Disconnected`] where it cannot be known.
    async fn settled(&mut self) -> Result<Settled>;
}

/// What [`Receiver::settled`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Settlements since the last call that came too late or were refused; those datagrams come again.
    pub late: u64,
}

/// What sends requests, made by [`Connection::caller`].
#[allow(missing_debug_implementations)]
pub struct Caller {
    /// Sends to the servers of the address.
    pub sender: Arc<dyn Sender>,
    /// Receives the replies, and nothing else.
    pub receiver: Box<dyn Receiver>,
    /// Goes into `reply_to` of each request.
    pub reply_to: Bytes,
}

impl Caller {
    /// Puts the three together.
    #[must_use]
    pub fn new(sender: Arc<dyn Sender>, receiver: Box<dyn Receiver>, reply_to: Bytes) -> Self {
        Self { sender, receiver, reply_to }
    }
}

/// What a drain left.
#[derive(Debug, Default)]
#[must_use = "datagrams that were not done come back in it"]
#[non_exhaustive]
pub struct Drained {
    /// Deliveries that nobody settled; they go to somebody else.
    pub unsettled: u64,
    /// Every datagram that is not done, with its fate.
    pub unsent: Vec<SendError>,
}

impl Drained {
    /// What was left.
    pub fn new(unsettled: u64, unsent: Vec<SendError>) -> Self {
        Self { unsettled, unsent }
    }

    /// Whether nothing was left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unsettled == 0 && self.unsent.is_empty()
    }
}
