//! Why a command did not do what it was asked for: one line, and an exit code.

use std::fmt;
use std::io;
use std::path::Path;

use seam_core::{Error, SendError};

/// What a command comes to.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// One line for standard error, and whether the command line is to blame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    line: String,
    usage: bool,
}

impl Failure {
    /// What happened.
    pub(crate) fn new(line: impl AsRef<str>) -> Self {
        Self { line: one_line(line.as_ref()), usage: false }
    }

    /// What the command line asks for and cannot have.
    pub(crate) fn usage(line: impl AsRef<str>) -> Self {
        Self { line: one_line(line.as_ref()), usage: true }
    }

    /// What the operating system says of a file.
    pub(crate) fn file(verb: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(format!("cannot {verb} {}: {error}", path.display()))
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        if self.usage { 2 } else { 1 }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let usage = matches!(
            error,
            Error::InvalidEndpoint { .. }
                | Error::UnknownScheme { .. }
                | Error::NotCompiledIn { .. }
                | Error::Unsupported { .. }
        );
        Self { line: one_line(&error.to_string()), usage }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let line = one_line(&error.to_string());
        Self { line, usage: Self::from(error.into_parts().2).usage }
    }
}

/// Native clients and file names may break a line; a script that reads ours by lines must not see that.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}
