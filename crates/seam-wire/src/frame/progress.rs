//! The frames that tell how far a session has come.

use std::ops::Range;
use std::time::Duration;

use crate::number::{Read, Rest, put, put_millis, wide};

/// How far the receiving end has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every number up to here has its outcome: done, unless it is listed as released.
    pub settled: u64,
    /// Every number up to here was received.
    pub received: u64,
    /// The last number that may be begun.
    pub limit_seq: u64,
    /// A datagram may be begun while fewer bytes than this were sent.
    pub limit_bytes: u64,
}

/// Outcomes and credit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// How far the receiving end has come.
    pub progress: Progress,
    /// What was released and not told yet, by ascending number.
    pub released: Vec<Released>,
    /// What is done above `settled` and not told yet, ascending, with a gap between each two.
    pub done: Vec<Range<u64>>,
}

/// A number that is to be delivered again, as another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// Which.
    pub number: u64,
    /// Which attempt its next delivery is.
    pub attempt: u32,
    /// How long to wait before it, at least.
    pub after: Duration,
}

impl Progress {
    fn read(rest: &mut Rest<'_>) -> Read<Self> {
        let progress = Self {
            settled: rest.number()?,
            received: rest.number()?,
            limit_seq: rest.number()?,
            limit_bytes: rest.number()?,
        };
        if progress.settled > progress.received {
            return Err("more is settled than received".into());
        }
        Ok(progress)
    }

    fn write(&self, into: &mut Vec<u8>) {
        for number in [self.settled, self.received, self.limit_seq, self.limit_bytes] {
            put(into, number);
        }
    }
}

impl Ack {
    pub(super) fn read(rest: &mut Rest<'_>) -> Read<Self> {
        let progress = Progress::read(rest)?;
        // Not reserved: the counts are what the peer claims.
        let (mut released, mut done) = (Vec::new(), Vec::new());
        let mut last = 0;
        for _ in 0..rest.number()? {
            let delta = rest.number()?;
            let number = ascend(last, delta, progress.received)?;
            if delta == 0 {
                return Err("a number comes twice".into());
            }
            released.push(Released { number, attempt: rest.attempt()?, after: rest.duration()? });
            last = number;
        }
        last = progress.settled;
        for _ in 0..rest.number()? {
            let delta = rest.number()?;
            let start = ascend(last, delta, progress.received)?;
            if delta == 0 || (delta == 1 && !done.is_empty()) {
                return Err("two ranges that touch".into());
            }
            let length = rest.number()?.checked_sub(1).ok_or("an empty range")?;
            let end = ascend(start, length, progress.received)?;
            last = end;
            done.push(start..end.checked_add(1).ok_or("a number too large")?);
        }
        Ok(Self { progress, released, done })
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        self.progress.write(into);
        put(into, wide(self.released.len()));
        let mut last = 0;
        for released in &self.released {
            put(into, released.number - last);
            put(into, released.attempt.into());
            put_millis(into, released.after);
            last = released.number;
        }
        put(into, wide(self.done.len()));
        last = self.progress.settled;
        for range in &self.done {
            put(into, range.start - last);
            put(into, range.end - range.start);
            last = range.end - 1;
        }
    }
}

/// The number `delta` after `last`.
fn ascend(last: u64, delta: u64, most: u64) -> Read<u64> {
    let number = last.checked_add(delta).filter(|number| *number <= most);
    number.ok_or_else(|| "it tells of a number that was not received".into())
}

/// Asks for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Comes back in the PONG.
    pub opaque: u64,
    /// Of the session in which the writer of this frame sends on this channel: every outcome up to here is
    /// processed. 0 without such a session.
    pub seen: u64,
}

impl Ping {
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        put(into, self.opaque);
        put(into, self.seen);
    }
}

/// Answers a PING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// As it came.
    pub opaque: u64,
    /// Of the session in which the writer of this frame receives on this channel, where there is one.
    pub progress: Option<Progress>,
}

impl Pong {
    pub(super) fn read(rest: &mut Rest<'_>) -> Read<Self> {
        let opaque = rest.number()?;
        let progress = if rest.0.is_empty() { None } else { Some(Progress::read(rest)?) };
        Ok(Self { opaque, progress })
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        put(into, self.opaque);
        if let Some(progress) = &self.progress {
            progress.write(into);
        }
    }
}
