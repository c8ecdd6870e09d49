//! The ledger: what was sent, what was promised of it, and what arrived, as figures.
//!
//! Every test, example and tool counts with it, so that all mean the same by *lost*. A message carries its
//! [`Stamp`]; whoever sends or receives it tells the ledger; [`Ledger::check`] adds up.
//!
//! ```
//! use seam_conformance::ledger::{Ledger, Outcome, Stamp};
//! # use seam_core::{Memory, Registry, VirtualClock};
//!
//! # let clock = VirtualClock::new();
//! # clock.clone().block_on(async {
//! # let registry = Registry::new().with(Memory::new()).with_clock(clock);
//! let ledger = Ledger::new();
//! let mut receiver = registry.receiver("memory://orders").await?;
//! let sender = registry.sender("memory://orders").await?;
//!
//! let (stamp, datagram) = Stamp::new("till-3", "apples", 1).datagram(b"12 of them");
//! ledger.sent(&stamp);
//! ledger.outcome(&stamp, Outcome::of(&sender.send(datagram).await));
//!
//! if let Some(delivery) = receiver.next().await? {
//!     let stamp = ledger.delivered(delivery.view(), delivery.note());
//!     delivery.ack()?;
//!     stamp.iter().for_each(|stamp| ledger.settled(stamp));
//! }
//! ledger.check().assert_clean();
//! # Ok::<(), seam_core::Error>(()) }).unwrap();
//! ```
//!
//! A ledger may also write each event to a file, one line of JSON each, before the call returns. The files of
//! several processes are read back together by [`Ledger::read`], also after a process was killed.

mod count;
mod file;
mod stamp;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use seam_core::{Fate, Note, Receipt, SendError, View};
use serde::{Deserialize, Serialize};

pub use count::Report;
use count::Tally;
use file::Log;
pub use stamp::Stamp;

/// Counts what is sent and what arrives. Clones are the same ledger; any thread may tell it something.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    tally: Tally,
    log: Option<Log>,
    /// Whether nothing is kept in memory.
    forgets: bool,
}

/// What the sender was told of one attempt to send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There is a receipt.
    Receipted,
    /// It came back, with the proof that nobody saw it.
    NotSent,
    /// It came back, and may have arrived.
    MaybeSent,
}

impl Outcome {
    /// The outcome of one `send`.
    #[must_use]
    pub fn of(result: &Result<Receipt, SendError>) -> Self {
        match result {
            Ok(_) => Self::Receipted,
            Err(error) => error.fate().into(),
        }
    }
}

impl From<Fate> for Outcome {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::NotSent => Self::NotSent,
            Fate::MaybeSent => Self::MaybeSent,
        }
    }
}

impl Ledger {
    /// A ledger in memory, of receivers that are one group.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A ledger that also appends each event to the file at `path`, which is created where it is missing.
    /// What the file holds already is counted; a torn last line, left by a process that was killed, goes.
    ///
    /// # Errors
    ///
    /// Those of the file system; [`io::ErrorKind::InvalidData`] where the file is no ledger.
    pub fn append_to(path: impl AsRef<Path>) -> io::Result<Self> {
        let (log, entries) = Log::open(path.as_ref())?;
        let mut tally = Tally::default();
        entries.into_iter().for_each(|entry| tally.add(entry));
        Ok(Self(Arc::new(Mutex::new(Book { tally, log: Some(log), forgets: false }))))
    }

    /// A ledger that appends each event to the file at `path`, as [`Ledger::append_to`], and keeps none in
    /// memory: for a process whose memory is measured. It counts nothing itself; [`Ledger::read`] does.
    ///
    /// # Errors
    ///
    /// As [`Ledger::append_to`].
    pub fn write_to(path: impl AsRef<Path>) -> io::Result<Self> {
        let (log, _) = Log::open(path.as_ref())?;
        let book = Book { tally: Tally::default(), log: Some(log), forgets: true };
        Ok(Self(Arc::new(Mutex::new(book))))
    }

