//! Listening: one socket, and the endpoints that it serves.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seam_core::{Action, Clock, Error, Event, Result};
use seam_wire::FaultCode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::carrier::{Arrival, Listener};
use crate::config::Wire;
use crate::handshake::{Established, First, Greeting, PATIENCE};
use crate::hub::{Hub, WeakHub};
use crate::lock;
use crate::sources::{Permit, Room, Source};

/// One socket that listens, and the endpoints that it serves.
pub(crate) struct Acceptor {
    name: String,
    clock: Arc<dyn Clock>,
    hubs: Mutex<Vec<WeakHub>>,
    /// Connections whose first frames are under way, oldest first.
    strangers: Mutex<VecDeque<(u64, CancellationToken)>>,
    arrivals: AtomicU64,
    most_strangers: usize,
    room: Room,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// How long accepting rests after an error of the operating system.
const REST: Duration = Duration::from_millis(100);

impl Acceptor {
    /// Serves what `listener` accepts, `hub` first of all, until the last endpoint is gone.
    pub(crate) fn start(listener: Box<dyn Listener>, name: String, hub: &Arc<Hub>) -> Arc<Self> {
        let (clock, config) = (hub.shared.clock().clone(), &hub.shared.config);
        let acceptor = Arc::new(Self {
            name,
            clock,
            hubs: Mutex::new(vec![Arc::downgrade(hub)]),
            strangers: Mutex::default(),
            arrivals: AtomicU64::new(0),
            most_strangers: (config.connections / 4).max(1),
            room: Room::new(config),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        let this = Arc::downgrade(&acceptor);
        let (stop, clock) = (acceptor.stop.clone(), acceptor.clock.clone());
        acceptor.tasks.spawn(async move {
            stop.run_until_cancelled(async {
                loop {
                    let arrival = tokio::select! {
                        arrival = listener.accept() => arrival,
                        news = listener.news() => {
                            let Some(acceptor) = this.upgrade() else { return };
                            acceptor.tell(&news);
                            continue;
                        }
                    };
                    let Some(acceptor) = this.upgrade() else { return };
                    match arrival {
                        Ok(arrival) => acceptor.arrive(arrival),
                        Err(error) => {
                            tracing::warn!(%error, "accepting failed; trying again");
                            drop(acceptor);
                            clock.sleep(REST).await;
                        }
                    }
                }
            })
            .await;
        });
        acceptor
    }

    /// Adds an endpoint; not where the last one has just gone, and the socket with it.
    pub(crate) fn serve(&self, hub: &Arc<Hub>) -> Result<bool> {
        let mut hubs = lock(&self.hubs);
        if self.has_ended() {
            return Ok(false);
        }
        hubs.retain(|hub| hub.strong_count() > 0);
        let (address, plain) = served(hub);
        let taken = hubs.iter().filter_map(WeakHub::upgrade).filter(|hub| hub.is_open());
        let twice = |other: &Arc<Hub>| {
            let (theirs, others_plain) = served(other);
            theirs == address || (plain && others_plain)
        };
        if let Some(other) = taken.into_iter().find(twice) {
            let reason = format!(
                "{} is served here already; give this one another address, or use its connection",
                other.shared.name
            );
            return Err(Error::invalid_endpoint(reason));
        }
        hubs.push(Arc::downgrade(hub));
        Ok(true)
    }

    /// Takes an endpoint away; with the last one the socket goes.
    pub(crate) fn leave(&self, hub: &Arc<Hub>) {
        let mut hubs = lock(&self.hubs);
        hubs.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(hub)));
        if hubs.is_empty() {
            self.end();
        }
    }

    fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
    }

