//! The half of a session that receives.

mod data;
mod outcomes;
mod tell;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use seam_core::driver::Framing;
use seam_core::{Datagram, View};

use crate::content::ContentLimits;
use crate::marks::Marks;
use crate::{EnvelopeLimits, Hello, MIN_MAX_FRAME, Progress, Reject, WireError};
use data::Partial;
use outcomes::Lengths;
use tell::Told;

/// Takes what is received, in order and each number once.
pub trait Sink {
    /// Datagrams without envelope, whole, each as its first attempt: they lie in the frame.
    fn run(&mut self, run: Run);

    /// Any other datagram. `number` is the last of its numbers.
    fn datagram(&mut self, number: u64, datagram: Datagram, attempt: u32, possible_duplicate: bool);
}

/// Datagrams with consecutive numbers, one behind the other in a frame as [`Framing::Entry`] has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The number of the first.
    pub first: u64,
    /// How many there are; at least one.
    pub count: usize,
    /// Where in the frame they are.
    pub at: Range<usize>,
    /// Bytes of all payloads.
    pub size: usize,
    /// Bytes of each payload, where all are alike.
    pub alike: Option<usize>,
}

impl Run {
    /// A run that has nothing yet.
    #[must_use]
    pub fn new(first: u64, start: usize) -> Self {
        Self { first, count: 0, at: start..start, size: 0, alike: None }
    }

    /// Notes `count` more, of `size` bytes of payload each.
    #[inline]
    pub fn add(&mut self, count: usize, size: usize) {
        if self.count == 0 {
            self.alike = Some(size);
        }
        self.alike = self.alike.filter(|all| *all == size);
        self.count += count;
        self.size += count * size;
    }

    /// Each number and its datagram, as they lie in `frame`.
    pub fn views<'a>(&self, frame: &'a [u8]) -> impl Iterator<Item = (u64, View<'a>)> {
        (self.first..).zip(Framing::Entry.views(frame, self.at.start, self.count))
    }
}

/// How much a session may have in flight.
#[derive(Clone, Debug)]
pub struct Window {
    /// Numbers without an outcome.
    pub count: u64,
    /// Bytes of content without an outcome.
    pub bytes: u64,
    /// How far numbers may run ahead of the oldest without an outcome.
    pub span: u64,
    /// Released numbers of which the sender is not known to know.
    pub records: u64,
}

impl Window {
    /// A window of `count` numbers and `bytes` bytes; a span of eight windows, and as many records as numbers.
    #[must_use]
    pub fn new(count: u64, bytes: u64) -> Self {
        Self { count, bytes, span: count.saturating_mul(8), records: count }
    }
}

/// The half of a session that receives: it hands each number on once and in order, and tells each outcome until the
/// sending half is known to have it.
#[derive(Debug)]
pub struct Receiving {
    sid: [u8; 16],
    owner: [u8; 16],
    epoch: u64,
    window: Window,
    max_frame: usize,
    limits: ContentLimits,
    /// The next number, and the bytes of all before it.
    next: u64,
    bytes: u64,
    partial: Option<Partial>,
    /// Of each number above `settled` that was received, the length.
    lengths: Lengths,
    /// The first number of each datagram of several numbers without an outcome, by its last.
    fragmented: BTreeMap<u64, u64>,
    /// Every number up to here has an outcome, and those of `sparse` above it.
    settled: u64,
    sparse: Marks,
    outcomes: u64,
    outcome_bytes: u64,
    records: BTreeMap<u64, Record>,
    seen: u64,
    limit_seq: u64,
    limit_bytes: u64,
    /// What the current connection was told.
    told: Told,
}

/// A released number, kept until the sender is known to have processed it.
#[derive(Clone, Copy, Debug)]
struct Record {
    attempt: u32,
    after: Duration,
}

