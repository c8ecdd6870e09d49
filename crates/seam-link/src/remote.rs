//! One peer, for as long as its sessions live: the connection that carries them now, and what they hold.
//!
//! Everything of a peer is one value under one lock, the socket included, so that whoever has something to do
//! does it at once: a call that sends writes, a call that waits reads, and a task drives when nobody calls. A
//! connection that is replaced is read by nobody any more the moment the lock is taken.

mod ending;
mod frames;
mod io;
mod time;

use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use seam_core::distributor::{Distributor, Port};
use seam_core::{Action, Error, Peer};
use seam_wire::{Fault, FaultCode, Frame};
use tokio::io::AsyncWrite as _;
use tokio::sync::Notify;

use crate::alarm::Alarm;
use crate::callers::Callers;
use crate::handshake::{Established, Speaks};
use crate::inbound::Inbound;
use crate::inbox::Inbox;
use crate::lock;
use crate::outbound::Outbound;
use crate::plain::Plain;
use crate::shared::Shared;
use crate::sources::Permit;
use io::{Io, Trouble};
use time::began;

/// One peer, for as long as its sessions live.
pub(crate) struct Remote {
    this: Weak<Self>,
    shared: Arc<Shared>,
    state: Mutex<State>,
    pub(crate) alarm: Arc<Alarm>,
    /// What the distributor wakes.
    offers: Waker,
    /// Who asked for a turn while another had the lock.
    wanted: AtomicU8,
    /// Whether the peer has received all that it was sent, so that what comes next goes at once.
    idle: AtomicBool,
    /// Bytes that were admitted since something was taken.
    gathered: AtomicUsize,
    /// Told whenever a connection ended.
    ended: Notify,
}

/// Where a peer's datagrams go and come from; changes once, when it is accepted alone.
#[derive(Clone)]
pub(crate) struct Ends {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) distributor: Arc<Distributor>,
    pub(crate) callers: Arc<Callers>,
    /// Whether they are this peer's alone, and end with it.
    pub(crate) alone: bool,
}

struct State {
    ends: Ends,
    io: Option<Io>,
    peer: Option<Arc<Peer>>,
    outbound: Vec<Outbound>,
    inbound: Vec<Inbound>,
    plain: Option<Plain>,
    /// When the peer showed a sign of life.
    heard: Duration,
    /// When the frame that is not whole yet began to come, and its size as far as it is known.
    started: Option<(Duration, usize)>,
    pinged: u32,
    /// Whether this end looks for it again when a connection ends.
    dialled: bool,
    /// Whether it will not come back.
    gone: Option<Error>,
    /// Why dialling again is of no use.
    terminal: Option<Error>,
    /// Bytes of the last write.
    wrote: usize,
    /// Until when the task that drives sleeps, unless it is called.
    sleeps_until: Duration,
    /// Its place among the connections of a listener.
    permit: Option<Permit>,
}

/// Who has a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// A call that has sent something, and may be about to send more.
    Sender,
    /// A call that waits, and may be about to send.
    Waiter,
    /// The task that drives; it comes after every call that can go on.
    Driver,
}

/// How long a peer of version 1 that says no more may still be told something.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What is worth a write of its own, in bytes, while more may come.
const ENOUGH: usize = 128 << 10;
/// A write of so many bytes is no part of a stream.
const LITTLE: usize = 1 << 10;
/// What is read in one turn, so that writing gets its own.
const READ: usize = 256 << 10;
/// The largest frame that is read: the largest DATA and its header.
pub(crate) const FRAME: usize = seam_wire::DEFAULT_MAX_FRAME + 64;

