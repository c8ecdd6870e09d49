//! Version 1 of the wire: datagrams one behind the other, and not a word about them.
//!
//! A datagram counts as done once the operating system has all of it. What it has not when the connection ends
//! is sent on the next one: the other end drops a datagram that came in part.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use bytes::BytesMut;
use seam_core::distributor::{Distributor, Member, Membership, Name, Wait};
use seam_core::driver::Framing;
use seam_wire::{Header, Outgoing, Parcel, Run, WireError, header, plain};

use crate::inbox::{Feed, Load};
use crate::outbound::{WAITING, parcels};
use crate::shared::Shared;

/// One connection of version 1.
pub(crate) struct Plain {
    member: Member,
    feed: Arc<Feed>,
    limit: usize,
    /// What was encoded and is not written, each with where it begins and ends among all bytes.
    flight: VecDeque<(Parcel, u64, u64)>,
    /// The number of the next datagram that comes; only the inbox looks at it.
    next: u64,
    loads: Vec<Load>,
    /// Whether the peer may be sent anything.
    is_told: bool,
    pub(crate) due: Option<Duration>,
    /// Whether the peer says no more; it may still listen.
    is_mute: bool,
    /// When such a peer has been told everything.
    pub(crate) leave_at: Option<Duration>,
}

/// What is taken from the distributor at once.
const TAKE: usize = 4096;
const TAKE_BYTES: usize = 256 << 10;

impl Plain {
    pub(crate) fn new(
        distributor: &Arc<Distributor>,
        feed: Arc<Feed>,
        shared: &Shared,
        is_told: bool,
    ) -> Self {
        let membership = Membership {
            group: Name::Default,
            credit: usize::MAX,
            credit_bytes: usize::MAX,
            session_expiry: shared.config.session_expiry,
        };
        let (clock, events) = (shared.clock().clone(), shared.events().clone());
        Self {
            member: distributor.session(membership, clock, events),
            feed,
            limit: shared.config.plain_payload,
            flight: VecDeque::new(),
            next: 1,
            loads: Vec::new(),
            is_told,
            due: None,
            is_mute: false,
            leave_at: None,
        }
    }

    /// Whether more is to be read: not while receivers are behind.
    pub(crate) fn wants_more(&self) -> bool {
        self.feed.has_room()
    }

    /// The peer says no more.
    pub(crate) fn mute(&mut self) {
        self.is_mute = true;
    }

    pub(crate) fn is_mute(&self) -> bool {
        self.is_mute
    }

    /// Whether everything that came is settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.feed.is_settled()
    }

    /// How many datagrams came whole.
    pub(crate) fn received(&self) -> u64 {
        self.next - 1
    }

    /// Hands on every whole datagram of `buffer`; the size of the frame that is left there, as far as it is
    /// known.
    pub(crate) fn frames(&mut self, buffer: &mut BytesMut) -> Result<usize, WireError> {
        let mut run = Run::new(self.next, 0);
        let mut left = Ok(Header::SIZE);
        while let Some(rest) = buffer.get(run.at.end..) {
            let header = match self.header(rest) {
                Ok(Some(header)) => header,
                Ok(None) => break,
                Err(error) => {
                    left = Err(error);
                    break;
                }
            };
            if rest.len() < Header::SIZE + header.body {
                left = Ok(Header::SIZE + header.body);
                break;
            }
            run.add(1, header.body);
            run.at.end += Header::SIZE + header.body;
        }
        if run.count > 0 {
            self.next += u64::try_from(run.count).unwrap_or(u64::MAX);
            let frame = buffer.split_to(run.at.end).freeze();
            self.loads.push(Load::Run(Framing::Header, frame, run));
            self.feed.push(&mut self.loads);
        }
        left
    }

    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, WireError> {
        match header(bytes, self.limit)? {
            Some(header) if header.version == 2 => Err(WireError::Protocol {
                rule: "it speaks the session, where `wire=connect` was to be; use `any` to listen for both",
            }),
            header => Ok(header),
        }
    }

    /// Takes what waits, and encodes it. Rings `cx` once there may be more.
    pub(crate) fn fill(&mut self, out: &mut Outgoing, cx: &Context<'_>) {
        self.due = None;
        while self.is_told && out.pending() < WAITING {
            match self.member.poll_take(TAKE, TAKE_BYTES, cx) {
                Wait::Ready(Some(lot)) => parcels(lot).for_each(|parcel| self.encode(parcel, out)),
                Wait::Ready(None) => return,
                Wait::Until(due) => {
                    self.due = due;
                    return;
                }
            }
        }
        // It looks again once that is written; till then what it is called for goes to others.
        self.member.rest();
    }

    fn encode(&mut self, parcel: Parcel, out: &mut Outgoing) {
        let begin = total(out);
        for view in parcel.content.views(parcel.range.clone()) {
            let payload = view.payload().unwrap_or_default();
            let header = plain::header(view.tag(), payload.len());
            let header = header.expect("core lets pass what the limits of this wire allow");
            out.buffer().extend_from_slice(&header);
            match view.payload_shared() {
                Some(shared) => out.push_shared(shared.clone()),
                None => out.buffer().extend_from_slice(payload),
            }
        }
        self.flight.push_back((parcel, begin, total(out)));
    }

    /// `written` bytes of all that was encoded are with the operating system.
    pub(crate) fn written(&mut self, written: u64) {
        while self.flight.front().is_some_and(|(_, _, end)| *end <= written) {
            if let Some((parcel, _, _)) = self.flight.pop_front() {
                let Parcel { token, place: first, range, content, .. } = parcel;
                // Before the distributor hears of it, so that it may use the memory again.
                drop(content);
                self.tell(token, first..first + place(range.len()));
            }
        }
    }

    fn tell(&self, token: u64, places: Range<u32>) {
        if !places.is_empty() {
            self.member.received(token, places.clone());
            self.member.done(token, places);
        }
    }

    /// The connection has ended, with `written` bytes out: what was not written whole goes to the next one.
    pub(crate) fn end(mut self, written: u64) {
        self.written(written);
        for (parcel, begin, _) in std::mem::take(&mut self.flight) {
            let mut end = begin;
            let whole = parcel.content.views(parcel.range.clone()).take_while(|view| {
                let payload = view.payload().map_or(0, <[u8]>::len);
                end += u64::try_from(Header::SIZE + payload).unwrap_or(u64::MAX);
                end <= written
            });
            let whole = whole.count();
            let (first, end) = (parcel.place, parcel.place + place(parcel.range.len()));
            self.tell(parcel.token, first..first + place(whole));
            self.member.give_back(parcel.token, first + place(whole)..end);
        }
        let _ = self.member.lose();
        self.feed.retire();
    }

    /// Takes over what handlers settled: nobody is told, but there is room again.
    pub(crate) fn harvest(&self) {
        self.feed.harvest(|_| {});
    }
}

/// How many bytes there were in all.
fn total(out: &Outgoing) -> u64 {
    out.written() + u64::try_from(out.pending()).unwrap_or(u64::MAX)
}

fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
