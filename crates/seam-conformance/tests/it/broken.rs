//! Memory, broken in one way.
//!
//! Each fault is a small change in a wrapper around memory's driver. The wrapper without its fault is honest,
//! so that what a behaviour sees is the fault and nothing else.

use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use seam_core::driver::{
    Board, Caller, Connection, Harvest, Harvester, OpenContext, Receiver, Sender, Ticket, Transport,
};
use seam_core::{
    Authorise, Batch, Capabilities, Capability, Datagram, Deliveries, Delivery, Drained, Endpoint,
    Fate, Memory, Note, Peer, Receipts, Result, Scheme, SendError, Settled, Side, Support,
    Timestamp,
};

/// One way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    LosesOneInAHundred,
    DuplicatesOneInAHundred,
    RemovesEqualBodies,
    CorruptsABody,
    ReordersAKey,
    AcksOnDrop,
    SwallowsAHeader,
    StampsAField,
    TurnsEmptyIntoNone,
    ClaimsToStore,
    DeniesRepliesAndGivesThem,
    SaysNotSentOfWhatWasSent,
    DeliversAfterExpiry,
    DeliversBeforeItsTime,
    LeaksATask,
    IgnoresTheDeadlineOfDrain,
    ForgetsWhatADrainLeft,
    LosesACancelledReceive,
    IgnoresTheDelayOfARetry,
    DoesNotCountAttempts,
    SharesOneGroupAmongAll,
    GivesEachReceiverAGroup,
    IgnoresCredit,
    DropsOnOverload,
    ReceiptsBeforeAdmission,
    RepliesToAnotherRequest,
    RefillsMoreThanAsked,
    HidesThePeer,
    LetsEverybodyIn,
}

#[derive(Debug)]
pub(crate) struct Broken {
    memory: Memory,
    fault: Fault,
    /// Whether it shows the fault, or is only wrapped like it.
    active: bool,
    groups: AtomicU64,
}

impl Broken {
    pub(crate) fn new(fault: Fault, active: bool) -> Self {
        Self { memory: Memory::new(), fault, active, groups: AtomicU64::new(0) }
    }

    fn has(&self, fault: Fault) -> bool {
        self.active && self.fault == fault
    }

    fn change(&self, capabilities: &Capabilities) -> Capabilities {
        let capabilities = capabilities.clone();
        match self.fault {
            Fault::ClaimsToStore if self.active => {
                capabilities.with(Capability::Store, Support::Native)
            }
            Fault::DeniesRepliesAndGivesThem if self.active => {
                capabilities.with(Capability::Reply, Support::No)
            }
            _ => capabilities,
        }
    }

    /// The endpoint that memory is shown.
    fn endpoint(&self, endpoint: &Endpoint) -> Endpoint {
        let hidden = match self.fault {
            Fault::SharesOneGroupAmongAll | Fault::GivesEachReceiverAGroup => "group",
            Fault::IgnoresCredit => "credit",
            _ => return endpoint.clone(),
        };
        if !self.active {
            return endpoint.clone();
        }
        let uri = endpoint.uri();
        let mut builder = seam_core::Uri::builder(uri.scheme()).address(endpoint.address());
        for (name, value) in uri.parameters().filter(|(name, _)| *name != hidden) {
            builder = builder.set(name, value);
        }
        if self.fault == Fault::GivesEachReceiverAGroup {
            builder = builder.set(hidden, self.groups.fetch_add(1, Ordering::Relaxed));
        }
        Endpoint::resolve(&builder.build().unwrap(), &self.memory.schemes()[0]).unwrap()
    }
}

