//! One peer, for as long as its sessions live: the connection that carries them now, and what they hold.
//!
//! Everything of a peer is one value under one lock, the socket included, so that whoever has something to do
//! does it at once: a call that sends writes, a call that waits reads, and a task drives when nobody calls. A
//! connection that is replaced is read by nobody any more the moment the lock is taken.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use seam_core::distributor::{Distributor, Port};
use seam_core::{Action, Error, Event, Peer};
use seam_wire::{
    Fault, FaultCode, Frame, Group, Header, Hello, Outgoing, Ping, Pong, Reject, WireError, header,
};
use tokio::io::AsyncWrite as _;
use tokio::sync::Notify;

use crate::alarm::Alarm;
use crate::callers::Callers;
use crate::carrier::Stream;
use crate::handshake::{Established, Speaks, fault_error};
use crate::inbound::Inbound;
use crate::inbox::Inbox;
use crate::lock;
use crate::outbound::Outbound;
use crate::plain::Plain;
use crate::shared::Shared;
use crate::sources::Permit;

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

/// The connection that carries the sessions now.
struct Io {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    /// Handles of the buffers before it, and of itself: each can be used again once it is the last one.
    lent: VecDeque<BytesMut>,
    /// Room that is made for a read.
    room: usize,
    out: Outgoing,
    flushed: bool,
    /// Why the socket takes nothing any more.
    refused: Option<std::io::Error>,
    group: Group,
    binding: Vec<u8>,
    /// Whether nobody but the two ends can read it.
    secret: bool,
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

/// A connection that is silent for so many keep-alives is dead.
const MISSED: u32 = 3;
/// How long a frame may take that has begun to come, and how fast it must come besides, in KiB a second.
const FRAME_PATIENCE: Duration = Duration::from_secs(30);
const FRAME_PACE: u64 = 16;
/// How long a peer of version 1 that says no more may still be told something.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What is worth a write of its own, in bytes, while more may come.
const ENOUGH: usize = 128 << 10;
/// A write of so many bytes is no part of a stream.
const LITTLE: usize = 1 << 10;
/// What is read in one turn, so that writing gets its own.
const READ: usize = 256 << 10;
/// Room that is made for a read, in bytes: from the least, while little comes at once, to the most.
const LEAST_ROOM: usize = 8 << 10;
const MOST_ROOM: usize = 256 << 10;
/// How many buffers are remembered, to be used again.
const LENT: usize = 4;
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

