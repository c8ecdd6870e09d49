//! Datagrams as the distributor holds them: admitted together, kept together, shared by all groups.

use std::ops::Range;
use std::sync::Arc;

use crate::{Datagram, Datagrams, View};

/// A stretch of a content, in the order of admission.
#[derive(Clone)]
pub(crate) struct Run {
    /// What one admission brought; reused once everybody is done with it.
    pub(crate) content: Arc<Datagrams>,
    pub(crate) from: usize,
    pub(crate) len: usize,
    /// The number of its first datagram.
    pub(crate) first: u64,
    /// Whether some datagram has an envelope, and so may have a key, a time or an expiry.
    pub(crate) enveloped: bool,
}

impl Run {
    /// Where `range` of its datagrams is in the content.
    fn places(&self, range: Range<usize>) -> Range<usize> {
        self.from + range.start..self.from + range.end
    }

    pub(crate) fn views(&self) -> impl Iterator<Item = View<'_>> {
        self.content.views(self.places(0..self.len))
    }

    pub(crate) fn datagram(&self, at: usize) -> Datagram {
        self.content.datagram(self.from + at)
    }

    /// Bytes of `range` of its datagrams.
    pub(crate) fn bytes(&self, range: Range<usize>) -> usize {
        self.content.size(self.places(range))
    }

    /// Takes the first `len` off.
    pub(crate) fn split_front(&mut self, len: usize) -> Self {
        let front = Self { content: self.content.clone(), len, ..*self };
        self.from += len;
        self.len -= len;
        self.first += number(len);
        front
    }

    pub(crate) fn end(&self) -> u64 {
        self.first + number(self.len)
    }
}

/// One datagram that left its run: to be delivered again, later, or to one member only.
#[derive(Clone)]
pub(crate) struct Single {
    pub(crate) datagram: Datagram,
    pub(crate) number: u64,
    pub(crate) attempt: u32,
    pub(crate) possible_duplicate: bool,
    /// Whether a session told that its end has received it.
    pub(crate) received: bool,
}

/// A datagram that is not done, where that is asked of a group.
pub(crate) struct Undone {
    pub(crate) number: u64,
    pub(crate) datagram: Datagram,
    /// Whether some member had it before, or has it.
    pub(crate) seen: bool,
    pub(crate) received: bool,
}

impl Single {
    pub(crate) fn into_undone(self) -> Undone {
        let Self { datagram, number, attempt, received, .. } = self;
        Undone { number, datagram, seen: attempt > 1, received }
    }
}

/// What a member took, in the order of its batch.
pub(crate) enum Taken {
    Run(Run),
    Single(Single),
}

impl Taken {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Run(run) => run.len,
            Self::Single(_) => 1,
        }
    }

    /// The same, to be copied from outside the lock.
    pub(crate) fn share(&self) -> Self {
        match self {
            Self::Run(run) => Self::Run(run.clone()),
            Self::Single(single) => Self::Single(single.clone()),
        }
    }

    pub(crate) fn datagram(&self, at: usize) -> Datagram {
        match self {
            Self::Run(run) => run.datagram(at),
            Self::Single(single) => single.datagram.clone(),
        }
    }

    /// `range` of its datagrams.
    pub(crate) fn views(&self, range: Range<usize>) -> impl Iterator<Item = View<'_>> {
        let (run, single) = match self {
            Self::Run(run) => (Some(run.content.views(run.places(range))), None),
            Self::Single(single) => {
                (None, Some(single.datagram.view()).filter(|_| !range.is_empty()))
            }
        };
        run.into_iter().flatten().chain(single)
    }

    /// Bytes of `range` of its datagrams.
    pub(crate) fn bytes(&self, range: Range<usize>) -> usize {
        match self {
            Self::Run(run) => run.bytes(range),
            Self::Single(_) if range.is_empty() => 0,
            Self::Single(single) => single.datagram.view().size(),
        }
    }

    pub(crate) fn may_have_keys(&self) -> bool {
        match self {
            Self::Run(run) => run.enveloped,
            Self::Single(_) => true,
        }
    }

    pub(crate) fn first(&self) -> u64 {
        match self {
            Self::Run(run) => run.first,
            Self::Single(single) => single.number,
        }
    }

    /// The datagram at `at` as it is delivered next time.
    pub(crate) fn again(&self, at: usize, possible_duplicate: bool) -> Single {
        let mut single = self.unchanged(at);
        single.attempt = single.attempt.saturating_add(1);
        single.possible_duplicate |= possible_duplicate;
        single
    }

    /// The datagram at `at` as it was taken.
    pub(crate) fn unchanged(&self, at: usize) -> Single {
        match self {
            Self::Single(single) => single.clone(),
            Self::Run(run) => Single {
                datagram: run.datagram(at),
                number: run.first + number(at),
                attempt: 1,
                possible_duplicate: false,
                received: false,
            },
        }
    }
}

pub(crate) fn number(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
