//! The half of a session that sends.

mod held;
mod learn;
mod transmit;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use seam_core::Datagrams;

pub use learn::{Learned, LearnedRelease};

use crate::limits::{DATA_OVERHEAD, MIN_MAX_FRAME};
use crate::marks::Marks;
use crate::number::{narrow, wide};
use crate::{Ack, Hello, Ping, Pong, Progress, Reject, Welcome, WireError};
use held::Held;

/// A run of datagrams that were admitted together; whoever holds them shares their content.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Whose they are; comes back with what is learned.
    pub token: u64,
    /// The place of the first; the others follow.
    pub place: u32,
    /// Holds the datagrams.
    pub content: Arc<Datagrams>,
    /// Which of `content`.
    pub range: Range<usize>,
    /// Which attempt this delivery is; 1 is the first.
    pub attempt: u32,
    /// Whether an earlier delivery may have been received elsewhere.
    pub possible_duplicate: bool,
}

/// The half of a session that sends: it numbers datagrams, keeps them until they have an outcome, and transmits
/// on each new connection what the receiving half has not received.
#[derive(Debug)]
pub struct Sending {
    sid: [u8; 16],
    owner: [u8; 16],
    wanted_expiry: Duration,
    granted_expiry: Duration,
    max_frame: usize,
    attempt: u64,
    welcomed: bool,
    connected: bool,
    leaving: bool,
    ended: bool,
    ping_due: bool,
    /// What the last PING told.
    seen: u64,
    /// The number of the next datagram that is admitted, and the bytes of all before it.
    next: u64,
    next_bytes: u64,
    /// The next number to be written on this connection, and the one after the last ever written.
    cursor: u64,
    written: u64,
    progress: Progress,
    /// Every outcome up to here is processed, and those of `known` above it.
    acked: u64,
    known: Marks,
    known_released: Marks,
    /// The highest number that `Learned::received` has told.
    confirmed: u64,
    held: VecDeque<Held>,
    admitted: u64,
    finished: u64,
    slot: Vec<u8>,
    prefix: Vec<u8>,
}

/// Why a WELCOME is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WelcomeError {
    /// The receiving half is not where it must be, and the session is lost.
    #[error("the peer has lost the session")]
    Lost,
    /// It is against the rules: the connection must close, the session stays.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// What follows a REJECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The session never began: say HELLO again under a fresh `sid`.
    Anew,
    /// The session is lost.
    Lost,
    /// The session is lost, and dialling again is of no use: another one owns it.
    Terminal,
    /// Say HELLO again, not before this.
    After(Duration),
}

/// What a session leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsettled {
    /// The datagrams without an outcome: their token, their places, and whether any byte of them was ever
    /// handed out to be written.
    pub open: Vec<(u64, Range<u32>, bool)>,
    /// Datagrams that had an outcome.
    pub settled: u64,
    /// Datagrams that had none.
    pub unsettled: u64,
}

impl Sending {
    /// A session of `owner`, which asks to be kept for `expiry` without a connection and to send frames of at most
    /// `max_frame` bytes.
    #[must_use]
    pub fn new(owner: [u8; 16], expiry: Duration, max_frame: usize) -> Self {
        Self {
            sid: [0; 16],
            owner,
            wanted_expiry: expiry,
            granted_expiry: expiry,
            max_frame: max_frame.max(MIN_MAX_FRAME),
            attempt: 0,
            welcomed: false,
            connected: false,
            leaving: false,
            ended: false,
            ping_due: false,
            seen: 0,
            next: 1,
            next_bytes: 0,
            cursor: 1,
            written: 1,
            progress: Progress::default(),
            acked: 0,
            known: Marks::default(),
            known_released: Marks::default(),
            confirmed: 0,
            held: VecDeque::new(),
            admitted: 0,
            finished: 0,
            slot: Vec::new(),
            prefix: Vec::new(),
        }
    }

    /// What to say on the next connection. A session that was never welcomed takes `fresh` as its name.
    pub fn hello(&mut self, fresh: [u8; 16]) -> Hello {
        self.disconnected();
        if !self.welcomed {
            self.sid = fresh;
        }
        self.attempt += 1;
        Hello {
            sid: self.sid,
            owner: self.owner,
            attempt: self.attempt,
            resume: self.welcomed,
            acked: self.acked,
            next: self.next,
            next_bytes: self.next_bytes,
            expiry: self.wanted_expiry,
            proof: None,
        }
    }

    /// Takes the answer.
    ///
    /// # Errors
    ///
    /// [`WelcomeError`] tells whether the session is lost, or the connection alone.
    pub fn on_welcome(
        &mut self,
        welcome: &Welcome,
        learned: &mut Learned,
    ) -> Result<(), WelcomeError> {
        let settled = welcome.ack.progress.settled;
        if welcome.epoch != self.attempt || self.connected {
            return Err(rule("WELCOME answers the HELLO of this connection, once").into());
        }
        let fits = self.acked < welcome.next
            && welcome.next <= self.written
            && self.acked <= settled
            && settled < welcome.next;
        if !fits {
            return Err(WelcomeError::Lost);
        }
        self.agree_on_frames(narrow(welcome.max_frame))?;
        self.granted_expiry = welcome.expiry;
        // What an earlier connection was told does not bind this one: the receiving half may have gone back to
        // what its journal holds.
        self.progress = Progress { settled: self.acked, ..Progress::default() };
        self.cursor = welcome.next;
        self.connected = true;
        self.ping_due = std::mem::replace(&mut self.welcomed, true);
        self.on_ack(&welcome.ack, learned)?;
        if mutant!(ResumeWithoutDedup) {
            self.cursor = self.acked + 1;
        }
        Ok(())
    }

