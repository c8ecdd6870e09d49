//! The way out: one idempotent client for each connection, written to by whoever sends, under one lock, and polled by
//! one thread, which also drops it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, Producer as _, PurgeConfig};
use seam_core::driver::Ticket;
use seam_core::{Batch, Clock, Error, Event, Events, Fate, Receipts, Result, SendError};

use self::writing::Writing;
use crate::background::{Bell, Threads, lock};
use crate::config::Config;
use crate::failure;
use crate::outbox::{Credit, Outbox, Told};
use crate::reports::Reports;
use crate::topic::Rules;
use crate::way::Target;
use crate::write::Sink;

/// The client of a producer.
pub(crate) type Client = BaseProducer<Reports>;

/// A client and what became of what it was given; [`Way`]s send over it.
pub(crate) struct Producer {
    pub(crate) endpoint: String,
    credit: Credit,
    limit: usize,
    rules: Rules,
    clock: Arc<dyn Clock>,
    pub(crate) events: Events,
    state: Mutex<State>,
    /// Calls that admit: what is reported meanwhile waits in `backlog`, so that the thread that polls need not.
    admitting: AtomicUsize,
    backlog: Mutex<Vec<Report>>,
    /// Whether there is something in it.
    behind: AtomicBool,
    /// Rings whenever the client has reported something, and at the end.
    pub(crate) bell: Bell,
    pub(crate) connected: AtomicBool,
    /// Whether the broker has given the client the number that makes it idempotent.
    pub(crate) ready: AtomicBool,
    /// Whether the client has given up for good.
    dead: AtomicBool,
}

/// What the client says of one datagram: where it is, or why it failed and how far it had come.
type Report = (u64, Result<(i32, i64), (Fate, Error)>);

struct State {
    /// Only ever used under the lock, so that the thread that polls has the last handle.
    wire: Option<Wire>,
    outbox: Outbox,
    /// Calls that wait for credit, in the order in which they were first polled.
    waiting: VecDeque<(u64, Waker)>,
    /// Whether the first of them was woken and has not come yet.
    called: bool,
    calls: u64,
    /// Empty, for the next backlog.
    spare: Vec<Report>,
    /// Whether nothing is admitted any more.
    closing: bool,
    /// Whether the thread is done.
    ended: bool,
}

/// What is written to.
struct Wire {
    /// The topic of the connection.
    sink: Sink,
    client: Arc<Client>,
}

impl Producer {
    /// Makes the client and its thread. Blocks shortly.
    pub(crate) fn start(
        native: ClientConfig,
        config: &Config,
        rules: &Rules,
        endpoint: String,
        (clock, events): (Arc<dyn Clock>, Events),
        threads: &Threads,
    ) -> Result<Arc<Self>> {
        let producer = Arc::new(Self {
            credit: Credit { count: config.credit, bytes: config.credit_bytes },
            limit: config.limits.payload,
            rules: rules.clone(),
            clock,
            events,
            state: Mutex::new(State {
                wire: None,
                outbox: Outbox::default(),
                waiting: VecDeque::new(),
                called: false,
                calls: 0,
                spare: Vec::new(),
                closing: false,
                ended: false,
            }),
            admitting: AtomicUsize::new(0),
            backlog: Mutex::default(),
            behind: AtomicBool::new(false),
            bell: Bell::default(),
            connected: AtomicBool::new(true),
            ready: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            endpoint,
        });
        let client = config.producer(native).create_with_context(Reports::new(producer.clone()));
        let client = client.map_err(|error| failure::error(&producer.endpoint, error))?;
        let client: Arc<Client> = Arc::new(client);
        let sink = Sink::new(&client, &config.topic);
        let sink = sink.ok_or_else(|| failure::of_code(&producer.endpoint, Code::InvalidTopic))?;
        lock(&producer.state).wire = Some(Wire { sink, client: client.clone() });
        let polled = producer.clone();
        if let Err(error) = threads.spawn("seam-kafka-out", move || polled.run(client)) {
            lock(&producer.state).wire = None;
            return Err(error);
        }
        Ok(producer)
    }

