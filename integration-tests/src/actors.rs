//! What child processes of a fault test do: send and receive what a ledger counts.
//!
//! Each run of an actor appends to a file of its own in one folder, so that it may be killed at any moment; the
//! [`Books`] of the folder add up all of them. An actor says on standard output how far it is, one line of
//! JSON each, and stops gracefully on SIGTERM or when its standard input ends.

mod books;
mod confess;
mod consumer;
mod echo;
mod producer;

use std::future::pending;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seam_core::{Connection, Event};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

pub use books::Books;
pub use confess::confess;
pub use consumer::consume;
pub use echo::{ask, echo};
pub use producer::produce;

use crate::Usage;

/// What a child process is to do: the argument of the program `actor`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Role {
    /// Sends.
    Produce(Producer),
    /// Receives.
    Consume(Consumer),
    /// Sends back what comes on any connection to this address.
    Echo(std::net::SocketAddr),
    /// Sends each line of standard input to this address, and says the line that comes back.
    Ask(std::net::SocketAddr),
    /// Opens each of these URIs, and tells everything that there is to tell, traced at the finest level.
    Confess(Vec<String>),
}

/// Sends numbered messages until each has its receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producer {
    /// The endpoint, opened as a client.
    pub uri: String,
    /// Where ledgers are.
    pub folder: PathBuf,
    /// What the ledger calls it. One that was killed goes on, under its name, where nobody has settled.
    pub name: String,
    /// How many messages, over all its runs.
    pub messages: u64,
    /// Over how many keys; 0: without key.
    pub keys: u64,
    /// The least and the most bytes of a body: those of the first two; of the others drawn from `seed`.
    pub body: (usize, usize),
    /// How rare large bodies are: each is the smallest of so many draws.
    pub draws: u32,
    /// Whether what comes back is sent again.
    pub resends: bool,
    /// Whether it stays, once everything has its receipt, until it is told to stop.
    pub lingers: bool,
    /// Messages without receipt at most.
    pub under_way: usize,
    /// How long it rests after each batch of 64.
    pub rests: Duration,
    /// Of the sizes.
    pub seed: u64,
}

impl Producer {
    /// A producer of `messages` messages of 256 bytes with 64 keys, 1,024 of them under way.
    pub fn new(
        uri: impl Into<String>,
        folder: impl Into<PathBuf>,
        name: impl Into<String>,
        messages: u64,
    ) -> Self {
        Self {
            uri: uri.into(),
            folder: folder.into(),
            name: name.into(),
            messages,
            keys: 64,
            body: (256, 256),
            draws: 1,
            resends: true,
            lingers: false,
            under_way: 1024,
            rests: Duration::ZERO,
            seed: 0,
        }
    }
}

/// Receives, writes down and acknowledges until it is told to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// The endpoint, opened as a server.
    pub uri: String,
    /// Where ledgers are.
    pub folder: PathBuf,
    /// What its file is called by.
    pub name: String,
    /// Deliveries of one refill at most.
    pub refill: usize,
    /// How long it works on each before it acknowledges it; zero: it acknowledges a refill at once.
    pub work: Duration,
    /// On how many it works at the same time, at most; the others wait in its receiver.
    pub at_once: usize,
    /// Whether it works on each as long as chance will have it, `work` at most, so that they end in any order.
    pub scatters: bool,
}

impl Consumer {
    /// A consumer that takes up to 256 deliveries at once.
    pub fn new(
        uri: impl Into<String>,
        folder: impl Into<PathBuf>,
        name: impl Into<String>,
    ) -> Self {
        Self {
            uri: uri.into(),
            folder: folder.into(),
            name: name.into(),
            refill: 256,
            work: Duration::ZERO,
            at_once: usize::MAX,
            scatters: false,
        }
    }
}

/// What an actor says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Said {
    /// It is open, and this is what it holds before any work.
    Ready(Usage),
    /// So many messages have their receipt, or were settled.
    At(u64),
    /// The connection was lost.
    Disconnected,
    /// It was made again.
    Connected,
    /// The other side accepts nothing for now.
    Blocked,
    /// It accepts again.
    Unblocked,
    /// What it sent was unsettled when the peer had forgotten it.
    SessionLost {
        /// Datagrams that are done.
        settled: u64,
        /// Datagrams that may have arrived.
        unsettled: u64,
    },
    /// It has drained, and ends.
    Done(Summary),
}

