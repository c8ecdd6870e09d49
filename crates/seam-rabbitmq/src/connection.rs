//! An opened endpoint: a connection that publishes and one that consumes, each made when it is first needed.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use seam_broker::{Credit, Outgoing, Way};
use seam_core::driver::{Caller, Connection, Drained, OpenContext, Receiver, Sender};
use seam_core::{Access, Action, Capabilities, Endpoint, Error, Peer, Result, Side};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Field};
use crate::consuming::serve;
use crate::delays::Delays;
use crate::desk::{self, Desk};
use crate::dial::Dialler;
use crate::line::{GOODBYE, Line, Native, PATIENCE, Standing};
use crate::member::Member;
use crate::publish::{Source, publish};
use crate::publisher::Publisher;
use crate::replies::{PSEUDO_QUEUE, Replies, ReplyReceiver, address};
use crate::target::{Routing, Target};
use crate::topology::Topology;

/// What a connection is made of.
pub(crate) struct Parts {
    pub(crate) endpoint: Endpoint,
    pub(crate) config: Arc<Config>,
    pub(crate) capabilities: Capabilities,
    pub(crate) context: OpenContext,
    pub(crate) topology: Arc<Topology>,
}

/// One opened endpoint.
pub(crate) struct RabbitConnection {
    parts: Parts,
    dialler: Arc<Dialler>,
    standing: Arc<Standing>,
    /// Who we are to the hook of `authorise`.
    own: Peer,
    tasks: TaskTracker,
    /// Ends what publishes and consumes, and then the connections to the broker.
    stop_work: CancellationToken,
    stop_lines: CancellationToken,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    publishing: Option<Arc<Line>>,
    consuming: Option<Arc<Line>>,
    outgoing: Option<Arc<Outgoing<Target>>>,
    delays: Option<Arc<Delays>>,
    desks: Vec<Arc<Desk>>,
    callers: Vec<(Arc<Outgoing<Target>>, Arc<Replies>)>,
    /// What is asked whether a requester is still there, on the connection of this number.
    asking: Option<(u64, Arc<Channel>)>,
    draining: bool,
    closed: bool,
}

impl Inner {
    /// Every way out, those of requesters too.
    fn ways(&self) -> Vec<Arc<Outgoing<Target>>> {
        let callers = self.callers.iter().map(|(caller, _)| caller);
        self.outgoing.iter().chain(callers).cloned().collect()
    }
}

impl RabbitConnection {
    pub(crate) fn new(parts: Parts, dialler: Arc<Dialler>) -> Arc<Self> {
        let client = parts.endpoint.text("client_id").unwrap_or("seam");
        let own = Peer::new(client, parts.endpoint.to_string());
        let standing = Arc::new(Standing::new(parts.context.events.clone()));
        Arc::new(Self {
            parts,
            dialler,
            standing,
            own,
            tasks: TaskTracker::new(),
            stop_work: CancellationToken::new(),
            stop_lines: CancellationToken::new(),
            inner: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self) -> String {
        self.dialler.name.clone()
    }

    fn closed(&self) -> Error {
        Error::Closed { endpoint: self.name() }
    }

    fn allow(&self, action: Action) -> Result<()> {
        let access = Access { peer: &self.own, endpoint: &self.parts.endpoint, action };
        self.parts.context.authorise.allow(&access)
    }

    /// The first connection of this side, with all that the endpoint needs on the broker.
    ///
    /// # Errors
    ///
    /// Why there is none, or why something is not there.
    pub(crate) async fn begin(&self) -> Result<()> {
        let line = match self.parts.context.side {
            Side::Client => self.publishing(&mut self.lock()),
            Side::Server => self.consuming(&mut self.lock()),
        };
        // A little before core gives up, so that the reason is told and not only the time.
        let patience = self.parts.config.connect_timeout;
        let clock = &self.parts.context.clock;
        let native = line.opened(&**clock, patience - patience / 20).await?;
        match self.parts.context.side {
            Side::Client => self.parts.topology.for_sending(&native).await,
            Side::Server => self.parts.topology.for_receiving(&native).await.map(drop),
        }
    }

    fn publishing(&self, inner: &mut Inner) -> Arc<Line> {
        inner.publishing.get_or_insert_with(|| self.line("publish")).clone()
    }

    fn consuming(&self, inner: &mut Inner) -> Arc<Line> {
        inner.consuming.get_or_insert_with(|| self.line("consume")).clone()
    }

    fn line(&self, purpose: &'static str) -> Arc<Line> {
        let (standing, stop) = (self.standing.clone(), self.stop_lines.clone());
        let (line, keeping) = Line::new(self.dialler.clone(), purpose, standing, stop);
        self.tasks.spawn(keeping);
        line
    }

    /// Has a task publish for `source`.
    fn publish(&self, inner: &mut Inner, source: Arc<dyn Source>) {
        let line = self.publishing(inner);
        self.tasks.spawn(publish(source, line, self.name(), self.stop_work.clone()));
    }

    /// A way out and its task.
    fn new_outgoing(
        &self,
        inner: &mut Inner,
        replies: Option<Arc<Replies>>,
    ) -> Arc<Outgoing<Target>> {
        let OpenContext { clock, events, .. } = &self.parts.context;
        let (clock, events) = (clock.clone(), events.clone());
        let Config { credit: count, credit_bytes: bytes, .. } = *self.parts.config;
        let credit = Credit { count, bytes };
        let outgoing =
            Outgoing::new(seam_broker::Parts { name: self.name(), clock, events, credit });
        let topology = self.parts.topology.clone();
        self.publish(inner, Publisher::new(outgoing.clone(), topology, replies));
        outgoing
    }

    fn way(&self, target: Arc<Target>) -> Result<Arc<Way<Target>>> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(self.closed());
        }
        let outgoing = match &inner.outgoing {
            Some(outgoing) => outgoing.clone(),
            None => {
                let outgoing = self.new_outgoing(&mut inner, None);
                inner.outgoing.insert(outgoing).clone()
            }
        };
        Ok(Way::new(outgoing, target))
    }

