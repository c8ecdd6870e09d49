//! Whom to wake when a connection has something to do.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use crate::lock;

/// The waker of one connection: the socket, the distributor and whoever settles ring it.
///
/// It wakes the task that drives the connection and, before it, a call that waits for what the connection
/// brings: that one then reads the socket itself, which spares a hop. While a call is at work in the
/// connection the bell is only noted.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    driver: Mutex<Option<Waker>>,
    waiter: Mutex<Option<(u64, Waker)>>,
    /// Calls that look after the connection themselves before they return.
    busy: AtomicUsize,
    /// Whether it rang since somebody began to look.
    noted: AtomicBool,
    /// Whether the task that drives was asked to look after everything, and nobody has since.
    called: AtomicBool,
    /// Whether a call that waits was woken, and nobody has looked since.
    told: AtomicBool,
    /// Whether the distributor has something to send, of which the task that drives was not told.
    offered: AtomicBool,
}

impl Alarm {
    /// Wakes whoever drives, unless it was called or another is about to look anyhow.
    pub(crate) fn ring(&self) {
        self.noted.store(true, Ordering::SeqCst);
        if self.busy.load(Ordering::SeqCst) == 0 && !self.called.load(Ordering::SeqCst) {
            self.ring_loud();
        }
    }

    /// Somebody looks after the connection now: what rang before needs no other.
    pub(crate) fn heard(&self) {
        self.noted.store(false, Ordering::SeqCst);
        self.told.store(false, Ordering::SeqCst);
    }

    /// Somebody does all that whoever drives would do.
    pub(crate) fn answered(&self) {
        self.called.store(false, Ordering::SeqCst);
        self.offered.store(false, Ordering::SeqCst);
    }

    /// The distributor has something to send: a call that waits does not look for that, whoever drives does.
    fn offer(&self) {
        self.offered.store(true, Ordering::SeqCst);
        if self.busy.load(Ordering::SeqCst) == 0 {
            self.pass_offer_on();
        }
    }

    fn pass_offer_on(&self) {
        if self.offered.swap(false, Ordering::SeqCst) {
            self.call_driver();
        }
    }

    /// What the distributor wakes.
    pub(crate) fn for_offers(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::new(Offers(self.clone())))
    }

    /// Whether whoever drives has something to look for.
    pub(crate) fn calls(&self) -> bool {
        self.noted.load(Ordering::SeqCst) || self.called.load(Ordering::SeqCst)
    }

    /// Whether a call that waits was woken and is about to look.
    pub(crate) fn has_told(&self) -> bool {
        self.told.load(Ordering::SeqCst)
    }

    /// Whether the task that drives is about to look after everything.
    pub(crate) fn is_called(&self) -> bool {
        self.called.load(Ordering::SeqCst)
    }

    /// Whether a call that waits has something to look for, which whoever drives is not about to do.
    pub(crate) fn invites(&self) -> bool {
        self.noted.load(Ordering::SeqCst) && !self.called.load(Ordering::SeqCst)
    }

    /// Wakes whoever waits, and the task that drives, to look after everything.
    pub(crate) fn rouse(&self) {
        self.called.store(true, Ordering::SeqCst);
        self.ring_loud();
    }

    /// Wakes whoever drives.
    fn ring_loud(&self) {
        let waiter = lock(&self.waiter).take();
        if let Some((_, waiter)) = waiter {
            self.told.store(true, Ordering::SeqCst);
            waiter.wake();
        }
        self.wake_driver();
    }

    /// Asks the task that drives to look after everything, and nobody else.
    pub(crate) fn call_driver(&self) {
        if !self.called.swap(true, Ordering::SeqCst) {
            self.wake_driver();
        }
    }

    fn wake_driver(&self) {
        let driver = lock(&self.driver).take();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// The task that drives waits.
    pub(crate) fn set_driver(&self, waker: &Waker) {
        let mut driver = lock(&self.driver);
        match &mut *driver {
            Some(known) => known.clone_from(waker),
            None => *driver = Some(waker.clone()),
        }
    }

    /// A call waits; only one at a time is told.
    pub(crate) fn set_waiter(&self, call: u64, waker: &Waker) {
        let mut waiter = lock(&self.waiter);
        match &mut *waiter {
            Some((owner, known)) if *owner == call => known.clone_from(waker),
            Some(_) => {}
            None => *waiter = Some((call, waker.clone())),
        }
    }

    /// A call waits no more.
    pub(crate) fn clear_waiter(&self, call: u64) {
        let mut waiter = lock(&self.waiter);
        if waiter.as_ref().is_some_and(|(owner, _)| *owner == call) {
            *waiter = None;
        }
    }

    /// Until the guard is dropped, bells are only noted: its holder looks after the connection.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::SeqCst);
        Busy(self.clone())
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// While it lives, its holder looks after the connection.
pub(crate) struct Busy(Arc<Alarm>);

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.busy.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        self.0.pass_offer_on();
        if self.0.invites() {
            self.0.ring_loud();
        }
    }
}

/// The waker of a connection for what is to be sent.
struct Offers(Arc<Alarm>);

impl Wake for Offers {
    fn wake(self: Arc<Self>) {
        self.0.offer();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.offer();
    }
}
