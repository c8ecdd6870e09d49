//! An opened endpoint: a producer and a consumer, each made when it is first asked for.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::ClientConfig;
use seam_core::driver::{Caller, Connection, Drained, OpenContext, Receiver, Sender};
use seam_core::{Access, Action, Capabilities, Endpoint, Error, Peer, Result};

use crate::background::{Threads, lock};
use crate::config::{self, Config};
use crate::consumer::{Consumer, Reads};
use crate::producer::Producer;
use crate::replies::{Address, any_of};
use crate::topic::Topic;
use crate::way::{Target, Way};

/// What a connection is made of.
pub(crate) struct Parts {
    pub(crate) endpoint: Endpoint,
    pub(crate) config: Config,
    pub(crate) native: ClientConfig,
    pub(crate) topic: Topic,
    pub(crate) capabilities: Capabilities,
    pub(crate) context: OpenContext,
    pub(crate) threads: Threads,
}

/// One opened endpoint.
pub(crate) struct KafkaConnection {
    parts: Parts,
    /// Who we are to the hook of `authorise`.
    own: Peer,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    producer: Option<Arc<Producer>>,
    consumer: Option<Arc<Consumer>>,
    /// What reads replies; each ends with its receiver, or with the connection.
    callers: Vec<Arc<Consumer>>,
    /// One of them that is on its way to a call, or was when that call was dropped: the next one finds it.
    next_caller: Option<Arc<Consumer>>,
    draining: bool,
    closed: bool,
}

impl KafkaConnection {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let own = Peer::new(
            parts.endpoint.text("client_id").unwrap_or("seam"),
            parts.endpoint.to_string(),
        );
        Arc::new(Self { parts, own, inner: Mutex::default() })
    }

    fn name(&self) -> String {
        self.parts.endpoint.to_string()
    }

    fn closed(&self) -> Error {
        Error::Closed { endpoint: self.name() }
    }

    fn allow(&self, action: Action) -> Result<()> {
        let access = Access { peer: &self.own, endpoint: &self.parts.endpoint, action };
        self.parts.context.authorise.allow(&access)
    }

    fn producer(&self) -> Result<Arc<Producer>> {
        let mut inner = lock(&self.inner);
        if inner.closed {
            return Err(self.closed());
        }
        if let Some(producer) = &inner.producer {
            return Ok(producer.clone());
        }
        let Parts { config, native, topic, context, threads, .. } = &self.parts;
        let time = (context.clock.clone(), context.events.clone());
        let producer =
            Producer::start(native.clone(), config, &topic.rules, self.name(), time, threads)?;
        inner.producer = Some(producer.clone());
        Ok(producer)
    }

    fn consumer(&self) -> Result<Arc<Consumer>> {
        let mut inner = lock(&self.inner);
        if inner.closed || inner.draining {
            return Err(self.closed());
        }
        if let Some(consumer) = &inner.consumer {
            return Ok(consumer.clone());
        }
        let Parts { config, topic, .. } = &self.parts;
        let consumer = self.read(config.clone(), Reads::Topic(topic.clone()))?;
        inner.consumer = Some(consumer.clone());
        Ok(consumer)
    }

    fn read(&self, config: Config, reads: Reads) -> Result<Arc<Consumer>> {
        let Parts { native, context, threads, .. } = &self.parts;
        let time = (context.clock.clone(), context.events.clone());
        Consumer::start(native.clone(), config, reads, self.name(), time, threads)
    }

    /// The producer, once it can send at once.
    async fn ready(&self) -> Result<Arc<Producer>> {
        let producer = self.producer()?;
        let now = self.parts.context.clock.now();
        producer.ready(now.saturating_add(self.parts.config.connect_timeout / 2)).await?;
        Ok(producer)
    }

    /// What reads replies for a new caller. Opening it takes a while, so it goes on where a call that wanted it was
    /// dropped.
    fn replies(&self) -> Result<Arc<Consumer>> {
        let mut inner = lock(&self.inner);
        if inner.closed {
            return Err(self.closed());
        }
        if let Some(next) = inner.next_caller.clone().filter(|next| !next.is_ended()) {
            return Ok(next);
        }
        let replies = self.read(self.parts.config.for_replies()?, Reads::Replies)?;
        inner.callers.retain(|caller| !caller.is_ended());
        inner.callers.push(replies.clone());
        inner.next_caller = Some(replies.clone());
        Ok(replies)
    }

    /// Has the next caller get another one than `replies`; whether it was there for this one.
    fn claim(&self, replies: &Arc<Consumer>) -> bool {
        let mut inner = lock(&self.inner);
        inner.next_caller.take_if(|next| Arc::ptr_eq(next, replies)).is_some()
    }

    /// Where a reply to `reply_to` goes.
    fn target(&self, reply_to: &[u8]) -> Result<Target> {
        let Parts { config, topic, .. } = &self.parts;
        if let Some(address) = Address::read(reply_to) {
            address.check(&self.name(), &topic.cluster, &config.replies)?;
            return Ok(Target::Reply(address));
        }
        let named = std::str::from_utf8(reply_to).ok().and_then(|name| config::topic(name).ok());
        match named.filter(|_| config.reply_any) {
            Some(name) => Ok(Target::Topic { name, unkeyed: None }),
            None => Err(Error::Denied {
                endpoint: self.name(),
                reason: "the reply address is none that this library made; see `reply_any`".into(),
            }),
        }
    }

    /// Takes what there is, so that nothing new begins.
    fn take(&self) -> (Vec<Arc<Consumer>>, Option<Arc<Producer>>) {
        let mut inner = lock(&self.inner);
        inner.closed = true;
        let consumers = inner.consumer.iter().chain(&inner.callers).cloned().collect();
        (consumers, inner.producer.clone())
    }
}

