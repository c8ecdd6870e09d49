//! What is read from files, and read again once they change.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use seam_core::Result;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// What is made of files, and made again once one of them changes; what cannot be read again stays as it was.
pub struct Reloaded<T> {
    files: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<T> + Send + Sync>,
    state: Mutex<State<T>>,
    /// When to look next, from the first time that somebody waits for it.
    looks: tokio::sync::Mutex<Option<Interval>>,
}

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

struct State<T> {
    current: Arc<T>,
    /// What the files looked like when they were last read, whatever came of it.
    seen: Vec<Stamp>,
    /// Whether one was so new then that it may have changed since without looking different.
    is_fresh: bool,
    /// Whether somebody was told that they cannot be used as they are.
    is_told: bool,
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
        let is_fresh = is_fresh(&seen);
        let current = Arc::new(make()?);
        let state = Mutex::new(State { current, seen, is_fresh, is_told: false });
        Ok(Self { files, make: Box::new(make), state, looks: Default::default() })
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
        let has_changed = found != state.seen;
        if has_changed || state.is_fresh {
            (state.is_fresh, state.seen) = (is_fresh(&found), found);
            let made = (self.make)();
            let was_told = std::mem::replace(&mut state.is_told, made.is_err()) && !has_changed;
            match made {
                Ok(made) => state.current = Arc::new(made),
                Err(error) if !was_told => return Err(error),
                Err(_) => {}
            }
        }
        Ok(state.current.clone())
    }

    /// [Looks](Self::look) once a second, whatever its caller does between; the first time at once. A dropped call loses
    /// nothing. Needs Tokio, with time.
    ///
    /// # Errors
    ///
    /// As [`look`](Self::look).
    pub async fn next_look(&self) -> Result<Arc<T>> {
        let every = || {
            let mut looks = interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks
        };
        self.looks.lock().await.get_or_insert_with(every).tick().await;
        // At once, so that nothing is lost with a call that is dropped; the files are small.
        self.look()
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

/// Whether one of them changed just now: times of files go on in steps, so what changes twice within one looks the same.
fn is_fresh(stamps: &[Stamp]) -> bool {
    let since = SystemTime::now() - STEP;
    stamps.iter().flatten().any(|(_, changed, _)| changed.is_none_or(|changed| changed > since))
}

/// No file system in use has longer ones.
const STEP: Duration = Duration::from_secs(2);

#[cfg(unix)]
fn number(found: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    found.ino()
}

#[cfg(not(unix))]
fn number(_: &std::fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What is in a file that may hold anything but `wrong`.
    fn reloaded(path: &std::path::Path) -> Reloaded<String> {
        let path = path.to_owned();
        Reloaded::new(vec![path.clone()], move || match fs::read_to_string(&path).unwrap() {
            text if text == "wrong" => Err(seam_core::Error::invalid("file", "it is wrong")),
            text => Ok(text),
        })
        .unwrap()
    }

    #[test]
    fn what_changes_is_read_again_and_what_is_wrong_is_told_once() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "one").unwrap();
        let file = reloaded(&path);
        assert_eq!(*file.look().unwrap(), "one");
        fs::write(&path, "three").unwrap();
        assert_eq!(*file.current(), "one", "nobody has looked");
        assert_eq!(*file.look().unwrap(), "three");
        fs::write(&path, "wrong").unwrap();
        // Of the same length, within the same step of the clock of files.
        while file.look().is_ok() {}
        assert_eq!(*file.look().unwrap(), "three");
        assert_eq!(*file.current(), "three");
        fs::write(&path, "right!").unwrap();
        assert_eq!(*file.look().unwrap(), "right!");
    }

    #[test]
    fn a_change_within_one_step_of_the_clock_is_seen() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "one").unwrap();
        let file = reloaded(&path);
        let times = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "two").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(times).unwrap();
        assert_eq!(*file.look().unwrap(), "two");
    }
}
