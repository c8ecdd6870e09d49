//! Tokio's time, for whatever a registry opens.

use std::time::Duration;

use seam_core::clock::system_wall;
use seam_core::{Clock, Sleep, Timestamp};
use tokio::time::Instant;

/// The clock of the Tokio runtime that polls: `tokio::time::pause` stops it, too.
///
/// Its sleeps must be polled within a runtime whose time is enabled, as every Tokio timer must.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    origin: Instant,
}

impl TokioClock {
    /// A clock whose zero is now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn wall(&self) -> Timestamp {
        system_wall()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}
