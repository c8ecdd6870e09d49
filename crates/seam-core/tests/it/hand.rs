//! Futures polled by hand, so that each interleaving is one that can be repeated.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::FutureExt;

/// A future, and whether it was woken since it was last polled.
pub(crate) struct Task<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    flag: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<'a, T> Task<'a, T> {
    /// A future that wants its first poll.
    pub(crate) fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self { future: Box::pin(future), flag: Arc::new(Flag(AtomicBool::new(true))) }
    }

    /// A future that was polled once and waits.
    #[track_caller]
    pub(crate) fn waiting(future: impl Future<Output = T> + 'a) -> Self {
        let mut task = Self::new(future);
        assert!(task.poll().is_none(), "it was to wait");
        task
    }

    /// Polls it as long as something wakes it; it is to go on waiting.
    #[track_caller]
    pub(crate) fn still_waits(&mut self) {
        while self.is_woken() {
            assert!(self.poll().is_none(), "it was to wait");
        }
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.flag.0.load(Ordering::SeqCst)
    }

    pub(crate) fn poll(&mut self) -> Option<T> {
        self.flag.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(self.flag.clone());
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    /// What it yields, now that something woke it.
    #[track_caller]
    pub(crate) fn woken(mut self) -> T {
        let mut output = None;
        while output.is_none() && self.is_woken() {
            output = self.poll();
        }
        output.expect("nothing woke it, or it still waits")
    }
}

/// What never waits.
#[track_caller]
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("it was not to wait")
}