    fn agree_on_frames(&mut self, max_frame: usize) -> Result<(), WireError> {
        if self.welcomed && max_frame < self.max_frame {
            return Err(rule("`max_frame` stays the same for the life of a session"));
        }
        self.max_frame = self.max_frame.min(max_frame);
        Ok(())
    }

    /// What is to be done after a REJECT.
    #[must_use]
    pub fn on_reject(&self, reject: Reject) -> Follow {
        match reject {
            Reject::Busy { after } => Follow::After(after),
            Reject::Version => Follow::Terminal,
            Reject::Unknown | Reject::Stale | Reject::Fenced | Reject::Gap if !self.welcomed => {
                Follow::Anew
            }
            Reject::Unknown | Reject::Gap => Follow::Lost,
            Reject::Stale | Reject::Fenced => Follow::Terminal,
        }
    }

    /// The connection is gone; nothing is transmitted before the next WELCOME.
    pub fn disconnected(&mut self) {
        self.connected = false;
    }

    /// The receiving half takes nothing new: from now on there is no credit.
    pub fn on_leave(&mut self) {
        self.leaving = true;
    }

    /// How many datagrams may be admitted now. With fewer bytes of credit [`Sending::admit`] takes less.
    #[must_use]
    pub fn credit(&self) -> usize {
        let in_bytes = self.next_bytes < self.progress.limit_bytes || mutant!(CountOnly);
        if self.leaving || self.ended || !in_bytes {
            return 0;
        }
        narrow((self.progress.limit_seq + 1).saturating_sub(self.next))
    }

    /// Bytes of credit that are left. The last datagram admitted may be larger.
    #[must_use]
    pub fn room_bytes(&self) -> u64 {
        self.progress.limit_bytes.saturating_sub(self.next_bytes)
    }

    /// A PONG tells as much as an ACK without lists.
    ///
    /// # Errors
    ///
    /// As [`Sending::on_ack`].
    pub fn on_pong(&mut self, pong: &Pong, learned: &mut Learned) -> Result<(), WireError> {
        match pong.progress {
            Some(progress) => self.on_ack(&Ack { progress, ..Ack::default() }, learned),
            None => Ok(()),
        }
    }

    /// Whether [`Sending::ping`] has something to tell: the receiving half keeps each released number until then.
    #[must_use]
    pub fn ping_due(&self) -> bool {
        self.ping_due && self.connected && self.cursor == self.next && !mutant!(SeenNeverSent)
    }

    /// A PING that tells what was processed. While something waits to be transmitted it tells nothing new, and is
    /// still due afterwards.
    pub fn ping(&mut self, opaque: u64) -> Ping {
        // What is told as seen must not overtake what was admitted before it.
        if self.cursor == self.next {
            self.seen = if mutant!(SeenIsNext) { self.next - 1 } else { self.acked };
            self.ping_due = false;
        }
        Ping { opaque, seen: self.seen }
    }

    /// The last number, once everything has its outcome: then FIN may end the session. Nothing is admitted after.
    pub fn fin(&mut self) -> Option<u64> {
        let due = self.connected && (self.acked == self.next - 1 || mutant!(FinBeforeAcked));
        self.ended |= due;
        due.then(|| self.next - 1)
    }

    /// The session's name.
    #[must_use]
    pub fn sid(&self) -> [u8; 16] {
        self.sid
    }

    /// How long the session lives without any sign of the receiving half; then it is lost.
    #[must_use]
    pub fn expiry(&self) -> Duration {
        self.granted_expiry
    }

    /// Whether it was ever welcomed. Until then it has sent nothing, and its end loses nothing.
    #[must_use]
    pub fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    /// Whether the connection was welcomed, so that there is something to transmit on.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether the receiving half takes nothing new.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Whether everything that was admitted has its outcome.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.acked == self.next - 1
    }

    /// Whether everything that was admitted is known to be received.
    #[must_use]
    pub fn is_received(&self) -> bool {
        self.confirmed == self.next - 1
    }

    /// Whether something waits to be transmitted, once there is a connection.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.cursor < self.next
    }

    /// Every outcome up to here is processed.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// The number of the next datagram that is admitted.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Datagrams without an outcome.
    #[must_use]
    pub fn unsettled(&self) -> u64 {
        self.admitted - self.finished
    }

    /// The end of the session, where it is not by FIN: what has no outcome.
    #[must_use]
    pub fn into_open(self) -> Unsettled {
        let mut left = Unsettled {
            settled: self.finished,
            unsettled: self.admitted - self.finished,
            ..Unsettled::default()
        };
        let all = self.acked + 1..self.next;
        if mutant!(KnownGivenBack) {
            self.each_place(all, |token, places, sent| left.open.push((token, places, sent)));
            return left;
        }
        for numbers in self.known.gaps(all) {
            self.each_place(numbers, |token, places, sent| left.open.push((token, places, sent)));
        }
        left
    }

    /// The longest content that one number carries.
    fn fragment(&self) -> u64 {
        wide(self.max_frame - DATA_OVERHEAD)
    }
}

pub(crate) fn rule(rule: &'static str) -> WireError {
    WireError::Protocol { rule }
}
