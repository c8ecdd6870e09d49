//! What one peer is sent: a member of the distributor's group, and the session that carries what it takes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use seam_core::distributor::{Distributor, Lot, Member, Membership, Name, Port, Wait};
use seam_core::{Error, Event, Side};
use seam_wire::{
    Ack, DEFAULT_MAX_FRAME, Follow, Frame, Group, Hello, Learned, Outgoing, Parcel, Pong, Reject,
    ResumeProof, ResumeToken, Sending, Unsettled, Welcome, WelcomeError, WireError,
};

use crate::shared::{Shared, random};

/// The way out to one peer, on one channel.
pub(crate) struct Outbound {
    pub(crate) channel: u8,
    shared: Arc<Shared>,
    distributor: Arc<Distributor>,
    /// The only way into it, where it holds replies: it ends with the session.
    replies: Option<Arc<Port>>,
    /// In the group that the peer receives for; from the first WELCOME on.
    member: Option<Member>,
    sending: Sending,
    resume: Option<ResumeToken>,
    /// What was taken and is not numbered for want of credit.
    left: VecDeque<Parcel>,
    learned: Learned,
    /// Whether this connection has its FIN.
    fin_said: bool,
    /// Whether it looked for more when there was no credit.
    starved: bool,
    /// When HELLO is to be said again.
    pub(crate) hello_at: Option<Duration>,
    /// When something that is delayed will be due.
    pub(crate) due: Option<Duration>,
    /// Whether the peer takes nothing on this channel, and never will.
    pub(crate) refused: bool,
}

/// What is taken from the distributor at once.
const TAKE: usize = 4096;
const TAKE_BYTES: u64 = 256 << 10;

/// Nothing is taken while this much waits to be written, in bytes.
pub(crate) const WAITING: usize = 128 << 10;

impl Outbound {
    pub(crate) fn new(channel: u8, distributor: Arc<Distributor>, shared: Arc<Shared>) -> Self {
        Self {
            channel,
            sending: fresh(&shared),
            shared,
            distributor,
            replies: None,
            member: None,
            resume: None,
            left: VecDeque::new(),
            learned: Learned::default(),
            fin_said: false,
            starved: false,
            hello_at: None,
            due: None,
            refused: false,
        }
    }

    /// Replies to one caller, which come in by `port` alone.
    pub(crate) fn of_replies(
        channel: u8,
        distributor: Arc<Distributor>,
        port: Arc<Port>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { replies: Some(port), ..Self::new(channel, distributor, shared) }
    }

    /// What to say first on a connection that is bound to `binding`.
    pub(crate) fn hello(&mut self, binding: &[u8]) -> Hello {
        (self.hello_at, self.fin_said) = (None, false);
        let mut hello = self.sending.hello(random());
        let derived = self.shared.token.as_ref();
        let derived = derived.map(|token| ResumeToken::derived(token.bytes(), &hello.sid));
        if hello.resume
            && let Some(token) = self.resume.as_ref().or(derived.as_ref())
        {
            ResumeProof { token, connection: binding }.sign(&mut hello);
        }
        hello
    }

    /// The peer agrees. `Some(hello)`: it does not know the session any more, so a new one begins.
    pub(crate) fn on_welcome(
        &mut self,
        welcome: &Welcome,
        group: &Group,
    ) -> Result<bool, WireError> {
        match self.sending.on_welcome(welcome, &mut self.learned) {
            Ok(()) => {}
            Err(WelcomeError::Wire(error)) => return Err(error),
            Err(WelcomeError::Lost) => {
                self.lose();
                return Ok(false);
            }
        }
        if welcome.token.is_some() {
            self.resume.clone_from(&welcome.token);
        }
        if self.member.is_none() {
            self.join(group);
        }
        self.apply();
        Ok(true)
    }

    fn join(&mut self, group: &Group) {
        let group = match group {
            _ if self.channel > 0 => Name::Default,
            Group::Default => Name::Default,
            Group::Named(name) => Name::Named(name.clone()),
            Group::Private => Name::Private,
        };
        let membership = Membership {
            group,
            credit: usize::MAX,
            credit_bytes: usize::MAX,
            session_expiry: self.shared.config.session_expiry,
        };
        let (clock, events) = (self.shared.clock().clone(), self.shared.events().clone());
        self.member = Some(self.distributor.session(membership, clock, events));
    }