    /// Goes on over this connection; one that stands is closed.
    pub(crate) fn attach(self: &Arc<Self>, established: Established, permit: Option<Permit>) {
        let mut state = lock(&self.state);
        if state.gone.is_some() {
            return;
        }
        if state.io.is_some() {
            state.detach(&Error::disconnected(&*self.shared.name, "a newer connection took over"));
        }
        let Established { stream, buffer, peer, speaks } = established;
        state.permit = permit;
        state.heard = self.shared.clock().now();
        state.pinged = 0;
        state.started = None;
        state.peer = Some(peer);
        let mut io = Io {
            stream,
            buffer,
            lent: VecDeque::new(),
            room: LEAST_ROOM,
            out: Outgoing::new(),
            flushed: true,
            refused: None,
            group: Group::Default,
            binding: Vec::new(),
            secret: false,
        };
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
                let state = lock(&self.state);
                if let Some(error) = state.terminal.as_ref().or(state.gone.as_ref()) {
                    return Some(error.clone());
                }
                state.io.as_ref()?;
            }
            notified.await;
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        lock(&self.state).gone.is_some()
    }

    pub(crate) fn peer(&self) -> Option<Arc<Peer>> {
        lock(&self.state).peer.clone()
    }

    /// From now on it is alone: what it sends goes to these ends, and what they hold goes to it.
    pub(crate) fn move_to(&self, ends: Ends) {
        let mut state = lock(&self.state);
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
        lock(&self.state).attend();
        self.alarm.call_driver();
    }

    /// A channel for replies to a caller of this peer.
    pub(crate) fn open_channel(&self, channel: u8, distributor: Arc<Distributor>, port: Arc<Port>) {
        let mut state = lock(&self.state);
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
        let state = lock(&self.state);
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
        std::future::poll_fn(|cx| {
            loop {
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
                        return Poll::Ready(());
                    }
                    state.sleeps_until = state.due(&self.shared);
                    state.sleeps_until
                };
                let now = self.shared.clock().now();
                if sleep.as_ref().is_none_or(|(at, _)| due < *at || *at <= now) {
                    sleep = Some((due, self.shared.clock().sleep(due.saturating_sub(now))));
                }
            }
        })
        .await;
    }

    /// Takes over everything that was settled.
    pub(crate) fn settle(&self) {
        self.turn(By::Driver);
    }

    /// Says farewell and ends it. What was not told is told first, as far as the socket takes it at once.
    pub(crate) fn end(&self, error: Error) {
        let mut state = lock(&self.state);
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
            if io.out.pending() == 0 {
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
            if io.out.pending() == 0 {
                return;
            }
            self.wrote = io.out.pending();
            if !io.write(cx) || !more {
                return;
            }
        }
    }

    fn read(&mut self, remote: &Remote, cx: &mut Context<'_>) -> Result<(), Trouble> {
        let mut read = 0;
        loop {
            self.frames(remote)?;
            let Some(io) = &mut self.io else { return Ok(()) };
            if read >= READ {
                remote.wanted.fetch_or(By::Driver.bit(), Ordering::SeqCst);
                return Ok(());
            }
            match io.read(cx)? {
                0 => return Ok(()),
                count => read += count,
            }
            self.heard = remote.shared.clock().now();
            self.pinged = 0;
        }
    }

    /// Handles every whole frame that was read.
    fn frames(&mut self, remote: &Remote) -> Result<(), Trouble> {
        loop {
            let Some(io) = &mut self.io else { return Ok(()) };
            let header = header(&io.buffer, FRAME)?;
            let whole = header.map_or(Header::SIZE, |header| Header::SIZE + header.body);
            let Some(header) = header.filter(|_| io.buffer.len() >= whole) else {
                io.make_room(whole);
                self.started = began(self.started, self.heard, &io.buffer, whole);
                return Ok(());
            };
            self.started = None;
            if header.version != 2 {
                return Err(WireError::Version { version: header.version }.into());
            }
            let frame = io.buffer.split_to(whole).freeze();
            if header.kind == Frame::DATA {
                let inbound =
                    self.inbound.iter_mut().find(|inbound| inbound.channel == header.channel);
                let inbound =
                    inbound.ok_or(WireError::Protocol { rule: "no DATA before HELLO" })?;
                inbound.on_data(&frame, Header::SIZE..whole)?;
            } else {
                let frame =
                    Frame::decode(header.kind, frame.get(Header::SIZE..).unwrap_or_default())?;
                self.handle(remote, header.channel, frame)?;
            }
        }
    }

    fn handle(&mut self, remote: &Remote, channel: u8, frame: Frame) -> Result<(), Trouble> {
        let now = self.heard;
        match frame {
            Frame::Hello(hello) => return self.on_hello(remote, channel, &hello),
            Frame::Ping(ping) => return self.on_ping(channel, ping),
            Frame::Fin { last } => return self.on_fin(channel, last),
            Frame::Fault(fault) => return Err(Trouble::Fault(fault)),
            Frame::Open(_) | Frame::Prove(_) => {
                return Err(
                    WireError::Protocol { rule: "OPEN and PROVE come first, and once" }.into()
                );
            }
            _ => {}
        }
        let outbound = self.outbound.iter_mut().find(|outbound| outbound.channel == channel);
        let Some(outbound) = outbound else {
            // A keep-alive has no session.
            let rule = "nobody sends on this channel";
            return match frame {
                Frame::Pong(_) => Ok(()),
                _ => Err(WireError::Protocol { rule }.into()),
            };
        };
        match frame {
            Frame::Welcome(welcome) => {
                let (Some(io), Some(peer)) = (&mut self.io, &self.peer) else { return Ok(()) };
                if remote.shared.allow(peer, Action::Receive).is_err() {
                    return Err(Trouble::Denied("you may not receive here"));
                }
                if !outbound.on_welcome(&welcome, &io.group)? {
                    outbound.hello_at = Some(now);
                }
            }
            Frame::Ack(ack) => outbound.on_ack(&ack)?,
            Frame::Pong(pong) => outbound.on_pong(&pong)?,
            Frame::Leave => outbound.on_leave(),
            Frame::FinAck => outbound.on_fin_ack(now),
            Frame::Reject(reject) => {
                if let Some(error) = outbound.on_reject(reject, now) {
                    return Err(Trouble::Terminal(error));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn on_hello(&mut self, remote: &Remote, channel: u8, hello: &Hello) -> Result<(), Trouble> {
        let answer = self.greet(remote, channel, hello);
        let Some(io) = &mut self.io else { return Ok(()) };
        if let Err(reject) = answer {
            Frame::Reject(reject).encode(channel, io.out.buffer());
        }
        Ok(())
    }

    fn greet(&mut self, remote: &Remote, channel: u8, hello: &Hello) -> Result<(), Reject> {
        let Some(io) = &mut self.io else { return Ok(()) };
        let known = self.inbound.iter().position(|inbound| inbound.channel == channel);
        if let Some(at) = known {
            if self.inbound[at].is_of(hello) {
                self.inbound[at].resume(hello, &io.binding)?;
                self.inbound[at].attend(io.secret, &mut io.out);
                return Ok(());
            }
            if hello.resume {
                return Err(Reject::Unknown);
            }
        }
        let inbox = match channel {
            0 => self.ends.inbox.clone(),
            _ => self.ends.callers.inbox(channel).ok_or(Reject::Unknown)?,
        };
        if let Some(peer) = &self.peer
            && remote.shared.allow(peer, Action::Send).is_err()
        {
            return Err(Reject::Fenced);
        }
        let feed = inbox.feed(remote.this.clone(), self.peer.clone());
        let new = Inbound::new(channel, hello, &remote.shared, inbox, feed.clone());
        let mut inbound = match new {
            Ok(inbound) => inbound,
            Err(reject) => {
                feed.revoke();
                return Err(reject);
            }
        };
        inbound.attend(io.secret, &mut io.out);
        if let Some(at) = known {
            std::mem::replace(&mut self.inbound[at], inbound).revoke();
        } else {
            self.inbound.push(inbound);
        }
        Ok(())
    }

    fn on_ping(&mut self, channel: u8, ping: Ping) -> Result<(), Trouble> {
        let Some(io) = &mut self.io else { return Ok(()) };
        let inbound = self.inbound.iter_mut().find(|inbound| inbound.channel == channel);
        match inbound.filter(|inbound| inbound.is_welcomed()) {
            Some(inbound) => inbound.on_ping(ping, &mut io.out)?,
            None => {
                let pong = Pong { opaque: ping.opaque, progress: None };
                Frame::Pong(pong).encode(channel, io.out.buffer());
            }
        }
        Ok(())
    }

    fn on_fin(&mut self, channel: u8, last: u64) -> Result<(), Trouble> {
        let Some(io) = &mut self.io else { return Ok(()) };
        let Some(at) = self.inbound.iter().position(|inbound| inbound.channel == channel) else {
            return Err(WireError::Protocol { rule: "no FIN before HELLO" }.into());
        };
        self.inbound[at].on_fin(last, &mut io.out)?;
        self.inbound.remove(at).revoke();
        Ok(())
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
            let wrote = io.out.pending() > 0 && io.write(cx);
            plain.written(io.out.written());
            if !wrote {
                break;
            }
        }
        if let Some(refused) = io.refused.take_if(|_| plain.is_mute()) {
            // Nothing more comes from there, so nothing else would tell.
            return Err(Trouble::Io(refused));
        }
        if plain.is_mute() && io.out.pending() == 0 && plain.is_settled() {
            let words = if self.ends.alone { LAST_WORDS } else { Duration::ZERO };
            plain.leave_at.get_or_insert(now.saturating_add(words));
        }
        Ok(())
    }

    /// The connection is of no use any more.
    fn fail(&mut self, shared: &Shared, trouble: Trouble) {
        let error = match trouble {
            Trouble::Fault(fault) => {
                let error = fault_error(&shared.name, &fault);
                if fault.code.is_terminal() {
                    self.terminal = Some(error.clone());
                }
                if fault.code == FaultCode::Closing {
                    self.part();
                }
                error
            }
            Trouble::Terminal(error) => {
                self.terminal = Some(error.clone());
                error
            }
            Trouble::Denied(what) => {
                self.tell_fault(Fault { code: FaultCode::Denied, text: what.to_owned() });
                let reason = format!("the peer was told: {what}");
                Error::Denied { endpoint: shared.name.clone(), reason }
            }
            Trouble::Wire(error) => {
                self.tell_fault(Fault { code: error.fault(), text: error.to_string() });
                Error::Protocol { endpoint: shared.name.clone(), reason: error.to_string() }
            }
            Trouble::Io(error) => {
                self.read_rest();
                Error::disconnected(&*shared.name, error)
            }
            Trouble::Ended => Error::disconnected(&*shared.name, "the peer closed the connection"),
        };
        self.detach(&error);
        shared.events().emit(Event::Disconnected { reason: error.to_string() });
    }

    /// Reads what a peer of version 1 had sent before it went; nobody else has it.
    fn read_rest(&mut self) {
        let (Some(io), Some(plain)) = (&mut self.io, &mut self.plain) else { return };
        let mut cx = Context::from_waker(Waker::noop());
        while plain.frames(&mut io.buffer).is_ok() && io.read(&mut cx).is_ok_and(|count| count > 0)
        {
        }
    }

    fn tell_fault(&mut self, fault: Fault) {
        if let Some(io) = &mut self.io
            && self.plain.is_none()
        {
            Frame::Fault(fault).encode(0, io.out.buffer());
            // It may have closed already, and then needs no word.
            io.write(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// There is no connection for now; sessions wait for the next one.
    fn detach(&mut self, error: &Error) {
        let mut io = self.io.take();
        self.started = None;
        self.permit = None;
        if let (Some(io), Some(plain)) = (&mut io, &mut self.plain) {
            // What came whole was sent, even if what follows it is wrong.
            let _ = plain.frames(&mut io.buffer);
            if self.ends.alone && !io.buffer.is_empty() {
                // Nobody sends the rest again: it is no good end.
                self.ends.inbox.fail(error);
            }
        }
        self.outbound.iter_mut().for_each(Outbound::disconnected);
        self.inbound.iter_mut().for_each(Inbound::disconnected);
        let written = io.map_or(0, |io| io.out.written());
        if let Some(plain) = self.plain.take() {
            plain.end(written);
            tracing::debug!(%error, "a connection of version 1 ended");
        }
    }

    /// The peer has ended: it takes nothing any more, and what came of it is ours.
    fn part(&mut self) {
        let mut lost = std::mem::take(&mut self.outbound);
        lost.iter_mut().for_each(Outbound::part);
        for inbound in std::mem::take(&mut self.inbound) {
            inbound.retire();
        }
    }

    /// The peer will not come back.
    fn depart(&mut self, error: Error) {
        self.inbound.drain(..).for_each(Inbound::revoke);
        self.outbound.drain(..).for_each(|mut outbound| outbound.end());
        self.detach(&error);
        if self.ends.alone {
            self.ends.inbox.close();
            self.ends.distributor.close(error.clone());
        }
        self.gone.get_or_insert(error);
    }

    /// What is due by time: keep-alives, HELLO again, the end of what has expired.
    fn tend(&mut self, shared: &Arc<Shared>, cx: &mut Context<'_>) {
        let now = shared.clock().now();
        if self.started.is_some_and(|started| must_be_whole(started) <= now) {
            let slow = "the peer began a frame and did not send all of it in time";
            self.fail(shared, Trouble::Io(std::io::Error::other(slow)));
        }
        let leaves = |plain: &Plain| plain.leave_at.is_some_and(|at| at <= now);
        match &self.plain {
            Some(plain) if leaves(plain) => self.fail(shared, Trouble::Ended),
            Some(_) => return,
            None if self.io.is_none() && self.peer.is_none() => return,
            None => {}
        }
        if let Some(io) = &mut self.io {
            for outbound in &mut self.outbound {
                if outbound.hello_at.is_some_and(|at| at <= now) {
                    let hello = outbound.hello(&io.binding);
                    Frame::Hello(hello).encode(outbound.channel, io.out.buffer());
                }
            }
            let silent = now.saturating_sub(self.heard);
            if silent >= shared.config.keep_alive * (self.pinged + 1) {
                if self.pinged >= MISSED {
                    let reason = "the peer gave no sign of life for three keep-alives";
                    self.fail(shared, Trouble::Io(std::io::Error::other(reason)));
                    return;
                }
                self.pinged += 1;
                io.rest();
                let ping = match self.outbound.iter_mut().find(|outbound| outbound.channel == 0) {
                    Some(outbound) => outbound.ping(),
                    None => Ping { opaque: 1, seen: 0 },
                };
                Frame::Ping(ping).encode(0, io.out.buffer());
            }
            io.write(cx);
            return;
        }
        let silent = now.saturating_sub(self.heard);
        for outbound in &mut self.outbound {
            if outbound.expiry().is_some_and(|expiry| silent >= expiry) {
                outbound.lose();
            }
        }
        let (over, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.inbound).into_iter().partition(|i| silent >= i.expiry());
        self.inbound = kept;
        over.into_iter().for_each(Inbound::revoke);
        let waits = !self.inbound.is_empty() || self.outbound.iter().any(|o| o.expiry().is_some());
        if !self.dialled && !waits {
            self.depart(Error::disconnected(&*shared.name, "the peer has departed"));
        }
    }

    /// Whether something came up that is due before the task that drives looks again.
    fn oversleeps(&self, shared: &Shared) -> bool {
        let speaks = self.io.is_some() && self.plain.is_none();
        let ping = speaks.then(|| self.heard + shared.config.keep_alive * (self.pinged + 1));
        let delayed = self.outbound.iter().filter_map(|outbound| outbound.due);
        let plain = self.plain.iter().flat_map(|plain| [plain.due, plain.leave_at]).flatten();
        let mut all = delayed.chain(plain).chain(self.started.map(must_be_whole)).chain(ping);
        all.any(|due| due < self.sleeps_until)
    }

    /// When there is something due by time.
    fn due(&self, shared: &Shared) -> Duration {
        let far = shared.clock().now().saturating_add(Duration::from_secs(3600));
        if self.io.is_some() {
            let ping = match self.plain {
                Some(_) => far,
                None => self.heard + shared.config.keep_alive * (self.pinged + 1),
            };
            let hellos = self.outbound.iter().filter_map(|outbound| outbound.hello_at);
            let delayed = self.outbound.iter().filter_map(|outbound| outbound.due);
            let plain = self.plain.iter().flat_map(|plain| [plain.due, plain.leave_at]).flatten();
            let frame = self.started.map(must_be_whole);
            return hellos
                .chain(delayed)
                .chain(plain)
                .chain(frame)
                .chain([ping])
                .min()
                .unwrap_or(far);
        }
        let out = self.outbound.iter().filter_map(Outbound::expiry);
        let expiries = out.chain(self.inbound.iter().map(Inbound::expiry));
        expiries.map(|expiry| self.heard.saturating_add(expiry)).min().unwrap_or(far)
    }
}

/// What is known of the frame that `buffer` begins with, and that is not whole.
fn began(
    before: Option<(Duration, usize)>,
    now: Duration,
    buffer: &[u8],
    whole: usize,
) -> Option<(Duration, usize)> {
    let since = before.map_or(now, |(since, _)| since);
    (!buffer.is_empty()).then_some((since, whole))
}

/// When a frame that began to come must be whole. Single bytes extend nothing.
fn must_be_whole((since, size): (Duration, usize)) -> Duration {
    let kibibytes = u64::try_from(size >> 10).unwrap_or(u64::MAX);
    since.saturating_add(FRAME_PATIENCE + Duration::from_secs(kibibytes / FRAME_PACE))
}

impl Io {
    /// Reads what there is, once; 0 where there is nothing now.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<usize, Trouble> {
        if self.buffer.capacity() - self.buffer.len() < self.room / 4 {
            self.renew();
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let stream = Pin::new(&mut self.stream);
        match tokio_util::io::poll_read_buf(stream, cx, &mut self.buffer) {
            Poll::Pending => Ok(0),
            Poll::Ready(Ok(0)) => Err(Trouble::Ended),
            Poll::Ready(Ok(count)) => {
                // As much as comes at once; a connection that is mostly idle needs little.
                if count == room {
                    self.room = (self.room * 2).min(MOST_ROOM);
                } else if count < self.room / 8 {
                    self.room = (self.room / 2).max(LEAST_ROOM);
                }
                Ok(count)
            }
            Poll::Ready(Err(error)) => Err(Trouble::Io(error)),
        }
    }

    /// Goes on in another buffer: one that all have let go of, if there is any.
    fn renew(&mut self) {
        let room = self.room + self.buffer.len();
        let free = self.lent.iter_mut().position(|lent| lent.try_reclaim(room));
        let mut fresh = match free.and_then(|at| self.lent.remove(at)) {
            Some(free) => free,
            None => BytesMut::with_capacity(room),
        };
        self.lent.truncate(LENT - 1);
        self.lent.push_front(fresh.split_to(0));
        fresh.extend_from_slice(&self.buffer);
        self.buffer = fresh;
    }

    /// Lets go of memory that a quiet connection does not need.
    fn rest(&mut self) {
        if self.buffer.is_empty() {
            (self.buffer, self.room) = (BytesMut::new(), LEAST_ROOM);
            self.lent.clear();
        }
    }

    /// Makes room for the rest of a frame of this size, not far ahead of what has come.
    fn make_room(&mut self, whole: usize) {
        let missing = whole - self.buffer.len();
        let room = self.buffer.capacity() - self.buffer.len();
        let step = missing.min(self.buffer.len().max(MOST_ROOM));
        if room < step {
            self.buffer.reserve(step);
        }
    }

    /// Writes what the socket takes; whether that was everything.
    ///
    /// That it takes no more is not the end: what the peer said before it closed is still to be read, and counts
    /// for more than that it did. The end is seen by reading, or by keep-alives.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        while self.refused.is_none() && self.out.pending() > 0 {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.out.slices(&mut slices);
            let stream = Pin::new(&mut self.stream);
            let written = match &slices[..count] {
                [one] => stream.poll_write(cx, one),
                several => stream.poll_write_vectored(cx, several),
            };
            match written {
                Poll::Pending => return false,
                Poll::Ready(Ok(0)) => self.refused = Some(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.out.advance(count);
                    self.flushed = false;
                }
                Poll::Ready(Err(error)) => self.refused = Some(error),
            }
        }
        if self.refused.is_none() && !self.flushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.flushed = true,
                Poll::Ready(Err(error)) => self.refused = Some(error),
            }
        }
        self.refused.is_none()
    }
}

/// Why a connection ends.
pub(crate) enum Trouble {
    Wire(WireError),
    Fault(Fault),
    /// Dialling again is of no use.
    Terminal(Error),
    /// The peer asked for what it may not do.
    Denied(&'static str),
    Io(std::io::Error),
    Ended,
}

impl From<WireError> for Trouble {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}
