//! Requests and their replies, over a driver's caller.
//!
//! Core has no task of its own, so the calls that wait share the work: one of them, the reader, holds the
//! receiver of replies and hands out what comes; when it leaves, the next one takes over.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use slab::Slab;

use crate::clock::{deadline, lock};
use crate::connection::Handle;
use crate::driver;
use crate::event::add;
use crate::sender::{Outlet, Ticket};
use crate::shared::Shared;
use crate::{Batch, Datagram, Deliveries, Error, Fate, Result, SendError};

/// The requests of one connection that wait for replies.
#[derive(Default)]
pub(crate) struct Requests(Mutex<Desk>);

#[derive(Default)]
struct Desk {
    caller: Option<Arc<Caller>>,
    serial: u32,
    /// Found by the number in the correlation id.
    waiting: Slab<Waiting>,
    reader: Option<Reader>,
}

/// What each request needs of the driver's caller.
struct Caller {
    outlet: Outlet,
    reply_to: Bytes,
}

struct Waiting {
    number: u64,
    reply: Option<Datagram>,
    waker: Option<Waker>,
}

/// The receiver of replies; with whoever reads, or here while nobody does.
struct Reader {
    receiver: Box<dyn driver::Receiver>,
    deliveries: Deliveries,
}

/// Replies taken at once.
const READ: usize = 64;

impl Requests {
    pub(crate) async fn request(
        &self,
        handle: &Arc<Handle>,
        mut request: Datagram,
        timeout: Duration,
    ) -> Result<Datagram, SendError> {
        let shared = &handle.shared;
        let until = shared.clock.now().saturating_add(timeout);
        let refuse = |request, error| SendError::new(request, Fate::NotSent, error);
        let envelope = request.envelope();
        if envelope.reply_to.is_some() || envelope.correlation_id.is_some() {
            let reason = "`reply_to` and `correlation_id` of a request are set by `request`";
            return Err(refuse(request, Error::invalid("request", reason)));
        }
        let caller = match self.known_caller() {
            Some(caller) => Some(Ok(caller)),
            None => deadline(&*shared.clock, until, self.caller(handle)).await,
        };
        let caller = match caller {
            Some(Ok(caller)) => caller,
            Some(Err(error)) => return Err(refuse(request, shared.name(error))),
            None => return Err(refuse(request, timed_out(timeout))),
        };
        let slot = Slot { requests: self, number: self.register() };
        let envelope = request.envelope_mut();
        envelope.reply_to = Some(caller.reply_to.clone());
        envelope.correlation_id = Some(Bytes::copy_from_slice(&slot.number.to_be_bytes()));
        add(&shared.events.counters().requests, 1u64);
        let mut asking = Asking::new(self, &caller.outlet, request, slot.number, until);
        let answered = deadline(&*shared.clock, until, asking.ask()).await;
        let answered = match answered {
            Some(answered) => answered,
            None => asking.late(timeout).await,
        };
        answered.map_err(strip)
    }

    fn known_caller(&self) -> Option<Arc<Caller>> {
        lock(&self.0).caller.clone()
    }

    /// The driver's caller, made by the first request.
    async fn caller(&self, handle: &Arc<Handle>) -> Result<Arc<Caller>> {
        let driver::Caller { sender, receiver, reply_to } = handle.driver.caller().await?;
        let mut desk = lock(&self.0);
        // Two first requests may have made one each; the first to come back stays.
        if let Some(caller) = &desk.caller {
            return Ok(caller.clone());
        }
        let outlet = Outlet::new(handle.shared.clone(), sender);
        let caller = Arc::new(Caller { outlet, reply_to });
        desk.caller = Some(caller.clone());
        desk.reader = Some(Reader { receiver, deliveries: Deliveries::new() });
        Ok(caller)
    }

    /// A place for a reply; its number tells where it is, and since when, so that no two are the same.
    fn register(&self) -> u64 {
        let mut desk = lock(&self.0);
        desk.serial = desk.serial.wrapping_add(1);
        let place = u64::try_from(desk.waiting.vacant_key()).unwrap_or(u64::MAX);
        let number = u64::from(desk.serial) << 32 | place;
        desk.waiting.insert(Waiting { number, reply: None, waker: None });
        number
    }

    /// The reply to request `number`; reads for all while nobody else does.
    async fn reply(&self, number: u64, shared: &Arc<Shared>) -> Result<Datagram> {
        loop {
            let reader = poll_fn(|cx| self.poll_turn(number, cx)).await;
            let mut reading = match reader {
                Turn::Reply(reply) => return Ok(reply),
                Turn::Read(reader) => Reading { requests: self, reader: Some(reader) },
            };
            reading.read(number, shared).await?;
        }
    }

