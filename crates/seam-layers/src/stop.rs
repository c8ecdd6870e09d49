//! A flag that is raised once and awaited by anybody.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Tells a worker to stop, from any task: see [`Lanes::with_stop`](crate::Lanes::with_stop).
///
/// Clones are the same handle. Stopping twice is stopping once.
#[derive(Clone, Default)]
pub struct Stop(Flag);

impl Stop {
    /// A handle that has not been used.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells whoever has this handle to stop. Does not wait.
    pub fn stop(&self) {
        self.0.raise();
    }

    /// Whether somebody has said so.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.is_raised()
    }

    /// Ready once somebody has said so. Dropping it does nothing.
    pub async fn stopped(&self) {
        self.0.raised().await;
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stop({})", self.is_stopped())
    }
}

#[derive(Clone, Default)]
pub(crate) struct Flag(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    raised: bool,
    wakers: Vec<Waker>,
}

impl Flag {
    pub(crate) fn raise(&self) {
        let mut state = self.state();
        state.raised = true;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.state().raised
    }

    pub(crate) async fn raised(&self) {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.raised {
                return Poll::Ready(());
            }
            if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Also after a panic elsewhere: the state is whole between statements.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
