//! The way in of a connection, as drivers have it.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use async_trait::async_trait;

use crate::clock::lock;
use crate::distributor::group::Now;
use crate::distributor::hook::Hook;
use crate::distributor::timer::Timer;
use crate::distributor::{Distributor, Membership, Seat, Wait};
use crate::driver::{OpenContext, Receiver, Settled};
use crate::{Clock, Deliveries, Result};

/// The place of a receiver; where it stands changes once, at `accept`.
pub(super) struct Chair {
    pub(super) place: Mutex<Place>,
    pub(super) clock: Arc<dyn Clock>,
    /// Whether its receiver was dropped.
    pub(super) left: AtomicBool,
}

#[derive(Clone)]
pub(super) struct Place {
    pub(super) topic: Arc<Distributor>,
    pub(super) seat: Seat,
    pub(super) hook: Arc<Hook>,
}

impl Place {
    pub(super) fn new(
        topic: Arc<Distributor>,
        membership: Membership,
        context: &OpenContext,
    ) -> Self {
        let seat = topic.join(membership);
        let hook = Hook {
            topic: topic.clone(),
            group: seat.group,
            events: context.events.clone(),
            clock: context.clock.clone(),
            late: AtomicU64::new(0),
        };
        Self { topic, seat, hook: Arc::new(hook) }
    }
}

impl Chair {
    pub(super) fn place(&self) -> Place {
        lock(&self.place).clone()
    }

    pub(super) fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Whether its receiver is gone and nothing of it is in hand.
    pub(super) fn is_over(&self) -> bool {
        let place = self.place();
        self.has_left() && !place.topic.is_member(place.seat)
    }

    pub(super) fn move_to(&self, topic: Arc<Distributor>, membership: Membership) {
        let mut place = lock(&self.place);
        let seat = topic.join(membership);
        let hook = Hook {
            topic: topic.clone(),
            group: seat.group,
            events: place.hook.events.clone(),
            clock: self.clock.clone(),
            late: AtomicU64::new(0),
        };
        let old = std::mem::replace(&mut *place, Place { topic, seat, hook: Arc::new(hook) });
        drop(place);
        old.topic.leave(old.seat, self.clock.now());
    }
}

pub(super) struct MemoryReceiver {
    pub(super) chair: Arc<Chair>,
}

impl Drop for MemoryReceiver {
    fn drop(&mut self) {
        self.chair.left.store(true, Ordering::Release);
        let place = self.chair.place();
        place.topic.leave(place.seat, self.chair.clock.now());
    }
}

/// A receive that waits; hands on what it was woken for when it is dropped.
struct Receiving<'a> {
    pub(super) chair: &'a Chair,
    waiting: bool,
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        if self.waiting {
            let place = self.chair.place();
            place.topic.cancel_receive(place.seat);
        }
    }
}

#[async_trait]
impl Receiver for MemoryReceiver {
    async fn receive(&mut self, max: usize, into: &mut Deliveries) -> Result<bool> {
        let chair = &*self.chair;
        let mut receiving = Receiving { chair, waiting: false };
        let mut timer = Timer::default();
        poll_fn(|cx| {
            loop {
                let place = chair.place();
                let Place { topic, seat, hook } = &place;
                let now = Now::of(&*chair.clock);
                match topic.poll_receive(*seat, max, into, hook, &now, cx) {
                    Wait::Ready(more) => {
                        receiving.waiting = false;
                        return Poll::Ready(Ok(more));
                    }
                    Wait::Until(due) => {
                        receiving.waiting = true;
                        // Moved while we looked: look again where we stand now.
                        let moved = !Arc::ptr_eq(&chair.place().topic, topic);
                        if !moved && timer.poll(&*chair.clock, due, cx).is_pending() {
                            return Poll::Pending;
                        }
                    }
                }
            }
        })
        .await
    }

    async fn settled(&mut self) -> Result<Settled> {
        let place = self.chair.place();
        place.topic.harvest(&Now::of(&*self.chair.clock));
        Ok(Settled { late: place.hook.late.swap(0, Ordering::Relaxed) })
    }
}