    /// Whether it listens no more.
    pub(crate) fn has_ended(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Ends once its socket and everything it had begun is gone.
    pub(crate) fn tasks(&self) -> TaskTracker {
        self.tasks.clone()
    }

    /// Tells every endpoint of what happened to all of them.
    fn tell(&self, event: &Event) {
        let hubs = lock(&self.hubs);
        let hubs = hubs.iter().filter_map(WeakHub::upgrade).filter(|hub| hub.is_open());
        hubs.for_each(|hub| hub.events.emit(event.clone()));
    }

    fn arrive(self: Arc<Self>, arrival: Arrival) {
        let Some(place) = self.room.sources.enter(Source::of_address(&arrival.address)) else {
            tracing::warn!(peer = %arrival.address, "too many connections of one source; this one is closed");
            return;
        };
        let free = self.room.all.clone().try_acquire_owned();
        let stranger = self.stop.child_token();
        let number = self.arrivals.fetch_add(1, Ordering::Relaxed);
        {
            let mut strangers = lock(&self.strangers);
            if free.is_err() || strangers.len() >= self.most_strangers {
                match strangers.pop_front() {
                    Some((_, oldest)) => oldest.cancel(),
                    None => {
                        tracing::warn!(peer = %arrival.address, "too many connections; this one is closed");
                        return;
                    }
                }
            }
            strangers.push_back((number, stranger.clone()));
        }
        let this = self.clone();
        self.tasks.spawn(async move {
            let address = arrival.address.clone();
            let admitting = async {
                let permit = match free {
                    Ok(permit) => permit,
                    // The stranger that gives way has it still, for a moment.
                    Err(_) => this.room.all.clone().acquire_owned().await.ok()?,
                };
                Some((this.greet(arrival).await, Permit { _all: permit, _source: place }))
            };
            let outcome = stranger.run_until_cancelled(admitting).await.flatten();
            lock(&this.strangers).retain(|(other, _)| *other != number);
            match outcome {
                Some((Ok((hub, established)), permit)) => hub.arrive(established, permit),
                Some((Err(error), _)) => {
                    tracing::info!(peer = %address, %error, "a connection was refused");
                    // One that went by itself was not refused.
                    if !error.is_retryable() {
                        let reason = format!("{address}: {error}");
                        this.tell(&Event::PeersRefused { count: 1, reason });
                    }
                }
                None if this.stop.is_cancelled() => {}
                None => tracing::info!(peer = %address, "it said nothing yet, and gave way"),
            }
        });
    }

    /// Learns which endpoint a connection is for, and who it is.
    async fn greet(&self, arrival: Arrival) -> Result<(Arc<Hub>, Established)> {
        let until = self.clock.now().saturating_add(PATIENCE * 2);
        let link = seam_core::clock::deadline(&*self.clock, until, arrival.link).await;
        let link = link.unwrap_or_else(|| {
            Err(Error::disconnected(&*self.name, "the handshake of the carrier took too long"))
        })?;
        let hubs: Vec<Arc<Hub>> = lock(&self.hubs)
            .iter()
            .filter_map(WeakHub::upgrade)
            .filter(|hub| hub.is_open())
            .collect();
        let plain = hubs.iter().find(|hub| served(hub).1).cloned();
        if let Some(hub) = plain.as_ref().filter(|hub| hub.shared.config.wire == Wire::Connect)
            && hubs.len() == 1
        {
            return allowed(hub.clone(), Established::plain(link));
        }
        let mut greeting = Greeting::new(link, &*self.clock, &self.name);
        if let Some(hub) = &plain
            && greeting.is_silent().await?
        {
            return allowed(hub.clone(), greeting.plain());
        }
        let (open, body) = match greeting.first().await? {
            First::Session { open, body } => (open, body),
            First::Plain => {
                // It would take what it is told for a datagram.
                let reason = "a peer of version 1 came; listen with `?wire=any` for both";
                let unwelcome =
                    || Error::Protocol { endpoint: self.name.clone(), reason: reason.to_owned() };
                return allowed(plain.ok_or_else(unwelcome)?, greeting.plain());
            }
        };
        let hub = hubs.into_iter().find(|hub| {
            hub.shared.config.wire != Wire::Connect
                && hub.shared.endpoint.address() == &*open.address
        });
        let Some(hub) = hub else {
            let text = format!("no endpoint of the address `{}` listens there", open.address);
            greeting.turn_away(FaultCode::Address, &text).await;
            let reason = "a peer asked for an address that is not served here";
            return Err(Error::disconnected(&*self.name, reason));
        };
        let shared = &hub.shared;
        let established =
            greeting.answer(&shared.open(), (open, body), shared.token.as_ref()).await?;
        Ok((hub, established))
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.end();
    }
}

/// The address that an endpoint is found by, and whether it takes peers of version 1.
fn served(hub: &Hub) -> (Option<&str>, bool) {
    let address = hub.shared.endpoint.address();
    match hub.shared.config.wire {
        Wire::Session => (Some(address), false),
        Wire::Any => (Some(address), true),
        Wire::Connect => (None, true),
    }
}

/// A peer of version 1 comes to send; whether it may is known at once.
fn allowed(hub: Arc<Hub>, established: Established) -> Result<(Arc<Hub>, Established)> {
    hub.shared.allow(&established.peer, Action::Send)?;
    Ok((hub, established))
}