#[async_trait]
impl Transport for Broken {
    fn schemes(&self) -> &'static [Scheme] {
        self.memory.schemes()
    }

    fn check(&self, endpoint: &Endpoint, side: Side) -> Result<Capabilities> {
        Ok(self.change(&self.memory.check(endpoint, side)?))
    }

    async fn open(&self, endpoint: &Endpoint, context: OpenContext) -> Result<Arc<dyn Connection>> {
        let context = match self.has(Fault::LetsEverybodyIn) {
            true => context.with_authorise(Authorise::default()),
            false => context,
        };
        let inner = self.memory.open(&self.endpoint(endpoint), context).await?;
        if self.has(Fault::LeaksATask) {
            drop(tokio::spawn(pending::<()>()));
        }
        let capabilities = self.change(inner.capabilities());
        let (fault, active) = (self.fault, self.active);
        Ok(Arc::new(BrokenConnection { inner, capabilities, fault, active }))
    }
}

#[derive(Debug)]
struct BrokenConnection {
    inner: Arc<dyn Connection>,
    capabilities: Capabilities,
    fault: Fault,
    active: bool,
}

impl BrokenConnection {
    fn has(&self, fault: Fault) -> bool {
        self.active && self.fault == fault
    }

    fn wrap(&self, inner: Arc<dyn Sender>) -> Arc<dyn Sender> {
        let (fault, active) = (self.fault, self.active);
        Arc::new(BrokenSender { inner, fault, active })
    }
}

#[async_trait]
impl Connection for BrokenConnection {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn sender(&self) -> Result<Arc<dyn Sender>> {
        Ok(self.wrap(self.inner.sender().await?))
    }

    async fn receiver(&self) -> Result<Box<dyn Receiver>> {
        let inner = self.inner.receiver().await?;
        let (fault, active) = (self.fault, self.active);
        match fault {
            Fault::LosesOneInAHundred
            | Fault::DuplicatesOneInAHundred
            | Fault::RemovesEqualBodies
            | Fault::CorruptsABody
            | Fault::AcksOnDrop
            | Fault::LosesACancelledReceive
            | Fault::IgnoresTheDelayOfARetry
            | Fault::DoesNotCountAttempts
            | Fault::RefillsMoreThanAsked => Ok(Box::new(BrokenReceiver {
                inner,
                fault,
                active,
                seen: 0,
                last: None,
                twin: None,
            })),
            _ => Ok(inner),
        }
    }

    async fn caller(&self) -> Result<Caller> {
        self.inner.caller().await
    }

    async fn replier(&self, reply_to: &[u8]) -> Result<Arc<dyn Sender>> {
        let inner = self.inner.replier(reply_to).await?;
        Ok(if self.fault == Fault::RepliesToAnotherRequest { self.wrap(inner) } else { inner })
    }

    async fn accept(&self) -> Result<Option<Arc<dyn Connection>>> {
        let Some(inner) = self.inner.accept().await? else { return Ok(None) };
        let (fault, active) = (self.fault, self.active);
        let capabilities = self.capabilities.clone();
        Ok(Some(Arc::new(Self { inner, capabilities, fault, active })))
    }

    fn peer(&self) -> Option<&Arc<Peer>> {
        self.inner.peer().filter(|_| !self.has(Fault::HidesThePeer))
    }

    async fn drain(&self, deadline: Duration) -> Result<Drained> {
        let ignores = self.has(Fault::IgnoresTheDeadlineOfDrain);
        let deadline = if ignores { Duration::from_secs(3600) } else { deadline };
        let drained = self.inner.drain(deadline).await?;
        let forgets = self.has(Fault::ForgetsWhatADrainLeft);
        Ok(if forgets { Drained::new(drained.unsettled, Vec::new()) } else { drained })
    }
}

struct BrokenSender {
    inner: Arc<dyn Sender>,
    fault: Fault,
    active: bool,
}

