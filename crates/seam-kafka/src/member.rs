//! The receivers of a connection: they share what its consumer reads.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use seam_core::driver::{Board, Harvester, Receiver, Settled};
use seam_core::{Deliveries, Event, Result, Sleep};

use crate::background::lock;
use crate::config::{Config, Group};
use crate::consumer::Consumer;
use crate::inbox::Most;

/// Hears of verdicts for one receiver.
struct Verdicts {
    consumer: Arc<Consumer>,
    member: u64,
}

impl Harvester for Verdicts {
    fn settled(&self, board: &Arc<Board>, _: bool) {
        let now = self.consumer.clock.now();
        let mut state = lock(&self.consumer.state);
        let (late, wakers) = state.inbox.settle(board, now);
        state.inbox.note_late(self.member, late);
        let idle = state.inbox.in_hand() == 0;
        drop(state);
        self.consumer.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
        if idle {
            self.consumer.bell.ring();
        }
        if late > 0 {
            self.consumer.events.emit(Event::SettlementFailed { count: late });
        }
    }
}

/// One receiver.
pub(crate) struct Member(Arc<Verdicts>);

impl Member {
    pub(crate) fn new(consumer: Arc<Consumer>, member: u64) -> Self {
        Self(Arc::new(Verdicts { consumer, member }))
    }

    fn poll(&self, asked: usize, into: &mut Deliveries, cx: &Context<'_>) -> Poll<Result<bool>> {
        let Verdicts { consumer, member } = &*self.0;
        let Config { credit, credit_bytes: bytes, .. } = consumer.config;
        let most = Most { asked, credit, bytes };
        let mut state = lock(&consumer.state);
        if state.draining || state.ended {
            return Poll::Ready(state.failed.clone().map_or(Ok(false), Err));
        }
        let now = consumer.clock.now();
        if state.inbox.hand_out(*member, &most, into, now, self.0.clone()) {
            drop(state);
            consumer.changed.notify_all();
            return Poll::Ready(Ok(true));
        }
        if let Some(error) = &state.failed {
            return Poll::Ready(Err(error.clone()));
        }
        state.inbox.wait(*member, cx.waker());
        Poll::Pending
    }

    fn next_due(&self) -> Option<Duration> {
        let Verdicts { consumer, .. } = &*self.0;
        let now = consumer.clock.now();
        lock(&consumer.state).inbox.next_due(now)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let Verdicts { consumer, member } = &*self.0;
        let wakers = lock(&consumer.state).inbox.leave(*member);
        wakers.into_iter().for_each(Waker::wake);
        if consumer.is_of_replies() {
            consumer.close();
        }
    }
}

#[async_trait]
impl Receiver for Member {
    async fn receive(&mut self, max: usize, into: &mut Deliveries) -> Result<bool> {
        let clock = self.0.consumer.clock.clone();
        let mut timer: Option<(Duration, Sleep)> = None;
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(outcome) = self.poll(max, into, cx) {
                    return Poll::Ready(outcome);
                }
                let Some(due) = self.next_due() else { return Poll::Pending };
                if timer.as_ref().is_none_or(|(at, _)| *at != due) {
                    timer = Some((due, clock.sleep(due.saturating_sub(clock.now()))));
                }
                let Some((_, sleep)) = &mut timer else { return Poll::Pending };
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                timer = None;
            }
        })
        .await
    }

    async fn settled(&mut self) -> Result<Settled> {
        let Verdicts { consumer, member } = &*self.0;
        if consumer.config.group != Group::Private {
            let _urgent = Urgent::new(consumer);
            let committed = || {
                let state = lock(&consumer.state);
                state.ended || state.failed.is_some() || state.inbox.uncommitted().is_empty()
            };
            consumer.bell.until(committed).await;
        }
        let mut state = lock(&consumer.state);
        match &state.failed {
            Some(error) => Err(error.clone()),
            None => Ok(Settled { late: state.inbox.take_late(*member) }),
        }
    }
}

/// A call that waits for a commit.
struct Urgent<'a>(&'a Consumer);

impl<'a> Urgent<'a> {
    fn new(consumer: &'a Consumer) -> Self {
        lock(&consumer.state).urgent += 1;
        consumer.changed.notify_all();
        Self(consumer)
    }
}

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).urgent -= 1;
    }
}