impl Remote {
    /// A peer that this end dials, or that comes by itself.
    pub(crate) fn new(shared: Arc<Shared>, ends: Ends, dialled: bool) -> Arc<Self> {
        let alarm = Arc::<Alarm>::default();
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            offers: alarm.for_offers(),
            state: Mutex::new(State {
                outbound: Vec::new(),
                ends,
                io: None,
                peer: None,
                inbound: Vec::new(),
                plain: None,
                heard: Duration::ZERO,
                started: None,
                pinged: 0,
                dialled,
                gone: None,
                terminal: None,
                wrote: 0,
                sleeps_until: Duration::ZERO,
                permit: None,
            }),
            shared,
            alarm,
            wanted: AtomicU8::new(0),
            idle: AtomicBool::new(true),
            gathered: AtomicUsize::new(0),
            ended: Notify::new(),
        })
    }

    /// The state, for a moment: whoever wants a turn meanwhile finds it taken, and leaves the turn to whoever drives.
    fn state(&self) -> Held<'_> {
        Held { state: lock(&self.state), _turns: Turns(self) }
    }

    /// Goes on over this connection; one that stands is closed.
    pub(crate) fn attach(self: &Arc<Self>, established: Established, permit: Option<Permit>) {
        let mut state = self.state();
        if state.gone.is_some() {
            return;
        }
        if state.io.is_some() {
            state.detach(&Error::disconnected(&*self.shared.name, "a newer connection took over"));
        }
        let Established { stream, buffer, is_private, peer, speaks } = established;
        state.permit = permit;
        state.heard = self.shared.clock().now();
        state.pinged = 0;
        state.started = None;
        state.peer = Some(peer);
        let mut io = Io::new(stream, buffer);
        io.secret = is_private;
        match speaks {
            Speaks::Session { open, binding } => {
                io.group = open.group;
                io.binding = binding;
                state.io = Some(io);
                state.begin(&self.shared);
            }
            Speaks::Plain => {
                state.io = Some(io);
                state.begin_plain(self);
            }
        }
        drop(state);
        self.alarm.rouse();
    }

    /// Ready once the connection that stands now has ended; why it is not to be dialled again, if so.
    pub(crate) async fn detached(&self) -> Option<Error> {
        loop {
            let notified = self.ended.notified();
            {
                let state = self.state();
                if let Some(error) = state.terminal.as_ref().or(state.gone.as_ref()) {
                    return Some(error.clone());
                }
                state.io.as_ref()?;
            }
            notified.await;
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state().gone.is_some()
    }

    pub(crate) fn peer(&self) -> Option<Arc<Peer>> {
        self.state().peer.clone()
    }

    /// From now on it is alone: what it sends goes to these ends, and what they hold goes to it.
    pub(crate) fn move_to(&self, ends: Ends) {
        let mut state = self.state();
        let state = &mut *state;
        state.ends = ends;
        if state.plain.is_some() {
            state.begin_plain(self);
        } else {
            // Nobody has received here yet, so no session was welcomed; it finds another receiver now.
            for inbound in state.inbound.iter_mut().filter(|inbound| inbound.channel == 0) {
                let feed = state.ends.inbox.feed(self.this.clone(), state.peer.clone());
                inbound.move_to(state.ends.inbox.clone(), feed);
            }
            let distributor = &state.ends.distributor;
            let group = state.io.as_ref().map(|io| &io.group);
            let moved = |outbound: &mut Outbound| outbound.move_to(distributor.clone(), group);
            let again = !state.outbound.iter_mut().filter(|out| out.channel == 0).all(moved);
            if again && state.io.is_some() {
                // It comes again, and is then told of another session.
                state.detach(&Error::disconnected(&*self.shared.name, "it was accepted alone"));
                self.ended.notify_waiters();
            }
        }
        self.alarm.rouse();
    }

    /// Its receivers have come or gone.
    pub(crate) fn attend(&self) {
        self.state().attend();
        self.alarm.call_driver();
    }

    /// A channel for replies to a caller of this peer.
    pub(crate) fn open_channel(&self, channel: u8, distributor: Arc<Distributor>, port: Arc<Port>) {
        let mut state = self.state();
        let shared = self.shared.clone();
        let mut outbound = Outbound::of_replies(channel, distributor, port, shared);
        if state.gone.is_some() {
            return outbound.lose();
        }
        if let Some(io) = &mut state.io {
            let hello = outbound.hello(&io.binding);
            Frame::Hello(hello).encode(channel, io.out.buffer());
        }
        state.outbound.push(outbound);
        drop(state);
        self.alarm.ring();
    }

    /// Whether the peer has said that nobody waits on this channel.
    pub(crate) fn is_refused(&self, channel: u8) -> bool {
        let state = self.state();
        state.gone.is_some()
            || state.outbound.iter().any(|outbound| outbound.channel == channel && outbound.refused)
    }

    /// Something was settled: whoever drives is to tell it.
    pub(crate) fn kick(&self) {
        self.alarm.ring();
    }

    /// Whether what was just admitted, of `bytes` bytes, waits for more: what follows an idle time goes at
    /// once; behind it, what comes is gathered until it is worth a write, or nobody adds to it.
    pub(crate) fn gathers(&self, bytes: usize) -> bool {
        let gathered = self.gathered.fetch_add(bytes, Ordering::Relaxed) + bytes;
        gathered < ENOUGH && !self.idle.load(Ordering::Relaxed)
    }

    /// Does what there is to do, now, unless another is at it, who then does it.
    pub(crate) fn turn(&self, by: By) {
        self.wanted.fetch_or(by.bit(), Ordering::SeqCst);
        loop {
            let mut state = match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            self.turns(&mut state);
            drop(state);
            if self.wanted.load(Ordering::SeqCst) == 0 {
                return;
            }
        }
    }

    fn turns(&self, state: &mut State) {
        let waker = Waker::from(self.alarm.clone());
        loop {
            let wanted = self.wanted.swap(0, Ordering::SeqCst);
            if wanted == 0 {
                return;
            }
            self.alarm.heard();
            let by = match wanted {
                _ if wanted & By::Driver.bit() != 0 => By::Driver,
                _ if wanted & By::Sender.bit() != 0 => By::Sender,
                _ => By::Waiter,
            };
            if by != By::Waiter {
                self.alarm.answered();
            }
            let (stood, mut cx) = (state.io.is_some(), Context::from_waker(&waker));
            if let Err(error) = state.work(self, by, &mut cx) {
                state.fail(&self.shared, error);
            }
            if stood && state.io.is_none() {
                self.ended.notify_waiters();
                self.alarm.call_driver();
            } else if by != By::Driver && state.oversleeps(&self.shared) {
                self.alarm.call_driver();
            }
        }
    }

    /// Drives the connection until the peer is gone.
    pub(crate) async fn drive(self: Arc<Self>) {
        let mut sleep: Option<(Duration, seam_core::Sleep)> = None;
        loop {
            std::future::poll_fn(|cx| {
                self.alarm.set_driver(cx.waker());
                let waits = match &mut sleep {
                    Some((_, timer)) => timer.as_mut().poll(cx).is_pending(),
                    None => false,
                };
                // Whoever was faster has looked after everything.
                if waits && !self.alarm.calls() && self.wanted.load(Ordering::SeqCst) == 0 {
                    return Poll::Pending;
                }
                if !waits {
                    sleep = None;
                }
                Poll::Ready(())
            })
            .await;
            if self.alarm.has_told() {
                // A call may wake behind this task, as runtimes go; what it has to send goes with what there is to tell.
                tokio::task::yield_now().await;
            }
            let due = {
                let mut state = lock(&self.state);
                self.wanted.fetch_or(By::Driver.bit(), Ordering::SeqCst);
                self.turns(&mut state);
                // The bell again: a stream may know only whom it met last.
                let bell = Waker::from(self.alarm.clone());
                state.tend(&self.shared, &mut Context::from_waker(&bell));
                if state.io.is_none() {
                    // Also where only time told that the peer is silent.
                    self.ended.notify_waiters();
                }
                if state.gone.is_some() {
                    return;
                }
                state.sleeps_until = state.due(&self.shared);
                state.sleeps_until
            };
            let now = self.shared.clock().now();
            if sleep.as_ref().is_none_or(|(at, _)| due < *at || *at <= now) {
                sleep = Some((due, self.shared.clock().sleep(due.saturating_sub(now))));
            }
        }
    }

    /// Takes over everything that was settled.
    pub(crate) fn settle(&self) {
        self.turn(By::Driver);
    }

    /// Says farewell and ends it. What was not told is told first, as far as the socket takes it at once.
    pub(crate) fn end(&self, error: Error) {
        let mut state = self.state();
        self.wanted.fetch_or(By::Driver.bit(), Ordering::SeqCst);
        self.turns(&mut state);
        let speaks = state.plain.is_none();
        if let Some(io) = state.io.as_mut().filter(|_| speaks) {
            let fault = match &error {
                Error::Denied { reason, .. } => {
                    Fault { code: FaultCode::Denied, text: reason.clone() }
                }
                _ => Fault { code: FaultCode::Closing, text: "this end was closed".to_owned() },
            };
            Frame::Fault(fault).encode(0, io.out.buffer());
            // What the socket does not take now is not told: the peer then sees the end of the connection.
            io.write(&mut Context::from_waker(Waker::noop()));
            if !io.is_behind() {
                let _ =
                    Pin::new(&mut io.stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
            }
        }
        state.depart(error);
        drop(state);
        self.ended.notify_waiters();
        self.alarm.call_driver();
    }
}

/// The state of a peer in the hands of somebody who takes no turns.
struct Held<'a> {
    state: MutexGuard<'a, State>,
    /// Behind it: fields are dropped in their order.
    _turns: Turns<'a>,
}