    fn poll_turn(&self, number: u64, cx: &Context<'_>) -> Poll<Turn> {
        let mut guard = lock(&self.0);
        let desk = &mut *guard;
        if let Some(reply) = desk.find(number).and_then(|waiting| waiting.reply.take()) {
            return Poll::Ready(Turn::Reply(reply));
        }
        if let Some(reader) = desk.reader.take() {
            return Poll::Ready(Turn::Read(reader));
        }
        if let Some(waiting) = desk.find(number) {
            waiting.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Desk {
    fn find(&mut self, number: u64) -> Option<&mut Waiting> {
        self.waiting.get_mut(place(number)).filter(|waiting| waiting.number == number)
    }
}

/// Where a request of this number waits.
fn place(number: u64) -> usize {
    usize::try_from(number & u64::from(u32::MAX)).unwrap_or(usize::MAX)
}

/// One request on its way.
struct Asking<'a> {
    requests: &'a Requests,
    outlet: &'a Outlet,
    kept: Datagram,
    number: u64,
    until: Duration,
    batch: Batch,
    /// While it waits for its receipt.
    ticket: Option<Ticket>,
    /// Whether it has its receipt.
    sent: bool,
}

impl<'a> Asking<'a> {
    fn new(
        requests: &'a Requests,
        outlet: &'a Outlet,
        request: Datagram,
        number: u64,
        until: Duration,
    ) -> Self {
        let (kept, mut batch) = (request.clone(), Batch::new());
        batch.push(request);
        Self { requests, outlet, kept, number, until, batch, ticket: None, sent: false }
    }

    /// Sends the request, waits for its receipt and for its reply.
    async fn ask(&mut self) -> Result<Datagram, SendError> {
        match self.outlet.admit(&mut self.batch, (0, 0)).await {
            Ok(ticket) => {
                let ticket = self.ticket.insert(ticket);
                ticket.receipts_before(self.until).await.into_one()?;
            }
            Err(error) => return Err(self.refused(error)),
        }
        (self.ticket, self.sent) = (None, true);
        self.reply().await
    }

    async fn reply(&self) -> Result<Datagram, SendError> {
        let reply = self.requests.reply(self.number, &self.outlet.shared).await;
        reply.map_err(|error| self.unanswered(error))
    }

    /// Its time is over. What nobody has then was not sent.
    async fn late(&mut self, timeout: Duration) -> Result<Datagram, SendError> {
        if let Some(ticket) = self.ticket.take() {
            let mut receipts = ticket.withdraw();
            receipts.blame(&timed_out(timeout));
            receipts.into_one()?;
        } else if !self.sent {
            return Err(self.refused(timed_out(timeout)));
        }
        let reply = deadline(&*self.outlet.shared.clock, self.until, self.reply()).await;
        reply.unwrap_or_else(|| Err(self.unanswered(timed_out(timeout))))
    }

    fn refused(&mut self, error: Error) -> SendError {
        self.outlet.refused(std::mem::take(&mut self.batch), error)
    }

    fn unanswered(&self, error: Error) -> SendError {
        SendError::new(self.kept.clone(), Fate::MaybeSent, error)
    }
}

enum Turn {
    Reply(Datagram),
    Read(Reader),
}

/// The turn of the call that reads; hands the receiver on when it is dropped.
struct Reading<'a> {
    requests: &'a Requests,
    reader: Option<Reader>,
}

impl Reading<'_> {
    /// Reads until the reply to `number` is there.
    async fn read(&mut self, number: u64, shared: &Arc<Shared>) -> Result<()> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        loop {
            let more = match reader.receiver.receive_now(READ, &mut reader.deliveries) {
                Some(more) => more?,
                None => reader.receiver.receive(READ, &mut reader.deliveries).await?,
            };
            if !more {
                return Err(shared.closed());
            }
            reader.deliveries.attach(shared, None);
            if self.requests.hand_out(&mut reader.deliveries, number, shared) {
                return Ok(());
            }
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        lock(&self.requests.0).reader = self.reader.take();
        self.requests.call_reader();
    }
}

impl Requests {
    /// Wakes one call that waits, to read, if nobody does.
    fn call_reader(&self) {
        let mut desk = lock(&self.0);
        if desk.reader.is_none() {
            return;
        }
        let next = desk.waiting.iter_mut().find_map(|(_, waiting)| waiting.waker.take());
        drop(desk);
        if let Some(waker) = next {
            waker.wake();
        }
    }

    /// Gives each reply to its request; whether `number` has its own now.
    fn hand_out(&self, replies: &mut Deliveries, number: u64, shared: &Shared) -> bool {
        let mut wakers = Vec::new();
        let mut desk = lock(&self.0);
        while let Some(reply) = replies.lend() {
            let id = reply.view().envelope().correlation_id.clone();
            let asked = id.and_then(|id| <[u8; 8]>::try_from(&id[..]).ok()).map(u64::from_be_bytes);
            match asked.and_then(|asked| desk.find(asked)) {
                Some(waiting) => {
                    waiting.reply = Some(reply.view().to_datagram());
                    wakers.extend(waiting.waker.take());
                }
                None => add(&shared.events.counters().late_replies, 1u64),
            }
            reply.ack();
        }
        let there = desk.find(number).is_some_and(|waiting| waiting.reply.is_some());
        drop(desk);
        replies.publish();
        wakers.into_iter().for_each(Waker::wake);
        there
    }
}

/// The place of one request; given up when it is dropped.
struct Slot<'a> {
    requests: &'a Requests,
    number: u64,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let gone = lock(&self.requests.0).waiting.try_remove(place(self.number));
        drop(gone);
        // It may have been its turn to read.
        self.requests.call_reader();
    }
}

/// The request as its caller gave it.
fn stripped(mut request: Datagram) -> Datagram {
    let envelope = request.envelope_mut();
    (envelope.reply_to, envelope.correlation_id) = (None, None);
    request
}

fn strip(error: SendError) -> SendError {
    let (request, fate, error) = error.into_parts();
    SendError::new(stripped(request), fate, error)
}

fn timed_out(after: Duration) -> Error {
    let remedy = "see whether a server is there and replies, or give `request` more time";
    Error::TimedOut { operation: "request", after, remedy }
}
