//! A timer for polls that are repeated.

use std::task::{Context, Poll};
use std::time::Duration;

use crate::{Clock, Sleep};

/// A timer that is made only when there is something to wait for, and again only when that changes.
#[derive(Default)]
pub(crate) struct Timer(Option<(Duration, Sleep)>);

impl Timer {
    /// Ready once `due` has come; pending for ever without one.
    pub(crate) fn poll(
        &mut self,
        clock: &dyn Clock,
        due: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(due) = due else {
            self.0 = None;
            return Poll::Pending;
        };
        if self.0.as_ref().is_none_or(|(at, _)| *at != due) {
            self.0 = Some((due, clock.sleep(due.saturating_sub(clock.now()))));
        }
        let Some((_, sleep)) = &mut self.0 else { return Poll::Pending };
        let ready = sleep.as_mut().poll(cx);
        if ready.is_ready() {
            self.0 = None;
        }
        ready
    }
}
