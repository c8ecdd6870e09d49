//! What is read from files, and read again once they change.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use seam_core::Result;

/// What is made of files, and made again once one of them changes; what cannot be read again stays as it was.
pub struct Reloaded<T> {
    files: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<T> + Send + Sync>,
    state: Mutex<State<T>>,
}

struct State<T> {
    current: Arc<T>,
    /// What the files looked like when they were last read, whatever came of it.
    seen: Vec<Stamp>,
}

/// Length, time of the last change and number of a file; `None` where there is none.
type Stamp = Option<(u64, Option<SystemTime>, u64)>;

impl<T> Reloaded<T> {
    /// Reads for the first time.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub fn new(
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T> + Send + Sync + 'static,
    ) -> Result<Self> {
        // Looked at before it is read: what changes meanwhile is read again.
        let seen = stamps(&files);
        let current = Arc::new(make()?);
        Ok(Self { files, make: Box::new(make), state: Mutex::new(State { current, seen }) })
    }

    /// As it was last read.
    pub fn current(&self) -> Arc<T> {
        self.lock().current.clone()
    }

    /// Reads again if a file has changed since the last look; as it is now.
    ///
    /// # Errors
    ///
    /// Those of `make`, once for each change; [`current`](Self::current) stays as it was.
    pub fn look(&self) -> Result<Arc<T>> {
        let mut state = self.lock();
        let found = stamps(&self.files);
        if found != state.seen {
            state.seen = found;
            state.current = Arc::new((self.make)()?);
        }
        Ok(state.current.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloaded").field("files", &self.files).finish_non_exhaustive()
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.len(), found.modified().ok(), number(&found)))
    };
    files.iter().map(stamp).collect()
}

#[cfg(unix)]
fn number(found: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    found.ino()
}

#[cfg(not(unix))]
fn number(_: &std::fs::Metadata) -> u64 {
    0
}
