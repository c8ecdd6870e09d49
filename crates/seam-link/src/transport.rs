//! A carrier made a transport.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use seam_core::clock::deadline;
use seam_core::driver::{self, OpenContext, Transport};
use seam_core::{Capabilities, Endpoint, Error, Result, Scheme, Side};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::carrier::Carrier;
use crate::config::{Config, Wire};
use crate::connection::LinkConnection;
use crate::dial::{Dialler, Progress, first, reason};
use crate::hub::Hub;
use crate::listen::Acceptor;
use crate::shared::{Shared, random};

/// A transport over a [`Carrier`]. Clones share the sockets that listen.
///
/// Its schemes take [`PARAMETERS`](crate::PARAMETERS) and whatever the carrier adds.
#[derive(Clone)]
pub struct Links {
    schemes: &'static [Scheme],
    carrier: Arc<dyn Carrier>,
    acceptors: Arc<tokio::sync::Mutex<Acceptors>>,
}

/// Makes a type that holds a [`Links`] in its field `0` a [`Transport`](seam_core::Transport), which does whatever that one does.
///
/// ```
/// use seam_link::Links;
///
/// /// The transport of `pipe://`.
/// #[derive(Clone, Debug)]
/// pub struct Pipe(Links);
///
/// seam_link::transport!(Pipe);
/// ```
#[macro_export]
macro_rules! transport {
    ($transport:ty) => {
        #[$crate::macro_support::async_trait]
        impl $crate::macro_support::Transport for $transport {
            fn schemes(&self) -> &'static [$crate::macro_support::Scheme] {
                $crate::macro_support::Transport::schemes(&self.0)
            }

            fn check(
                &self,
                endpoint: &$crate::macro_support::Endpoint,
                side: $crate::macro_support::Side,
            ) -> $crate::macro_support::Result<$crate::macro_support::Capabilities> {
                $crate::macro_support::Transport::check(&self.0, endpoint, side)
            }

            async fn open(
                &self,
                endpoint: &$crate::macro_support::Endpoint,
                context: $crate::macro_support::OpenContext,
            ) -> $crate::macro_support::Result<
                ::std::sync::Arc<dyn $crate::macro_support::Connection>,
            > {
                $crate::macro_support::Transport::open(&self.0, endpoint, context).await
            }
        }
    };
}

/// Who listens, by name, and what still ends after the last endpoint of one is gone.
type Acceptors = HashMap<String, (Weak<Acceptor>, TaskTracker)>;

impl Links {
    /// A transport of these schemes, carried by `carrier`.
    #[must_use]
    pub fn new(schemes: &'static [Scheme], carrier: impl Carrier) -> Self {
        Self { schemes, carrier: Arc::new(carrier), acceptors: Arc::default() }
    }

    fn config(&self, endpoint: &Endpoint, side: Side) -> Result<Config> {
        self.carrier.check(endpoint)?;
        let config = Config::new(endpoint, side)?;
        let safe = !config.listens
            || config.has_token()
            || config.insecure
            || self.carrier.is_sheltered(endpoint);
        if !safe {
            let token = (config.wire == Wire::Session).then_some("token_file=");
            let proofs: Vec<String> = self
                .carrier
                .proof()
                .into_iter()
                .chain(token)
                .map(|name| format!("`{name}`"))
                .collect();
            let remedy = match &*proofs {
                [] => "say `insecure`, for this wire has no proof of identity".to_owned(),
                proofs => format!("give it {}, or say `insecure`", proofs.join(" or ")),
            };
            let reason = format!("{endpoint} would let anybody in who reaches it; {remedy}");
            return Err(Error::invalid_endpoint(reason));
        }
        Ok(config)
    }

    async fn listen(&self, shared: Arc<Shared>) -> Result<Arc<LinkConnection>> {
        let name = self.carrier.listener_name(&shared.endpoint);
        let mut acceptors = self.acceptors.lock().await;
        let known = acceptors.get(&name).and_then(|(acceptor, _)| acceptor.upgrade());
        let hub = Hub::new(shared.clone(), None);
        let acceptor = match known {
            Some(acceptor) if acceptor.serve(&hub)? => acceptor,
            _ => {
                // What has ended gives its socket back first: under another name it may be the same one.
                let has_ended = |acceptor: &Weak<Acceptor>| {
                    acceptor.upgrade().is_none_or(|acceptor| acceptor.has_ended())
                };
                let ended = acceptors.values().filter(|(acceptor, _)| has_ended(acceptor));
                let ending: Vec<TaskTracker> = ended.map(|(_, tasks)| tasks.clone()).collect();
                for tasks in ending {
                    tasks.wait().await;
                }
                acceptors.retain(|_, (acceptor, tasks)| !has_ended(acceptor) || !tasks.is_empty());
                let listener = self.carrier.listen(&shared.endpoint).await?;
                let acceptor = Acceptor::start(listener, name.clone(), &hub);
                acceptors.insert(name, (Arc::downgrade(&acceptor), acceptor.tasks()));
                acceptor
            }
        };
        if shared.config.insecure {
            tracing::warn!(endpoint = %shared.endpoint, "listening for anybody: `insecure`");
        }
        Ok(LinkConnection::new(hub, Some(acceptor), self.carrier.clone()))
    }

    async fn dial(&self, shared: Arc<Shared>) -> Result<Arc<LinkConnection>> {
        let hub = Hub::new(shared.clone(), None);
        let connection = LinkConnection::new(hub.clone(), None, self.carrier.clone());
        let mut places = Vec::new();
        for place in 0..self.carrier.places(&shared.endpoint) {
            let (progress, watched) = watch::channel(Progress::Trying(None));
            let dialler = Dialler {
                hub: Arc::downgrade(&hub),
                shared: shared.clone(),
                carrier: self.carrier.clone(),
                place,
                remote: hub.dialled(),
                stop: hub.stop.clone(),
                progress,
            };
            hub.tasks.spawn(dialler.run());
            places.push(watched);
        }
        // A little before core gives up, so that the reason is told and not only the time.
        let timeout = shared.config.connect_timeout;
        let until = shared.clock().now().saturating_add(timeout.saturating_sub(timeout / 20));
        match deadline(&**shared.clock(), until, first(places.clone())).await {
            Some(connected) => connected?,
            None => {
                let unknown = || {
                    let reason =
                        "nobody answered in time; does a listener of this protocol run there?";
                    Error::disconnected(&*shared.name, reason)
                };
                return Err(reason(&places).unwrap_or_else(unknown));
            }
        }
        Ok(connection)
    }
}

#[async_trait]
impl Transport for Links {
    fn schemes(&self) -> &'static [Scheme] {
        self.schemes
    }

    fn check(&self, endpoint: &Endpoint, side: Side) -> Result<Capabilities> {
        Ok(self.config(endpoint, side)?.capabilities())
    }

    async fn open(
        &self,
        endpoint: &Endpoint,
        context: OpenContext,
    ) -> Result<Arc<dyn driver::Connection>> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::Misuse {
                what: "a link was opened outside of a Tokio runtime",
                remedy: "open it in a task of Tokio, or enter its runtime first",
            });
        }
        let config = self.config(endpoint, context.side)?;
        let shared = Arc::new(Shared {
            endpoint: endpoint.clone(),
            name: endpoint.to_string(),
            token: config.load_token()?,
            config,
            context,
            instance: random(),
        });
        if shared.config.listens {
            Ok(self.listen(shared).await?)
        } else {
            Ok(self.dial(shared).await?)
        }
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("carrier", &self.carrier).finish_non_exhaustive()
    }
}
