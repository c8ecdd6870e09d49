//! The way out, as users hold it.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;

use crate::batch::not_sent;
use crate::clock::{deadline, within};
use crate::connection::Handle;
use crate::driver;
use crate::event::add;
use crate::shared::Shared;
use crate::telemetry::{self, Operation};
use crate::{
    Batch, Datagram, DatagramSink, Endpoint, Error, Event, Fate, Receipt, Receipts, Result,
    SendError, SendErrors,
};

/// A way out. `Ok(Receipt)` means that the confirmation which the endpoint declares was reached; a failure
/// gives the datagram back with its [`Fate`].
///
/// - [`Sender::send`]: one datagram, and its receipt.
/// - [`Sender::feed`] many, [`Sender::flush`] once.
/// - [`Sender::admit`] a [`Batch`], ask its [`Ticket`] for receipts later; any number may be open. The
///   fastest.
///
/// A clone has nothing pending of its own. Dropping a sender with datagrams fed and not flushed loses them;
/// that is counted and an event.
///
/// Deadline: what has no receipt within `?send_timeout=` (30 s) comes back, waiting while disconnected
/// included. What comes back as [`Fate::MaybeSent`] may still arrive, once; it is counted as abandoned.
pub struct Sender {
    outlet: Outlet,
    /// Keeps the connection.
    handle: Arc<Handle>,
    pending: Batch,
    open: VecDeque<Ticket>,
    receipted: u64,
    failed: Vec<SendError>,
}

/// Datagrams that [`Sender::feed`] gathers before it admits them.
const FEED: usize = 256;
/// Bytes that [`Sender::feed`] gathers before it admits them.
const FEED_BYTES: usize = 64 << 10;
/// Tickets that a feeding sender keeps open before it waits for the oldest.
const FEED_OPEN: usize = 64;
/// Failures kept for [`Sender::flush`] at most.
const FEED_FAILED: usize = 4096;

impl Sender {
    pub(crate) fn new(
        shared: Arc<Shared>,
        driver: Arc<dyn driver::Sender>,
        handle: Arc<Handle>,
    ) -> Self {
        Self {
            outlet: Outlet { shared, driver },
            handle,
            pending: Batch::new(),
            open: VecDeque::new(),
            receipted: 0,
            failed: Vec::new(),
        }
    }

    /// Sends one datagram and waits for its receipt. Calls at the same time share batches.
    ///
    /// Cancel safety: dropping it means *I no longer ask*. Before admission the datagram is not sent;
    /// after it, it is sent whole.
    ///
    /// # Errors
    ///
    /// The datagram, its fate, and why: what the endpoint cannot carry ([`Error::TooLarge`],
    /// [`Error::Unsupported`], [`Error::Invalid`], [`Error::Expired`]) before anything is sent;
    /// [`Error::TimedOut`]; [`Error::Closed`]; and those of the carrier.
    pub async fn send(&self, datagram: Datagram) -> Result<Receipt, SendError> {
        self.send_within(datagram, (0, 0)).await
    }

    /// As [`Sender::send`]; `reserve` is headers and bytes that are allowed beyond the limits.
    pub(crate) async fn send_within(
        &self,
        datagram: Datagram,
        reserve: (usize, usize),
    ) -> Result<Receipt, SendError> {
        self.outlet.send(datagram, reserve).await
    }

    /// Admits one datagram if there is credit now. Never waits.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] with the datagram, not sent, where there is none; and those of [`Sender::send`] that
    /// come before anything is sent.
    pub fn try_send(&self, datagram: Datagram) -> Result<Ticket, SendError> {
        let mut batch = Batch::new();
        batch.push(datagram);
        match self.try_admit(&mut batch) {
            Ok(mut ticket) => match ticket.rejected.pop() {
                Some((_, error)) => {
                    self.outlet.shared.count_fate(&error);
                    Err(error)
                }
                None if batch.is_empty() => Ok(ticket),
                None => Err(self.outlet.refused(batch, Error::Full)),
            },
            Err(error) => Err(self.outlet.refused(batch, error)),
        }
    }

    /// Admits every datagram of `batch`, in order, and gives the ticket to ask for their receipts.
    ///
    /// A datagram that the endpoint cannot carry fails alone, in the receipts; the others are sent.
    ///
    /// Cancel safety: what was not admitted stays in `batch`, unsent. What was admitted is on its way; its
    /// ticket waits in `batch` for the next call.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] after `?send_timeout=` without credit, [`Error::Closed`], and those of the
    /// carrier; the batch is then as after a dropped call.
    pub async fn admit(&self, batch: &mut Batch) -> Result<Ticket> {
        self.outlet.admit(batch, (0, 0)).await
    }

