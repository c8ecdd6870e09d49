//! Where datagrams come from: files and standard input, in memory that the endpoint's limit bounds.

use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use crate::failure::{Failure, Outcome};

/// Anything that can be read.
pub(crate) type Input = Box<dyn AsyncRead + Send + Unpin>;

/// Opens a file, or standard input where there is no path or it is `-`.
pub(crate) async fn open(path: Option<&Path>) -> Outcome<Input> {
    match path {
        Some(path) if path != Path::new("-") => {
            let file = tokio::fs::File::open(path).await;
            Ok(Box::new(file.map_err(|error| Failure::file("read", path, &error))?))
        }
        _ => Ok(Box::new(tokio::io::stdin())),
    }
}

/// Everything in `input`, at most `limit` bytes.
pub(crate) async fn read_whole(
    input: impl AsyncRead + Unpin,
    name: &str,
    limit: usize,
) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = input.take(most).read_to_end(&mut bytes).await;
    read.map_err(|error| Failure::new(format!("cannot read {name}: {error}")))?;
    if bytes.len() > limit {
        return Err(Failure::new(format!(
            "{name} has more than the {limit} bytes that this endpoint accepts; \
             split it, or send a reference to it"
        )));
    }
    Ok(bytes)
}

/// What messages call an input.
pub(crate) fn name_of(path: Option<&Path>) -> String {
    match path {
        Some(path) if path != Path::new("-") => path.display().to_string(),
        _ => "standard input".to_owned(),
    }
}

/// The lines of an input, without their ends. A line of more than `limit` bytes is refused and never held.
pub(crate) struct Lines<R> {
    input: BufReader<R>,
    name: String,
    limit: usize,
    /// Lines given so far, and so the number of the last one.
    number: u64,
    line: Vec<u8>,
    /// Bytes of the line, those included that are not held since there are too many.
    size: usize,
    /// Whether `line` was given, so that the next one begins.
    given: bool,
}

/// Read at once.
const BUFFER: usize = 128 << 10;

/// Bytes of a line that is too long, up to which its size is counted: the line may have no end.
const COUNTED: usize = 64 << 20;

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(input: R, name: String, limit: usize) -> Self {
        Self {
            input: BufReader::with_capacity(BUFFER, input),
            name,
            limit,
            number: 0,
            line: Vec::new(),
            size: 0,
            given: false,
        }
    }

    /// The number of the last line, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next line; `None` at the end. Dropping the call loses nothing.
    pub(crate) async fn next(&mut self) -> Outcome<Option<&[u8]>> {
        if std::mem::take(&mut self.given) {
            self.line.clear();
            self.size = 0;
        }
        let mut ended = true;
        loop {
            let read = self.input.fill_buf().await;
            let buffer =
                read.map_err(|error| Failure::new(format!("cannot read {}: {error}", self.name)))?;
            if buffer.is_empty() {
                if self.size == 0 {
                    return Ok(None);
                }
                break;
            }
            let end = memchr::memchr(b'\n', buffer);
            let part = &buffer[..end.unwrap_or(buffer.len())];
            self.size = self.size.saturating_add(part.len());
            if self.size <= self.limit {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                break;
            }
            if self.size > self.limit.saturating_add(COUNTED) {
                ended = false;
                break;
            }
        }
        self.number += 1;
        self.given = true;
        if self.size > self.limit {
            let at_least = if ended { "" } else { "at least " };
            let (size, limit) = (self.size, self.limit);
            let reason = format!("{at_least}{size} bytes are over the limit of {limit}");
            return Err(self.refuse(&reason));
        }
        Ok(Some(&self.line))
    }

    /// Why the last line cannot be sent.
    pub(crate) fn refuse(&self, reason: &str) -> Failure {
        let (name, number) = (&self.name, self.number);
        Failure::new(format!("{name}, line {number}: {reason}; nothing from this line on was sent"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(input: &[u8], limit: usize) -> (Vec<String>, Option<String>) {
        let mut lines = Lines::new(input, "the input".to_owned(), limit);
        let mut read = Vec::new();
        loop {
            match lines.next().await {
                Ok(Some(line)) => read.push(String::from_utf8_lossy(line).into_owned()),
                Ok(None) => return (read, None),
                Err(failure) => return (read, Some(failure.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn each_line_comes_without_its_end_and_the_last_may_have_none() {
        assert_eq!(read(b"", 9).await.0, [""; 0]);
        assert_eq!(read(b"a\n\nb\r\n", 9).await.0, ["a", "", "b\r"]);
        assert_eq!(read(b"a\nb", 9).await.0, ["a", "b"]);
        assert_eq!(read(b"\n", 9).await.0, [""]);
    }

    #[tokio::test]
    async fn a_line_at_the_limit_is_read_and_one_beyond_is_named_with_its_size() {
        let (lines, complaint) = read(b"12345\n123456\n1\n", 5).await;
        assert_eq!(lines, ["12345"]);
        let wanted = "the input, line 2: 6 bytes are over the limit of 5; nothing from this line on was sent";
        assert_eq!(complaint.as_deref(), Some(wanted));
    }

    #[tokio::test]
    async fn a_line_without_end_is_counted_and_never_held() {
        let endless = tokio::io::repeat(b'x');
        let mut lines = Lines::new(endless, "the input".to_owned(), 5);
        let complaint = lines.next().await.unwrap_err().to_string();
        assert!(complaint.starts_with("the input, line 1: at least 6"), "{complaint}");
        assert!(lines.line.capacity() <= 5, "{}", lines.line.capacity());
    }

    #[tokio::test]
    async fn a_dropped_call_keeps_the_part_that_was_read() {
        use futures_util::FutureExt;
        use tokio::io::AsyncWriteExt;
        let (mut far, near) = tokio::io::duplex(64);
        let mut lines = Lines::new(near, "the input".to_owned(), 9);
        far.write_all(b"be").await.unwrap();
        assert!(lines.next().now_or_never().is_none());
        far.write_all(b"gun\n").await.unwrap();
        assert_eq!(lines.next().await.unwrap(), Some(&b"begun"[..]));
    }

    #[tokio::test]
    async fn a_whole_input_is_read_to_the_limit_and_no_further() {
        assert_eq!(read_whole(&b"12345"[..], "F", 5).await.unwrap(), b"12345");
        let complaint = read_whole(&b"123456"[..], "F", 5).await.unwrap_err().to_string();
        assert!(complaint.starts_with("F has more than the 5 bytes that this endpoint accepts; "));
    }
}
