//! The ledger of this process, and the sum of all.

use std::path::{Path, PathBuf};

use seam::layers::Job;
use seam::{Fate, Note, View};
use seam_conformance::ledger::{Ledger, Outcome, Stamp};

use crate::Failure;
use crate::args::Args;

/// Where this process writes what it knows, and what earlier ones knew.
pub(crate) struct Books {
    own: Ledger,
    earlier: Ledger,
    /// How many producers have run before, so that what is sent again says so.
    runs: u32,
}

impl Books {
    pub(crate) fn open(args: &Args) -> Result<Self, Failure> {
        let Some(folder) = &args.ledger else {
            return Ok(Self { own: Ledger::new(), earlier: Ledger::new(), runs: 0 });
        };
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::file("make the ledger's folder", folder, &error))?;
        let files = files(folder)?;
        let earlier = read(folder, &files)?;
        let path = folder.join(format!("quakes-{}-{}.jsonl", files.len(), std::process::id()));
        let own = Ledger::append_to(&path)
            .map_err(|error| Failure::file("write the ledger", &path, &error))?;
        let runs = u32::try_from(files.len()).unwrap_or(u32::MAX);
        Ok(Self { own, earlier, runs })
    }

    /// The first record of `producer` that nobody has settled yet, and which attempt this run is.
    pub(crate) fn first_open(&self, producer: &str) -> (u64, u32) {
        (self.earlier.first_open(producer, 0), self.runs.saturating_add(1))
    }

    pub(crate) fn sent(&self, stamp: &Stamp) {
        self.own.sent(stamp);
    }

    pub(crate) fn receipted(&self, stamp: &Stamp) {
        self.own.outcome(stamp, Outcome::Receipted);
    }

    pub(crate) fn failed(&self, view: View<'_>, fate: Fate) {
        if let Some(stamp) = Stamp::of(view) {
            self.own.outcome(&stamp, fate.into());
        }
    }

    pub(crate) fn delivered(&self, job: &Job) -> Option<Stamp> {
        let note: &Note = job.note();
        self.own.delivered(job.datagram().view(), note)
    }

    pub(crate) fn settled(&self, stamp: Option<&Stamp>) {
        stamp.into_iter().for_each(|stamp| self.own.settled(stamp));
    }

    pub(crate) fn close(&self) -> Result<(), Failure> {
        let written = self.own.flushed();
        written.map_err(|error| Failure::File(format!("cannot write the ledger: {error}")))
    }
}

/// Adds up every ledger in `folder` and prints one line; whether it is clean.
pub(crate) fn check(folder: &Path) -> Result<bool, Failure> {
    let files = files(folder)?;
    if files.is_empty() {
        return Err(Failure::File(format!("no ledger in {}", folder.display())));
    }
    let report = read(folder, &files)?.check();
    crate::print(&report.to_string())?;
    Ok(report.is_clean())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure::file("read the ledgers in", folder, &error);
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    Ok(paths)
}

fn read(folder: &Path, files: &[PathBuf]) -> Result<Ledger, Failure> {
    Ledger::read(files).map_err(|error| Failure::file("read the ledgers in", folder, &error))
}