    /// Waits until the client can send at once, which takes it half a second, or until the clock has reached
    /// `until`. Fails where it never will.
    pub(crate) async fn ready(&self, until: Duration) -> Result<()> {
        let known = || {
            let told = self.ready.load(Ordering::Acquire) || self.dead.load(Ordering::Acquire);
            told || lock(&self.state).closing
        };
        seam_core::clock::deadline(&*self.clock, until, self.bell.until(known)).await;
        match &lock(&self.state).wire {
            Some(wire) if self.dead.load(Ordering::Acquire) => {
                Err(self.failure(Some(&wire.client), Code::Fatal))
            }
            _ => Ok(()),
        }
    }

    /// What an error code of the client comes to; one that has given up says only in `client` why.
    fn failure(&self, client: Option<&Client>, code: Code) -> Error {
        let cause = client.filter(|_| code == Code::Fatal);
        let cause = cause.and_then(|client| client.client().fatal_error());
        let code = cause.map_or(code, |(code, _)| code);
        failure::of_code_lacking(&self.endpoint, code, "WRITE")
    }

    /// Waits until everything is reported, or until the clock has reached `until`.
    pub(crate) async fn flush(&self, until: Duration) {
        let idle = self.bell.until(|| lock(&self.state).outbox.is_idle());
        seam_core::clock::deadline(&*self.clock, until, idle).await;
    }

