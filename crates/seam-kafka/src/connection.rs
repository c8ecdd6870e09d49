//! An opened endpoint: a producer and a consumer, each made when it is first asked for.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::ClientConfig;
use seam_core::driver::{Connection, Drained, OpenContext, Receiver, Sender};
use seam_core::{Access, Action, Capabilities, Endpoint, Error, Peer, Result};

use crate::background::{Threads, lock};
use crate::config::Config;
use crate::consumer::Consumer;
use crate::producer::Producer;

/// What a connection is made of.
pub(crate) struct Parts {
    pub(crate) endpoint: Endpoint,
    pub(crate) config: Config,
    pub(crate) native: ClientConfig,
    pub(crate) partitions: i32,
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
        let Parts { config, native, partitions, context, threads, .. } = &self.parts;
        let time = (context.clock.clone(), context.events.clone());
        let producer =
            Producer::start(native.clone(), config, *partitions, self.name(), time, threads)?;
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
        let Parts { config, native, partitions, context, threads, .. } = &self.parts;
        let time = (context.clock.clone(), context.events.clone());
        let consumer =
            Consumer::start(native.clone(), config, *partitions, self.name(), time, threads)?;
        inner.consumer = Some(consumer.clone());
        Ok(consumer)
    }

    /// Takes what there is, so that nothing new begins.
    fn take(&self) -> (Option<Arc<Consumer>>, Option<Arc<Producer>>) {
        let mut inner = lock(&self.inner);
        inner.closed = true;
        (inner.consumer.clone(), inner.producer.clone())
    }
}

#[async_trait]
impl Connection for KafkaConnection {
    fn capabilities(&self) -> &Capabilities {
        &self.parts.capabilities
    }

    async fn sender(&self) -> Result<Arc<dyn Sender>> {
        self.allow(Action::Send)?;
        let producer = self.producer()?;
        let now = self.parts.context.clock.now();
        producer.ready(now.saturating_add(self.parts.config.connect_timeout / 2)).await?;
        Ok(producer)
    }

    async fn receiver(&self) -> Result<Box<dyn Receiver>> {
        self.allow(Action::Receive)?;
        self.consumer()?.receiver().await
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
        let (consumer, producer) = self.take();
        let unsettled = consumer.as_ref().map_or(0, |consumer| consumer.close());
        if let Some(producer) = &producer {
            producer.close();
        }
        if let Some(consumer) = &consumer {
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
        let (consumer, producer) = self.take();
        if let Some(consumer) = consumer {
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
