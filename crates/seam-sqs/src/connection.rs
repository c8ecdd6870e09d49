//! An opened endpoint: one publisher, and a desk for each receiver.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use seam_broker::{Credit, Outgoing, Way};
use seam_core::driver::{Caller, Connection, Drained, OpenContext, Receiver, Sender};
use seam_core::{Access, Action, Capabilities, Endpoint, Error, Peer, Result};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::consuming::{GOODBYE, serve};
use crate::desk::Desk;
use crate::member::Member;
use crate::publish::publish;
use crate::publisher::Publisher;
use crate::queue::{Found, Queue};
use crate::replies;
use crate::standing::Standing;
use crate::target::Target;

/// What a connection is made of.
pub(crate) struct Parts {
    pub(crate) endpoint: Endpoint,
    pub(crate) config: Arc<Config>,
    pub(crate) capabilities: Capabilities,
    pub(crate) context: OpenContext,
    pub(crate) queue: Arc<Queue>,
    pub(crate) found: Found,
}

/// One opened endpoint.
pub(crate) struct SqsConnection {
    parts: Parts,
    standing: Arc<Standing>,
    /// Who we are to the hook of `authorise`.
    own: Peer,
    tasks: TaskTracker,
    stop: CancellationToken,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    outgoing: Option<Arc<Outgoing<Target>>>,
    desks: Vec<Arc<Desk>>,
    /// The URLs of queues for replies, to be deleted.
    replies: Vec<String>,
    draining: bool,
    closed: bool,
}

impl SqsConnection {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let own = Peer::new("seam", parts.endpoint.to_string());
        let standing = Arc::new(Standing::new(parts.context.events.clone()));
        Arc::new(Self {
            parts,
            standing,
            own,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            inner: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self) -> String {
        self.parts.queue.name.clone()
    }

    fn closed(&self) -> Error {
        Error::Closed { endpoint: self.name() }
    }

    fn allow(&self, action: Action) -> Result<()> {
        let access = Access { peer: &self.own, endpoint: &self.parts.endpoint, action };
        self.parts.context.authorise.allow(&access)
    }

    /// The way out, and its task.
    fn outgoing(&self) -> Result<Arc<Outgoing<Target>>> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(self.closed());
        }
        if let Some(outgoing) = &inner.outgoing {
            return Ok(outgoing.clone());
        }
        let OpenContext { clock, events, .. } = &self.parts.context;
        let (clock, events) = (clock.clone(), events.clone());
        let Config { credit: count, credit_bytes: bytes, .. } = *self.parts.config;
        let credit = Credit { count, bytes };
        let outgoing =
            Outgoing::new(seam_broker::Parts { name: self.name(), clock, events, credit });
        inner.outgoing = Some(outgoing.clone());
        let publisher = Publisher::new(outgoing.clone());
        let (queue, standing) = (self.parts.queue.clone(), self.standing.clone());
        self.tasks.spawn(publish(publisher, queue, standing, self.stop.clone()));
        Ok(outgoing)
    }

    /// A receiver of the queue at `url`, and its task.
    fn desk(&self, url: String) -> Result<Arc<Desk>> {
        let mut inner = self.lock();
        if inner.closed || inner.draining {
            return Err(self.closed());
        }
        let events = self.parts.context.events.clone();
        let desk = Desk::new(self.parts.config.clone(), url, events);
        inner.desks.retain(|desk| !desk.has_ended());
        inner.desks.push(desk.clone());
        let (queue, standing) = (self.parts.queue.clone(), self.standing.clone());
        self.tasks.spawn(serve(desk.clone(), queue, standing, self.stop.clone()));
        Ok(desk)
    }

    /// Where datagrams of this endpoint are written.
    fn target(&self) -> Target {
        let Found { url, largest, .. } = self.parts.found.clone();
        let Config { is_fifo, packs, .. } = *self.parts.config;
        Target { url, is_fifo, is_spread: false, is_reply: false, packs, largest }
    }

    fn way(&self, target: Target) -> Result<Arc<Way<Target>>> {
        Ok(Way::new(self.outgoing()?, Arc::new(target)))
    }

    /// Ends everything; what waits learns it. How many deliveries nobody had settled.
    fn close(&self) -> (Option<Arc<Outgoing<Target>>>, u64, Vec<String>) {
        let mut inner = self.lock();
        inner.closed = true;
        let desks = std::mem::take(&mut inner.desks);
        let replies = std::mem::take(&mut inner.replies);
        let outgoing = inner.outgoing.clone();
        drop(inner);
        let unsettled = desks.iter().map(|desk| desk.end()).sum();
        outgoing.iter().for_each(|outgoing| outgoing.close());
        (outgoing, unsettled, replies)
    }

    /// Ends the tasks, after what they still have to say.
    fn stop(&self, replies: Vec<String>) {
        if !replies.is_empty() {
            let queue = self.parts.queue.clone();
            self.tasks.spawn(async move {
                let deleting = replies.iter().map(|url| queue.delete(url));
                // What stays is deleted by `seam remove`.
                drop(timeout(GOODBYE, join_all(deleting)).await);
            });
        }
        self.stop.cancel();
        self.tasks.close();
    }
}

