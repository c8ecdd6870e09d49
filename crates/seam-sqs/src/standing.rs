//! Whether an endpoint can be reached, told once for each change; and how long to wait when it cannot.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

/// How long to wait after so many failures, one after the other: at random, so that not all come at once.
pub(crate) fn pause(failures: u32) -> Duration {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let most = FIRST_PAUSE.saturating_mul(1 << failures.min(8)).min(LONGEST_PAUSE);
    let random = RandomState::new().build_hasher().finish() % 1000;
    most / 2 + most / 2 * u32::try_from(random).unwrap_or(0) / 1000
}

const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
