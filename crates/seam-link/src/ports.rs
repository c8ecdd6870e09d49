//! The ways in and out of an endpoint, as drivers have them.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use async_trait::async_trait;
use seam_core::distributor::Port;
use seam_core::driver::{Receiver, Sender, Settled, Ticket};
use seam_core::{Batch, Deliveries, Receipts, Result};

use crate::hub::Hub;
use crate::inbox::Inbox;
use crate::lock;
use crate::remote::{By, Remote};

/// Whose connection a call looks after while it waits.
#[derive(Clone)]
pub(crate) enum Way {
    /// That of the only peer of an endpoint.
    Hub(Arc<Hub>),
    /// That of one peer.
    Remote(Arc<Remote>),
}

impl Way {
    fn remote(&self) -> Option<Arc<Remote>> {
        match self {
            Self::Hub(hub) => hub.only(),
            Self::Remote(remote) => Some(remote.clone()),
        }
    }
}

/// A way out.
pub(crate) struct LinkSender {
    port: Arc<Port>,
    way: Way,
}

impl LinkSender {
    pub(crate) fn new(port: Arc<Port>, way: Way) -> Self {
        Self { port, way }
    }

    /// Admits, then sees to it that what was admitted is written.
    fn looking_after<T>(&self, batch: &mut Batch, admit: impl FnOnce(&mut Batch) -> T) -> T {
        let Some(remote) = self.way.remote() else { return admit(batch) };
        let (busy, bytes) = (remote.alarm.busy(), batch.bytes());
        let admitted = admit(batch);
        if remote.gathers(bytes - batch.bytes()) {
            remote.alarm.call_driver();
        } else {
            remote.turn(By::Sender);
        }
        drop(busy);
        admitted
    }
}

#[async_trait]
impl Sender for LinkSender {
    async fn admit(&self, batch: &mut Batch) -> Result<()> {
        let mut admission = self.port.admission();
        poll_fn(|cx| self.looking_after(batch, |batch| admission.poll(batch, cx))).await
    }

    fn admit_now(&self, batch: &mut Batch) -> Option<Result<()>> {
        self.looking_after(batch, |batch| self.port.admit_now(batch))
    }

    async fn receipts(&self, ticket: &mut Ticket) -> Receipts {
        let mut waiting = Waiting::new(self.way.remote());
        poll_fn(|cx| waiting.poll(cx, |cx| self.port.poll_receipts(ticket, cx))).await
    }

    fn withdraw(&self, ticket: Ticket) -> Receipts {
        self.port.withdraw(ticket)
    }

    fn forget(&self, ticket: &Ticket) {
        self.port.forget(ticket);
    }
}

/// A way in.
pub(crate) struct LinkReceiver {
    inbox: Arc<Inbox>,
    seat: usize,
    hub: Arc<Hub>,
    /// Whether peers are told when it comes and goes.
    member: bool,
}

impl LinkReceiver {
    /// A receiver of the endpoint's group.
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        let config = &hub.shared.config;
        let inbox = hub.ends.inbox.clone();
        let seat = inbox.join(config.credit, config.credit_bytes);
        hub.attend();
        Self { inbox, seat, hub, member: true }
    }

    /// The receiver of a caller's replies, which wait for no credit: each answers a request that had its own.
    pub(crate) fn of_replies(hub: Arc<Hub>, inbox: Arc<Inbox>) -> Self {
        let seat = inbox.join(REPLIES, usize::MAX);
        Self { inbox, seat, hub, member: false }
    }
}

impl LinkReceiver {
    /// Whether there is more; why not, where it is no good end.
    fn checked(&self, more: bool) -> Result<bool> {
        if more {
            return Ok(true);
        }
        let failure = self.hub.failure().or_else(|| self.inbox.take_failure());
        failure.map_or(Ok(false), Err)
    }
}

#[async_trait]
impl Receiver for LinkReceiver {
    async fn receive(&mut self, max: usize, into: &mut Deliveries) -> Result<bool> {
        let mut waiting = Waiting::new(Way::Hub(self.hub.clone()).remote());
        let guard = Cancel { inbox: &self.inbox, seat: self.seat };
        let (inbox, seat) = (&self.inbox, self.seat);
        let more = poll_fn(|cx| waiting.poll(cx, |cx| inbox.poll_take(seat, max, into, cx))).await;
        std::mem::forget(guard);
        self.checked(more)
    }

    fn receive_now(&mut self, max: usize, into: &mut Deliveries) -> Option<Result<bool>> {
        let more = self.inbox.take(self.seat, max, into)?;
        Some(self.checked(more))
    }

    async fn settled(&mut self) -> Result<Settled> {
        if let Some(remote) = self.hub.only() {
            remote.turn(By::Driver);
        }
        Ok(Settled { late: self.inbox.take_late() })
    }
}

impl Drop for LinkReceiver {
    fn drop(&mut self) {
        self.inbox.leave(self.seat);
        if self.member {
            self.hub.attend();
        }
    }
}

/// Hands on what a receive that is dropped was woken for.
struct Cancel<'a> {
    inbox: &'a Inbox,
    seat: usize,
}

impl Drop for Cancel<'_> {
    fn drop(&mut self) {
        self.inbox.cancel(self.seat);
    }
}

/// A call that waits for what a connection brings, and reads it itself.
struct Waiting {
    remote: Option<Arc<Remote>>,
    call: u64,
    proxy: Option<(Arc<Proxy>, Waker)>,
}

/// The waker of a call that reads for itself: while it does, it need not be told of what it finds.
struct Proxy {
    looking: AtomicBool,
    call: Mutex<Waker>,
}

impl Wake for Proxy {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.looking.load(Ordering::SeqCst) {
            lock(&self.call).wake_by_ref();
        }
    }
}

impl Waiting {
    fn new(remote: Option<Arc<Remote>>) -> Self {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        Self { remote, call: CALLS.fetch_add(1, Ordering::Relaxed), proxy: None }
    }

    /// Polls; before that, where somebody rang and nobody is about to look, looks after the connection.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Some(remote) = &self.remote else { return poll(cx) };
        let is_first = self.proxy.is_none();
        if is_first && remote.alarm.is_called() {
            // Whoever drives is about to look.
            let polled = poll(cx);
            if polled.is_pending() {
                remote.alarm.set_waiter(self.call, cx.waker());
            }
            return polled;
        }
        let (proxy, waker) = self.proxy.get_or_insert_with(|| {
            let call = Mutex::new(cx.waker().clone());
            let proxy = Arc::new(Proxy { looking: AtomicBool::new(false), call });
            let waker = Waker::from(proxy.clone());
            (proxy, waker)
        });
        lock(&proxy.call).clone_from(cx.waker());
        let mut own = Context::from_waker(waker);
        if is_first && let Poll::Ready(ready) = poll(&mut own) {
            return Poll::Ready(ready);
        }
        remote.alarm.set_waiter(self.call, cx.waker());
        let looks = remote.alarm.invites();
        if looks {
            proxy.looking.store(true, Ordering::SeqCst);
            remote.turn(By::Waiter);
            proxy.looking.store(false, Ordering::SeqCst);
        } else if is_first {
            return Poll::Pending;
        }
        poll(&mut own)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(remote) = &self.remote {
            remote.alarm.clear_waiter(self.call);
        }
    }
}

/// Replies that a caller may have in hand.
const REPLIES: usize = 1 << 16;
