//! The driver's connection, sender and receiver over topics.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::config::Config;
use super::group::Now;
use super::hook::Hook;
use super::topic::{Membership, Seat, Topic, Wait};
use super::transport::{Address, Hub};
use crate::clock::lock;
use crate::driver::{Caller, Connection, Drained, OpenContext, Receiver, Sender, Settled, Ticket};
use crate::{
    Access, Action, Batch, Capabilities, Capability, Clock, Deliveries, Endpoint, Error, Event,
    Events, Peer, Receipts, Result, Side, Sleep,
};

/// One opened endpoint, or one side of an accepted pair.
pub(super) struct MemoryConnection {
    hub: Arc<Hub>,
    /// Kept alive by its connections. An accepted one has none.
    address: Option<Arc<Address>>,
    endpoint: Endpoint,
    config: Config,
    capabilities: Capabilities,
    context: OpenContext,
    /// Who we are to others.
    own: Arc<Peer>,
    /// Who is at the other end, where that is one peer.
    peer: Option<Arc<Peer>>,
    out: Arc<Port>,
    inner: Mutex<Inner>,
}

/// What changes while it is open.
struct Inner {
    /// What receivers join.
    inbound: Arc<Topic>,
    /// Those of dropped receivers too, while something of theirs is in hand.
    seats: Vec<Arc<Chair>>,
    replies: Vec<Arc<Topic>>,
    /// The topics of an accepted pair: closed with either end.
    pair: Option<(Arc<Topic>, Arc<Topic>)>,
    /// Whom to tell that we have departed.
    listener: Option<Events>,
    /// Whether new receivers are refused.
    draining: bool,
    open: bool,
}

/// The way out of a connection, shared by its senders; where it leads changes once, at `accept`.
pub(super) struct Port {
    lane: Mutex<Lane>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Lane {
    topic: Arc<Topic>,
    outbox: u64,
}

/// The place of a receiver; where it stands changes once, at `accept`.
struct Chair {
    place: Mutex<Place>,
    clock: Arc<dyn Clock>,
    /// Whether its receiver was dropped.
    left: AtomicBool,
}

#[derive(Clone)]
struct Place {
    topic: Arc<Topic>,
    seat: Seat,
    hook: Arc<Hook>,
}

impl MemoryConnection {
    pub(super) fn open(
        hub: Arc<Hub>,
        address: &Arc<Address>,
        endpoint: &Endpoint,
        config: Config,
        capabilities: Capabilities,
        context: OpenContext,
    ) -> Arc<Self> {
        let (outbound, inbound) = match context.side {
            Side::Client => (&address.up, &address.down),
            Side::Server => (&address.down, &address.up),
        };
        let mut own = Peer::new(format!("memory-{}", hub.number()), endpoint.to_string());
        own.group = config.group_name().map(str::to_owned);
        let connection = Arc::new(Self {
            out: Port::new(outbound.clone(), &config, &context),
            inner: Mutex::new(Inner::new(inbound.clone())),
            hub,
            endpoint: endpoint.clone(),
            config,
            capabilities,
            own: Arc::new(own),
            peer: None,
            address: Some(address.clone()),
            context,
        });
        if connection.context.side == Side::Client {
            address.arrive(Arc::downgrade(&connection));
        }
        connection
    }

    /// The server's end of a pair with `client`, which moves to the other end.
    fn pair_with(&self, client: &Self) -> Arc<Self> {
        let name = self.endpoint.to_string();
        let (up, down) = (Topic::new(name.clone()), Topic::new(name));
        let mut inner = Inner::new(up.clone());
        inner.pair = Some((up.clone(), down.clone()));
        let connection = Arc::new(Self {
            hub: self.hub.clone(),
            address: None,
            endpoint: self.endpoint.clone(),
            config: self.config.clone(),
            capabilities: self.capabilities.clone(),
            context: self.context.clone(),
            own: self.own.clone(),
            peer: Some(client.own.clone()),
            out: Port::new(down.clone(), &self.config, &self.context),
            inner: Mutex::new(inner),
        });
        client.move_to(&up, &down, self.context.events.clone());
        connection
    }

    /// From now on this client talks to one server alone.
    fn move_to(&self, up: &Arc<Topic>, down: &Arc<Topic>, listener: Events) {
        let chairs: Vec<Arc<Chair>> = {
            let mut inner = lock(&self.inner);
            inner.inbound = down.clone();
            inner.pair = Some((up.clone(), down.clone()));
            inner.listener = Some(listener);
            inner.seats.iter().filter(|chair| !chair.has_left()).cloned().collect()
        };
        // Without the lock: whoever waits is woken, and may call us.
        self.out.move_to(up.clone(), &self.config, &self.context);
        for chair in chairs {
            chair.move_to(down.clone(), self.config.alone());
        }
    }