    /// The peer refuses. Says why the connection is of no use any more, if so.
    pub(crate) fn on_reject(&mut self, reject: Reject, now: Duration) -> Option<Error> {
        let endpoint = || self.shared.name.clone();
        if reject == Reject::Fenced && !self.sending.is_welcomed() && self.channel == 0 {
            // Whoever came to receive needs no way out.
            self.refused = self.shared.config.side == Side::Server;
            let reason = "it does not let you send; ask whoever runs it".to_owned();
            let denied = Error::Denied { endpoint: endpoint(), reason };
            return (!self.refused).then_some(denied);
        }
        match self.sending.on_reject(reject) {
            // Channels of replies are not begun again: whoever asked is gone.
            Follow::Anew | Follow::Lost if self.channel > 0 => {
                self.lose();
                self.refused = true;
            }
            Follow::Anew => self.hello_at = Some(now),
            Follow::Lost => {
                self.lose();
                self.hello_at = Some(now);
            }
            Follow::After(delay) => self.hello_at = Some(now.saturating_add(delay)),
            Follow::Terminal => {
                let reason = match reject {
                    Reject::Version => "it speaks another version; bring both ends to one release",
                    _ => "its session was taken over by another connection of the same name",
                };
                let error = Error::Protocol { endpoint: endpoint(), reason: reason.to_owned() };
                self.lose();
                return Some(error);
            }
        }
        None
    }

    pub(crate) fn on_ack(&mut self, ack: &Ack) -> Result<(), WireError> {
        let result = self.sending.on_ack(ack, &mut self.learned);
        self.apply();
        result
    }

    pub(crate) fn on_pong(&mut self, pong: &Pong) -> Result<(), WireError> {
        let result = self.sending.on_pong(pong, &mut self.learned);
        self.apply();
        result
    }

    /// The peer takes nothing new; what it has will be settled.
    pub(crate) fn on_leave(&mut self) {
        self.sending.on_leave();
        if let Some(member) = &self.member {
            while let Some(parcel) = self.left.pop_front() {
                give_back(member, &parcel);
            }
            member.leave();
        }
    }

    /// The session has ended; another one may begin.
    pub(crate) fn on_fin_ack(&mut self, now: Duration) {
        if let Some(member) = self.member.take() {
            // Everything has its outcome.
            let _ = member.lose();
        }
        self.sending = fresh(&self.shared);
        self.hello_at = Some(now);
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        self.sending.disconnected();
        self.hello_at = None;
        self.pass_on();
    }

    /// Takes what waits and there is credit for, and encodes it; rings `cx` once there may be more. Whether it
    /// stopped for want of room in `out`.
    pub(crate) fn fill(&mut self, out: &mut Outgoing, cx: &Context<'_>) -> bool {
        self.due = None;
        let mut more = true;
        while out.pending() < WAITING && (more || !self.left.is_empty()) {
            if self.left.is_empty() {
                more = self.take(cx);
            }
            if !self.admit() {
                break;
            }
            self.sending.transmit(self.channel, out, WAITING);
        }
        let full = out.pending() >= WAITING;
        more &= full;
        if full || !self.left.is_empty() {
            // It looks again once the rest is written.
            more |= self.pass_on() && full;
        }
        if self.sending.has_unsent() {
            self.sending.transmit(self.channel, out, WAITING.saturating_sub(out.pending()).max(1));
        }
        if self.sending.ping_due() {
            let ping = self.sending.ping(0);
            Frame::Ping(ping).encode(self.channel, out.buffer());
        }
        if self.sending.is_leaving()
            && !self.fin_said
            && let Some(last) = self.sending.fin()
        {
            self.fin_said = true;
            Frame::Fin { last }.encode(self.channel, out.buffer());
        }
        more || self.sending.has_unsent()
    }

    /// Numbers what there is credit for. Says whether there was something.
    fn admit(&mut self) -> bool {
        let mut admitted = false;
        while let Some(parcel) = self.left.front_mut() {
            let count = self.sending.admit(parcel.clone());
            admitted |= count > 0;
            if count == parcel.range.len() {
                self.left.pop_front();
                continue;
            }
            parcel.range.start += count;
            parcel.place += u32::try_from(count).unwrap_or(u32::MAX);
            break;
        }
        admitted
    }

    /// Takes what waits. Says whether there may be more now.
    fn take(&mut self, cx: &Context<'_>) -> bool {
        let Some(member) = &self.member else { return false };
        let credit = self.sending.credit().min(TAKE);
        if credit == 0 {
            self.starved = true;
            self.pass_on();
            return false;
        }
        self.starved = false;
        if !self.sending.is_connected() {
            return false;
        }
        let room = self.sending.room_bytes().min(TAKE_BYTES);
        match member.poll_take(credit, usize::try_from(room).unwrap_or(usize::MAX), cx) {
            Wait::Ready(Some(lot)) => {
                let more = lot.more;
                self.left.extend(parcels(lot));
                more
            }
            Wait::Ready(None) => false,
            Wait::Until(due) => {
                self.due = due;
                false
            }
        }
    }