impl Deref for Held<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

/// Leaves the turns that were wanted meanwhile to whoever drives.
struct Turns<'a>(&'a Remote);

impl Drop for Turns<'_> {
    fn drop(&mut self) {
        if self.0.wanted.load(Ordering::SeqCst) != 0 {
            self.0.alarm.call_driver();
        }
    }
}

impl By {
    fn bit(self) -> u8 {
        match self {
            Self::Sender => 1,
            Self::Waiter => 2,
            Self::Driver => 4,
        }
    }
}

impl State {
    /// Begins to speak version 1, or goes on with other ends.
    fn begin_plain(&mut self, remote: &Remote) {
        if let (Some(plain), Some(io)) = (self.plain.take(), &self.io) {
            plain.end(io.out.written());
        }
        let feed = self.ends.inbox.feed(remote.this.clone(), self.peer.clone());
        let may = |peer: &Arc<Peer>| remote.shared.allow(peer, Action::Receive).is_ok();
        let is_told = self.peer.as_ref().is_some_and(may);
        self.plain = Some(Plain::new(&self.ends.distributor, feed, &remote.shared, is_told));
    }

    /// Says HELLO for every session on a connection that has just begun.
    fn begin(&mut self, shared: &Arc<Shared>) {
        let Some(io) = &mut self.io else { return };
        if self.outbound.is_empty() {
            let distributor = self.ends.distributor.clone();
            self.outbound.push(Outbound::new(0, distributor, shared.clone()));
        }
        self.outbound.retain(|outbound| !outbound.refused);
        for outbound in &mut self.outbound {
            let hello = outbound.hello(&io.binding);
            Frame::Hello(hello).encode(outbound.channel, io.out.buffer());
        }
    }

