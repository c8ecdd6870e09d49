//! What the suite found.

use std::fmt;
use std::panic::Location;

/// What became of one behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It does not, for this reason.
    Failed(String),
    /// The options cannot do what it needs.
    NotApplicable(String),
}

/// What became of every behaviour that was run. `Display` has one line for each that did not pass, and the
/// count.
#[derive(Clone, Debug, Default)]
pub struct Report {
    results: Vec<(&'static str, Verdict)>,
}

impl Report {
    pub(crate) fn add(&mut self, name: &'static str, verdict: Verdict) {
        self.results.push((name, verdict));
    }

    /// Each behaviour with what became of it, in the order in which they ran.
    pub fn results(&self) -> impl Iterator<Item = (&'static str, &Verdict)> {
        self.results.iter().map(|(name, verdict)| (*name, verdict))
    }

    /// The behaviours that failed, and why.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.results().filter_map(|(name, verdict)| match verdict {
            Verdict::Failed(why) => Some((name, why.as_str())),
            Verdict::Passed | Verdict::NotApplicable(_) => None,
        })
    }

    /// Whether none failed.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.failures().next().is_none()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, verdict) in self.results() {
            match verdict {
                Verdict::Passed => {}
                Verdict::Failed(why) => writeln!(f, "failed: {name}: {why}")?,
                Verdict::NotApplicable(why) => writeln!(f, "not applicable: {name}: {why}")?,
            }
        }
        let passed = self.results().filter(|(_, verdict)| **verdict == Verdict::Passed).count();
        write!(f, "{passed} of {} behaviours passed", self.results.len())
    }
}

/// Why a behaviour ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(String),
    NotApplicable(&'static str),
}

pub(crate) type Check<T = ()> = Result<T, Stop>;

impl Stop {
    #[track_caller]
    pub(crate) fn failed(why: impl fmt::Display) -> Self {
        let place = Location::caller();
        Self::Failed(format!("{why} ({}:{})", place.file(), place.line()))
    }
}

impl<E: std::error::Error> From<E> for Stop {
    #[track_caller]
    fn from(error: E) -> Self {
        Self::failed(error)
    }
}

impl From<Check> for Verdict {
    fn from(check: Check) -> Self {
        match check {
            Ok(()) => Self::Passed,
            Err(Stop::Failed(why)) => Self::Failed(why),
            Err(Stop::NotApplicable(why)) => Self::NotApplicable(why.to_owned()),
        }
    }
}

/// Ends the behaviour as failed where `condition` does not hold.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::report::Stop::failed(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;