    /// It can take nothing now: what it is called for goes to a peer that can. Whether it could be called.
    fn pass_on(&self) -> bool {
        self.member.as_ref().is_some_and(Member::rest)
    }

    /// Tells the distributor what was learned.
    fn apply(&mut self) {
        let Some(member) = &self.member else { return };
        if !self.learned.received.is_empty() || !self.learned.done.is_empty() {
            member.learn(self.learned.received.drain(..), self.learned.done.drain(..));
        }
        for released in self.learned.released.drain(..) {
            member.release(released.token, released.place, released.attempt, released.after);
        }
    }

    /// The session is lost: what it held goes to others, or back to who sent it.
    pub(crate) fn lose(&mut self) {
        let welcomed = self.sending.is_welcomed();
        let Unsettled { settled, unsettled, .. } = self.let_go();
        if welcomed {
            self.shared.events().emit(Event::SessionLost { settled, unsettled });
        }
    }

    /// The peer has ended: what it has not settled is lost with the session; where there is nothing, both end
    /// well.
    pub(crate) fn part(&mut self) {
        let Unsettled { settled, unsettled, .. } = self.let_go();
        if unsettled > 0 {
            self.shared.events().emit(Event::SessionLost { settled, unsettled });
        }
    }

    /// This end goes: what it held stays with who sent it.
    pub(crate) fn end(&mut self) {
        self.let_go();
    }

    fn let_go(&mut self) -> Unsettled {
        let sending = std::mem::replace(&mut self.sending, fresh(&self.shared));
        let mut left = sending.into_open();
        let (settled, unsettled) = (left.settled, left.unsettled);
        self.resume = None;
        if let Some(member) = self.member.take() {
            for parcel in std::mem::take(&mut self.left) {
                give_back(&member, &parcel);
            }
            for (token, places, _) in left.open.drain(..).filter(|(_, _, sent)| !sent) {
                member.give_back(token, places);
            }
            let endpoint = self.shared.name.clone();
            let lost = Error::SessionLost { endpoint, settled, unsettled };
            let _ = match self.shared.config.reports_lost {
                true => member.report(&lost),
                false => member.lose(),
            };
        }
        if let Some(port) = self.replies.take() {
            self.distributor.close(Error::RequesterGone);
            // Whoever waits for a receipt has it now.
            drop(port.close());
        }
        left
    }

    /// How long the session lives without a sign of life.
    pub(crate) fn expiry(&self) -> Option<Duration> {
        self.sending.is_welcomed().then(|| self.sending.expiry())
    }

    /// What waits comes from `distributor` from now on, for the peer as a member of `group`. False where the
    /// session has something of the old one in hand: it is lost then, and that goes to others.
    pub(crate) fn move_to(&mut self, distributor: Arc<Distributor>, group: Option<&Group>) -> bool {
        let free = self.sending.is_idle() && self.left.is_empty();
        let member = self.member.take_if(|_| free && group.is_some());
        let lost = self.member.is_some();
        if lost {
            self.lose();
        }
        self.distributor = distributor;
        if let (Some(member), Some(group)) = (member, group) {
            // It had nothing in hand.
            let _ = member.lose();
            self.join(group);
        }
        !lost
    }

    /// Whether the peer has received everything that it was sent.
    pub(crate) fn is_received(&self) -> bool {
        self.sending.is_received()
    }

    /// Whether whoever drives has something to do here: what waits for credit, or a HELLO.
    pub(crate) fn is_late(&self) -> bool {
        self.hello_at.is_some()
            || !self.left.is_empty()
            || (self.starved && self.sending.credit() > 0)
            || self.sending.ping_due()
            || (self.sending.is_leaving() && !self.fin_said)
    }

    /// What a keep-alive tells.
    pub(crate) fn ping(&mut self) -> seam_wire::Ping {
        self.sending.ping(1)
    }
}

fn fresh(shared: &Shared) -> Sending {
    Sending::new(shared.instance, shared.config.session_expiry, DEFAULT_MAX_FRAME)
}

pub(crate) fn parcels(lot: Lot) -> impl Iterator<Item = Parcel> {
    let (token, mut place) = (lot.token, 0);
    lot.pieces.into_iter().map(move |piece| {
        let parcel = Parcel {
            token,
            place,
            content: piece.content,
            range: piece.range,
            attempt: piece.attempt,
            possible_duplicate: piece.possible_duplicate,
        };
        place += u32::try_from(parcel.range.len()).unwrap_or(u32::MAX);
        parcel
    })
}

fn give_back(member: &Member, parcel: &Parcel) {
    let count = u32::try_from(parcel.range.len()).unwrap_or(u32::MAX);
    member.give_back(parcel.token, parcel.place..parcel.place + count);
}