    fn target(&self) -> Arc<Target> {
        let Config { address, exchange, routing_key, .. } = &*self.parts.config;
        let Some((exchange, _)) = exchange else { return Arc::new(Target::queue(address.clone())) };
        let routing = match routing_key {
            None => Routing::Fixed(address.clone()),
            Some(Field::Kind) => Routing::Kind,
            Some(Field::Key) => Routing::Key,
        };
        Arc::new(Target { exchange: exchange.clone(), routing, mandatory: true })
    }

    /// A receiver and its task.
    fn desk(&self) -> Result<Arc<Desk>> {
        let mut inner = self.lock();
        if inner.closed || inner.draining {
            return Err(self.closed());
        }
        let delays = match &inner.delays {
            Some(delays) => delays.clone(),
            None => {
                let delays = Delays::new(self.parts.topology.clone());
                self.publish(&mut inner, delays.clone());
                inner.delays = Some(delays.clone());
                delays
            }
        };
        let OpenContext { clock, events, .. } = &self.parts.context;
        let topology = self.parts.topology.clone();
        let (name, clock, events) = (self.name(), clock.clone(), events.clone());
        let standing = self.standing.clone();
        let desk = Desk::new(desk::Parts { name, topology, clock, events, standing, delays });
        inner.desks.retain(|desk| !desk.has_ended());
        inner.desks.push(desk.clone());
        let line = self.consuming(&mut inner);
        self.tasks.spawn(serve(desk.clone(), line, self.stop_work.clone()));
        Ok(desk)
    }

    /// Where a reply to `reply_to` goes.
    async fn replies_to(&self, reply_to: &[u8]) -> Result<Target> {
        if let Some(address) = address(reply_to) {
            self.find(&address).await?;
            return Ok(Target::reply(address));
        }
        let named =
            std::str::from_utf8(reply_to).ok().and_then(|name| ShortString::try_new(name).ok());
        // What looks like an address and is none ends the connection of whoever publishes to it.
        let is_queue = |name: &ShortString| !name.as_str().starts_with(PSEUDO_QUEUE);
        match named.filter(|name| self.parts.config.reply_any && is_queue(name)) {
            Some(name) => Ok(Target::queue(name)),
            None => Err(Error::Denied {
                endpoint: self.name(),
                reason:
                    "the reply address is none that RabbitMQ made for a requester; see `reply_any`"
                        .into(),
            }),
        }
    }

