//! The one line that each fault test prints, how much it is to do, and its seed.

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use seam_conformance::ledger::Report;

/// What a fault test found. `Display` is one line.
#[derive(Clone, Debug)]
pub struct Figures {
    name: &'static str,
    seed: u64,
    report: Report,
    recovery: Option<Duration>,
    rss: Option<u64>,
    more: String,
}

impl Figures {
    /// The figures of the test `name`, replayable by `seed`.
    #[must_use]
    pub fn new(name: &'static str, seed: u64, report: Report) -> Self {
        Self { name, seed, report, recovery: None, rss: None, more: String::new() }
    }

    /// How long it took until everything went on, from when it could.
    #[must_use]
    pub fn with_recovery(mut self, recovery: Duration) -> Self {
        self.recovery = Some(recovery);
        self
    }

    /// Bytes of memory at the peak, above idle.
    #[must_use]
    pub fn with_rss(mut self, rss: u64) -> Self {
        self.rss = Some(rss);
        self
    }

    /// Adds one more figure to the end of the line.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.more.push_str(&format!(" {name} {value}"));
        self
    }

    /// Says the line, also where the test's output is kept back because it passes.
    pub fn print(&self) {
        // A closed standard error is no reason to fail.
        let _ = writeln!(io::stderr().lock(), "{self}");
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { lost, reordered, duplicated, unexpected, .. } = self.report;
        write!(
            f,
            "{} seed {} lost {lost} reordered {reordered} dup {duplicated} unexpected {unexpected}",
            self.name, self.seed
        )?;
        match self.recovery {
            Some(recovery) => write!(f, " recovery {:.3} s", recovery.as_secs_f64())?,
            None => f.write_str(" recovery -")?,
        }
        match self.rss {
            Some(bytes) => write!(f, " rss {} KiB", bytes >> 10)?,
            None => f.write_str(" rss -")?,
        }
        f.write_str(&self.more)
    }
}

/// How much the fault tests do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As much as every change can wait for.
    Small,
    /// All of it: `SEAM_FULL=1`.
    Full,
}

impl Scale {
    /// As the environment says.
    #[must_use]
    pub fn of_environment() -> Self {
        match std::env::var("SEAM_FULL") {
            Ok(value) if value == "1" => Self::Full,
            _ => Self::Small,
        }
    }

    /// One of two sizes.
    pub fn pick<T>(self, small: T, full: T) -> T {
        match self {
            Self::Small => small,
            Self::Full => full,
        }
    }
}

/// What a test draws its random choices from: `SEAM_SEED`, so that a run can be repeated, else the clock.
///
/// # Panics
///
/// If `SEAM_SEED` is no number.
#[must_use]
pub fn seed() -> u64 {
    match std::env::var("SEAM_SEED") {
        Ok(text) => text.parse().expect("SEAM_SEED is a number"),
        Err(_) => {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            u64::from(since.unwrap_or_default().subsec_nanos())
        }
    }
}
