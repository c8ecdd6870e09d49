//! What is due by time.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use seam_core::Error;
use seam_wire::{Frame, Ping};

use super::State;
use super::io::Trouble;
use crate::inbound::Inbound;
use crate::outbound::Outbound;
use crate::plain::Plain;
use crate::shared::Shared;

/// A connection that is silent for so many keep-alives is dead.
const MISSED: u32 = 3;
/// How long a frame may take that has begun to come, and how fast it must come besides, in KiB a second.
const FRAME_PATIENCE: Duration = Duration::from_secs(30);
const FRAME_PACE: u64 = 16;

impl State {
    /// What is due by time: keep-alives, HELLO again, the end of what has expired.
    pub(super) fn tend(&mut self, shared: &Arc<Shared>, cx: &mut Context<'_>) {
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
    pub(super) fn oversleeps(&self, shared: &Shared) -> bool {
        let speaks = self.io.is_some() && self.plain.is_none();
        let ping = speaks.then(|| self.heard + shared.config.keep_alive * (self.pinged + 1));
        let delayed = self.outbound.iter().filter_map(|outbound| outbound.due);
        let plain = self.plain.iter().flat_map(|plain| [plain.due, plain.leave_at]).flatten();
        let mut all = delayed.chain(plain).chain(self.started.map(must_be_whole)).chain(ping);
        all.any(|due| due < self.sleeps_until)
    }

    /// When there is something due by time.
    pub(super) fn due(&self, shared: &Shared) -> Duration {
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
pub(super) fn began(
    before: Option<(Duration, usize)>,
    now: Duration,
    buffer: &[u8],
    whole: usize,
) -> Option<(Duration, usize)> {
    let since = before.map_or(now, |(since, _)| since);
    (!buffer.is_empty()).then_some((since, whole))
}

/// When a frame that began to come must be whole. Single bytes extend nothing.
pub(super) fn must_be_whole((since, size): (Duration, usize)) -> Duration {
    let kibibytes = u64::try_from(size >> 10).unwrap_or(u64::MAX);
    since.saturating_add(FRAME_PATIENCE + Duration::from_secs(kibibytes / FRAME_PACE))
}
