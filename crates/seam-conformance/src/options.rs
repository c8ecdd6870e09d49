//! What the suite is told about a transport and the runtime it lives on.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use seam_core::{Registry, Side};

/// A future of the suite, to be run to its end.
pub type Run<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Gives the URI of an end.
type Naming = dyn Fn(&End<'_>) -> String + Send + Sync;

/// One end of a connection that the suite is about to open.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct End<'a> {
    /// The address, made unique for this run.
    pub address: &'a str,
    /// Which side it is.
    pub side: Side,
    /// Whether one client faces several servers: on links the client then listens and the servers dial.
    pub is_pool: bool,
    /// Whether one server faces several clients, or is opened before its first: on links the server then
    /// listens, whoever does otherwise.
    pub is_hub: bool,
}

impl End<'_> {
    /// One client and one server.
    pub(crate) fn new(address: &str, side: Side) -> End<'_> {
        End { address, side, is_pool: false, is_hub: false }
    }

    pub(crate) fn of_pool(address: &str, side: Side) -> End<'_> {
        End { is_pool: true, ..End::new(address, side) }
    }

    pub(crate) fn of_hub(address: &str, side: Side) -> End<'_> {
        End { is_hub: true, ..End::new(address, side) }
    }
}

/// How to run the suite: what it cannot know by itself, since it has no runtime and no broker.
///
/// Only [`Options::new`] asks for something; all else has a default.
#[derive(Clone)]
pub struct Options {
    pub(crate) block_on: Arc<dyn for<'a> Fn(Run<'a>) + Send + Sync>,
    pub(crate) live_tasks: Option<Arc<dyn Fn() -> usize + Send + Sync>>,
    pub(crate) restart: Option<Arc<dyn Fn() -> Run<'static> + Send + Sync>>,
    pub(crate) uri: Option<Arc<Naming>>,
    pub(crate) patience: f64,
}

impl Options {
    /// `block_on` runs a future to its end on the runtime that the transport needs.
    pub fn new(block_on: impl for<'a> Fn(Run<'a>) + Send + Sync + 'static) -> Self {
        Self {
            block_on: Arc::new(block_on),
            live_tasks: None,
            restart: None,
            uri: None,
            patience: 1.0,
        }
    }

    /// Says how many tasks live on the runtime, so that a leak is seen. Called inside `block_on`.
    /// Default: not known, and the behaviour that needs it is not applicable.
    #[must_use]
    pub fn with_live_tasks(mut self, count: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        self.live_tasks = Some(Arc::new(count));
        self
    }

    /// Restarts the broker; ready once it is up again. Default: that cannot be done, and the behaviour that
    /// needs it is not applicable.
    #[must_use]
    pub fn with_restart(
        mut self,
        restart: impl Fn() -> Run<'static> + Send + Sync + 'static,
    ) -> Self {
        self.restart = Some(Arc::new(restart));
        self
    }

    /// Gives the URI of each end, with [`End::address`] in it. Default: the URI of the subject with that
    /// address, for both ends.
    #[must_use]
    pub fn with_uri(mut self, uri: impl Fn(&End<'_>) -> String + Send + Sync + 'static) -> Self {
        self.uri = Some(Arc::new(uri));
        self
    }

    /// Stretches every deadline by this factor. Default: 1, which waits ten seconds for what must come.
    #[must_use]
    pub fn with_patience(mut self, factor: f64) -> Self {
        self.patience = factor;
        self
    }

    /// How long something that must come is waited for.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_secs(10).mul_f64(self.patience)
    }

    /// A short while: of what the suite lets pass on purpose.
    pub(crate) fn moment(&self) -> Duration {
        Duration::from_millis(150).mul_f64(self.patience.max(1.0))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("live_tasks", &self.live_tasks.is_some())
            .field("restart", &self.restart.is_some())
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// A transport under test: where it is registered, a URI of it, and the options to run it with.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Has the transport.
    pub registry: Registry,
    /// Names it; the address in it is only the beginning of those that are used.
    pub uri: String,
    /// How to run it.
    pub options: Options,
}

impl Subject {
    /// Puts the three together.
    pub fn new(registry: Registry, uri: impl Into<String>, options: Options) -> Self {
        Self { registry, uri: uri.into(), options }
    }
}