    /// Admits from the front of `batch` what there is credit for now; the rest stays in it. Never waits.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] and those of the carrier.
    pub fn try_admit(&self, batch: &mut Batch) -> Result<Ticket> {
        self.outlet.try_admit(batch)
    }

    /// Adds a datagram to what [`Sender::flush`] sends. Admits a batch whenever enough have gathered, so
    /// any number can be fed with bounded memory.
    ///
    /// Cancel safety: the datagram is fed whole or not at all; what was fed before is kept.
    ///
    /// # Errors
    ///
    /// This datagram, not sent: what the endpoint cannot carry; [`Error::Closed`] or [`Error::TimedOut`]
    /// where a full batch could not be admitted; [`Error::Misuse`] once 4,096 failures wait for `flush`.
    pub async fn feed(&mut self, datagram: Datagram) -> Result<(), SendError> {
        match self.make_room(&datagram).await {
            Ok(()) => {
                self.pending.push(datagram);
                Ok(())
            }
            Err(error) => {
                let error = SendError::new(datagram, Fate::NotSent, error);
                self.outlet.shared.count_fate(&error);
                Err(error)
            }
        }
    }

    /// Sends what was fed and waits for every receipt; says how many there were.
    ///
    /// Cancel safety: what was not admitted stays fed, what was admitted keeps its ticket; call it again.
    ///
    /// # Errors
    ///
    /// Every failure of what this sender fed since the last flush, each datagram with its fate.
    pub async fn flush(&mut self) -> Result<u64, SendErrors> {
        if !self.pending.is_empty()
            && let Err(error) = self.admit_pending().await
        {
            let unsent = not_sent(self.pending.take_unsent(), &error);
            add(&self.outlet.shared.events.counters().not_sent, unsent.len());
            self.failed.extend(unsent);
            // What was admitted before has a fate of its own.
            self.open.push_back(self.outlet.ticket(&mut self.pending, None));
        }
        while !self.open.is_empty() {
            self.take_oldest().await;
        }
        let receipted = std::mem::take(&mut self.receipted);
        match std::mem::take(&mut self.failed) {
            failed if failed.is_empty() => Ok(receipted),
            failed => Err(SendErrors { receipted, failed }),
        }
    }

    /// Feeds everything that `datagrams` yields, then flushes; what was fed goes out while it waits for
    /// more. Stops early only where the endpoint takes nothing any more.
    ///
    /// Cancel safety: as [`Sender::feed`] and [`Sender::flush`]; one datagram that was taken from the stream
    /// may be dropped, unsent.
    ///
    /// # Errors
    ///
    /// Every failure, each datagram with its fate.
    pub async fn send_all(
        &mut self,
        datagrams: impl Stream<Item = Datagram>,
    ) -> Result<u64, SendErrors> {
        let mut datagrams = pin!(datagrams);
        let mut refused = Vec::new();
        while let Some(datagram) = self.next_to_feed(datagrams.as_mut()).await {
            if let Err(error) = self.feed(datagram).await {
                let alone = matches!(
                    error.error(),
                    Error::TooLarge { .. }
                        | Error::Invalid { .. }
                        | Error::Unsupported { .. }
                        | Error::Expired
                );
                refused.push(error);
                if !alone {
                    break;
                }
            }
        }
        match self.flush().await {
            Ok(receipted) if refused.is_empty() => Ok(receipted),
            Ok(receipted) => Err(SendErrors { receipted, failed: refused }),
            Err(mut errors) => {
                errors.failed.extend(refused);
                Err(errors)
            }
        }
    }

    /// A sink that feeds, and flushes when it is flushed or closed.
    #[must_use]
    pub fn into_sink(self) -> DatagramSink {
        DatagramSink::new(self)
    }

