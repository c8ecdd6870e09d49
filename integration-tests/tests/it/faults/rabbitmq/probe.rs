//! Single sends, each timed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::actors::Books;
use seam::{Connection, Sender};
use seam_conformance::ledger::{Ledger, Outcome, Stamp};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::super::stage::{Stage, patience};

/// Sends by several tasks, one after the other, until it is told to stop.
pub(super) struct Probe {
    connection: Connection,
    is_stopped: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Found>>,
}

/// What became of the sends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// The longest that one took.
    pub(super) slowest: Duration,
    pub(super) not_sent: u64,
    pub(super) maybe_sent: u64,
}

/// How long a task rests after each send.
const REST: Duration = Duration::from_millis(10);
const TASKS: u64 = 8;

impl Probe {
    /// Sends without receipt at most.
    pub(super) const UNDER_WAY: u64 = TASKS;

    /// Sends to `uri`, into the books of `stage`.
    pub(super) async fn start(stage: &Stage, uri: &str) -> Self {
        let connection = seam::registry().client(uri).await.unwrap();
        let (ledger, _) = Books::new(stage.folder()).open("probe").unwrap();
        let is_stopped = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for task in 0..TASKS {
            let sender = connection.sender().await.unwrap();
            let (ledger, is_stopped) = (ledger.clone(), is_stopped.clone());
            tasks.push(tokio::spawn(send(sender, ledger, task, is_stopped)));
        }
        Self { connection, is_stopped, tasks }
    }

    /// Ends it, once the last send of each task has succeeded.
    pub(super) async fn stop(self) -> Found {
        self.is_stopped.store(true, Ordering::SeqCst);
        let found = timeout(patience(), join_all(self.tasks)).await.expect("each send succeeds");
        let drained = self.connection.drain(patience()).await.unwrap();
        assert!(drained.is_clean());
        found.into_iter().map(Result::unwrap).fold(Found::default(), |all, one| Found {
            slowest: all.slowest.max(one.slowest),
            not_sent: all.not_sent + one.not_sent,
            maybe_sent: all.maybe_sent + one.maybe_sent,
        })
    }
}

/// Sends a message again until it has its receipt, then the next.
async fn send(sender: Sender, ledger: Ledger, task: u64, is_stopped: Arc<AtomicBool>) -> Found {
    let mut found = Found::default();
    for number in 1.. {
        if is_stopped.load(Ordering::SeqCst) {
            break;
        }
        for attempt in 1.. {
            let stamp = Stamp::new(format!("probe-{task}"), format!("probe-{task}"), number);
            let (stamp, datagram) = stamp.with_attempt(attempt).datagram(b"12 apples");
            ledger.sent(&stamp);
            let since = Instant::now();
            let result = sender.send(datagram.with_key(stamp.key.clone())).await;
            found.slowest = found.slowest.max(since.elapsed());
            let outcome = Outcome::of(&result);
            ledger.outcome(&stamp, outcome);
            match outcome {
                Outcome::Receipted => break,
                Outcome::NotSent => found.not_sent += 1,
                Outcome::MaybeSent => found.maybe_sent += 1,
            }
        }
        sleep(REST).await;
    }
    ledger.flushed().unwrap();
    found
}