impl BrokenSender {
    /// What goes out in the place of `datagrams`; as many.
    fn change(&self, datagrams: &mut [Datagram]) {
        if !self.active {
            return;
        }
        if self.fault == Fault::ReordersAKey && datagrams.len() > 3 {
            datagrams.swap(2, 3);
        }
        for datagram in datagrams {
            let is_empty = datagram.payload().is_some_and(<[u8]>::is_empty);
            let has_headers = !datagram.envelope().headers.is_empty();
            match self.fault {
                Fault::SwallowsAHeader if has_headers => {
                    datagram.envelope_mut().headers.pop();
                }
                Fault::StampsAField => {
                    datagram.envelope_mut().time = Some(Timestamp::MAX);
                }
                Fault::TurnsEmptyIntoNone if is_empty => {
                    let envelope = datagram.envelope().clone();
                    *datagram = Datagram::empty().with_tag(datagram.tag()).with_envelope(envelope);
                }
                Fault::DeliversAfterExpiry => datagram.envelope_mut().expiry = None,
                Fault::DeliversBeforeItsTime => datagram.envelope_mut().deliver_at = None,
                Fault::RepliesToAnotherRequest => {
                    let id = datagram.envelope().correlation_id.clone();
                    // Off by one: the reply of whoever asked before or after.
                    let mut bytes = id.unwrap_or_default().to_vec();
                    bytes.iter_mut().rev().take(1).for_each(|byte| *byte ^= 1);
                    datagram.envelope_mut().correlation_id = Some(bytes.into());
                }
                _ => {}
            }
        }
    }
}

/// Numbers that memory never gives.
const NOBODYS: u64 = 1 << 60;

#[async_trait]
impl Sender for BrokenSender {
    async fn admit(&self, batch: &mut Batch) -> Result<()> {
        let mut datagrams: Vec<Datagram> = batch.views().map(|view| view.to_datagram()).collect();
        self.change(&mut datagrams);
        let mut copy: Batch = datagrams.into_iter().collect();
        let mut admit = self.inner.admit(&mut copy);
        let drops = self.active && self.fault == Fault::DropsOnOverload;
        let outcome = poll_fn(|cx| match admit.as_mut().poll(cx) {
            Poll::Pending if drops => Poll::Ready(Ok(())),
            polled => polled,
        })
        .await;
        drop(admit);
        let ticket = copy.take_ticket();
        for (first, count) in ticket.ranges() {
            batch.admit(usize::try_from(count).unwrap(), first).for_each(drop);
        }
        if drops && !batch.is_empty() {
            batch.admit(batch.len(), NOBODYS).for_each(drop);
        }
        if let Some(confirmation) = ticket.confirmed().filter(|_| !self.lies_about_receipts()) {
            batch.confirm(confirmation);
        }
        outcome
    }

    async fn receipts(&self, ticket: &mut Ticket) -> Receipts {
        match self.fault {
            Fault::SaysNotSentOfWhatWasSent if self.active => pending().await,
            Fault::ReceiptsBeforeAdmission if self.active => {
                Receipts::all(ticket.len(), seam_core::Confirmation::Received)
            }
            _ => self.inner.receipts(ticket).await,
        }
    }

    fn withdraw(&self, ticket: Ticket) -> Receipts {
        if !(self.active && self.fault == Fault::SaysNotSentOfWhatWasSent) {
            return self.inner.withdraw(ticket);
        }
        let mut receipts = Receipts::all(ticket.len(), seam_core::Confirmation::Received);
        for index in 0..ticket.len() {
            let error = seam_core::Error::Full;
            receipts.fail(index, SendError::new(Datagram::empty(), Fate::NotSent, error));
        }
        receipts
    }
}

impl BrokenSender {
    fn lies_about_receipts(&self) -> bool {
        self.fault == Fault::SaysNotSentOfWhatWasSent
    }
}

struct BrokenReceiver {
    inner: Box<dyn Receiver>,
    fault: Fault,
    active: bool,
    seen: u64,
    last: Option<Bytes>,
    /// What is delivered a second time.
    twin: Option<(Datagram, Note)>,
}