    /// The endpoint it sends to.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.outlet.shared.endpoint
    }

    pub(crate) fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// Admits what is pending if a full batch waits, or once anything does and `all` is asked.
    pub(crate) async fn admit_pending(&mut self) -> Result<()> {
        while self.open.len() >= FEED_OPEN {
            self.take_oldest().await;
        }
        let ticket = self.outlet.admit(&mut self.pending, (0, 0)).await?;
        self.open.push_back(ticket);
        Ok(())
    }

    async fn make_room(&mut self, datagram: &Datagram) -> Result<()> {
        self.outlet.shared.check(datagram.view(), (0, 0))?;
        if self.failed.len() >= FEED_FAILED {
            let what = "too many failures wait for `flush`";
            return Err(Error::Misuse { what, remedy: "call `flush` and look at what failed" });
        }
        if self.pending.len() >= FEED || self.pending.bytes() >= FEED_BYTES {
            self.admit_pending().await?;
        }
        Ok(())
    }

    /// The next datagram of a stream; while it has none, what was fed goes out.
    async fn next_to_feed<S: Stream<Item = Datagram>>(
        &mut self,
        mut datagrams: Pin<&mut S>,
    ) -> Option<Datagram> {
        let ready = poll_fn(|cx| Poll::Ready(datagrams.as_mut().poll_next(cx))).await;
        if let Poll::Ready(next) = ready {
            return next;
        }
        if !self.pending.is_empty() && self.admit_pending().await.is_err() {
            // What was fed is kept, and `flush` tells what becomes of it.
            return None;
        }
        poll_fn(|cx| datagrams.as_mut().poll_next(cx)).await
    }

    async fn take_oldest(&mut self) {
        let Some(oldest) = self.open.front_mut() else { return };
        let receipts = oldest.receipts().await;
        self.open.pop_front();
        self.receipted += u64::from(receipts.receipted());
        self.failed.extend(receipts.into_failed());
    }
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        let Outlet { shared, driver } = &self.outlet;
        Self::new(shared.clone(), driver.clone(), self.handle.clone())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.pending.is_empty() {
            let count = u64::from(crate::batch::count(self.pending.len()));
            self.outlet.shared.events.emit(Event::Unflushed { count });
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({})", self.outlet.shared.endpoint)
    }
}

/// A driver's sender with what core adds to it: limits, deadlines, counts.
pub(crate) struct Outlet {
    pub(crate) shared: Arc<Shared>,
    driver: Arc<dyn driver::Sender>,
}

impl Outlet {
    pub(crate) fn new(shared: Arc<Shared>, driver: Arc<dyn driver::Sender>) -> Self {
        Self { shared, driver }
    }

    /// Sends one datagram and waits for its receipt.
    pub(crate) async fn send(
        &self,
        datagram: Datagram,
        reserve: (usize, usize),
    ) -> Result<Receipt, SendError> {
        let mut batch = Batch::new();
        batch.push(datagram);
        match self.admit(&mut batch, reserve).await {
            Ok(mut ticket) => ticket.receipts().await.into_one(),
            Err(error) => Err(self.refused(batch, error)),
        }
    }

    /// Admits what this endpoint can carry; `reserve` is headers and bytes that are allowed beyond the limits.
    pub(crate) async fn admit(&self, batch: &mut Batch, reserve: (usize, usize)) -> Result<Ticket> {
        if self.must_check(batch) {
            batch.reject(|view| self.shared.check(view, reserve));
        }
        let mut due = None;
        if !batch.is_empty() {
            let counted = Counted { outlet: self, before: batch.len(), batch };
            if let Some(outcome) = self.driver.admit_now(&mut *counted.batch) {
                drop(counted);
                outcome.map_err(|error| self.shared.name(error))?;
                return Ok(self.ticket(batch, due));
            }
            let admit = self.driver.admit(&mut *counted.batch);
            let timeout = self.shared.send_timeout;
            let admitted = within(&*self.shared.clock, timeout, &mut due, admit).await;
            drop(counted);
            match admitted {
                Some(outcome) => outcome.map_err(|error| self.shared.name(error))?,
                None => return Err(self.shared.timed_out("admission")),
            }
        }
        Ok(self.ticket(batch, due))
    }

    fn try_admit(&self, batch: &mut Batch) -> Result<Ticket> {
        if self.must_check(batch) {
            batch.reject(|view| self.shared.check(view, (0, 0)));
        }
        if !batch.is_empty() {
            let counted = Counted { outlet: self, before: batch.len(), batch };
            // The first poll admits what fits; dropping the call then leaves the rest in the batch.
            let mut admit = self.driver.admit(&mut *counted.batch);
            let polled = admit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            drop(admit);
            if let Poll::Ready(Err(error)) = polled {
                return Err(self.shared.name(error));
            }
        }
        Ok(self.ticket(batch, None))
    }

    /// Whether some datagram may be more than this endpoint carries; mostly one look at the whole batch.
    fn must_check(&self, batch: &Batch) -> bool {
        batch.has_envelopes()
            || batch.largest() > self.shared.capabilities.limits().payload
            || (batch.is_hollow() && !self.shared.capabilities.has(crate::Capability::Envelope))
    }

