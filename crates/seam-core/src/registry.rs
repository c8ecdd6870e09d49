//! The transports a program may use: a value, never a global.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tracing::Instrument;

use crate::clock::deadline;
use crate::dead_letter::DeadLetters;
use crate::driver::{OpenContext, Transport};
use crate::{
    Access, Authorise, Capabilities, Clock, Connection, Cost, Endpoint, Error, Event, Events, Load,
    Receiver, Result, Scheme, Sender, Side, SystemClock, Uri, parameters, telemetry,
};

/// The transports a program may use, by scheme. Two registries share nothing: `memory://orders` of one does
/// not meet `memory://orders` of the other. Clones are the same registry.
///
/// ```
/// use seam_core::{Datagram, Memory, Registry};
///
/// # smol::block_on(async {
/// let registry = Registry::new().with(Memory::new());
/// let mut receiver = registry.receiver("memory://orders").await?;
/// let sender = registry.sender("memory://orders").await?;
/// sender.send(Datagram::new("12 apples")).await?;
/// if let Some(delivery) = receiver.next().await? {
///     delivery.ack()?;
/// }
/// # Ok::<(), seam_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    transports: Vec<Arc<dyn Transport>>,
    clock: Arc<dyn Clock>,
    authorise: Authorise,
}

/// Our schemes and the features of the facade that bring them, so that a missing one can be named.
const OURS: [(&str, &str); 21] = [
    ("memory", "memory"),
    ("tcp", "tcp"),
    ("tls", "tls"),
    ("quic", "quic"),
    ("unix", "unix"),
    ("udp", "udp"),
    ("sctp", "sctp"),
    ("sctp+dtls", "sctp"),
    ("shm", "shm"),
    ("kafka", "kafka"),
    ("kafka+tls", "kafka-tls"),
    ("rabbitmq", "rabbitmq"),
    ("rabbitmq+tls", "rabbitmq"),
    ("amqp", "rabbitmq"),
    ("amqps", "rabbitmq"),
    ("sqs", "sqs"),
    ("sqs+http", "sqs"),
    ("sqs+https", "sqs"),
    ("nsq", "nsq"),
    ("nsq+tls", "nsq"),
    ("nsq+lookup", "nsq"),
];

type Opening<'a> = Pin<Box<dyn Future<Output = Result<Connection>> + Send + 'a>>;