impl BrokenReceiver {
    /// What is handed on of one delivery.
    fn change(&mut self, delivery: Delivery) -> Option<(Datagram, Note, Option<Delivery>)> {
        self.seen += 1;
        let (mut datagram, mut note) = (delivery.datagram().clone(), delivery.note().clone());
        let unlucky = self.seen.is_multiple_of(100);
        let payload = datagram.payload_bytes();
        match self.fault {
            _ if !self.active => {}
            Fault::LosesOneInAHundred if unlucky => {
                delivery.ack().unwrap();
                return None;
            }
            Fault::DuplicatesOneInAHundred if unlucky => {
                self.twin = Some((datagram.clone(), note.clone()));
            }
            Fault::RemovesEqualBodies if self.last == payload => {
                delivery.ack().unwrap();
                return None;
            }
            Fault::CorruptsABody if unlucky => {
                let mut bytes = payload.clone().unwrap_or_default().to_vec();
                bytes.iter_mut().rev().take(1).for_each(|byte| *byte ^= 0x20);
                datagram = datagram.with_payload(bytes);
            }
            Fault::DoesNotCountAttempts => note = Note::default(),
            _ => {}
        }
        self.last = payload;
        Some((datagram, note, Some(delivery)))
    }
}

#[async_trait]
impl Receiver for BrokenReceiver {
    async fn receive(&mut self, max: usize, into: &mut Deliveries) -> Result<bool> {
        let more = self.active && self.fault == Fault::RefillsMoreThanAsked;
        let max = if more { max + 1 } else { max };
        if let Some((datagram, note)) = self.twin.take() {
            let hold = Hold { held: Mutex::new(vec![None]), fault: self.fault, active: true };
            into.begin(1, self.seen, Arc::new(hold));
            into.push_noted(datagram, note);
            return Ok(true);
        }
        loop {
            let mut taken = Deliveries::new();
            if !self.inner.receive(max, &mut taken).await? {
                return Ok(false);
            }
            let mut handed = Vec::new();
            while let Some(lent) = taken.lend() {
                handed.extend(self.change(lent.take()));
            }
            if self.active && self.fault == Fault::LosesACancelledReceive {
                let careless = Careless(handed);
                give_way().await;
                handed = careless.into_inner();
            }
            if handed.is_empty() {
                continue;
            }
            let (datagrams, deliveries): (Vec<_>, Vec<_>) =
                handed.into_iter().map(|(datagram, note, held)| ((datagram, note), held)).unzip();
            let hold =
                Hold { held: Mutex::new(deliveries), fault: self.fault, active: self.active };
            into.begin(datagrams.len(), self.seen, Arc::new(hold));
            for (datagram, note) in datagrams {
                into.push_noted(datagram, note);
            }
            return Ok(true);
        }
    }

    async fn settled(&mut self) -> Result<Settled> {
        self.inner.settled().await
    }
}

/// Deliveries that count as done when whoever waited for them goes away.
struct Careless(Vec<(Datagram, Note, Option<Delivery>)>);

impl Careless {
    fn into_inner(mut self) -> Vec<(Datagram, Note, Option<Delivery>)> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Careless {
    fn drop(&mut self) {
        for delivery in self.0.drain(..).filter_map(|(_, _, delivery)| delivery) {
            drop(delivery.ack());
        }
    }
}

/// Hands verdicts on to memory.
struct Hold {
    held: Mutex<Vec<Option<Delivery>>>,
    fault: Fault,
    active: bool,
}

impl Harvester for Hold {
    fn settled(&self, board: &Arc<Board>, _: bool) {
        let mut harvest = Harvest::default();
        board.harvest(&mut harvest);
        let take = |index: u32| lock(&self.held)[usize::try_from(index).unwrap()].take();
        for index in harvest.done.into_iter().flatten() {
            // What comes too late is memory's to tell.
            take(index).into_iter().for_each(|delivery| drop(delivery.ack()));
        }
        for index in harvest.dropped.into_iter().flatten() {
            let acks = self.active && self.fault == Fault::AcksOnDrop;
            let delivery = take(index).filter(|_| acks);
            delivery.into_iter().for_each(|delivery| drop(delivery.ack()));
        }
        for (index, after) in harvest.retried {
            let ignores = self.active && self.fault == Fault::IgnoresTheDelayOfARetry;
            let after = if ignores { Duration::ZERO } else { after };
            take(index).into_iter().for_each(|delivery| drop(delivery.retry(after)));
        }
    }
}

async fn give_way() {
    let mut given = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