    /// Adds up the files of several processes, in the order of their times. A torn last line is left out.
    ///
    /// # Errors
    ///
    /// Those of the file system; [`io::ErrorKind::InvalidData`], with file and line, for what is no ledger.
    pub fn read<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> io::Result<Self> {
        let mut entries = Vec::new();
        for path in paths {
            entries.extend(file::read(path.as_ref())?);
        }
        entries.sort_by_key(|entry| entry.at);
        let ledger = Self::new();
        entries.into_iter().for_each(|entry| ledger.with(|book| book.tally.add(entry)));
        Ok(ledger)
    }

    /// Says that receivers of `group` are to get every message. Without it there is one group, without name.
    pub fn expect_group(&self, group: &str) {
        self.record(Event::Group { group: group.to_owned() });
    }

    /// A message is about to be sent. Told before the send, so that it is known whatever becomes of it.
    pub fn sent(&self, stamp: &Stamp) {
        self.record(Event::Sent { stamp: stamp.clone() });
    }

    /// What the sender was told.
    pub fn outcome(&self, stamp: &Stamp, outcome: Outcome) {
        self.record(Event::Outcome { stamp: stamp.clone(), outcome });
    }

    /// A message arrived. Gives its stamp, to settle it by; none where it carries none, which counts as
    /// unexpected.
    pub fn delivered(&self, view: View<'_>, note: &Note) -> Option<Stamp> {
        self.delivered_in("", view, note)
    }

    /// A message arrived at a receiver of `group`.
    pub fn delivered_in(&self, group: &str, view: View<'_>, note: &Note) -> Option<Stamp> {
        let stamp = Stamp::of(view);
        self.record(Event::Delivered {
            intact: stamp.as_ref().is_some_and(|stamp| stamp.fits(view)),
            stamp: stamp.clone(),
            group: group.to_owned(),
            again: note.attempt > 1 || note.possible_duplicate,
        });
        stamp
    }

    /// A message was acknowledged, discarded or dead-lettered.
    pub fn settled(&self, stamp: &Stamp) {
        self.settled_in("", stamp);
    }

    /// A message was settled by a receiver of `group`.
    pub fn settled_in(&self, group: &str, stamp: &Stamp) {
        self.record(Event::Settled { stamp: stamp.clone(), group: group.to_owned() });
    }

    /// The least number, from `from` on, of which no group has settled the message of `producer`: where a
    /// producer that was started again goes on.
    #[must_use]
    pub fn first_open(&self, producer: &str, from: u64) -> u64 {
        self.with(|book| book.tally.first_open(producer, from))
    }

    /// Adds up what was told so far.
    #[must_use]
    pub fn check(&self) -> Report {
        self.with(|book| {
            let unwritten = book.log.as_ref().map_or(0, Log::unwritten);
            book.tally.report(unwritten)
        })
    }

    /// Whether every event so far was written to the file.
    ///
    /// # Errors
    ///
    /// The first that writing met.
    pub fn flushed(&self) -> io::Result<()> {
        self.with(|book| book.log.as_mut().map_or(Ok(()), Log::flushed))
    }

    fn record(&self, event: Event) {
        self.with(|book| {
            let entry = Entry { at: now(), event };
            if let Some(log) = &mut book.log {
                log.write(&entry);
            }
            if !book.forgets {
                book.tally.add(entry);
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        // Every event is taken over whole, so that a panic elsewhere leaves nothing half told.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One event, and when it was told: microseconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    at: u64,
    #[serde(flatten)]
    event: Event,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Group { group: String },
    Sent { stamp: Stamp },
    Outcome { stamp: Stamp, outcome: Outcome },
    Delivered { stamp: Option<Stamp>, group: String, intact: bool, again: bool },
    Settled { stamp: Stamp, group: String },
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