    /// One turn: reads, hands on, takes what waits, writes.
    fn work(&mut self, remote: &Remote, by: By, cx: &mut Context<'_>) -> Result<(), Trouble> {
        self.inbound.iter_mut().for_each(Inbound::harvest);
        if self.io.is_none() {
            return Ok(());
        }
        if self.plain.is_some() {
            return self.work_plain(remote.shared.clock().now(), cx);
        }
        self.read(remote, cx)?;
        let Some(io) = &mut self.io else { return Ok(()) };
        if by == By::Waiter {
            // Who sends little and waits for an answer sends little again; a stream goes on gathering.
            if self.wrote <= LITTLE && self.outbound.iter().all(Outbound::is_received) {
                remote.idle.store(true, Ordering::Relaxed);
            }
            let late = io.out.pending() > 0
                || remote.gathered.load(Ordering::Relaxed) > 0
                || self.inbound.iter().any(Inbound::ack_due)
                || self.outbound.iter().any(Outbound::is_late);
            if late {
                remote.alarm.call_driver();
            }
            return Ok(());
        }
        remote.gathered.store(0, Ordering::Relaxed);
        self.write(remote, by, cx);
        let received = self.outbound.iter().all(Outbound::is_received);
        remote.idle.store(received, Ordering::Relaxed);
        if self.outbound.iter().any(|outbound| outbound.hello_at.is_some())
            || self.inbound.iter().any(Inbound::ack_due)
        {
            remote.alarm.call_driver();
        }
        Ok(())
    }

