//! Which delivery runs next: the keys, the bounds and the delays of a pool.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use seam_core::{Clock, Deliveries, Delivery, Receiver, Result};

use crate::attempt::{Attempted, End, Held};
use crate::{Stop, Summary};

/// The state of a running pool. `start` makes the future of an attempt.
pub(crate) struct Worker<S, F> {
    start: S,
    clock: Arc<dyn Clock>,
    concurrency: usize,
    backlog: usize,
    // In this order they are dropped with a pool: earlier deliveries of a key come again first.
    running: FuturesUnordered<F>,
    delayed: FuturesUnordered<Delay>,
    ready: VecDeque<Held>,
    /// Each key of which something is held; what of it waits for its turn.
    lanes: HashMap<Bytes, Lane>,
    held: usize,
    ending: bool,
    summary: Summary,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<Delivery>,
    /// Whether its first delivery waits for a delay.
    delayed: bool,
}

/// Gives the delivery back when its time has come, or when it is no longer ours.
type Delay = Pin<Box<dyn Future<Output = Held> + Send>>;

/// Why a pool ends without an error.
pub(crate) enum Ended {
    /// Nothing comes any more.
    Drained,
    Stopped,
}

/// Deliveries taken at once.
const RECEIVE: usize = 64;

impl<S, F> Worker<S, F>
where
    S: Fn(Held) -> F,
    F: Future<Output = Attempted>,
{
    pub(crate) fn new(start: S, clock: Arc<dyn Clock>, concurrency: usize, backlog: usize) -> Self {
        Self {
            start,
            clock,
            concurrency,
            backlog,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            running: FuturesUnordered::new(),
            delayed: FuturesUnordered::new(),
            held: 0,
            ending: false,
            summary: Summary::default(),
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        self.summary
    }

    /// Receives and works until nothing comes any more, or until it is stopped.
    pub(crate) async fn receive_all(
        &mut self,
        receiver: &mut Receiver,
        stop: &Stop,
    ) -> Result<Ended> {
        let mut deliveries = Deliveries::new();
        loop {
            let room = poll_fn(|cx| match self.poll_work(cx) {
                0 => Poll::Pending,
                room => Poll::Ready(room),
            });
            let Either::Left((room, _)) = select(room, pin!(stop.stopped())).await else {
                return Ok(Ended::Stopped);
            };
            let receive = receiver.receive(room.min(RECEIVE), &mut deliveries);
            match self.beside(receive, stop).await {
                None => return Ok(Ended::Stopped),
                Some(Ok(false)) => return Ok(Ended::Drained),
                Some(Ok(true)) => {}
                Some(Err(error)) => return Err(error),
            }
            while let Some(lent) = deliveries.lend() {
                self.add(lent.take());
            }
        }
    }

    /// Works until `receive` is ready; `None` if it is stopped before.
    async fn beside<T>(&mut self, receive: impl Future<Output = T>, stop: &Stop) -> Option<T> {
        let (mut receive, mut stopped) = (pin!(receive), pin!(stop.stopped()));
        poll_fn(|cx| {
            self.poll_work(cx);
            match stopped.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => receive.as_mut().poll(cx).map(Some),
            }
        })
        .await
    }

    /// Works until nothing is held; what would have to wait goes back to the source.
    pub(crate) async fn finish(&mut self) {
        self.ending = true;
        self.hand_back_delayed();
        poll_fn(|cx| {
            self.poll_work(cx);
            if self.held == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Takes every step that can be taken now; says how many deliveries more there is room for.
    fn poll_work(&mut self, cx: &mut Context<'_>) -> usize {
        loop {
            self.start_ready();
            let ended = self.running.poll_next_unpin(cx);
            let due = self.delayed.poll_next_unpin(cx);
            match (&ended, &due) {
                (Poll::Ready(Some(_)), _) | (_, Poll::Ready(Some(_))) => {}
                _ => return self.backlog.saturating_sub(self.held),
            }
            if let Poll::Ready(Some(attempted)) = ended {
                self.end(attempted);
            }
            if let Poll::Ready(Some(held)) = due {
                if let Some(lane) = held.key().and_then(|key| self.lanes.get_mut(key)) {
                    lane.delayed = false;
                }
                self.ready.push_back(held);
            }
        }
    }

    fn add(&mut self, delivery: Delivery) {
        self.held += 1;
        let held = Held::new(delivery);
        let Some(key) = held.key() else { return self.ready.push_back(held) };
        match self.lanes.get_mut(key) {
            Some(lane) => lane.queue.push_back(held.delivery),
            None => {
                self.lanes.insert(key.clone(), Lane::default());
                self.ready.push_back(held);
            }
        }
    }

    fn start_ready(&mut self) {
        while self.running.len() < self.concurrency {
            let Some(held) = self.ready.pop_front() else { return };
            let expiry =
                held.delivery.datagram().envelope().expiry.filter(|_| held.letter.is_none());
            if held.delivery.is_current() && expiry.is_none_or(|at| at > self.clock.wall()) {
                self.running.push((self.start)(held));
                continue;
            }
            let key = held.key().cloned();
            match held.delivery.discard() {
                Ok(()) => self.summary.expired += 1,
                Err(_) => self.summary.revoked += 1,
            }
            self.next_of(key.as_ref());
        }
    }

    fn end(&mut self, attempted: Attempted) {
        let Attempted { key, handled, panicked, end } = attempted;
        let summary = &mut self.summary;
        summary.handled += u64::from(handled);
        summary.panicked += u64::from(panicked);
        match end {
            End::Acked => summary.acked += 1,
            End::Discarded => summary.discarded += 1,
            End::DeadLettered => summary.dead_lettered += 1,
            End::HandedBack => summary.handed_back += 1,
            End::Revoked => summary.revoked += 1,
            End::Again { held, after } => return self.delay(held, after),
        }
        self.next_of(key.as_ref());
    }

    /// One delivery of this key is settled: the next one may begin.
    fn next_of(&mut self, key: Option<&Bytes>) {
        self.held -= 1;
        let Some(key) = key else { return };
        let next = self.lanes.get_mut(key).and_then(|lane| lane.queue.pop_front());
        match next {
            Some(delivery) => self.ready.push_back(Held::new(delivery)),
            None => drop(self.lanes.remove(key)),
        }
    }

    /// Keeps a delivery until it is to be tried again.
    fn delay(&mut self, held: Held, after: Duration) {
        match held.letter {
            None => self.summary.retried += 1,
            Some(_) => self.summary.letters_failed += 1,
        }
        let key = held.key().cloned();
        if self.ending {
            drop(held);
            self.hand_back(key);
            return;
        }
        if let Some(lane) = key.and_then(|key| self.lanes.get_mut(&key)) {
            lane.delayed = true;
        }
        let sleep = self.clock.sleep(after);
        self.delayed.push(Box::pin(async move {
            select(sleep, pin!(held.delivery.revoked())).await;
            held
        }));
    }

    fn hand_back_delayed(&mut self) {
        let waiting = self.delayed.len();
        // First what waits, then what waits behind it: the source takes them back in order.
        self.delayed.clear();
        let delayed = self.lanes.iter().filter(|(_, lane)| lane.delayed);
        let keys: Vec<Bytes> = delayed.map(|(key, _)| key.clone()).collect();
        for _ in keys.len()..waiting {
            self.hand_back(None);
        }
        for key in keys {
            self.hand_back(Some(key));
        }
    }

    /// Counts one delivery that was dropped, and drops those behind it.
    fn hand_back(&mut self, key: Option<Bytes>) {
        let lane = key.and_then(|key| self.lanes.remove(&key)).unwrap_or_default();
        let count = 1 + lane.queue.len();
        self.held -= count;
        self.summary.handed_back += u64::try_from(count).unwrap_or(u64::MAX);
        lane.queue.into_iter().for_each(drop);
    }
}