impl Receiving {
    /// Answers a HELLO whose `sid` is not known here.
    ///
    /// Payloads may have `max_message` bytes; bodies of DATA `max_frame`.
    ///
    /// # Errors
    ///
    /// [`Reject::Unknown`] for a resume, [`Reject::Gap`] where a new session has a past.
    pub fn new(
        hello: &Hello,
        window: Window,
        max_frame: usize,
        max_message: usize,
        envelope: EnvelopeLimits,
    ) -> Result<Self, Reject> {
        if hello.resume && !mutant!(ImplicitCreation) {
            return Err(Reject::Unknown);
        }
        if (hello.acked, hello.next, hello.next_bytes) != (0, 1, 0) && !mutant!(ImplicitCreation) {
            return Err(Reject::Gap);
        }
        Ok(Self {
            sid: hello.sid,
            owner: hello.owner,
            epoch: hello.attempt,
            window,
            max_frame: max_frame.max(MIN_MAX_FRAME),
            limits: ContentLimits { payload: max_message, envelope },
            next: 1,
            bytes: 0,
            partial: None,
            lengths: Lengths::default(),
            fragmented: BTreeMap::new(),
            settled: 0,
            sparse: Marks::default(),
            outcomes: 0,
            outcome_bytes: 0,
            records: BTreeMap::new(),
            seen: 0,
            limit_seq: 0,
            limit_bytes: 0,
            told: Told::default(),
        })
    }

    /// Answers a HELLO of this `sid`. The caller has checked the principal and the resume proof.
    ///
    /// On success the caller closes the connection that carried the session before, and waits until nobody reads
    /// from it any more; only then it asks for the [`Receiving::welcome`].
    ///
    /// # Errors
    ///
    /// The REJECT to answer with. Nothing has changed.
    pub fn on_hello(&mut self, hello: &Hello) -> Result<(), Reject> {
        if !hello.resume {
            return Err(Reject::Stale);
        }
        if !mutant!(NoFencing) {
            if hello.owner != self.owner {
                return Err(Reject::Fenced);
            }
            if hello.attempt <= self.epoch {
                return Err(Reject::Stale);
            }
        }
        let fits = hello.acked <= self.settled
            && hello.next >= self.next
            && hello.next_bytes >= self.bytes
            && self.seen <= hello.acked;
        if !fits && !mutant!(NoFencing) {
            return Err(Reject::Gap);
        }
        self.epoch = hello.attempt;
        self.told.base = hello.acked;
        Ok(())
    }

    /// Changes the window. What was granted stays granted: with a smaller one credit stands still for a while.
    pub fn set_window(&mut self, window: Window) {
        self.window = window;
    }

    /// Everything up to `seen` is known to the sender: its records go.
    ///
    /// # Errors
    ///
    /// [`WireError::Protocol`] if it was not told.
    pub fn on_ping(&mut self, seen: u64) -> Result<(), WireError> {
        if seen > self.told.settled {
            return Err(crate::sending::rule("`seen` is at most what was told"));
        }
        if seen > self.seen {
            self.seen = seen;
            self.records = self.records.split_off(&(seen + 1));
        }
        Ok(())
    }

    /// The sender ends the session with `last`. On success the answer is FIN_ACK, and the session is over.
    ///
    /// # Errors
    ///
    /// [`WireError::Protocol`] if something has no outcome yet, or never came.
    pub fn on_fin(&self, last: u64) -> Result<(), WireError> {
        if last == self.next - 1 && last == self.settled {
            return Ok(());
        }
        Err(crate::sending::rule("FIN comes once everything has its outcome"))
    }

    /// The session's name.
    #[must_use]
    pub fn sid(&self) -> [u8; 16] {
        self.sid
    }

    /// The end that the session belongs to.
    #[must_use]
    pub fn owner(&self) -> [u8; 16] {
        self.owner
    }

    /// The last attempt that was agreed to.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Numbers that were received and have no outcome.
    #[must_use]
    pub fn unsettled(&self) -> u64 {
        self.next - 1 - self.outcomes
    }

    /// How far the session has come, as it is, told or not.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            settled: self.settled,
            received: self.next - 1,
            limit_seq: self.limit_seq,
            limit_bytes: self.limit_bytes,
        }
    }

    /// Released numbers that are kept until the sender is known to have processed them.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records.len()
    }
}
