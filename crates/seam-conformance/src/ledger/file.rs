//! A ledger on disk: one line of JSON for each event, written before the call that told it returns.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use super::Entry;

/// The file that a ledger appends to.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    unwritten: u64,
    error: Option<io::Error>,
}

impl Log {
    /// Opens it for appending, without a torn last line; gives what it holds.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Entry>)> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = whole_lines(&text);
        let entries = parse(whole, path)?;
        if whole.len() < text.len() {
            file.set_len(u64::try_from(whole.len()).map_err(io::Error::other)?)?;
        }
        Ok((Self { file, unwritten: 0, error: None }, entries))
    }

    /// Writes one line, whole: what a process that is killed has told is on the disk's side of it.
    pub(super) fn write(&mut self, entry: &Entry) {
        let mut line = serde_json::to_vec(entry).expect("strings and numbers are always written");
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            self.unwritten += 1;
            self.error.get_or_insert(error);
        }
    }

    pub(super) fn unwritten(&self) -> u64 {
        self.unwritten
    }

    pub(super) fn flushed(&mut self) -> io::Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }
}

/// What the file at `path` holds, without a torn last line.
pub(super) fn read(path: &Path) -> io::Result<Vec<Entry>> {
    parse(whole_lines(&std::fs::read(path)?), path)
}

fn whole_lines(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    &text[..end]
}

fn parse(text: &[u8], path: &Path) -> io::Result<Vec<Entry>> {
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    lines
        .map(|(at, line)| {
            serde_json::from_slice(line).map_err(|error| {
                let place = format!("{}, line {}: {error}", path.display(), at + 1);
                io::Error::new(ErrorKind::InvalidData, place)
            })
        })
        .collect()
}
