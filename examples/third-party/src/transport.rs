//! The drivers over queues.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use seam_core::driver::{
    Board, Connection, Harvester, OpenContext, Receiver, Sender, Settled, Ticket, Transport,
};
use seam_core::{
    Batch, Capabilities, Confirmation, Deliveries, Drained, Endpoint, Error, Event, Events, Note,
    Receipts, Result, Scheme, Side, clock,
};

use crate::config;
use crate::queue::Queue;

/// The transport of `channel://`. Clones share their addresses.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    queues: Arc<Mutex<HashMap<String, Arc<Queue>>>>,
}

impl Channel {
    /// A transport with no address in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Transport for Channel {
    fn schemes(&self) -> &'static [Scheme] {
        &config::SCHEMES
    }

    fn check(&self, _: &Endpoint, _: Side) -> Result<Capabilities> {
        Ok(config::capabilities())
    }

    async fn open(&self, endpoint: &Endpoint, context: OpenContext) -> Result<Arc<dyn Connection>> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(endpoint.address().to_owned()).or_default().clone();
        let id = queue.lock().number();
        let link = Link {
            queue,
            id,
            endpoint: endpoint.clone(),
            context,
            draining: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        };
        Ok(Arc::new(Opened { capabilities: config::capabilities(), link: Arc::new(link) }))
    }

    async fn remove(&self, endpoint: &Endpoint) -> Result<()> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.remove(endpoint.address());
        Ok(())
    }
}

#[derive(Debug)]
struct Opened {
    capabilities: Capabilities,
    link: Arc<Link>,
}

/// What a connection shares with its senders and receivers.
#[derive(Debug)]
struct Link {
    queue: Arc<Queue>,
    id: u64,
    endpoint: Endpoint,
    context: OpenContext,
    draining: AtomicBool,
    closed: AtomicBool,
}

impl Link {
    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::Closed { endpoint: self.endpoint.to_string() });
        }
        Ok(())
    }

    /// Ends it at once; what it has in hand goes to somebody else.
    fn end(&self) -> u64 {
        self.draining.store(true, Ordering::SeqCst);
        self.closed.store(true, Ordering::SeqCst);
        let count = self.queue.change(|state| state.revoke(self.id));
        if count > 0 {
            self.context.events.emit(Event::LeaseLost { count });
        }
        count
    }
}

#[async_trait]
impl Connection for Opened {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn sender(&self) -> Result<Arc<dyn Sender>> {
        self.link.check_open()?;
        Ok(Arc::new(Outlet { link: self.link.clone() }))
    }

    async fn receiver(&self) -> Result<Box<dyn Receiver>> {
        self.link.check_open()?;
        let id = self.link.queue.lock().number();
        let late = AtomicU64::new(0);
        let events = self.link.context.events.clone();
        let desk = Arc::new(Desk { queue: self.link.queue.clone(), events, late });
        Ok(Box::new(Inlet { link: self.link.clone(), id, desk }))
    }

    async fn drain(&self, deadline: Duration) -> Result<Drained> {
        let link = &self.link;
        link.draining.store(true, Ordering::SeqCst);
        let clock = &*link.context.clock;
        let until = clock.now().saturating_add(deadline);
        link.queue.change(|_| ());
        let settled =
            link.queue.wait(|state| (state.in_hand_of_connection(link.id) == 0).then_some(()));
        // Whether it was in time shows in what is revoked.
        clock::deadline(clock, until, settled).await;
        Ok(Drained::new(link.end(), Vec::new()))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.link.end();
    }
}

struct Outlet {
    link: Arc<Link>,
}

#[async_trait]
impl Sender for Outlet {
    async fn admit(&self, batch: &mut Batch) -> Result<()> {
        let credit = config::credit(&self.link.endpoint);
        let link = &self.link;
        link.queue
            .wait(|state| {
                if let Err(error) = link.check_open() {
                    return Some(Err(error));
                }
                let room = credit.saturating_sub(state.undone()).min(batch.len());
                if room > 0 {
                    let first = state.number();
                    batch.admit(room, first).for_each(|datagram| state.push(datagram));
                    batch.confirm(Confirmation::Stored);
                    // Whoever receives looks again.
                    state.wake_all();
                }
                batch.is_empty().then_some(Ok(()))
            })
            .await
    }

    async fn receipts(&self, ticket: &mut Ticket) -> Receipts {
        Receipts::all(ticket.len(), Confirmation::Stored)
    }

    fn withdraw(&self, ticket: Ticket) -> Receipts {
        Receipts::all(ticket.len(), Confirmation::Stored)
    }
}

struct Inlet {
    link: Arc<Link>,
    id: u64,
    desk: Arc<Desk>,
}

#[async_trait]
impl Receiver for Inlet {
    async fn receive(&mut self, max: usize, into: &mut Deliveries) -> Result<bool> {
        let credit = config::credit(&self.link.endpoint);
        let (link, desk) = (&self.link, &self.desk);
        link.queue
            .wait(|state| {
                if link.draining.load(Ordering::SeqCst) {
                    return Some(Ok(false));
                }
                let room = credit.saturating_sub(state.in_hand_of_receiver(self.id)).min(max);
                let (items, expired) = state.take(room, link.context.clock.wall());
                if expired > 0 {
                    desk.events.emit(Event::Expired { count: expired });
                }
                if items.is_empty() {
                    return None;
                }
                let token = state.number();
                let board = into.begin(items.len(), token, desk.clone());
                state.hold((link.id, self.id), board, &items);
                for item in items {
                    let mut note = Note::default();
                    note.attempt = item.attempt;
                    note.possible_duplicate = item.possible_duplicate;
                    into.push_noted(item.datagram, note);
                }
                Some(Ok(true))
            })
            .await
    }

    async fn settled(&mut self) -> Result<Settled> {
        Ok(Settled { late: self.desk.late.swap(0, Ordering::SeqCst) })
    }
}

/// Takes verdicts over, for one receiver.
struct Desk {
    queue: Arc<Queue>,
    events: Events,
    late: AtomicU64,
}

impl Harvester for Desk {
    fn settled(&self, board: &Arc<Board>, _: bool) {
        let late = self.queue.change(|state| state.harvest(board));
        if late > 0 {
            self.late.fetch_add(late, Ordering::SeqCst);
            self.events.emit(Event::SettlementFailed { count: late });
        }
    }
}
