//! Whether an endpoint can be reached, told once for each change.

use std::sync::atomic::{AtomicBool, Ordering};

use seam_core::{Error, Event, Events};

/// Tells once that an endpoint was lost, and once that it is there again.
pub(crate) struct Standing {
    is_lost: AtomicBool,
    events: Events,
}

impl Standing {
    pub(crate) fn new(events: Events) -> Self {
        Self { is_lost: AtomicBool::new(false), events }
    }

    pub(crate) fn lost(&self, reason: &Error) {
        if !self.is_lost.swap(true, Ordering::SeqCst) {
            self.events.emit(Event::Disconnected { reason: reason.to_string() });
        }
    }

    pub(crate) fn back(&self) {
        // Looking first is cheaper, and mostly enough.
        if self.is_lost.load(Ordering::SeqCst) && self.is_lost.swap(false, Ordering::SeqCst) {
            self.events.emit(Event::Connected);
        }
    }
}
