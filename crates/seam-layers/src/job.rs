//! What a handler is given.

use std::ops::Deref;
use std::sync::Arc;

use seam_core::{Datagram, Delivery, Note, Peer};

use crate::stop::Flag;

/// One attempt at one datagram, as a handler of [`lanes`](crate::lanes) gets it. Reads like its datagram.
///
/// The duty to settle stays with the lanes; the handler returns what is to become of the datagram, an
/// [`Outcome`](crate::Outcome).
///
/// A clone is the same attempt.
#[derive(Clone)]
pub struct Job {
    datagram: Datagram,
    note: Note,
    peer: Option<Arc<Peer>>,
    revoked: Flag,
}

impl Job {
    pub(crate) fn new(delivery: &Delivery, revoked: Flag) -> Self {
        Self {
            datagram: delivery.datagram().clone(),
            note: delivery.note().clone(),
            peer: delivery.peer().cloned(),
            revoked,
        }
    }

    /// The datagram.
    #[must_use]
    pub fn datagram(&self) -> &Datagram {
        &self.datagram
    }

    /// The datagram alone, to hand it on.
    #[must_use]
    pub fn into_datagram(self) -> Datagram {
        self.datagram
    }

    /// Which attempt this is, from 1. Goes on from the source's count with each retry that the lanes carry
    /// out themselves.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.note.attempt
    }

    /// Whether it may be a duplicate, its position, and what the broker added.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Who sent it, where the carrier knows.
    #[must_use]
    pub fn peer(&self) -> Option<&Arc<Peer>> {
        self.peer.as_ref()
    }

    /// Whether the datagram is still this worker's. Once it is not, somebody else gets it, and no verdict
    /// is given for this attempt.
    #[must_use]
    pub fn is_current(&self) -> bool {
        !self.revoked.is_raised()
    }

    /// Ready once the datagram is no longer this worker's: a lost lease, a rebalance, a lost session. The
    /// handler then has [`Lanes::with_grace`](crate::Lanes::with_grace) to clean up before it is dropped.
    /// Dropping this does nothing.
    pub async fn revoked(&self) {
        self.revoked.raised().await;
    }
}

impl Deref for Job {
    type Target = Datagram;

    fn deref(&self) -> &Datagram {
        &self.datagram
    }
}

/// Shows sizes and field names, never the payload or a value: it may end in a log.
impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("datagram", &self.datagram)
            .field("attempt", &self.attempt())
            .field("current", &self.is_current())
            .finish()
    }
}