    pub(super) fn is_open(&self) -> bool {
        lock(&self.inner).open
    }

    fn closed(&self) -> Error {
        Error::Closed { endpoint: self.endpoint.to_string() }
    }

    fn check_open(&self) -> Result<()> {
        if self.is_open() { Ok(()) } else { Err(self.closed()) }
    }

    fn allow(&self, peer: &Peer, action: Action) -> Result<()> {
        self.context.authorise.allow(&Access { peer, endpoint: &self.endpoint, action })
    }

    fn now(&self) -> Now {
        Now { monotonic: self.context.clock.now(), wall: self.context.clock.wall() }
    }

    fn chair(&self, topic: &Arc<Topic>, membership: Membership) -> Box<MemoryReceiver> {
        let place = Place::new(topic.clone(), membership, &self.context);
        let clock = self.context.clock.clone();
        let left = AtomicBool::new(false);
        let chair = Arc::new(Chair { place: Mutex::new(place), clock, left });
        let mut inner = lock(&self.inner);
        inner.seats.retain(|chair| !chair.is_over());
        inner.seats.push(chair.clone());
        Box::new(MemoryReceiver { chair })
    }

    fn places(&self) -> Vec<Place> {
        let inner = lock(&self.inner);
        inner.seats.iter().map(|chair| chair.place()).collect()
    }

    /// Waits until `done`, or until the clock has reached `until`.
    async fn wait(&self, until: Duration, topics: &[&Arc<Topic>], done: impl Fn() -> bool) {
        let settled = poll_fn(|cx| {
            topics.iter().for_each(|topic| topic.watch(cx.waker()));
            if done() { Poll::Ready(()) } else { Poll::Pending }
        });
        crate::clock::deadline(&*self.context.clock, until, settled).await;
    }

    /// Ends it at once; what is unsettled goes to somebody else, what was not done comes back.
    fn end(&self, places: &[Place]) -> Drained {
        let now = self.now();
        let mut unsettled = 0;
        for place in places {
            place.topic.leave(place.seat, now.monotonic);
            unsettled += place.topic.revoke(place.seat, now);
        }
        if unsettled > 0 {
            self.context.events.emit(Event::LeaseLost { count: unsettled });
        }
        let unsent = self.out.cut(now.monotonic);
        let mut inner = lock(&self.inner);
        let was_open = std::mem::replace(&mut inner.open, false);
        let (pair, replies) = (inner.pair.clone(), inner.replies.clone());
        let listener = inner.listener.take();
        drop(inner);
        let gone = || Error::disconnected(self.endpoint.to_string(), "the peer has departed");
        for topic in pair.iter().flat_map(|(up, down)| [up, down]) {
            topic.close(gone());
        }
        for topic in &replies {
            topic.close(Error::RequesterGone);
        }
        if let (Some(events), true) = (listener, was_open) {
            events.emit(Event::PeerDeparted { peer: self.own.clone() });
        }
        if let Some(address) = &self.address {
            address.disturb();
        }
        Drained::new(unsettled, unsent)
    }
}

#[async_trait]
impl Connection for MemoryConnection {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn sender(&self) -> Result<Arc<dyn Sender>> {
        self.check_open()?;
        self.allow(&self.own, Action::Send)?;
        Ok(self.out.clone())
    }

    async fn receiver(&self) -> Result<Box<dyn Receiver>> {
        self.check_open()?;
        if lock(&self.inner).draining {
            return Err(self.closed());
        }
        self.allow(&self.own, Action::Receive)?;
        let server = self.context.side == Side::Server;
        if server && self.address.as_ref().is_some_and(|address| address.is_accepting()) {
            return Err(EXCLUSIVE);
        }
        let (topic, paired) = {
            let inner = lock(&self.inner);
            (inner.inbound.clone(), inner.pair.is_some())
        };
        let membership = if paired { self.config.alone() } else { self.config.membership() };
        Ok(self.chair(&topic, membership))
    }

    async fn caller(&self) -> Result<Caller> {
        let sender = self.sender().await?;
        let topic = Topic::new(self.endpoint.to_string());
        let receiver = self.chair(&topic, self.config.alone());
        let reply_to = self.hub.add_replies(&topic);
        lock(&self.inner).replies.push(topic);
        Ok(Caller::new(sender, receiver, Bytes::from(reply_to)))
    }

    async fn replier(&self, reply_to: &[u8]) -> Result<Arc<dyn Sender>> {
        self.check_open()?;
        let topic = match self.hub.replies(reply_to) {
            Err(Error::Denied { .. }) if self.config.reply_any => self.hub.named(reply_to)?,
            found => found?,
        };
        Ok(Port::new(topic, &self.config, &self.context))
    }

