//! The driver's connection, sender and receiver over topics.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::chair::{Chair, MemoryReceiver, Place};
use super::config::Config;
use super::transport::{Address, Hub};
use crate::clock::lock;
use crate::distributor::Port;
use crate::distributor::group::Now;
use crate::distributor::{Distributor, Membership};
use crate::driver::{Caller, Connection, Drained, OpenContext, Receiver, Sender};
use crate::{
    Access, Action, Capabilities, Capability, Endpoint, Error, Event, Events, Peer, Result, Side,
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
    inbound: Arc<Distributor>,
    /// Those of dropped receivers too, while something of theirs is in hand.
    seats: Vec<Arc<Chair>>,
    replies: Vec<Arc<Distributor>>,
    /// Ways to requesters that were replied to lately.
    repliers: Vec<Replier>,
    /// The topics of an accepted pair: closed with either end.
    pair: Option<(Arc<Distributor>, Arc<Distributor>)>,
    /// Whom to tell that we have departed.
    listener: Option<Events>,
    /// Whether new receivers are refused.
    draining: bool,
    open: bool,
}

/// A way to one requester, kept for its next request.
struct Replier {
    reply_to: Box<[u8]>,
    topic: Arc<Distributor>,
    port: Arc<Port>,
}

/// Ways to requesters that a connection keeps.
const REPLIERS: usize = 16;

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
            out: Port::new(
                outbound.clone(),
                config.sending(context.events.clone()),
                context.clock.clone(),
            ),
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
        let (up, down) = (Distributor::new(name.clone()), Distributor::new(name));
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
            out: self.port_to(down.clone()),
            inner: Mutex::new(inner),
        });
        client.move_to(&up, &down, self.context.events.clone());
        connection
    }

    /// From now on this client talks to one server alone.
    fn move_to(&self, up: &Arc<Distributor>, down: &Arc<Distributor>, listener: Events) {
        let chairs: Vec<Arc<Chair>> = {
            let mut inner = lock(&self.inner);
            inner.inbound = down.clone();
            inner.pair = Some((up.clone(), down.clone()));
            inner.listener = Some(listener);
            inner.seats.iter().filter(|chair| !chair.has_left()).cloned().collect()
        };
        // Without the lock: whoever waits is woken, and may call us.
        self.out.move_to(up.clone(), self.config.sending(self.context.events.clone()));
        for chair in chairs {
            chair.move_to(down.clone(), self.config.alone());
        }
    }

    fn port_to(&self, topic: Arc<Distributor>) -> Arc<Port> {
        let sending = self.config.sending(self.context.events.clone());
        Port::new(topic, sending, self.context.clock.clone())
    }

    fn port_to_requester(&self, topic: Arc<Distributor>) -> Arc<Port> {
        let sending = self.config.replying(self.context.events.clone());
        Port::new(topic, sending, self.context.clock.clone())
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

    fn now(&self) -> Now<'_> {
        Now::of(&*self.context.clock)
    }

    /// The way to a requester that was replied to before, if it is still there.
    fn known_replier(&self, reply_to: &[u8]) -> Result<Option<Arc<Port>>> {
        let mut inner = lock(&self.inner);
        if !inner.open {
            return Err(self.closed());
        }
        let Some(at) = inner.repliers.iter().position(|known| known.reply_to[..] == *reply_to)
        else {
            return Ok(None);
        };
        if inner.repliers[at].topic.is_closed() {
            let gone = inner.repliers.swap_remove(at);
            drop(inner);
            drop(gone);
            return Err(Error::RequesterGone);
        }
        // The one used last is found first.
        inner.repliers.swap(0, at);
        Ok(Some(inner.repliers[0].port.clone()))
    }

    fn new_replier(&self, reply_to: &[u8], topic: Arc<Distributor>) -> Arc<Port> {
        let port = self.port_to_requester(topic.clone());
        let known = Replier { reply_to: reply_to.into(), topic, port: port.clone() };
        let mut inner = lock(&self.inner);
        if !inner.open {
            return port;
        }
        let mut old = std::mem::take(&mut inner.repliers);
        let (kept, mut gone): (Vec<_>, Vec<_>) =
            old.drain(..).partition(|known| !known.topic.is_closed());
        inner.repliers = kept;
        if inner.repliers.len() >= REPLIERS {
            gone.extend(inner.repliers.pop());
        }
        inner.repliers.insert(0, known);
        drop(inner);
        drop(gone);
        port
    }

    fn chair(&self, topic: &Arc<Distributor>, membership: Membership) -> Arc<Chair> {
        let place = Place::new(topic.clone(), membership, &self.context);
        let clock = self.context.clock.clone();
        Arc::new(Chair { place: Mutex::new(place), clock, left: AtomicBool::new(false) })
    }

    fn places(&self) -> Vec<Place> {
        let inner = lock(&self.inner);
        inner.seats.iter().map(|chair| chair.place()).collect()
    }

    /// Waits until `done`, or until the clock has reached `until`.
    async fn wait(&self, until: Duration, topics: &[&Arc<Distributor>], done: impl Fn() -> bool) {
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
            place.topic.leave(place.seat, now.monotonic());
            unsettled += place.topic.revoke(place.seat, &now);
        }
        if unsettled > 0 {
            self.context.events.emit(Event::LeaseLost { count: unsettled });
        }
        let unsent = self.out.close();
        let mut inner = lock(&self.inner);
        let was_open = std::mem::replace(&mut inner.open, false);
        let (pair, replies) = (inner.pair.clone(), inner.replies.clone());
        let (listener, repliers) = (inner.listener.take(), std::mem::take(&mut inner.repliers));
        drop(inner);
        drop(repliers);
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
        let chair = self.chair(&topic, membership);
        let mut inner = lock(&self.inner);
        inner.seats.retain(|chair| !chair.is_over());
        inner.seats.push(chair.clone());
        let inbound = inner.inbound.clone();
        drop(inner);
        if !Arc::ptr_eq(&inbound, &topic) {
            // A server accepted us meanwhile; its move did not find this chair.
            chair.move_to(inbound, self.config.alone());
        }
        Ok(Box::new(MemoryReceiver { chair }))
    }

    async fn caller(&self) -> Result<Caller> {
        let sender = self.sender().await?;
        let topic = Distributor::new(self.endpoint.to_string());
        // No seat: handlers may ask while the connection drains, so replies come until it is closed.
        let chair = self.chair(&topic, self.config.alone());
        let receiver = Box::new(MemoryReceiver { chair });
        let reply_to = self.hub.add_replies(&topic);
        lock(&self.inner).replies.push(topic);
        Ok(Caller::new(sender, receiver, Bytes::from(reply_to)))
    }

    async fn replier(&self, reply_to: &[u8]) -> Result<Arc<dyn Sender>> {
        if let Some(replier) = self.known_replier(reply_to)? {
            return Ok(replier);
        }
        match self.hub.replies(reply_to) {
            Err(Error::Denied { .. }) if self.config.reply_any => {
                let topic = self.hub.named(reply_to)?;
                Ok(self.port_to(topic))
            }
            topic => Ok(self.new_replier(reply_to, topic?)),
        }
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
        for place in &places {
            place.topic.leave(place.seat, self.context.clock.now());
        }
        let topics: Vec<_> = places.iter().map(|place| &place.topic).collect();
        let settled =
            || places.iter().all(|place| place.topic.in_hand(place.seat, &self.now()) == 0);
        self.wait(until, &topics, settled).await;
        self.out.flush(until).await;
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
    fn new(inbound: Arc<Distributor>) -> Self {
        Self {
            inbound,
            seats: Vec::new(),
            replies: Vec::new(),
            repliers: Vec::new(),
            pair: None,
            listener: None,
            draining: false,
            open: true,
        }
    }
}
