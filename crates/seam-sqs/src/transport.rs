//! Opening, checking and removing endpoints.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sqs::config::{ProvideCredentials, SharedCredentialsProvider};
use seam_broker::pause;
use seam_core::driver::{self, OpenContext, Transport};
use seam_core::{
    Capabilities, Capability, Clock, Confirmation, Cost, Endpoint, Error, Load, Result, Scheme,
    Side, Support,
};

use crate::client::Clients;
use crate::config::{Config, SCHEMES};
use crate::connection::{Parts, SqsConnection};
use crate::cost::cost;
use crate::queue::{Found, Queue};

/// The transport of `sqs://`, `sqs+http://` and `sqs+https://`. Needs a Tokio runtime where it opens.
///
/// ```
/// use seam_core::{Capability, Registry, Side};
/// use seam_sqs::Sqs;
///
/// let registry = Registry::new().with(Sqs::new());
/// let standard = registry.check("sqs://eu-west-1/orders", Side::Server)?;
/// assert!(standard.has(Capability::Schedule) && !standard.has(Capability::Order));
/// let fifo = registry.check("sqs://eu-west-1/orders.fifo", Side::Server)?;
/// assert!(fifo.has(Capability::Order) && !fifo.has(Capability::Schedule));
/// # Ok::<(), seam_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Sqs {
    provider: Option<SharedCredentialsProvider>,
}

impl Sqs {
    /// A transport with the credentials of each URI, or of the standard chain: environment, profile, web identity,
    /// container, instance.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Has every endpoint use these credentials, of the client this crate is built on.
    #[must_use]
    pub fn with_credentials(mut self, provider: impl ProvideCredentials + 'static) -> Self {
        self.provider = Some(SharedCredentialsProvider::new(provider));
        self
    }

    async fn queue(&self, endpoint: &Endpoint, config: &Arc<Config>) -> Result<Arc<Queue>> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::Misuse {
                what: "SQS was opened outside of a Tokio runtime",
                remedy: "open it in a task of Tokio, or enter its runtime first",
            });
        }
        let clients = Clients::new(endpoint, config, self.provider.clone()).await?;
        Ok(Queue::new(clients, config.clone(), endpoint.to_string()))
    }
}

impl fmt::Debug for Sqs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqs").field("has_credentials", &self.provider.is_some()).finish()
    }
}

#[async_trait]
impl Transport for Sqs {
    fn schemes(&self) -> &'static [Scheme] {
        &SCHEMES
    }

    fn check(&self, endpoint: &Endpoint, _: Side) -> Result<Capabilities> {
        let config = Config::new(endpoint)?;
        Ok(capabilities(&config, config.least_message()))
    }

    async fn open(
        &self,
        endpoint: &Endpoint,
        context: OpenContext,
    ) -> Result<Arc<dyn driver::Connection>> {
        let config = Arc::new(Config::new(endpoint)?);
        let queue = self.queue(endpoint, &config).await?;
        let found = find(&queue, &*context.clock).await?;
        let capabilities = capabilities(&config, found.largest);
        let endpoint = endpoint.clone();
        Ok(SqsConnection::new(Parts { endpoint, config, capabilities, context, queue, found }))
    }

    fn cost(&self, endpoint: &Endpoint, load: Load) -> Result<Option<Cost>> {
        Ok(Some(cost(&Config::new(endpoint)?, load)))
    }

    async fn remove(&self, endpoint: &Endpoint) -> Result<()> {
        let config = Arc::new(Config::new(endpoint)?);
        self.queue(endpoint, &config).await?.remove().await
    }
}

/// The queue, asked for until a little before core gives up, so that the reason is told and not only the time.
async fn find(queue: &Queue, clock: &dyn Clock) -> Result<Found> {
    let patience = queue.config.connect_timeout;
    let until = clock.now().saturating_add(patience - patience / 20);
    let mut failures = 0;
    let mut reason = Error::disconnected(&*queue.name, "SQS does not answer in time");
    let finding = async {
        loop {
            match queue.find().await {
                Err(error) if error.is_retryable() => reason = error,
                found => return found,
            }
            failures += 1;
            tokio::time::sleep(pause(failures)).await;
        }
    };
    match seam_core::clock::deadline(clock, until, finding).await {
        Some(found) => found,
        None => Err(reason),
    }
}

/// What holds where a message may have so many bytes.
fn capabilities(config: &Config, largest: usize) -> Capabilities {
    let (native, emulated) = (Support::Native, Support::Emulated);
    let only = |holds: bool, support| if holds { support } else { Support::No };
    let kept = [
        (Capability::Envelope, native),
        (Capability::Redelivery, native),
        (Capability::Delay, native),
        (Capability::Attempts, native),
        (Capability::Order, only(config.is_fifo, native)),
        (Capability::OrderedFailure, only(config.is_fifo, emulated)),
        (Capability::Store, native),
        (Capability::Reply, emulated),
        (Capability::Schedule, only(!config.is_fifo, native)),
    ];
    kept.into_iter()
        .fold(Capabilities::none(), |all, (capability, support)| all.with(capability, support))
        .with_confirmation(Confirmation::Stored)
        .with_limits(config.limits(largest))
}
