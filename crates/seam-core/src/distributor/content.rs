//! Datagrams as the memory transport holds them: admitted together, kept together, shared by all groups.

use std::sync::Arc;

use crate::Datagram;

/// What one admission brought. Never changed while it is shared; reused once everybody is done with it.
pub(crate) type Content = Vec<Datagram>;

/// A stretch of a content, in the order of admission.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) content: Arc<Content>,
    pub(crate) from: usize,
    pub(crate) len: usize,
    /// The number of its first datagram.
    pub(crate) first: u64,
    /// Whether some datagram has an envelope, and so may have a key, a time or an expiry.
    pub(crate) enveloped: bool,
    /// The size of each, where all are alike.
    pub(crate) alike: Option<usize>,
}

impl Run {
    pub(crate) fn items(&self) -> &[Datagram] {
        &self.content[self.from..self.from + self.len]
    }

    /// Bytes of `range` of its datagrams.
    pub(crate) fn bytes(&self, range: std::ops::Range<usize>) -> usize {
        match self.alike {
            Some(size) => size * range.len(),
            None => bytes(&self.items()[range]),
        }
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

    pub(crate) fn items(&self) -> &[Datagram] {
        match self {
            Self::Run(run) => run.items(),
            Self::Single(single) => std::slice::from_ref(&single.datagram),
        }
    }

    /// Bytes of `range` of its datagrams.
    pub(crate) fn bytes(&self, range: std::ops::Range<usize>) -> usize {
        match self {
            Self::Run(run) => run.bytes(range),
            Self::Single(_) => bytes(&self.items()[range]),
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
                datagram: run.items()[at].clone(),
                number: run.first + number(at),
                attempt: 1,
                possible_duplicate: false,
                received: false,
            },
        }
    }
}

/// Bytes of datagrams, as credit counts them.
pub(crate) fn bytes(items: &[Datagram]) -> usize {
    items.iter().map(|datagram| datagram.view().size()).sum()
}

pub(crate) fn number(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