    async fn accept(&self) -> Result<Option<Arc<dyn Connection>>> {
        let Some(address) = self.address.as_ref().filter(|_| self.context.side == Side::Server)
        else {
            return Err(self.unsupported(Capability::Peers));
        };
        if address.up.has_members() {
            return Err(EXCLUSIVE);
        }
        loop {
            let ended = || !self.is_open();
            let Some(client) = address.next_client(ended).await else { return Ok(None) };
            if self.allow(&client.own, Action::Send).is_err() {
                // It sees its own end; nothing of it was received here.
                drop(client.end(&client.places()));
                continue;
            }
            let pair = self.pair_with(&client);
            self.context.events.emit(Event::PeerArrived { peer: client.own.clone() });
            return Ok(Some(pair));
        }
    }

    fn peer(&self) -> Option<&Arc<Peer>> {
        self.peer.as_ref()
    }

    async fn drain(&self, deadline: Duration) -> Result<Drained> {
        let until = self.context.clock.now().saturating_add(deadline);
        lock(&self.inner).draining = true;
        let places = self.places();
        let now = || self.context.clock.now();
        for place in &places {
            place.topic.leave(place.seat, now());
        }
        let topics: Vec<_> = places.iter().map(|place| &place.topic).collect();
        let settled = || places.iter().all(|place| place.topic.in_hand(place.seat, now()) == 0);
        self.wait(until, &topics, settled).await;
        let lane = self.out.lane();
        lane.topic.stop(lane.outbox);
        let flushed = || lane.topic.held(lane.outbox, now()) == 0;
        self.wait(until, &[&lane.topic], flushed).await;
        Ok(self.end(&places))
    }
}

impl Drop for MemoryConnection {
    fn drop(&mut self) {
        if self.is_open() {
            // Nobody is left to take what comes back; whoever waits for a receipt gets its own.
            drop(self.end(&self.places()));
        }
    }
}

impl fmt::Debug for MemoryConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryConnection({})", self.endpoint)
    }
}

const EXCLUSIVE: Error = Error::Misuse {
    what: "this address is used with both `accept` and `receiver`",
    remedy: "use `accept` to get each peer alone, or `receiver` to get all of them merged",
};

impl Inner {
    fn new(inbound: Arc<Topic>) -> Self {
        Self {
            inbound,
            seats: Vec::new(),
            replies: Vec::new(),
            pair: None,
            listener: None,
            draining: false,
            open: true,
        }
    }
}

impl Port {
    fn new(topic: Arc<Topic>, config: &Config, context: &OpenContext) -> Arc<Self> {
        let outbox = topic.register(config.sending(context.events.clone()));
        let clock = context.clock.clone();
        Arc::new(Self { lane: Mutex::new(Lane { topic, outbox }), clock })
    }

    fn lane(&self) -> Lane {
        lock(&self.lane).clone()
    }

    /// Nothing was admitted before: there was no receiver. Whoever waits looks again and follows.
    fn move_to(&self, topic: Arc<Topic>, config: &Config, context: &OpenContext) {
        let outbox = topic.register(config.sending(context.events.clone()));
        let old = std::mem::replace(&mut *lock(&self.lane), Lane { topic, outbox });
        old.topic.disturb();
        old.topic.unregister(old.outbox);
    }

    fn cut(&self, now: Duration) -> Vec<crate::SendError> {
        let lane = self.lane();
        lane.topic.cut(lane.outbox, now)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let lane = self.lane();
        lane.topic.unregister(lane.outbox);
    }
}

/// A call that waits for credit; leaves the queue when it is dropped.
struct Admission<'a> {
    port: &'a Port,
    lane: Lane,
    call: Option<u64>,
}

impl Admission<'_> {
    /// Where the port leads now; a call that waited elsewhere begins again there.
    fn follow(&mut self) {
        let lane = self.port.lane();
        if !Arc::ptr_eq(&lane.topic, &self.lane.topic) {
            self.lane = lane;
            self.call = None;
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.call.is_some() {
            let now = self.port.clock.now();
            self.lane.topic.cancel_admit(self.lane.outbox, &mut self.call, now);
        }
    }
}

#[async_trait]
impl Sender for Port {
    async fn admit(&self, batch: &mut Batch) -> Result<()> {
        let mut admission = Admission { port: self, lane: self.lane(), call: None };
        let mut timer = Timer::default();
        poll_fn(|cx| {
            loop {
                admission.follow();
                let now = self.clock.now();
                let Admission { lane, call, .. } = &mut admission;
                match lane.topic.poll_admit(lane.outbox, batch, call, now, cx) {
                    Wait::Ready(outcome) => return Poll::Ready(outcome),
                    Wait::Until(due) if timer.poll(&*self.clock, due, cx).is_pending() => {
                        return Poll::Pending;
                    }
                    Wait::Until(_) => {}
                }
            }
        })
        .await
    }