    /// Whether a requester is still there. A broker that does not say so in time is believed to have it.
    async fn find(&self, address: &ShortString) -> Result<()> {
        let line = self.publishing(&mut self.lock());
        let asking = async {
            for _ in 0..TRIES {
                let Some(native) = line.up().await else { return Ok(()) };
                let channel = self.asking(&native).await?;
                let options = QueueDeclareOptions { passive: true, ..Default::default() };
                let found = channel.queue_declare(address.clone(), options, FieldTable::default());
                match found.await {
                    Ok(_) => return Ok(()),
                    Err(error) if error.to_string().contains(address.as_str()) => {
                        return Err(Error::RequesterGone);
                    }
                    // Another one was not there, which ended the channel for all.
                    Err(_) => self.lock().asking = None,
                }
            }
            Ok(())
        };
        timeout(PATIENCE, asking).await.unwrap_or(Ok(()))
    }

    async fn asking(&self, native: &Native) -> Result<Arc<Channel>> {
        let known = self.lock().asking.clone();
        if let Some((_, channel)) = known
            .filter(|(number, channel)| *number == native.number && channel.status().connected())
        {
            return Ok(channel);
        }
        let channel = Arc::new(native.channel().await?);
        self.lock().asking = Some((native.number, channel.clone()));
        Ok(channel)
    }

    /// Ends everything; what waits learns it.
    fn close(&self) -> (Vec<Arc<Outgoing<Target>>>, u64) {
        let mut inner = self.lock();
        inner.closed = true;
        let desks = std::mem::take(&mut inner.desks);
        let (callers, ways) = (inner.callers.clone(), inner.ways());
        drop(inner);
        let unsettled = desks.iter().map(|desk| desk.end()).sum();
        callers.iter().for_each(|(_, replies)| replies.end());
        ways.iter().for_each(|outgoing| outgoing.close());
        (ways, unsettled)
    }
}

#[async_trait]
impl Connection for RabbitConnection {
    fn capabilities(&self) -> &Capabilities {
        &self.parts.capabilities
    }

    async fn sender(&self) -> Result<Arc<dyn Sender>> {
        self.allow(Action::Send)?;
        Ok(self.way(self.target())?)
    }

    async fn receiver(&self) -> Result<Box<dyn Receiver>> {
        self.allow(Action::Receive)?;
        let member = Member(self.desk()?);
        member.0.opened().await?;
        Ok(Box::new(member))
    }

    async fn caller(&self) -> Result<Caller> {
        self.allow(Action::Send)?;
        let mut inner = self.lock();
        if inner.closed {
            return Err(self.closed());
        }
        let events = self.parts.context.events.clone();
        let replies = Replies::new(self.parts.config.credit, events);
        let outgoing = self.new_outgoing(&mut inner, Some(replies.clone()));
        inner.callers.push((outgoing.clone(), replies.clone()));
        drop(inner);
        let sender = Way::new(outgoing, self.target());
        Ok(Caller::new(sender, Box::new(ReplyReceiver(replies)), PSEUDO_QUEUE.into()))
    }

    async fn replier(&self, reply_to: &[u8]) -> Result<Arc<dyn Sender>> {
        Ok(self.way(Arc::new(self.replies_to(reply_to).await?))?)
    }

    async fn drain(&self, deadline: Duration) -> Result<Drained> {
        let clock = &self.parts.context.clock;
        let until = clock.now().saturating_add(deadline);
        let desks = {
            let mut inner = self.lock();
            inner.draining = true;
            inner.desks.clone()
        };
        desks.iter().for_each(|desk| desk.quiet());
        let idle = join_all(desks.iter().map(|desk| desk.idle()));
        // Whoever is not idle then has something that nobody settled.
        drop(seam_core::clock::deadline(&**clock, until, idle).await);
        let ways = self.lock().ways();
        for outgoing in &ways {
            outgoing.flush(until).await;
        }
        let (ways, unsettled) = self.close();
        let unsent = ways.iter().flat_map(|outgoing| outgoing.unsent()).collect();
        self.stop_work.cancel();
        self.stop_lines.cancel();
        self.tasks.close();
        // Saying good-bye takes a moment; a broker that does not answer is left.
        drop(timeout(GOODBYE * 2, self.tasks.wait()).await);
        Ok(Drained::new(unsettled, unsent))
    }
}

/// How often a requester is looked for.
const TRIES: usize = 3;

impl Drop for RabbitConnection {
    fn drop(&mut self) {
        self.close();
        self.stop_work.cancel();
        self.stop_lines.cancel();
        self.tasks.close();
    }
}

impl fmt::Debug for RabbitConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RabbitConnection({})", self.dialler.name)
    }
}