#[async_trait]
impl Connection for KafkaConnection {
    fn capabilities(&self) -> &Capabilities {
        &self.parts.capabilities
    }

    async fn sender(&self) -> Result<Arc<dyn Sender>> {
        self.allow(Action::Send)?;
        let Parts { config, topic, .. } = &self.parts;
        let unkeyed = (!config.spread).then(|| any_of(topic.partitions));
        let target = Target::Topic { name: topic.name.clone(), unkeyed };
        Ok(Arc::new(Way { producer: self.ready().await?, target }))
    }

    async fn receiver(&self) -> Result<Box<dyn Receiver>> {
        self.allow(Action::Receive)?;
        self.consumer()?.receiver().await
    }

    async fn caller(&self) -> Result<Caller> {
        let sender = self.sender().await?;
        loop {
            let replies = self.replies()?;
            replies.opened().await;
            if !self.claim(&replies) {
                continue;
            }
            let receiver = replies.receiver().await?;
            let address = replies.address().ok_or_else(|| self.closed())?;
            return Ok(Caller::new(sender, receiver, address.text().into()));
        }
    }

    async fn replier(&self, reply_to: &[u8]) -> Result<Arc<dyn Sender>> {
        let target = self.target(reply_to)?;
        Ok(Arc::new(Way { producer: self.ready().await?, target }))
    }

    async fn drain(&self, deadline: Duration) -> Result<Drained> {
        let clock = &self.parts.context.clock;
        let until = clock.now().saturating_add(deadline);
        let consumer = {
            let mut inner = lock(&self.inner);
            inner.draining = true;
            inner.consumer.clone()
        };
        if let Some(consumer) = &consumer {
            consumer.quiet(until).await;
        }
        let producer = lock(&self.inner).producer.clone();
        if let Some(producer) = producer {
            producer.flush(until).await;
        }
        let unsettled = consumer.map_or(0, |consumer| consumer.close());
        let (consumers, producer) = self.take();
        for consumer in &consumers {
            consumer.close();
        }
        if let Some(producer) = &producer {
            producer.close();
        }
        for consumer in consumers {
            // Committing and leaving takes a moment; where no broker answers, the thread goes on alone.
            consumer.ended(until.max(clock.now().saturating_add(LEAVING))).await;
        }
        let unsent = match producer {
            Some(producer) => producer.ended().await,
            None => Vec::new(),
        };
        Ok(Drained::new(unsettled, unsent))
    }
}

/// What a drain gives the consumer to commit and leave, even when its own time is up.
const LEAVING: Duration = Duration::from_millis(500);

impl Drop for KafkaConnection {
    fn drop(&mut self) {
        let (consumers, producer) = self.take();
        for consumer in &consumers {
            consumer.close();
        }
        if let Some(producer) = producer {
            producer.close();
        }
    }
}

impl fmt::Debug for KafkaConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaConnection({})", self.parts.endpoint)
    }
}
