//! The callers of an endpoint: each has a channel of its own for its replies.

use std::sync::{Arc, Mutex, Weak};

use seam_core::{Error, Result};

use crate::inbox::Inbox;
use crate::lock;

/// The callers of one endpoint, by channel.
#[derive(Default)]
pub(crate) struct Callers(Mutex<Vec<Weak<Inbox>>>);

impl Callers {
    /// Gives a caller its channel.
    pub(crate) fn add(&self, inbox: &Arc<Inbox>) -> Result<u8> {
        let mut callers = lock(&self.0);
        let free = callers.iter().position(|caller| caller.strong_count() == 0);
        let at = free.unwrap_or(callers.len());
        let channel = u8::try_from(at + 1).map_err(|_| Error::Misuse {
            what: "a connection has 255 callers",
            remedy: "use one connection's `request` for all of them",
        })?;
        match callers.get_mut(at) {
            Some(slot) => *slot = Arc::downgrade(inbox),
            None => callers.push(Arc::downgrade(inbox)),
        }
        Ok(channel)
    }

    /// Where replies on this channel go.
    pub(crate) fn inbox(&self, channel: u8) -> Option<Arc<Inbox>> {
        let at = usize::from(channel).checked_sub(1)?;
        lock(&self.0).get(at)?.upgrade()
    }

    /// Every caller that is there.
    pub(crate) fn all(&self) -> Vec<Arc<Inbox>> {
        lock(&self.0).iter().filter_map(Weak::upgrade).collect()
    }
}