impl Registry {
    /// A registry without transports, on the [`SystemClock`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            transports: Vec::new(),
            clock: Arc::new(SystemClock::new()),
            authorise: Authorise::default(),
        }
    }

    /// Adds a transport. It answers to its schemes before those added earlier.
    #[must_use]
    pub fn with(mut self, transport: impl Transport) -> Self {
        self.transports.insert(0, Arc::new(transport));
        self
    }

    /// Sets where time comes from.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Lets `hook` decide by peer, endpoint and action what is allowed; without it everything is.
    #[must_use]
    pub fn authorise(mut self, hook: impl Fn(&Access<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.authorise = Authorise::new(hook);
        self
    }

    /// Every scheme that is registered.
    pub fn schemes(&self) -> impl Iterator<Item = &'static Scheme> + '_ {
        self.transports.iter().flat_map(|transport| transport.schemes())
    }

    /// Where this registry takes time from.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Parses `uri` and holds every part of it against its scheme. No I/O.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`], [`Error::UnknownScheme`], [`Error::NotCompiledIn`]; one line each.
    pub fn endpoint<U: TryInto<Uri>>(&self, uri: U) -> Result<Endpoint>
    where
        Error: From<U::Error>,
    {
        let uri = uri.try_into()?;
        let (_, scheme) = self.find(uri.scheme())?;
        Endpoint::resolve(&uri, scheme)
    }

    /// What `uri` will promise at least, before it is opened. No I/O.
    ///
    /// # Errors
    ///
    /// Those of [`Registry::endpoint`]; [`Error::Unsupported`] for a parameter whose capability is missing.
    pub fn check<U: TryInto<Uri>>(&self, uri: U, side: Side) -> Result<Capabilities>
    where
        Error: From<U::Error>,
    {
        let endpoint = self.endpoint(uri)?;
        self.promised(&endpoint, side)
    }

    /// What `load` costs over `uri`, where its carrier bills calls; `None` where it does not. No I/O.
    ///
    /// # Errors
    ///
    /// Those of [`Registry::endpoint`].
    pub fn cost<U: TryInto<Uri>>(&self, uri: U, load: Load) -> Result<Option<Cost>>
    where
        Error: From<U::Error>,
    {
        let endpoint = self.endpoint(uri)?;
        let (transport, _) = self.find(endpoint.scheme())?;
        transport.cost(&endpoint, load)
    }

    /// Opens `uri` to send and to call; on links, dials.
    ///
    /// Cancel safety: dropping it leaves nothing behind.
    ///
    /// # Errors
    ///
    /// Those of [`Registry::check`]; [`Error::TimedOut`] after `?connect_timeout=` (10 s); those of the
    /// carrier.
    pub async fn client<U: TryInto<Uri>>(&self, uri: U) -> Result<Connection>
    where
        Error: From<U::Error>,
    {
        self.open(self.endpoint(uri)?, Side::Client).await
    }

    /// Opens `uri` to receive and to serve; on links, listens.
    ///
    /// Cancel safety: dropping it leaves nothing behind.
    ///
    /// # Errors
    ///
    /// Those of [`Registry::client`]; and those of opening `?dead_letter=`.
    pub async fn server<U: TryInto<Uri>>(&self, uri: U) -> Result<Connection>
    where
        Error: From<U::Error>,
    {
        self.open(self.endpoint(uri)?, Side::Server).await
    }

    /// Shorthand for [`Registry::client`] and [`Connection::sender`].
    ///
    /// # Errors
    ///
    /// Those of the two.
    pub async fn sender<U: TryInto<Uri>>(&self, uri: U) -> Result<Sender>
    where
        Error: From<U::Error>,
    {
        self.client(uri).await?.sender().await
    }

    /// Shorthand for [`Registry::server`] and [`Connection::receiver`].
    ///
    /// # Errors
    ///
    /// Those of the two.
    pub async fn receiver<U: TryInto<Uri>>(&self, uri: U) -> Result<Receiver>
    where
        Error: From<U::Error>,
    {
        self.server(uri).await?.receiver().await
    }

    /// Deletes what opening `uri` creates elsewhere. That it does not exist is no error.
    ///
    /// # Errors
    ///
    /// Those of [`Registry::endpoint`] and of the carrier.
    pub async fn remove<U: TryInto<Uri>>(&self, uri: U) -> Result<()>
    where
        Error: From<U::Error>,
    {
        let endpoint = self.endpoint(uri)?;
        let (transport, _) = self.find(endpoint.scheme())?;
        transport.remove(&endpoint).await
    }

    /// What `endpoint` promises at least; an error where it asks for more than that, or for half of something.
    fn promised(&self, endpoint: &Endpoint, side: Side) -> Result<Capabilities> {
        let (transport, _) = self.find(endpoint.scheme())?;
        let promised = transport.check(endpoint, side)?;
        endpoint.check_capabilities(&promised)?;
        if endpoint.attempts().is_some() && endpoint.dead_letter().is_none() {
            return Err(Error::invalid_endpoint(
                "`retry` needs a `dead_letter` to send to what was tried too often",
            ));
        }
        Ok(promised)
    }

    /// Boxed, since the dead letters of one endpoint may go to another of this registry.
    fn open(&self, endpoint: Endpoint, side: Side) -> Opening<'_> {
        let span = telemetry::open(&endpoint, side);
        Box::pin(self.open_unboxed(endpoint, side).instrument(span))
    }

    async fn open_unboxed(&self, endpoint: Endpoint, side: Side) -> Result<Connection> {
        let (transport, _) = self.find(endpoint.scheme())?;
        self.promised(&endpoint, side)?;
        let events = Events::new();
        let context = OpenContext::new(side, self.clock.clone())
            .with_authorise(self.authorise.clone())
            .with_events(events.clone());
        let limit = endpoint.connect_timeout();
        let until = self.clock.now().saturating_add(limit);
        let opening = deadline(&*self.clock, until, transport.open(&endpoint, context)).await;
        let driver = opening.unwrap_or_else(|| {
            let remedy = "see whether the host is up, or raise `?connect_timeout=`";
            Err(Error::TimedOut { operation: "connecting", after: limit, remedy })
        })?;
        let connection = Connection::new(endpoint, events.clone(), self.clock.clone(), driver);
        if side == Side::Server {
            self.route_dead_letters(&connection).await?;
        }
        events.emit(Event::Connected);
        Ok(connection)
    }

    /// Opens `?dead_letter=` through this registry.
    async fn route_dead_letters(&self, connection: &Connection) -> Result<()> {
        let shared = connection.shared();
        let Some(uri) = shared.endpoint.dead_letter() else { return Ok(()) };
        let endpoint = self.endpoint(uri).map_err(|error| match error {
            Error::InvalidEndpoint { reason } => {
                Error::invalid_endpoint(format!("in `dead_letter`: {reason}"))
            }
            other => other,
        })?;
        let sender = self.open(endpoint, Side::Client).await?.sender().await?;
        let origin = shared.endpoint.to_string();
        let route = Arc::new(DeadLetters::new(sender, shared.events.clone(), origin));
        shared.dead_letters.get_or_init(|| route);
        Ok(())
    }

    fn find(&self, scheme: &str) -> Result<(&Arc<dyn Transport>, &'static Scheme)> {
        for transport in &self.transports {
            if let Some(found) = transport.schemes().iter().find(|s| s.name == scheme) {
                return Ok((transport, found));
            }
        }
        Err(match OURS.iter().find(|(name, _)| *name == scheme) {
            Some((name, feature)) => Error::NotCompiledIn { scheme: (*name).to_owned(), feature },
            None => self.unknown(scheme),
        })
    }

    fn unknown(&self, scheme: &str) -> Error {
        let mut names: Vec<&str> = self.schemes().map(|scheme| scheme.name).collect();
        names.sort_unstable();
        let mut known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        if let Some(near) = parameters::nearest(scheme, names.iter().copied()) {
            known.push_str(&format!("; did you mean `{near}://`?"));
        }
        Error::UnknownScheme { scheme: scheme.to_owned(), known }
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}