    /// The ticket of what was admitted; its time is up at `due`, or after the whole `?send_timeout=`.
    fn ticket(&self, batch: &mut Batch, due: Option<Duration>) -> Ticket {
        let inner = batch.take_ticket();
        let due = due.unwrap_or_else(|| match inner.confirmed() {
            // Nobody waits for what is confirmed.
            Some(_) => Duration::MAX,
            None => self.shared.clock.now().saturating_add(self.shared.send_timeout),
        });
        Ticket {
            inner,
            rejected: std::mem::take(&mut batch.rejected),
            driver: self.driver.clone(),
            shared: self.shared.clone(),
            due,
        }
    }

    pub(crate) fn refused(&self, mut batch: Batch, error: Error) -> SendError {
        let datagram = batch.take_unsent().pop().unwrap_or_default();
        let error = SendError::new(datagram, Fate::NotSent, error);
        self.shared.count_fate(&error);
        error
    }
}

/// Counts what of a batch was admitted, also where the call is dropped.
struct Counted<'a> {
    outlet: &'a Outlet,
    before: usize,
    batch: &'a mut Batch,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let admitted = self.before - self.batch.len();
        telemetry::batch(&self.outlet.shared.endpoint, Operation::Send, admitted);
        add(&self.outlet.shared.events.counters().admitted, admitted);
    }
}

/// Datagrams that were admitted and whose receipts nobody has asked for yet.
///
/// Dropping it means *I no longer ask*: what was admitted is sent all the same, and a failure is only
/// counted by the connection.
#[must_use = "ask it for receipts, or nobody learns what failed"]
pub struct Ticket {
    inner: driver::Ticket,
    pub(crate) rejected: Vec<(u32, SendError)>,
    driver: Arc<dyn driver::Sender>,
    shared: Arc<Shared>,
    due: Duration,
}

impl Ticket {
    /// Datagrams of this ticket, those that were refused before admission included.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.inner.len() + crate::batch::count(self.rejected.len())
    }

    /// Whether it stands for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the fate of every datagram, and takes it: a second call gives an empty answer.
    ///
    /// What has no receipt `?send_timeout=` after its admission began comes back with
    /// [`Error::TimedOut`].
    ///
    /// Cancel safety: dropping it keeps the ticket.
    pub async fn receipts(&mut self) -> Receipts {
        self.receipts_before(Duration::MAX).await
    }

    /// As [`Ticket::receipts`], for a caller that asks no longer than until `until`.
    pub(crate) async fn receipts_before(&mut self, until: Duration) -> Receipts {
        if let Some(confirmation) = self.inner.confirmed() {
            let len = std::mem::take(&mut self.inner).len();
            return self.taken(Receipts::all(len, confirmation));
        }
        if self.inner.is_empty() {
            let confirmation = self.shared.capabilities.confirmation();
            return self.taken(Receipts::all(0, confirmation));
        }
        let receipts = self.driver.receipts(&mut self.inner);
        let receipts = match self.due < until {
            true => deadline(&*self.shared.clock, self.due, receipts).await,
            false => Some(receipts.await),
        };
        match receipts {
            Some(receipts) => {
                self.inner = driver::Ticket::default();
                self.taken(receipts)
            }
            None => {
                let receipts = self.give_up();
                self.late(receipts)
            }
        }
    }

    /// Gives up, at once: what has no receipt yet comes back with its fate. What comes back as
    /// [`Fate::MaybeSent`] may still arrive; it is counted as abandoned, and an event.
    pub fn withdraw(mut self) -> Receipts {
        let receipts = self.give_up();
        self.taken(receipts)
    }

    fn late(&mut self, mut receipts: Receipts) -> Receipts {
        receipts.blame(&self.shared.timed_out("the receipt"));
        self.taken(receipts)
    }

    fn give_up(&mut self) -> Receipts {
        let receipts = self.driver.withdraw(std::mem::take(&mut self.inner));
        let maybe = receipts.failed().iter().filter(|(_, e)| e.fate() == Fate::MaybeSent).count();
        if maybe > 0 {
            let count = u64::from(crate::batch::count(maybe));
            self.shared.events.emit(Event::Abandoned { count });
        }
        receipts
    }

    fn taken(&mut self, mut receipts: Receipts) -> Receipts {
        receipts.insert_rejected(std::mem::take(&mut self.rejected));
        add(&self.shared.events.counters().receipted, receipts.receipted());
        if !receipts.all_ok() {
            receipts.change(|failed| self.shared.name_unsent(failed));
            self.shared.count_failures(receipts.failed());
        }
        receipts
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.inner.is_empty() && self.inner.confirmed().is_none() {
            self.driver.forget(&self.inner);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({} datagrams)", self.len())
    }
}
