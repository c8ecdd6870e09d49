//! Dialling: the first connection, and every one after it.

use std::future::Future as _;
use std::sync::{Arc, Weak};
use std::time::Duration;

use seam_core::{Action, Error, Event, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::carrier::Carrier;
use crate::config::Wire;
use crate::handshake::{Established, Greeting};
use crate::hub::Hub;
use crate::remote::Remote;
use crate::shared::{Shared, random};

/// How far the dialling of one place has come.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// Under way; why the last try failed.
    Trying(Option<Error>),
    /// It was connected once.
    Connected,
    /// It is of no use to try again.
    Failed(Error),
}

/// Keeps one place connected.
pub(crate) struct Dialler {
    pub(crate) hub: Weak<Hub>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) carrier: Arc<dyn Carrier>,
    pub(crate) place: usize,
    pub(crate) remote: Arc<Remote>,
    pub(crate) stop: CancellationToken,
    pub(crate) progress: watch::Sender<Progress>,
}

impl Dialler {
    /// Dials until it is stopped, or it is of no use any more.
    pub(crate) async fn run(self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.keep_connected()).await;
    }

    async fn keep_connected(self) {
        let mut failures = 0;
        loop {
            match self.dial().await {
                Ok(established) => {
                    failures = 0;
                    let before = self.progress.send_replace(Progress::Connected);
                    self.remote.attach(established, None);
                    if matches!(before, Progress::Connected) {
                        self.shared.events().emit(Event::Connected);
                    }
                    if let Some(error) = self.remote.detached().await {
                        self.give_up(error);
                        return;
                    }
                }
                Err(error) => {
                    if !may_help(&error) {
                        self.give_up(error);
                        return;
                    }
                    self.tell(error);
                }
            }
            self.shared.clock().sleep(backoff(failures)).await;
            failures = failures.saturating_add(1);
        }
    }

    /// It is of no use to dial this place again.
    fn give_up(&self, error: Error) {
        tracing::warn!(%error, "not dialled again");
        if let Some(hub) = self.hub.upgrade() {
            hub.give_up(&self.remote, &error);
        }
        self.progress.send_replace(Progress::Failed(error));
    }

    fn tell(&self, error: Error) {
        tracing::debug!(%error, "dialling failed");
        self.progress.send_if_modified(|progress| match progress {
            Progress::Connected => false,
            _ => {
                *progress = Progress::Trying(Some(error));
                true
            }
        });
    }

    async fn dial(&self) -> Result<Established> {
        let shared = &self.shared;
        let until = shared.clock().now().saturating_add(shared.config.connect_timeout);
        let dialling = self.carrier.dial(&shared.endpoint, self.place);
        let link = seam_core::clock::deadline(&**shared.clock(), until, dialling).await;
        let link = link.unwrap_or_else(|| {
            Err(Error::disconnected(&*shared.name, "the host did not answer in time; is it up?"))
        })?;
        if let Some(news) = &link.news {
            shared.events().emit(news.clone());
        }
        if shared.config.wire == Wire::Connect {
            let established = Established::plain(link);
            shared.allow(&established.peer, Action::Send)?;
            return Ok(established);
        }
        let greeting = Greeting::new(link, &**shared.clock(), &shared.name);
        greeting.dial(&shared.open(), shared.token.as_ref()).await
    }
}

/// Waits until one place is connected, or none ever will be.
pub(crate) async fn first(mut places: Vec<watch::Receiver<Progress>>) -> Result<()> {
    loop {
        let mut failed = None;
        for place in &mut places {
            match &*place.borrow_and_update() {
                Progress::Connected => return Ok(()),
                Progress::Failed(error) => failed = Some(error.clone()),
                Progress::Trying(_) => {}
            }
        }
        let over = |place: &watch::Receiver<Progress>| {
            matches!(&*place.borrow(), Progress::Failed(_)) || place.has_changed().is_err()
        };
        if places.iter().all(over) {
            return Err(failed.unwrap_or(Error::Withdrawn));
        }
        any_change(&mut places).await;
    }
}

/// Why none is connected yet, as far as is known.
pub(crate) fn reason(places: &[watch::Receiver<Progress>]) -> Option<Error> {
    places.iter().find_map(|place| match &*place.borrow() {
        Progress::Trying(error) => error.clone(),
        Progress::Failed(error) => Some(error.clone()),
        Progress::Connected => None,
    })
}

async fn any_change(places: &mut [watch::Receiver<Progress>]) {
    let mut changes: Vec<_> = places.iter_mut().map(|place| Box::pin(place.changed())).collect();
    std::future::poll_fn(|cx| {
        for change in &mut changes {
            if change.as_mut().poll(cx).is_ready() {
                return std::task::Poll::Ready(());
            }
        }
        std::task::Poll::Pending
    })
    .await;
}

/// Whether dialling again may help: not where somebody answered and refused.
fn may_help(error: &Error) -> bool {
    !matches!(
        error,
        Error::Denied { .. }
            | Error::Mismatch { .. }
            | Error::Protocol { .. }
            | Error::InvalidEndpoint { .. }
    )
}

/// Full jitter: any time up to a limit that doubles from 50 ms to 10 s.
fn backoff(failures: u32) -> Duration {
    let limit = Duration::from_millis(50).saturating_mul(1 << failures.min(8));
    let limit = limit.min(Duration::from_secs(10));
    let share = u32::from_be_bytes(random());
    limit.mul_f64(f64::from(share) / f64::from(u32::MAX)).max(Duration::from_millis(1))
}