    /// Takes nothing any more, and gives up what is under way. Does not wait.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closing = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
        self.bell.ring();
    }

    /// Waits until the client is gone after [`Producer::close`]; what it left.
    pub(crate) async fn ended(&self) -> Vec<SendError> {
        self.bell.until(|| lock(&self.state).ended).await;
        lock(&self.state).outbox.unsent()
    }

    /// Polls until it is closed, then purges what is left, so that each datagram gets its fate.
    fn run(&self, client: Arc<Client>) {
        while !lock(&self.state).closing {
            client.poll(STEP);
            let dead = client.client().fatal_error().is_some();
            if dead && !self.dead.swap(true, Ordering::AcqRel) {
                self.bell.ring();
            }
        }
        client.purge(PurgeConfig::default().queue().inflight());
        let until = Instant::now() + LAST_REPORTS;
        while !lock(&self.state).outbox.is_idle() && Instant::now() < until {
            client.poll(Duration::from_millis(1));
        }
        drop(lock(&self.state).wire.take());
        drop(client);
        let mut told = Told::default();
        let mut state = lock(&self.state);
        state.outbox.end(&self.closed(), &mut told);
        state.ended = true;
        drop(state);
        self.tell(told);
    }

    fn closed(&self) -> Error {
        Error::Closed { endpoint: self.endpoint.clone() }
    }

    fn tell(&self, told: Told) {
        told.wakers.into_iter().for_each(Waker::wake);
        if told.forgotten > 0 {
            self.events.emit(Event::Forgotten { count: told.forgotten });
        }
        self.bell.ring();
    }

    /// Admits all of `batch`, in turn.
    pub(crate) async fn admit(&self, target: &Target, batch: &mut Batch) -> Result<()> {
        let mut turn = Turn(None, self);
        poll_fn(|cx| self.poll_admit(target, batch, &mut turn, cx)).await
    }

    /// Waits until the fate of every datagram of `ticket` is known.
    pub(crate) async fn reported(&self, ticket: &Ticket) {
        let mut seen = 0;
        poll_fn(|cx| {
            let mut state = lock(&self.state);
            let Some((at, number)) = state.outbox.first_open(ticket, seen) else {
                return Poll::Ready(());
            };
            seen = at;
            state.outbox.wait(number, cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// The fates of the datagrams of `ticket`; what has none yet comes back in doubt.
    pub(crate) fn take(&self, ticket: &Ticket) -> Receipts {
        let mut told = Told::default();
        let receipts = lock(&self.state).outbox.take(ticket, &mut told);
        self.tell(told);
        receipts
    }

    /// Nobody will ask for `ticket`.
    pub(crate) fn forget(&self, ticket: &Ticket) {
        let mut told = Told::default();
        lock(&self.state).outbox.forget(ticket, &mut told);
        self.tell(told);
    }

    /// Admits while there is credit and nobody waits before this call.
    fn poll_admit(
        &self,
        target: &Target,
        batch: &mut Batch,
        turn: &mut Turn<'_>,
        cx: &Context<'_>,
    ) -> Poll<Result<()>> {
        let _admitting = Admitting::new(self);
        let mut state = lock(&self.state);
        let State { wire, outbox, waiting, called, closing, .. } = &mut *state;
        let Some(wire) = wire.as_ref().filter(|_| !*closing) else {
            drop(state);
            return Poll::Ready(Err(self.closed()));
        };
        if waiting.front().is_none_or(|(number, _)| turn.0 == Some(*number)) {
            *called = false;
            let under_way = !outbox.is_idle();
            let writing = Writing { producer: self, wire, target, under_way };
            outbox.admit(batch, target.lane(), self.credit, |views, first| {
                writing.write(views, first)
            });
        }
        if batch.is_empty() {
            drop(state);
            return Poll::Ready(Ok(()));
        }
        turn.wait(&mut state, cx);
        Poll::Pending
    }

    /// Why the client failed to send what it had taken.
    pub(crate) fn broken(&self, error: KafkaError) -> Error {
        match error.rdkafka_error_code() {
            Some(code) => {
                let state = lock(&self.state);
                self.failure(state.wire.as_ref().map(|wire| &*wire.client), code)
            }
            None => failure::error(&self.endpoint, error),
        }
    }

    /// Takes what the client says of one datagram, on the thread that polls.
    pub(crate) fn report(&self, number: u64, result: Result<(i32, i64), (Fate, Error)>) {
        let again = result.is_ok() && !self.connected.load(Ordering::Relaxed);
        if again && !self.connected.swap(true, Ordering::Relaxed) {
            self.events.emit(Event::Connected);
        }
        if self.admitting.load(Ordering::SeqCst) == 0 {
            return self.note(Some((number, result)));
        }
        {
            let mut backlog = lock(&self.backlog);
            backlog.push((number, result));
            self.behind.store(true, Ordering::SeqCst);
        }
        // Whoever admits looks for it in the end; if that was before, it is looked for here.
        if self.admitting.load(Ordering::SeqCst) == 0 {
            self.catch_up();
        }
    }

    /// Notes what was reported while somebody admitted.
    fn catch_up(&self) {
        if self.behind.load(Ordering::SeqCst) {
            self.note(None);
        }
    }

    /// Notes the backlog, and then `report`, since they are in order.
    fn note(&self, report: Option<Report>) {
        let mut told = Told::default();
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        if self.behind.load(Ordering::SeqCst) {
            let mut backlog = lock(&self.backlog);
            std::mem::swap(&mut *backlog, &mut state.spare);
            self.behind.store(false, Ordering::SeqCst);
        }
        for (number, result) in state.spare.drain(..).chain(report) {
            state.outbox.report(number, result, &mut told);
        }
        if !state.called && state.outbox.has_much_room(self.credit) {
            let next = state.waiting.front().map(|(_, waker)| waker.clone());
            state.called = next.is_some();
            told.wakers.extend(next);
        }
        let ring = state.outbox.is_idle();
        drop(guard);
        told.wakers.drain(..).for_each(Waker::wake);
        if ring || told.forgotten > 0 {
            self.tell(told);
        }
    }
}

/// A call that admits.
struct Admitting<'a>(&'a Producer);

impl<'a> Admitting<'a> {
    fn new(producer: &'a Producer) -> Self {
        producer.admitting.fetch_add(1, Ordering::SeqCst);
        Self(producer)
    }
}

impl Drop for Admitting<'_> {
    fn drop(&mut self) {
        self.0.admitting.fetch_sub(1, Ordering::SeqCst);
        self.0.catch_up();
    }
}

/// The place of a call that waits for credit; given up when the call ends.
struct Turn<'a>(Option<u64>, &'a Producer);

impl Turn<'_> {
    fn wait(&mut self, state: &mut State, cx: &Context<'_>) {
        let place = state.waiting.iter_mut().find(|(number, _)| self.0 == Some(*number));
        match place {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => {
                state.calls += 1;
                self.0 = Some(state.calls);
                state.waiting.push_back((state.calls, cx.waker().clone()));
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(own) = self.0 else { return };
        let mut state = lock(&self.1.state);
        state.waiting.retain(|(number, _)| *number != own);
        let next = state.waiting.front().map(|(_, waker)| waker.clone());
        state.called = next.is_some();
        drop(state);
        if let Some(next) = next {
            next.wake();
        }
    }
}

/// How long a poll lasts at most; a close is noticed after it.
const STEP: Duration = Duration::from_millis(20);

/// How long the last reports are waited for after a purge.
const LAST_REPORTS: Duration = Duration::from_secs(2);

mod writing;