    /// Takes what waits and writes it, with what is to be told.
    fn write(&mut self, remote: &Remote, by: By, cx: &mut Context<'_>) {
        let offers = Context::from_waker(&remote.offers);
        loop {
            let Some(io) = &mut self.io else { return };
            let mut more = false;
            for outbound in &mut self.outbound {
                more |= outbound.fill(&mut io.out, &offers);
            }
            if by == By::Driver || io.out.pending() > 0 {
                for inbound in self.inbound.iter_mut().filter(|inbound| inbound.ack_due()) {
                    inbound.ack(&mut io.out);
                    more |= inbound.ack_due();
                }
            }
            if !io.is_behind() {
                return;
            }
            self.wrote = io.out.pending();
            if !io.write(cx) || !more {
                return;
            }
        }
    }

    /// Lets sessions know who receives now.
    fn attend(&mut self) {
        let Some(io) = &mut self.io else { return };
        for inbound in &mut self.inbound {
            inbound.attend(io.secret, &mut io.out);
        }
    }

    fn work_plain(&mut self, now: Duration, cx: &mut Context<'_>) -> Result<(), Trouble> {
        let (Some(io), Some(plain)) = (&mut self.io, &mut self.plain) else { return Ok(()) };
        plain.harvest();
        let mut read = 0;
        // While it is we who do not read, no time passes for the peer.
        if !plain.wants_more() {
            self.started = None;
        }
        while !plain.is_mute() && plain.wants_more() {
            let before = plain.received();
            let whole = plain.frames(&mut io.buffer)?;
            if read >= READ {
                break;
            }
            io.make_room(whole);
            let since = self.started.filter(|_| plain.received() == before);
            self.started = began(since, now, &io.buffer, whole);
            match io.read(cx) {
                Ok(0) => break,
                Ok(count) => read += count,
                // It says no more, and may still listen for answers to what it said.
                Err(Trouble::Ended) if !self.dialled && io.buffer.is_empty() => {
                    plain.mute();
                    if self.ends.alone {
                        self.ends.inbox.close();
                    }
                }
                Err(trouble) => return Err(trouble),
            }
        }
        if read >= READ {
            cx.waker().wake_by_ref();
        }
        loop {
            plain.fill(&mut io.out, cx);
            let wrote = io.is_behind() && io.write(cx);
            plain.written(io.flushed);
            if !wrote {
                break;
            }
        }
        if let Some(refused) = io.refused.take_if(|_| plain.is_mute() || !plain.wants_more()) {
            // Nothing is read from there, so nothing else would tell.
            return Err(Trouble::Io(refused));
        }
        if plain.is_mute() && io.out.pending() == 0 && plain.is_settled() {
            let words = if self.ends.alone { LAST_WORDS } else { Duration::ZERO };
            plain.leave_at.get_or_insert(now.saturating_add(words));
        }
        Ok(())
    }
}
