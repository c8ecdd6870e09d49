//! The ledgers of all actors of one test.

use std::io;
use std::path::{Path, PathBuf};

use seam_conformance::ledger::{Ledger, Report};

/// A folder with one ledger for each run of each actor.
#[derive(Clone, Debug)]
pub struct Books(PathBuf);

impl Books {
    /// The books in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// A new ledger for a run of `name`, and which run it is, from 1.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn open(&self, name: &str) -> io::Result<(Ledger, u32)> {
        let begins = format!("{name}-");
        let of_name = |path: &PathBuf| {
            let file = path.file_name().and_then(|file| file.to_str());
            file.is_some_and(|file| file.starts_with(&begins))
        };
        let run = 1 + self.files()?.iter().filter(|path| of_name(path)).count();
        let ledger = Ledger::write_to(self.0.join(format!("{begins}{run}.jsonl")))?;
        Ok((ledger, u32::try_from(run).unwrap_or(u32::MAX)))
    }

    /// What all runs so far have written.
    ///
    /// # Errors
    ///
    /// Those of the file system, and of a file that is no ledger.
    pub fn read(&self) -> io::Result<Ledger> {
        Ledger::read(self.files()?)
    }

    /// What it comes to.
    ///
    /// # Errors
    ///
    /// As [`Books::read`].
    pub fn check(&self) -> io::Result<Report> {
        Ok(self.read()?.check())
    }

    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(&self.0)?;
        let mut files =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        files.sort();
        Ok(files)
    }
}
