//! Threads for what blocks, and what futures wait for meanwhile.
//!
//! Kafka's client blocks when it connects, commits and closes, so none of that happens on a thread of a runtime.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{Builder, JoinHandle};

use seam_core::{Error, Result};

/// The threads of one transport value. Each ends by itself once its connection has ended; those that have are
/// joined when the next one starts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Threads(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Threads {
    pub(crate) fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = Builder::new().name(name.to_owned()).spawn(work);
        let thread = thread.map_err(|error| Error::disconnected("a thread of its own", error))?;
        let mut threads = lock(&self.0);
        let (ended, mut live): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *threads).into_iter().partition(JoinHandle::is_finished);
        live.push(thread);
        *threads = live;
        drop(threads);
        // A panic of a thread has been printed; there is nobody to hand it to here.
        ended.into_iter().for_each(|thread| drop(thread.join()));
        Ok(())
    }

    /// Runs `work` on a thread of its own; it is given whether anybody still waits for it. Dropping the future
    /// leaves the result to that thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&dyn Fn() -> bool) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let slot = Arc::new(Slot { result: Mutex::new(None), bell: Bell::default() });
        let (theirs, wanted) = (slot.clone(), Arc::downgrade(&slot));
        self.spawn(name, move || {
            let result = work(&|| wanted.strong_count() > 1);
            *lock(&theirs.result) = Some(result);
            theirs.bell.ring();
        })?;
        poll_fn(|cx| {
            slot.bell.listen(cx);
            match lock(&slot.result).take() {
                Some(result) => Poll::Ready(result),
                None => Poll::Pending,
            }
        })
        .await
    }
}

struct Slot<T> {
    result: Mutex<Option<Result<T>>>,
    bell: Bell,
}

/// Wakes whoever listens. Whoever waits listens first and looks then.
#[derive(Debug, Default)]
pub(crate) struct Bell(Mutex<Vec<Waker>>);

impl Bell {
    pub(crate) fn listen(&self, cx: &Context<'_>) {
        let mut wakers = lock(&self.0);
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
    }

    /// Not to be called with a lock held that a waker may want.
    pub(crate) fn ring(&self) {
        let wakers = std::mem::take(&mut *lock(&self.0));
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ready once `done`.
    pub(crate) fn until<'a>(
        &'a self,
        done: impl Fn() -> bool + Send + 'a,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(poll_fn(move |cx| {
            self.listen(cx);
            if done() { Poll::Ready(()) } else { Poll::Pending }
        }))
    }
}

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
