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
}

impl Run {
    pub(crate) fn items(&self) -> &[Datagram] {
        &self.content[self.from..self.from + self.len]
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
}

impl Single {
    /// The datagram, and whether it was delivered before.
    pub(crate) fn into_seen(self) -> (Datagram, bool) {
        (self.datagram, self.attempt > 1)
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
        let (attempt, before) = match self {
            Self::Run(_) => (1, false),
            Self::Single(single) => (single.attempt, single.possible_duplicate),
        };
        Single {
            datagram: self.items()[at].clone(),
            number: self.first() + number(at),
            attempt: attempt.saturating_add(1),
            possible_duplicate: possible_duplicate || before,
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
