//! What keeps the client from tracing. At its finest level it tells user and password, where a broker hangs up or lies
//! while it logs in as much as where all goes well; and as a warning, returned messages with all they hold. What goes
//! wrong comes back as an error, and is told from there.

use async_rs::traits::Executor;
use async_rs::util::{RuntimeParts, Task};
use async_rs::{Runtime, Tokio};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::{DefaultGuard, NoSubscriber, set_default};

/// The current runtime of Tokio, on which what the client spawns traces nothing.
pub(crate) fn runtime() -> Runtime<RuntimeParts<Quiet, Tokio>> {
    Runtime::new(RuntimeParts::new(Quiet(Tokio::current()), Tokio::current()))
}

/// Has the thread that calls it trace nothing any more: the client's own.
pub(crate) fn hush_thread() {
    thread_local! {
        static HUSHED: DefaultGuard = set_default(NoSubscriber::new());
    }
    HUSHED.with(|_| ());
}

/// Spawns what traces nothing.
#[derive(Clone, Debug)]
pub(crate) struct Quiet(Tokio);

impl Executor for Quiet {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(future.with_subscriber(NoSubscriber::new()))
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}