#[async_trait]
impl Connection for SqsConnection {
    fn capabilities(&self) -> &Capabilities {
        &self.parts.capabilities
    }

    async fn sender(&self) -> Result<Arc<dyn Sender>> {
        self.allow(Action::Send)?;
        Ok(self.way(self.target())?)
    }

    async fn receiver(&self) -> Result<Box<dyn Receiver>> {
        self.allow(Action::Receive)?;
        Ok(Box::new(Member(self.desk(self.parts.found.url.clone())?)))
    }

    async fn caller(&self) -> Result<Caller> {
        self.allow(Action::Send)?;
        let Parts { config, queue, found, .. } = &self.parts;
        let name = replies::name(&config.queue, &replies::instance());
        let reply_to = replies::reply_to(&queue.name, found, &name)?;
        let url = queue.create_replies(&name).await?;
        self.lock().replies.push(url.clone());
        let receiver = Box::new(Member(self.desk(url)?));
        let sender = self.way(Target { is_spread: true, ..self.target() })?;
        Ok(Caller::new(sender, receiver, reply_to.into()))
    }

    async fn replier(&self, reply_to: &[u8]) -> Result<Arc<dyn Sender>> {
        let Parts { config, found, .. } = &self.parts;
        let url = replies::url(reply_to, &config.queue, found).ok_or_else(|| Error::Denied {
            endpoint: self.name(),
            reason:
                "the reply address is no queue that this library made for a requester of this one"
                    .into(),
        })?;
        Ok(self.way(Target {
            url,
            is_fifo: false,
            is_reply: true,
            packs: false,
            ..self.target()
        })?)
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
        let outgoing = self.lock().outgoing.clone();
        if let Some(outgoing) = outgoing {
            outgoing.flush(until).await;
        }
        let (outgoing, unsettled, replies) = self.close();
        let unsent = outgoing.iter().flat_map(|outgoing| outgoing.unsent()).collect();
        self.stop(replies);
        // Giving back takes a moment; an endpoint that does not answer is left.
        drop(timeout(GOODBYE * 2, self.tasks.wait()).await);
        Ok(Drained::new(unsettled, unsent))
    }
}

impl Drop for SqsConnection {
    fn drop(&mut self) {
        let (_, _, replies) = self.close();
        // Outside of a runtime nothing can be spawned any more, and nothing lives.
        let runtime = tokio::runtime::Handle::try_current().is_ok();
        self.stop(if runtime { replies } else { Vec::new() });
    }
}

impl fmt::Debug for SqsConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqsConnection({})", self.parts.queue.name)
    }
}
