//! What one peer sends us: the session that receives, and the feed that hands on what it got.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use seam_core::Datagram;
use seam_core::driver::Framing;
use seam_wire::{
    DEFAULT_MAX_FRAME, Frame, Hello, Outgoing, Ping, Receiving, Reject, ResumeProof, ResumeToken,
    Run, Sink, Window, WireError,
};

use crate::inbox::{Feed, Inbox, Item, Load, Outcome};
use crate::shared::{Shared, envelope_limits, random};

/// The way in from one peer, on one channel.
pub(crate) struct Inbound {
    pub(crate) channel: u8,
    inbox: Arc<Inbox>,
    receiving: Receiving,
    feed: Arc<Feed>,
    /// What a resume has to prove.
    token: Option<ResumeToken>,
    /// How long the session is kept without a connection.
    expiry: Duration,
    /// Whether this connection has its WELCOME.
    welcomed: bool,
    /// Whether somebody received once, so that a resume is welcomed even while nobody does.
    begun: bool,
    /// Whether the peer was told to send nothing new.
    left: bool,
    loads: Vec<Load>,
}

impl Inbound {
    /// Answers a HELLO of an unknown session.
    pub(crate) fn new(
        channel: u8,
        hello: &Hello,
        shared: &Shared,
        inbox: Arc<Inbox>,
        feed: Arc<Feed>,
    ) -> Result<Self, Reject> {
        let limits = envelope_limits(shared);
        let payload = shared.config.limits.payload;
        let receiving =
            Receiving::new(hello, Window::new(0, 0), DEFAULT_MAX_FRAME, payload, limits)?;
        let derived = shared.token.as_ref();
        Ok(Self {
            channel,
            token: derived.map(|token| ResumeToken::derived(token.bytes(), &hello.sid)),
            expiry: hello.expiry.min(LONGEST_EXPIRY),
            inbox,
            receiving,
            feed,
            welcomed: false,
            begun: false,
            left: false,
            loads: Vec::new(),
        })
    }

    /// Its receivers are those of `inbox` from now on; it was not welcomed yet, and so received nothing.
    pub(crate) fn move_to(&mut self, inbox: Arc<Inbox>, feed: Arc<Feed>) {
        self.inbox = inbox;
        std::mem::replace(&mut self.feed, feed).revoke();
    }

    /// Answers a HELLO of this session on a new connection.
    pub(crate) fn resume(&mut self, hello: &Hello, binding: &[u8]) -> Result<(), Reject> {
        let proved = self.token.as_ref();
        let proved =
            proved.is_none_or(|token| ResumeProof { token, connection: binding }.verify(hello));
        if !proved {
            return Err(Reject::Unknown);
        }
        self.receiving.on_hello(hello)?;
        self.welcomed = false;
        Ok(())
    }

    pub(crate) fn is_of(&self, hello: &Hello) -> bool {
        self.receiving.sid() == hello.sid
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        self.welcomed = false;
    }

    /// Says WELCOME once somebody receives, LEAVE once nobody does, and gives the credit of those who do.
    pub(crate) fn attend(&mut self, secret_line: bool, out: &mut Outgoing) {
        let (seats, count, bytes) = self.inbox.window();
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        if self.left {
            self.greet(secret_line, out);
            return;
        }
        self.receiving.set_window(Window::new(wide(count), wide(bytes)));
        if seats > 0 {
            self.begun = true;
        }
        if self.begun {
            self.greet(secret_line, out);
        }
        if seats == 0 && self.begun {
            self.left = true;
            Frame::Leave.encode(self.channel, out.buffer());
            let receiving = &mut self.receiving;
            self.feed.bounce(|outcome| tell(receiving, outcome));
        }
    }

    fn greet(&mut self, secret_line: bool, out: &mut Outgoing) {
        if std::mem::replace(&mut self.welcomed, true) {
            return;
        }
        let issued = (secret_line && self.token.is_none()).then(|| ResumeToken::issued(random()));
        if issued.is_some() {
            self.token.clone_from(&issued);
        }
        let welcome = self.receiving.welcome(self.expiry, issued);
        Frame::Welcome(welcome).encode(self.channel, out.buffer());
        if self.left {
            Frame::Leave.encode(self.channel, out.buffer());
        }
    }

    /// Takes a DATA.
    pub(crate) fn on_data(
        &mut self,
        frame: &Bytes,
        body: std::ops::Range<usize>,
    ) -> Result<(), WireError> {
        if !self.welcomed {
            return Err(WireError::Protocol { rule: "no DATA before WELCOME" });
        }
        let mut collector = Collector { frame, loads: &mut self.loads };
        let result = self.receiving.on_data(frame, body, &mut collector);
        if self.left {
            // It was under way when we left.
            self.feed.push(&mut self.loads);
            let receiving = &mut self.receiving;
            self.feed.bounce(|outcome| tell(receiving, outcome));
        } else {
            self.feed.push(&mut self.loads);
        }
        result
    }

    pub(crate) fn on_ping(&mut self, ping: Ping, out: &mut Outgoing) -> Result<(), WireError> {
        if !self.welcomed {
            return Ok(());
        }
        self.receiving.on_ping(ping.seen)?;
        let pong = self.receiving.pong(ping.opaque);
        Frame::Pong(pong).encode(self.channel, out.buffer());
        Ok(())
    }

    pub(crate) fn on_fin(&mut self, last: u64, out: &mut Outgoing) -> Result<(), WireError> {
        self.receiving.on_fin(last)?;
        Frame::FinAck.encode(self.channel, out.buffer());
        Ok(())
    }

    pub(crate) fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    /// Takes over what handlers settled.
    pub(crate) fn harvest(&mut self) {
        let receiving = &mut self.receiving;
        self.feed.harvest(|outcome| tell(receiving, outcome));
    }

    /// Whether the peer can be told something.
    pub(crate) fn ack_due(&self) -> bool {
        self.welcomed && self.receiving.ack_due()
    }

    pub(crate) fn ack(&mut self, out: &mut Outgoing) {
        self.receiving.ack(self.channel, out);
    }

    pub(crate) fn expiry(&self) -> Duration {
        self.expiry
    }

    /// The sender has ended, and tells nobody else of what it sent: that stays, and settling it tells nobody.
    pub(crate) fn retire(self) {
        self.feed.retire();
    }

    /// The session is lost: nothing of it may be settled any more.
    pub(crate) fn revoke(self) {
        self.feed.revoke();
    }
}

fn tell(receiving: &mut Receiving, outcome: Outcome) {
    match outcome {
        Outcome::Done(numbers) => receiving.done(numbers),
        Outcome::Released { number, attempt, after } => receiving.released(number, attempt, after),
    }
}

/// Puts what a DATA brings into loads.
struct Collector<'a> {
    frame: &'a Bytes,
    loads: &'a mut Vec<Load>,
}

impl Sink for Collector<'_> {
    fn run(&mut self, run: Run) {
        self.loads.push(Load::Run(Framing::Entry, self.frame.clone(), run));
    }

    fn datagram(
        &mut self,
        number: u64,
        datagram: Datagram,
        attempt: u32,
        possible_duplicate: bool,
    ) {
        let item = Item { number, datagram, attempt, possible_duplicate };
        self.loads.push(Load::Item(Box::new(item)));
    }
}

/// No session is kept longer without a connection, whatever the peer asks for.
const LONGEST_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);
