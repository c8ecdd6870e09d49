//! One receiver as long as it lives: the task that has its channel, and what that and the driver share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use seam_core::driver::{Board, Harvester};
use seam_core::{Clock, Error, Event, Events, Note, Result};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::delays::{Delays, SHORTEST, Whose};
use crate::failure;
use crate::inbox::{Due, Inbox, Item, Original, Writes};
use crate::line::{GOODBYE, Line, Native, PATIENCE, pause};
use crate::mapping;
use crate::topology::Topology;

/// What a receiver and its task share.
pub(crate) struct Desk {
    pub(crate) parts: Parts,
    state: Mutex<State>,
    /// Which channel it has, from 1.
    channel: AtomicU64,
    /// Rings for the task.
    work: Notify,
    /// Rings once the broker knows what was settled, or there is news of that kind.
    pub(crate) told: Notify,
}

/// What a receiver is made of.
pub(crate) struct Parts {
    /// The endpoint, without secrets.
    pub(crate) name: String,
    pub(crate) topology: Arc<Topology>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Events,
    pub(crate) delays: Arc<Delays>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) inbox: Inbox,
    /// Nothing more is received: the receiver is gone, or its connection drains.
    pub(crate) quiet: bool,
    /// It is over.
    pub(crate) ended: bool,
    /// Why nothing can be received, until it can.
    pub(crate) failed: Option<Error>,
    /// When to tell the broker of what is settled.
    due: Option<Instant>,
    /// A write is under way.
    writing: bool,
    /// Whether a consumer stands.
    ready: bool,
}