/// What an actor found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Messages that have their receipt, or were settled.
    pub messages: u64,
    /// What the drain left: deliveries unsettled, datagrams not done.
    pub left: u64,
    /// Messages that came back, however often.
    pub returned: u64,
    /// The longest time, in seconds, between two messages.
    pub longest_silence: f64,
    /// How long, in seconds, it took each time to be connected again.
    pub outages: Vec<f64>,
    /// Sessions that were lost.
    pub sessions_lost: u64,
    /// Deliveries that were revoked.
    pub revoked: u64,
    /// Settlements that were accepted, and came too late.
    pub late: u64,
    /// Tasks of the runtime that were left, beside the one that acts.
    pub tasks: usize,
    /// What it held at the end.
    pub usage: Usage,
}

/// Why an actor cannot go on.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Messages between two lines that say how far it is.
const STEP: u64 = 100;
/// How long tasks that have ended may be counted.
const SOON: Duration = Duration::from_secs(2);
/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(60);

/// Counts messages, and says so now and then. Shared by those that act at the same time.
struct Progress<F>(Mutex<State<F>>);

struct State<F> {
    say: F,
    summary: Summary,
    last: Option<Instant>,
    lost_at: Option<Instant>,
}

impl<F: FnMut(&Said)> Progress<F> {
    fn new(mut say: F) -> Self {
        say(&Said::Ready(Usage::own().unwrap_or_default()));
        let summary = Summary::default();
        Self(Mutex::new(State { say, summary, last: None, lost_at: None }))
    }

    fn add(&self, messages: u64) {
        let mut state = self.state();
        let now = Instant::now();
        let silence = state.last.map_or(Duration::ZERO, |last| now - last).as_secs_f64();
        state.last = Some(now);
        state.summary.longest_silence = state.summary.longest_silence.max(silence);
        let before = state.summary.messages / STEP;
        state.summary.messages += messages;
        let messages = state.summary.messages;
        if messages / STEP > before {
            (state.say)(&Said::At(messages));
        }
    }

    fn came_back(&self) {
        self.state().summary.returned += 1;
    }

    /// Says what happens on `connection`, for ever.
    async fn watch(&self, connection: &Connection) {
        while let Some(event) = connection.next_event().await {
            self.note(&event);
        }
        pending::<()>().await;
    }

    fn note(&self, event: &Event) {
        let mut state = self.state();
        let said = match event {
            Event::Disconnected { .. } => {
                state.lost_at = Some(Instant::now());
                Said::Disconnected
            }
            Event::Connected => {
                let outage = state.lost_at.take().map(|lost| lost.elapsed().as_secs_f64());
                state.summary.outages.extend(outage);
                Said::Connected
            }
            Event::Blocked { .. } => Said::Blocked,
            Event::Unblocked => Said::Unblocked,
            Event::SessionLost { settled, unsettled } => {
                Said::SessionLost { settled: *settled, unsettled: *unsettled }
            }
            _ => return,
        };
        (state.say)(&said);
    }

    /// Ends what `connection` did; it was drained.
    async fn finish(self, connection: Connection, left: u64) -> Summary {
        let statistics = connection.statistics();
        drop(connection);
        let runtime = Handle::current().metrics();
        // The runtime counts a task a little longer than anybody waits for it.
        let until = Instant::now() + SOON;
        while runtime.num_alive_tasks() > 0 && Instant::now() < until {
            sleep(Duration::from_millis(1)).await;
        }
        let mut state = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.summary.left = left;
        state.summary.sessions_lost = statistics.sessions_lost;
        state.summary.revoked = statistics.leases_lost;
        state.summary.late = statistics.settlements_failed;
        state.summary.usage = Usage::own().unwrap_or_default();
        state.summary.tasks = runtime.num_alive_tasks();
        (state.say)(&Said::Done(state.summary.clone()));
        state.summary
    }

    fn state(&self) -> MutexGuard<'_, State<F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
