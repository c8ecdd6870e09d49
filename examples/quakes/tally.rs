//! What has happened so far, as figures.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seam::layers::Stop;
use tokio::sync::Notify;

use crate::args::Only;

#[derive(Default)]
pub(crate) struct Tally {
    figures: Mutex<Figures>,
    changed: Notify,
}

/// Records are counted once, however often they come: by number here, by id at the desks.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) sent: u64,
    pub(crate) receipted: u64,
    pub(crate) resent: u64,
    pub(crate) given_up: u64,
    pub(crate) delivered: u64,
    pub(crate) retried: u64,
    pub(crate) repeated: u64,
    pub(crate) settled: HashSet<u64>,
    pub(crate) damaged: HashSet<u64>,
    pub(crate) alerted: HashSet<String>,
    pub(crate) alerts: HashSet<String>,
    pub(crate) parked: HashSet<String>,
    pub(crate) left: u64,
}

/// How long to wait for what is certain to come.
const PATIENCE: Duration = Duration::from_secs(60);

impl Tally {
    pub(crate) fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.figures());
        self.changed.notify_waiters();
    }

    pub(crate) fn left(&self, count: u64) {
        self.note(|figures| figures.left += count);
    }

    /// Waits until everything with a receipt was settled.
    pub(crate) async fn wait_until_handled(&self) {
        self.wait(Figures::is_handled).await;
    }

    /// Waits until the desks have what was sent to them.
    pub(crate) async fn wait_until_received(&self) {
        self.wait(|figures| figures.alerts_received() && figures.parked_received()).await;
    }

    /// Waits until nothing has happened for `idle`, once something has; for ever without it.
    pub(crate) async fn wait_until_idle(&self, idle: Option<Duration>, stop: &Stop) {
        let Some(idle) = idle else { return stop.stopped().await };
        loop {
            let begun = self.figures().delivered > 0;
            tokio::select! {
                () = stop.stopped() => return,
                () = self.changed.notified() => {}
                () = tokio::time::sleep(idle), if begun => return,
            }
        }
    }

    async fn wait(&self, done: impl Fn(&Figures) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if done(&self.figures()) {
                    return;
                }
                changed.await;
            }
        };
        tokio::select! {
            () = waiting => {}
            () = tokio::time::sleep(PATIENCE) => {}
        }
    }

    /// Whether nothing is missing, as far as this process can know.
    pub(crate) fn adds_up(&self, only: Option<Only>) -> bool {
        let figures = self.figures();
        let produced = figures.receipted == figures.sent && figures.given_up == 0;
        let worked = figures.alerts_received() && figures.parked_received() && figures.left == 0;
        match only {
            Some(Only::Produce) => produced,
            Some(Only::Work) => worked,
            None => produced && worked && figures.is_handled(),
        }
    }

    pub(crate) fn unfinished(&self) -> String {
        let figures = self.figures();
        format!(
            "{} of {} records sent have no receipt, {} of them were settled here",
            figures.sent - figures.receipted,
            figures.sent,
            figures.settled.len()
        )
    }
}

impl Figures {
    fn is_handled(&self) -> bool {
        u64::try_from(self.settled.len()).is_ok_and(|settled| settled >= self.receipted)
    }

    fn alerts_received(&self) -> bool {
        self.alerted.is_subset(&self.alerts)
    }

    fn parked_received(&self) -> bool {
        self.parked.len() >= self.damaged.len()
    }
}