impl Desk {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            state: Mutex::default(),
            channel: AtomicU64::new(0),
            work: Notify::new(),
            told: Notify::new(),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready once something can be received, or never will.
    pub(crate) async fn opened(&self) -> Result<()> {
        loop {
            let told = self.told.notified();
            {
                let state = self.lock();
                match &state.failed {
                    Some(error) if !error.is_retryable() => return Err(error.clone()),
                    _ if state.ready => return Ok(()),
                    _ if state.ended => return Err(self.closed()),
                    _ => {}
                }
            }
            told.await;
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    fn closed(&self) -> Error {
        Error::Closed { endpoint: self.parts.name.clone() }
    }

    /// Receives nothing more: what is in nobody's hand goes back.
    pub(crate) fn quiet(&self) {
        let mut state = self.lock();
        state.quiet = true;
        let waker = state.inbox.call_all();
        drop(state);
        self.work.notify_one();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ready once nobody has anything in hand and the broker knows it.
    pub(crate) async fn idle(&self) {
        loop {
            let told = self.told.notified();
            {
                let state = self.lock();
                if state.ended || (state.inbox.is_idle() && !state.writing) {
                    return;
                }
            }
            told.await;
        }
    }

    /// Ready once the broker was told what was settled before; how many came too late.
    pub(crate) async fn settled(&self) -> u64 {
        {
            let mut state = self.lock();
            state.due = Some(Instant::now());
        }
        self.work.notify_one();
        loop {
            let told = self.told.notified();
            {
                let mut state = self.lock();
                if state.ended || (state.inbox.is_told() && !state.writing) {
                    return state.inbox.take_late();
                }
            }
            told.await;
        }
    }

    /// Ends it at once: every lease is lost. How many deliveries nobody had settled.
    pub(crate) fn end(&self) -> u64 {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.ended, true);
        state.inbox.settle();
        let open = u64::try_from(state.inbox.in_hand()).unwrap_or(u64::MAX);
        let (revoked, _) = state.inbox.lose();
        let waker = state.inbox.call_all();
        drop(state);
        revoked.into_iter().for_each(|(board, range)| board.revoke(range));
        waker.into_iter().for_each(Waker::wake);
        self.work.notify_one();
        self.told.notify_waiters();
        if before { 0 } else { open }
    }

    /// What was to wait on the broker does, or does not: then it waits here, for as long as the shortest step.
    pub(crate) fn delayed(&self, whose: &Whose, is_there: bool) {
        if whose.channel != self.channel.load(Ordering::SeqCst) {
            return;
        }
        let outcome = match is_there {
            true => Ok(()),
            false => Err(self.parts.clock.now().saturating_add(SHORTEST)),
        };
        let mut state = self.lock();
        state.inbox.delayed(whose.tag, outcome);
        state.due = Some(Instant::now());
        drop(state);
        self.work.notify_one();
    }

    /// What is in nobody's hand goes back to the broker.
    fn give_back(&self) {
        let mut state = self.lock();
        state.inbox.give_back();
        state.due = Some(Instant::now());
    }

    /// A channel stands.
    fn begin(&self) {
        let mut state = self.lock();
        state.inbox.begin(self.parts.topology.config.is_quorum);
        (state.failed, state.ready) = (None, true);
        drop(state);
        self.told.notify_waiters();
    }

    /// The channel is gone, and every lease with it.
    fn lose(&self, error: &Error) {
        let mut state = self.lock();
        state.ready = false;
        state.failed = Some(error.clone());
        state.inbox.settle();
        let late = state.inbox.note_untold();
        let (revoked, count) = state.inbox.lose();
        let waker = (!error.is_retryable()).then(|| state.inbox.call_all()).flatten();
        drop(state);
        self.late(late);
        revoked.into_iter().for_each(|(board, range)| board.revoke(range));
        if count > 0 {
            self.parts.events.emit(Event::LeaseLost { count });
        }
        waker.into_iter().for_each(Waker::wake);
        self.told.notify_waiters();
    }

    /// What the broker is to be told, where that is due.
    fn take_writes(&self) -> Option<Writes> {
        let mut state = self.lock();
        if state.due.is_none_or(|due| due > Instant::now()) {
            return None;
        }
        state.due = None;
        let late = state.inbox.settle();
        let writes = state.inbox.take_writes();
        state.writing = true;
        drop(state);
        self.late(late);
        Some(writes)
    }

    fn late(&self, count: u64) {
        if count > 0 {
            self.parts.events.emit(Event::SettlementFailed { count });
        }
    }
}

impl Harvester for Desk {
    fn settled(&self, board: &Arc<Board>, urgent: bool) {
        let mut state = self.lock();
        if !state.inbox.mark(board) && !urgent {
            return;
        }
        let now = Instant::now();
        let soon = match urgent || state.quiet || state.inbox.is_starved() {
            true => now,
            false => now + ACK_DELAY,
        };
        let rings = state.due.is_none_or(|due| due > soon);
        if rings {
            state.due = Some(soon);
        }
        let ended = state.ended;
        let late = if ended { state.inbox.settle() } else { 0 };
        drop(state);
        self.late(late);
        if rings {
            self.work.notify_one();
        }
    }
}

/// Serves `desk` until it has ended, or its receiver is gone and nothing of it is open.
pub(crate) async fn serve(desk: Arc<Desk>, line: Arc<Line>, stop: CancellationToken) {
    let mut failures = 0;
    let serving = async {
        while let Some(native) = line.up().await {
            let began = Instant::now();
            let error = match consume(&desk, &native).await {
                Ok(mut channel) => match channel.run().await {
                    Some(error) => error,
                    None => return,
                },
                Err(error) => error,
            };
            desk.lose(&error);
            if desk.lock().quiet {
                return;
            }
            line.suspect();
            failures = if began.elapsed() > PATIENCE { 1 } else { failures + 1 };
            tokio::time::sleep(pause(failures)).await;
        }
    };
    tokio::select! {
        () = serving => {}
        () = stop.cancelled() => {}
    }
    desk.end();
}

/// A channel with a consumer, and room for no more than the credit.
async fn consume<'a>(desk: &'a Arc<Desk>, native: &Native) -> Result<Channeled<'a>> {
    let Parts { name, topology, .. } = &desk.parts;
    let queue = topology.for_receiving(native).await?;
    let channel = native.channel().await?;
    let tag: ShortString = "seam".into();
    let config = &topology.config;
    let consuming = async {
        let credit = u16::try_from(config.credit).unwrap_or(u16::MAX);
        channel.basic_qos(credit, BasicQosOptions::default()).await?;
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        channel.basic_consume(queue.clone(), tag.clone(), options, none).await
    };
    let consumer = timeout(PATIENCE, consuming).await;
    let consumer = consumer.map_err(|_| failure::silent(name, "a new consumer"))?;
    let consumer = consumer.map_err(|error| failure::error(name, &error))?;
    let number = desk.channel.fetch_add(1, Ordering::SeqCst) + 1;
    desk.begin();
    let (is_cancelled, end) = (false, None);
    Ok(Channeled { desk, channel, consumer, queue, tag, number, is_cancelled, end })
}