    async fn receipts(&self, ticket: &mut Ticket) -> Receipts {
        let lane = self.lane();
        poll_fn(|cx| lane.topic.poll_receipts(lane.outbox, ticket, self.clock.now(), cx)).await
    }

    fn withdraw(&self, ticket: Ticket) -> Receipts {
        let lane = self.lane();
        lane.topic.withdraw(lane.outbox, &ticket, self.clock.now())
    }

    fn forget(&self, ticket: &Ticket) {
        let lane = self.lane();
        lane.topic.forget(lane.outbox, ticket);
    }
}

impl Place {
    fn new(topic: Arc<Topic>, membership: Membership, context: &OpenContext) -> Self {
        let seat = topic.join(membership);
        let hook = Hook {
            topic: topic.clone(),
            group: seat.group,
            events: context.events.clone(),
            clock: context.clock.clone(),
            late: AtomicU64::new(0),
        };
        Self { topic, seat, hook: Arc::new(hook) }
    }
}

impl Chair {
    fn place(&self) -> Place {
        lock(&self.place).clone()
    }

    fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Whether its receiver is gone and nothing of it is in hand.
    fn is_over(&self) -> bool {
        let place = self.place();
        self.has_left() && !place.topic.is_member(place.seat)
    }

    fn move_to(&self, topic: Arc<Topic>, membership: Membership) {
        let mut place = lock(&self.place);
        let seat = topic.join(membership);
        let hook = Hook {
            topic: topic.clone(),
            group: seat.group,
            events: place.hook.events.clone(),
            clock: self.clock.clone(),
            late: AtomicU64::new(0),
        };
        let old = std::mem::replace(&mut *place, Place { topic, seat, hook: Arc::new(hook) });
        drop(place);
        old.topic.leave(old.seat, self.clock.now());
    }
}

struct MemoryReceiver {
    chair: Arc<Chair>,
}

impl Drop for MemoryReceiver {
    fn drop(&mut self) {
        self.chair.left.store(true, Ordering::Release);
        let place = self.chair.place();
        place.topic.leave(place.seat, self.chair.clock.now());
    }
}

/// A receive that waits; hands on what it was woken for when it is dropped.
struct Receiving<'a> {
    chair: &'a Chair,
    waiting: bool,
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        if self.waiting {
            let place = self.chair.place();
            place.topic.cancel_receive(place.seat);
        }
    }
}

#[async_trait]
impl Receiver for MemoryReceiver {
    async fn receive(&mut self, max: usize, into: &mut Deliveries) -> Result<bool> {
        let chair = &*self.chair;
        let mut receiving = Receiving { chair, waiting: false };
        let mut timer = Timer::default();
        poll_fn(|cx| {
            loop {
                let place = chair.place();
                let Place { topic, seat, hook } = &place;
                let now = Now { monotonic: chair.clock.now(), wall: chair.clock.wall() };
                match topic.poll_receive(*seat, max, into, hook, now, cx) {
                    Wait::Ready(more) => {
                        receiving.waiting = false;
                        return Poll::Ready(Ok(more));
                    }
                    Wait::Until(due) => {
                        receiving.waiting = true;
                        // Moved while we looked: look again where we stand now.
                        let moved = !Arc::ptr_eq(&chair.place().topic, topic);
                        if !moved && timer.poll(&*chair.clock, due, cx).is_pending() {
                            return Poll::Pending;
                        }
                    }
                }
            }
        })
        .await
    }

    async fn settled(&mut self) -> Result<Settled> {
        let place = self.chair.place();
        place.topic.harvest(self.chair.clock.now());
        Ok(Settled { late: place.hook.late.swap(0, Ordering::Relaxed) })
    }
}

/// A timer that is made only when there is something to wait for, and again only when that changes.
#[derive(Default)]
struct Timer(Option<(Duration, Sleep)>);

impl Timer {
    /// Ready once `due` has come; pending for ever without one.
    fn poll(
        &mut self,
        clock: &dyn Clock,
        due: Option<Duration>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        let Some(due) = due else {
            self.0 = None;
            return Poll::Pending;
        };
        if self.0.as_ref().is_none_or(|(at, _)| *at != due) {
            self.0 = Some((due, clock.sleep(due.saturating_sub(clock.now()))));
        }
        let Some((_, sleep)) = &mut self.0 else { return Poll::Pending };
        let ready = sleep.as_mut().poll(cx);
        if ready.is_ready() {
            self.0 = None;
        }
        ready
    }
}
