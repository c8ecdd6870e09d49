//! Opening, checking and removing endpoints.

use std::sync::Arc;

use async_trait::async_trait;
use seam_core::driver::{self, OpenContext, Transport};
use seam_core::{Capabilities, Capability, Confirmation, Endpoint, Result, Scheme, Side, Support};

use crate::admin;
use crate::background::Threads;
use crate::config::{self, Config, SCHEMES};
use crate::connection::{KafkaConnection, Parts};

/// The transport of `kafka://` and `kafka+tls://`. Clones share their threads.
///
/// ```
/// use seam_core::{Capability, Registry, Side};
/// use seam_kafka::Kafka;
///
/// let registry = Registry::new().with(Kafka::new());
/// let capabilities = registry.check("kafka://localhost/orders", Side::Client)?;
/// assert!(capabilities.has(Capability::Replay));
/// assert!(!capabilities.has(Capability::Schedule));
/// # Ok::<(), seam_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Kafka {
    threads: Threads,
}

impl Kafka {
    /// A transport without connections.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Transport for Kafka {
    fn schemes(&self) -> &'static [Scheme] {
        &SCHEMES
    }

    fn check(&self, endpoint: &Endpoint, _: Side) -> Result<Capabilities> {
        Ok(capabilities(&Config::new(endpoint)?))
    }

    async fn open(
        &self,
        endpoint: &Endpoint,
        context: OpenContext,
    ) -> Result<Arc<dyn driver::Connection>> {
        let mut config = Config::new(endpoint)?;
        let (asked, endpoint) = (endpoint.clone(), endpoint.clone());
        let wanted = config.clone();
        let opening = self.threads.run("seam-kafka-open", move |still| {
            let native = config::native(&asked)?;
            let topic = admin::ensure(&native, &wanted, &asked.to_string(), still)?;
            Ok((native, topic))
        });
        let (native, topic) = opening.await?;
        config.fit(&topic);
        let (capabilities, threads) = (capabilities(&config), self.threads.clone());
        let parts = Parts { endpoint, config, native, topic, capabilities, context, threads };
        Ok(KafkaConnection::new(parts))
    }

    async fn remove(&self, endpoint: &Endpoint) -> Result<()> {
        let config = Config::new(endpoint)?;
        let endpoint = endpoint.clone();
        let removing = self.threads.run("seam-kafka-remove", move |_| {
            let native = config::native(&endpoint)?;
            admin::delete(&native, &config, &endpoint.to_string())
        });
        removing.await
    }
}

/// What holds before any broker was asked, and after.
fn capabilities(config: &Config) -> Capabilities {
    let (native, emulated) = (Support::Native, Support::Emulated);
    let kept = [
        (Capability::Envelope, native),
        (Capability::Redelivery, emulated),
        (Capability::Delay, emulated),
        (Capability::Order, native),
        (Capability::OrderedFailure, native),
        (Capability::Groups, native),
        (Capability::Private, native),
        (Capability::Replay, native),
        (Capability::Store, native),
        (Capability::Reply, emulated),
    ];
    let kept = kept
        .into_iter()
        .filter(|(capability, _)| !(config.spread && *capability == Capability::Order));
    kept.fold(Capabilities::none(), |all, (capability, support)| all.with(capability, support))
        .with_confirmation(Confirmation::Stored)
        .with_limits(config.limits.clone())
}