/// A channel of a receiver.
struct Channeled<'a> {
    desk: &'a Arc<Desk>,
    channel: Channel,
    consumer: Consumer,
    queue: ShortString,
    tag: ShortString,
    number: u64,
    is_cancelled: bool,
    /// How the consumer ended, if that was found while more was taken in.
    end: Option<Option<lapin::Error>>,
}

impl Channeled<'_> {
    /// Receives and settles until the channel ends, and says why; `None` once the receiver needs it no more.
    async fn run(&mut self) -> Option<Error> {
        loop {
            if let Some(end) = self.end.take().filter(|_| !self.is_cancelled) {
                return Some(end.map_or_else(|| self.cancelled(), |error| self.failure(&error)));
            }
            let due = self.look();
            let timer = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                came = self.consumer.next(), if !self.is_cancelled => match came {
                    Some(Ok(delivery)) => self.take_in(delivery),
                    Some(Err(error)) => return Some(self.failure(&error)),
                    // By the broker: the queue is gone, or its node.
                    None => return Some(self.cancelled()),
                },
                () = self.desk.work.notified() => {}
                () = timer => {}
            }
            if let Err(error) = self.write_due().await {
                return Some(error);
            }
            if self.desk.lock().quiet
                && !self.is_cancelled
                && let Err(error) = self.cancel().await
            {
                return Some(error);
            }
            if self.is_cancelled && self.desk.lock().inbox.is_idle() {
                self.desk.told.notify_waiters();
                // The broker has all it needs, whatever comes back.
                drop(timeout(GOODBYE, self.channel.close(200, "OK".into())).await);
                return None;
            }
        }
    }

    /// Hands out what is due; when to look again.
    fn look(&self) -> Option<Instant> {
        let now = self.desk.parts.clock.now();
        let mut state = self.desk.lock();
        let parked = state.inbox.unpark(now);
        let waker = state.inbox.call();
        let writes = state.due;
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        let parked = parked.map(|at| Instant::now() + at.saturating_sub(now));
        [parked, writes].into_iter().flatten().min()
    }

    /// Takes what came, and whatever came with it.
    fn take_in(&mut self, first: lapin::message::Delivery) {
        let mut came = vec![self.read(first)];
        while came.len() < TOGETHER
            && let Some(next) = self.came()
        {
            came.push(self.read(next));
        }
        let mut state = self.desk.lock();
        for (item, original, due) in came {
            state.inbox.push(item, original, due);
        }
        let waker = state.inbox.call();
        if !state.inbox.is_told() {
            state.due = Some(Instant::now());
        }
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// What has come already.
    fn came(&mut self) -> Option<lapin::message::Delivery> {
        if self.end.is_some() {
            return None;
        }
        match self.consumer.next().now_or_never()? {
            Some(Ok(delivery)) => return Some(delivery),
            Some(Err(error)) => self.end = Some(Some(error)),
            None => self.end = Some(None),
        }
        None
    }

    fn read(&self, delivery: lapin::message::Delivery) -> (Item, Original, Option<Due>) {
        let lapin::message::Delivery { delivery_tag: tag, redelivered, data, properties, .. } =
            delivery;
        let (exchange, routing_key) = (delivery.exchange.as_str(), delivery.routing_key.as_str());
        let body = Bytes::from(data);
        let received = mapping::decode(&properties, body.clone(), exchange, routing_key);
        let counted = received.delivery_count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let attempts = received.attempts.saturating_add(counted.unwrap_or(u32::from(redelivered)));
        let possible_duplicate = redelivered || attempts > 0;
        let has_natives = !received.natives.is_empty();
        let note = (possible_duplicate || has_natives).then(|| {
            let mut note = Note::attempt(attempts.saturating_add(1));
            note.possible_duplicate = possible_duplicate;
            note.native = received.natives;
            note
        });
        let datagram = received.datagram;
        let due = datagram.envelope().deliver_at.and_then(|at| self.due(at));
        let size = datagram.view().size().max(1);
        let is_bare = properties.headers().is_none() && datagram.view().is_plain() && !has_natives;
        let properties = (!is_bare).then(|| Box::new(properties));
        (Item { tag, datagram, note, attempts, size }, Original { properties, body }, due)
    }

    /// What a datagram is to wait for before `at`: the last part of it here.
    fn due(&self, at: seam_core::Timestamp) -> Option<Due> {
        let clock = &self.desk.parts.clock;
        let left = at.saturating_since(clock.wall());
        match left {
            Duration::ZERO => None,
            left if left < SHORTEST => Some(Due::Here(clock.now().saturating_add(left))),
            left => Some(Due::Later(left)),
        }
    }

    /// Tells the broker what was settled, where that is due.
    async fn write_due(&self) -> Result<()> {
        let Some(mut writes) = self.desk.take_writes() else { return Ok(()) };
        for delay in std::mem::take(&mut writes.delays) {
            self.desk.parts.delays.add(self.desk, self.number, &self.queue, delay);
        }
        let written = self.write(&writes).await;
        self.desk.lock().writing = false;
        self.desk.told.notify_waiters();
        written.map_err(|error| self.failure(&error))
    }

    async fn write(&self, writes: &Writes) -> lapin::Result<()> {
        let requeues = writes.requeues.iter().map(|tag| {
            let options = BasicNackOptions { multiple: false, requeue: true };
            self.channel.basic_nack(*tag, options)
        });
        let acks = writes.acks.iter().map(|(tag, multiple)| {
            self.channel.basic_ack(*tag, BasicAckOptions { multiple: *multiple })
        });
        // In this order: an acknowledgement with all below it must find only what is settled.
        for written in join_all(requeues).await {
            written?;
        }
        for written in join_all(acks).await {
            written?;
        }
        Ok(())
    }

    /// Has the broker send nothing more, and gives back what is in nobody's hand.
    async fn cancel(&mut self) -> Result<()> {
        self.is_cancelled = true;
        let cancelled = self.channel.basic_cancel(self.tag.clone(), BasicCancelOptions::default());
        let cancelled = timeout(PATIENCE, cancelled).await;
        cancelled
            .map_err(|_| failure::silent(&self.desk.parts.name, "the end of a consumer"))?
            .map_err(|error| self.failure(&error))?;
        while let Some(delivery) = self.came() {
            self.take_in(delivery);
        }
        self.desk.give_back();
        self.write_due().await
    }

    fn failure(&self, error: &lapin::Error) -> Error {
        failure::error(&self.desk.parts.name, error)
    }

    fn cancelled(&self) -> Error {
        let reason = "the broker cancelled the consumer: its queue was deleted, or moved";
        Error::disconnected(&*self.desk.parts.name, reason)
    }
}

/// Deliveries that are taken in at once.
const TOGETHER: usize = 256;

/// How long acknowledgements are gathered while there is more to hand out.
const ACK_DELAY: Duration = Duration::from_millis(1);
