//! Opening, checking and removing endpoints.

use std::sync::Arc;

use async_trait::async_trait;
use seam_core::driver::{self, OpenContext, Transport};
use seam_core::{
    Capabilities, Capability, Confirmation, Endpoint, Error, Events, Result, Scheme, Side, Support,
};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, SCHEMES};
use crate::connection::{Parts, RabbitConnection};
use crate::dial::Dialler;
use crate::line::{Line, Standing};
use crate::topology::Topology;

/// The transport of `rabbitmq://`, `amqp://` and their TLS forms. Needs a Tokio runtime where it opens.
///
/// ```
/// use seam_core::{Capability, Registry, Side};
/// use seam_rabbitmq::RabbitMq;
///
/// let registry = Registry::new().with(RabbitMq::new());
/// let queue = registry.check("rabbitmq://localhost/orders", Side::Server)?;
/// assert!(queue.has(Capability::Store) && !queue.has(Capability::Groups));
/// let group = registry.check("rabbitmq://localhost/orders?exchange=events&group=mail", Side::Server)?;
/// assert!(group.has(Capability::Groups));
/// # Ok::<(), seam_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RabbitMq;

impl RabbitMq {
    /// A transport without connections.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Transport for RabbitMq {
    fn schemes(&self) -> &'static [Scheme] {
        &SCHEMES
    }

    fn check(&self, endpoint: &Endpoint, _: Side) -> Result<Capabilities> {
        Ok(capabilities(&Config::new(endpoint)?, Support::AtOpen))
    }

    async fn open(
        &self,
        endpoint: &Endpoint,
        context: OpenContext,
    ) -> Result<Arc<dyn driver::Connection>> {
        let (dialler, topology) = ready(endpoint)?;
        let config = dialler.config.clone();
        let counts = if config.counts_attempts() { Support::Native } else { Support::No };
        let capabilities = capabilities(&config, counts);
        let endpoint = endpoint.clone();
        let parts = Parts { endpoint, config, capabilities, context, topology };
        let connection = RabbitConnection::new(parts, dialler);
        connection.begin().await?;
        Ok(connection)
    }

    async fn remove(&self, endpoint: &Endpoint) -> Result<()> {
        let (dialler, topology) = ready(endpoint)?;
        let stop = CancellationToken::new();
        let standing = Arc::new(Standing::new(Events::new()));
        let patience = dialler.config.connect_timeout;
        let clock = seam_core::SystemClock::new();
        let (line, keeping) = Line::new(dialler, "remove", standing, stop.clone());
        let removing = async {
            let _stop = stop.drop_guard();
            let native = line.opened(&clock, patience).await?;
            topology.remove(&native).await
        };
        tokio::join!(removing, keeping).0
    }
}

fn ready(endpoint: &Endpoint) -> Result<(Arc<Dialler>, Arc<Topology>)> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(Error::Misuse {
            what: "RabbitMQ was opened outside of a Tokio runtime",
            remedy: "open it in a task of Tokio, or enter its runtime first",
        });
    }
    let config = Arc::new(Config::new(endpoint)?);
    let name = endpoint.to_string();
    let topology = Topology::new(config.clone(), name.clone());
    Ok((Arc::new(Dialler { endpoint: endpoint.clone(), config, name }), topology))
}

/// What holds: before any broker was asked, and after.
fn capabilities(config: &Config, attempts: Support) -> Capabilities {
    let (native, emulated) = (Support::Native, Support::Emulated);
    let grouped = if config.exchange.is_some() { native } else { Support::No };
    let kept = [
        (Capability::Envelope, native),
        (Capability::Redelivery, native),
        (Capability::Delay, emulated),
        (Capability::Attempts, attempts),
        (Capability::Order, if config.keeps_order { emulated } else { Support::No }),
        (Capability::Groups, grouped),
        (Capability::Private, grouped),
        (Capability::Store, native),
        (Capability::Reply, native),
        (Capability::Schedule, emulated),
    ];
    kept.into_iter()
        .fold(Capabilities::none(), |all, (capability, support)| all.with(capability, support))
        .with_confirmation(Confirmation::Stored)
        .with_limits(config.limits.clone())
}
