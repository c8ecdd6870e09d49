//! What child processes of a fault test do: send and receive what a ledger counts.
//!
//! Each run of an actor appends to a file of its own in one folder, so that it may be killed at any moment; the
//! [`Books`] of the folder add up all of them. An actor says on standard output how far it is, one line of
//! JSON each, and stops gracefully on SIGTERM or when its standard input ends.

mod books;
mod consumer;
mod echo;
mod producer;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use books::Books;
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
    /// Over how many keys.
    pub keys: u64,
    /// The least and the most bytes of a body; drawn from `seed`.
    pub body: (usize, usize),
    /// Messages without receipt at most.
    pub under_way: usize,
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
            under_way: 1024,
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
}

impl Consumer {
    /// A consumer that takes up to 256 deliveries at once.
    pub fn new(
        uri: impl Into<String>,
        folder: impl Into<PathBuf>,
        name: impl Into<String>,
    ) -> Self {
        Self { uri: uri.into(), folder: folder.into(), name: name.into(), refill: 256 }
    }
}

/// What an actor says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Said {
    /// It is open, and this is what it holds before any work.
    Ready(Usage),
    /// So many messages have their receipt, or were settled.
    At(u64),
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
    /// The longest time, in seconds, between two messages.
    pub longest_silence: f64,
    /// What it held at the end.
    pub usage: Usage,
}

/// Why an actor cannot go on.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Messages between two lines that say how far it is.
const STEP: u64 = 100;
/// How long a drain may take.
const DRAIN: std::time::Duration = std::time::Duration::from_secs(60);

/// Counts messages, and says so now and then.
struct Progress<F> {
    say: F,
    messages: u64,
    last: Option<tokio::time::Instant>,
    longest: std::time::Duration,
}

impl<F: FnMut(&Said)> Progress<F> {
    fn new(mut say: F) -> Self {
        say(&Said::Ready(Usage::own().unwrap_or_default()));
        Self { say, messages: 0, last: None, longest: std::time::Duration::ZERO }
    }

    fn add(&mut self, messages: u64) {
        let now = tokio::time::Instant::now();
        self.longest = self.longest.max(self.last.map_or(self.longest, |last| now - last));
        self.last = Some(now);
        let before = self.messages / STEP;
        self.messages += messages;
        if self.messages / STEP > before {
            (self.say)(&Said::At(self.messages));
        }
    }

    fn finish(mut self, left: u64) -> Summary {
        let summary = Summary {
            messages: self.messages,
            left,
            longest_silence: self.longest.as_secs_f64(),
            usage: Usage::own().unwrap_or_default(),
        };
        (self.say)(&Said::Done(summary.clone()));
        summary
    }
}
