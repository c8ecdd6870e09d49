//! What `send` has sent, and what failed.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seam_core::{Fate, SendError, json};

use crate::failure::{Failure, Outcome};

/// Counts what was sent and what failed, and writes what failed to a file.
pub(crate) struct Tally {
    taken: u64,
    bytes: u64,
    not_sent: u64,
    maybe_sent: u64,
    /// Why the first one failed.
    first: Option<String>,
    failed: Option<Box<dyn Write + Send>>,
    /// Why the file of what failed is not complete.
    unwritten: Option<Failure>,
}

impl Tally {
    /// Nothing yet. What fails is written to `failed`.
    pub(crate) fn new(failed: Option<Box<dyn Write + Send>>) -> Self {
        Self {
            taken: 0,
            bytes: 0,
            not_sent: 0,
            maybe_sent: 0,
            first: None,
            failed,
            unwritten: None,
        }
    }

    /// Whether what fails is kept in a file.
    pub(crate) fn keeps(&self) -> bool {
        self.failed.is_some()
    }

    /// Counts datagrams that are taken from the input, as sent until they fail.
    pub(crate) fn take(&mut self, count: usize, bytes: usize) {
        self.taken += number(count);
        self.bytes += number(bytes);
    }

    /// Notes one that was taken and failed. `told` is what the line about the first failure says of it.
    pub(crate) fn fail(&mut self, error: &SendError, told: impl FnOnce() -> String) {
        self.bytes = self.bytes.saturating_sub(number(payload_of(error)));
        match error.fate() {
            Fate::NotSent => self.not_sent += 1,
            Fate::MaybeSent => self.maybe_sent += 1,
        }
        self.first.get_or_insert_with(told);
        let Some(file) = &mut self.failed else { return };
        if self.unwritten.is_none()
            && let Err(error) = writeln!(file, "{}", json::encode_failed(error))
        {
            self.unwritten = Some(incomplete(&error));
        }
    }

    /// Hands what failed to the operating system.
    pub(crate) fn flush(&mut self) {
        if let Some(file) = &mut self.failed
            && let Err(error) = file.flush()
        {
            self.unwritten.get_or_insert(incomplete(&error));
        }
    }

    /// An error if the file of what failed is not complete.
    pub(crate) fn complete(&mut self) -> Outcome {
        self.flush();
        self.unwritten.take().map_or(Ok(()), Err)
    }

    /// An error if anything failed: one line about it.
    pub(crate) fn outcome(&self) -> Outcome {
        match &self.first {
            None => Ok(()),
            Some(first) => {
                let (failed, taken) = (self.not_sent + self.maybe_sent, self.taken);
                Err(Failure::new(format!(
                    "{failed} of {taken} datagrams failed; the first: {first}"
                )))
            }
        }
    }

    /// The line at the end.
    pub(crate) fn summary(&self, elapsed: Duration) -> Summary {
        Summary {
            datagrams: self.taken.saturating_sub(self.not_sent + self.maybe_sent),
            bytes: self.bytes,
            elapsed,
            not_sent: self.not_sent,
            maybe_sent: self.maybe_sent,
        }
    }
}

/// What `send` says at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) datagrams: u64,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    pub(crate) not_sent: u64,
    pub(crate) maybe_sent: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { datagrams, bytes, elapsed, not_sent, maybe_sent } = self;
        let seconds = elapsed.as_secs_f64();
        write!(
            f,
            "sent {datagrams} datagrams, {bytes} bytes in {seconds:.3} s; \
             {not_sent} not sent, {maybe_sent} maybe sent"
        )
    }
}

/// Opens the file of what failed and empties it; refuses the input itself, which that would destroy.
pub(crate) async fn open_failed(
    path: PathBuf,
    input: Option<PathBuf>,
) -> Outcome<Box<dyn Write + Send>> {
    // A pipe that nobody reads blocks.
    let opening = tokio::task::spawn_blocking(move || open_now(&path, input.as_deref()));
    opening.await.map_err(|error| Failure::new(format!("cannot write what failed: {error}")))?
}

fn open_now(path: &Path, input: Option<&Path>) -> Outcome<Box<dyn Write + Send>> {
    let broken = |error: &std::io::Error| Failure::file("write", path, error);
    let mut options = std::fs::OpenOptions::new();
    let file =
        options.write(true).create(true).truncate(false).open(path).map_err(|e| broken(&e))?;
    let own = file.try_clone().and_then(same_file::Handle::from_file).map_err(|e| broken(&e))?;
    let input = match input {
        Some(input) if input != Path::new("-") => same_file::Handle::from_path(input),
        _ => same_file::Handle::stdin(),
    };
    if input.is_ok_and(|input| input == own) {
        return Err(Failure::usage(format!(
            "--failed {} is the input itself; name another file",
            path.display()
        )));
    }
    // What is no file of a disk cannot be emptied, and need not be.
    if file.metadata().is_ok_and(|about| about.is_file()) {
        file.set_len(0).map_err(|error| broken(&error))?;
    }
    Ok(Box::new(std::io::BufWriter::new(file)))
}

fn incomplete(error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot write what failed, so --failed is not complete: {error}"))
}

fn payload_of(error: &SendError) -> usize {
    error.datagram().payload().map_or(0, <[u8]>::len)
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
