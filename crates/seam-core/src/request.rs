//! Requests and their replies, over a driver's caller.
//!
//! Core has no task of its own, so the calls that wait share the work: one of them, the reader, holds the
//! receiver of replies and hands out what comes; when it leaves, the next one takes over.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::{deadline, lock};
use crate::connection::Handle;
use crate::driver;
use crate::event::add;
use crate::sender::Outlet;
use crate::shared::Shared;
use crate::{Batch, Datagram, Deliveries, Error, Fate, Result, SendError, Sender};

/// The requests of one connection that wait for replies.
#[derive(Default)]
pub(crate) struct Requests(Mutex<Desk>);

#[derive(Default)]
struct Desk {
    caller: Option<Arc<Caller>>,
    next: u64,
    /// By the number in the correlation id.
    waiting: BTreeMap<u64, Waiting>,
    reader: Option<Reader>,
}

/// What each request needs of the driver's caller.
struct Caller {
    sender: Arc<dyn driver::Sender>,
    reply_to: Bytes,
}

#[derive(Default)]
struct Waiting {
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
        let caller = match deadline(&*shared.clock, until, self.caller(handle)).await {
            Some(Ok(caller)) => caller,
            Some(Err(error)) => return Err(refuse(request, shared.name(error))),
            None => return Err(refuse(request, timed_out(timeout))),
        };
        let slot = Slot { requests: self, number: self.register() };
        let envelope = request.envelope_mut();
        envelope.reply_to = Some(caller.reply_to.clone());
        envelope.correlation_id = Some(Bytes::copy_from_slice(&slot.number.to_be_bytes()));
        let kept = request.clone();
        add(&shared.events.counters().requests, 1u64);
        let sender = Sender::new(shared.clone(), caller.sender.clone(), None);
        self.send(sender.outlet(), request, until, timeout).await.map_err(strip)?;
        let maybe = |error| Err(SendError::new(stripped(kept), Fate::MaybeSent, error));
        match deadline(&*shared.clock, until, self.reply(slot.number, shared)).await {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(error)) => maybe(error),
            None => maybe(timed_out(timeout)),
        }
    }

    /// Sends a request and waits for its receipt. What nobody has when the time is over was not sent.
    async fn send(
        &self,
        outlet: &Outlet,
        request: Datagram,
        until: Duration,
        timeout: Duration,
    ) -> Result<(), SendError> {
        let clock = &*outlet.shared.clock;
        let mut batch = Batch::new();
        batch.push(request);
        let admitted = deadline(clock, until, outlet.admit(&mut batch, (0, 0))).await;
        let mut ticket = match admitted.unwrap_or_else(|| Err(timed_out(timeout))) {
            Ok(ticket) => ticket,
            Err(error) => return Err(outlet.refused(batch, error)),
        };
        let receipts = match deadline(clock, until, ticket.receipts()).await {
            Some(receipts) => receipts,
            None => {
                let mut receipts = ticket.withdraw();
                receipts.blame(&timed_out(timeout));
                receipts
            }
        };
        receipts.into_one().map(drop)
    }

    /// The driver's caller, made by the first request.
    async fn caller(&self, handle: &Arc<Handle>) -> Result<Arc<Caller>> {
        if let Some(caller) = &lock(&self.0).caller {
            return Ok(caller.clone());
        }
        let driver::Caller { sender, receiver, reply_to } = handle.driver.caller().await?;
        let mut desk = lock(&self.0);
        // Two first requests may have made one each; the first to come back stays.
        if let Some(caller) = &desk.caller {
            return Ok(caller.clone());
        }
        let caller = Arc::new(Caller { sender, reply_to });
        desk.caller = Some(caller.clone());
        desk.reader = Some(Reader { receiver, deliveries: Deliveries::new() });
        Ok(caller)
    }

    fn register(&self) -> u64 {
        let mut desk = lock(&self.0);
        desk.next += 1;
        let number = desk.next;
        desk.waiting.insert(number, Waiting::default());
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
        let waiting = desk.waiting.entry(number).or_default();
        if let Some(reply) = waiting.reply.take() {
            return Poll::Ready(Turn::Reply(reply));
        }
        if let Some(reader) = desk.reader.take() {
            return Poll::Ready(Turn::Read(reader));
        }
        waiting.waker = Some(cx.waker().clone());
        Poll::Pending
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
            if !reader.receiver.receive(READ, &mut reader.deliveries).await? {
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
        let next = desk.waiting.values_mut().find_map(|waiting| waiting.waker.take());
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
            match asked.and_then(|asked| desk.waiting.get_mut(&asked)) {
                Some(waiting) => {
                    waiting.reply = Some(reply.view().to_datagram());
                    wakers.extend(waiting.waker.take());
                }
                None => add(&shared.events.counters().late_replies, 1u64),
            }
            reply.ack();
        }
        let there = desk.waiting.get(&number).is_some_and(|waiting| waiting.reply.is_some());
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
        let gone = lock(&self.requests.0).waiting.remove(&self.number);
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
