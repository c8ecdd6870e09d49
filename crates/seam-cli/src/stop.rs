//! Ctrl-C and SIGTERM: the first ends a command gracefully, the second at once.

use std::future::Future;
use std::io;

use tokio::sync::watch;

/// Tells a command that it is to end. Clones tell the same.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

/// Raises a [`Stop`]. Once it is dropped, nothing does any more.
#[derive(Debug)]
pub(crate) struct Raise(watch::Sender<bool>);

impl Stop {
    /// One that is not raised yet, and what raises it.
    pub(crate) fn new() -> (Raise, Self) {
        let (sender, receiver) = watch::channel(false);
        (Raise(sender), Self(receiver))
    }

    /// Ready once it is raised.
    pub(crate) async fn raised(&self) {
        if self.0.clone().wait_for(|raised| *raised).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What `future` yields, or `None` once it is raised; `future` is dropped then.
    pub(crate) async fn or<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.raised() => None,
            output = future => Some(output),
        }
    }
}

impl Raise {
    /// Raises it.
    pub(crate) fn raise(&self) {
        self.0.send_replace(true);
    }
}

/// The signals that end a process. They are caught from when it is made.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Ready with the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Ready with the next one.
    pub(crate) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
