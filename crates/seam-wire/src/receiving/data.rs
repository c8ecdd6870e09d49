//! From frames of DATA to datagrams.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{Receiving, Run, Sink};
use crate::WireError;
use crate::content;
use crate::data::{ABSENT, ATTEMPT, DUPLICATE, ENVELOPED, KNOWN, MORE, TAGGED, VOID};
use crate::limits::MIN_FRAGMENT;
use crate::number::{Read, Rest, narrow, wide};

/// A datagram of several numbers, of which the last has not come.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) first: u64,
    flags: u8,
    attempt: u32,
    content: BytesMut,
}

/// An entry that is not one of a run.
struct Entry {
    flags: u8,
    attempt: u32,
    at: Range<usize>,
}

impl Receiving {
    /// Takes a DATA, whose body stands at `body` of `frame`.
    ///
    /// # Errors
    ///
    /// [`WireError`]: the connection must close. What the sink has got before stays received.
    pub fn on_data(
        &mut self,
        frame: &Bytes,
        body: Range<usize>,
        sink: &mut impl Sink,
    ) -> Result<(), WireError> {
        let end = body.end;
        let bytes = frame.get(..end).unwrap_or_default();
        let mut rest = Rest(bytes.get(body.start..).unwrap_or_default());
        let (first, count) = numbers(&mut rest).map_err(malformed)?;
        if first > self.next {
            return Err(WireError::Gap { expected: self.next, received: first });
        }
        let mut numbers = first..first + count;
        while !numbers.is_empty() {
            // What was received before is read, and dropped.
            let fresh = numbers.start >= self.next || mutant!(ResumeWithoutDedup);
            if fresh && self.partial.is_none() {
                self.take_run(&mut numbers, &mut rest, end, sink)?;
            }
            let Some(number) = numbers.next() else { break };
            let entry = entry(&mut rest, end).map_err(malformed)?;
            if number >= self.next || mutant!(ResumeWithoutDedup) {
                self.take(number, &entry, frame, sink)?;
            }
        }
        rest.end().map_err(malformed)
    }

    /// Takes the plain first attempts that come next, as long as they are in order.
    fn take_run(
        &mut self,
        numbers: &mut Range<u64>,
        rest: &mut Rest<'_>,
        end: usize,
        sink: &mut impl Sink,
    ) -> Result<(), WireError> {
        let mut run = Run::new(numbers.start, end - rest.0.len());
        let mut content = self.bytes;
        let (mut length, mut like) = (0, 0);
        let mut refused = Ok(());
        while numbers.start < numbers.end
            && let Some(entry) = plain(rest.0)
            && entry.payload <= self.limits.payload
        {
            if numbers.start > self.limit_seq || content >= self.limit_bytes {
                refused = Err(WireError::Credit { number: numbers.start });
                break;
            }
            if entry.length != length {
                self.count(length, like);
                (length, like) = (entry.length, 0);
            }
            // Those behind it that are like it, as far as there is credit for all of them.
            let most = match entry.payload {
                payload if payload < 0x80 && wide(payload) == u64::from(entry.length) => {
                    self.allowed(numbers, content, entry.length)
                }
                _ => 0,
            };
            let (again, behind) = streak(entry.rest, entry.payload, most);
            run.add(1 + again, entry.payload);
            like += 1 + wide(again);
            content += u64::from(entry.length) * (1 + wide(again));
            rest.0 = behind;
            numbers.start += 1 + wide(again);
        }
        self.count(length, like);
        run.at.end = end - rest.0.len();
        if run.count > 0 {
            let taken = run.first..numbers.start;
            (self.next, self.bytes) = (self.next + (taken.end - taken.start), content);
            sink.run(run);
            if mutant!(AckOnReceipt) {
                self.done(taken);
            }
        }
        refused
    }

    /// How many of `numbers` after the first may be begun for certain, if each has this length.
    fn allowed(&self, numbers: &Range<u64>, content: u64, length: u32) -> usize {
        let numbers = (numbers.end - numbers.start).min(self.limit_seq + 1 - numbers.start) - 1;
        let all = u64::from(length) * (numbers + 1);
        narrow(if content + all <= self.limit_bytes { numbers } else { 0 })
    }

    fn count(&mut self, length: u32, count: u64) {
        if count > 0 {
            self.lengths.push(length, count);
        }
    }

    /// Whether a datagram may be begun with this number.
    #[inline]
    fn begin(&self, number: u64) -> Result<(), WireError> {
        if number > self.limit_seq || self.bytes >= self.limit_bytes {
            return Err(WireError::Credit { number });
        }
        Ok(())
    }

    /// The next number was received whole.
    #[inline]
    fn receive(&mut self, length: u32) {
        self.lengths.push(length, 1);
        self.next += 1;
        self.bytes += u64::from(length);
        if mutant!(AckOnReceipt) {
            self.done(self.next - 1..self.next);
        }
    }

    fn take(
        &mut self,
        number: u64,
        entry: &Entry,
        frame: &Bytes,
        sink: &mut impl Sink,
    ) -> Result<(), WireError> {
        if entry.flags & VOID != 0 {
            return Err(WireError::Gap { expected: number, received: number + 1 });
        }
        let length =
            u32::try_from(entry.at.len()).map_err(|_| malformed("a length of over 32 bits"))?;
        let before = self.partial.as_ref().map_or(0, |partial| partial.content.len());
        if wide(before + entry.at.len()) > self.limits.content() {
            return Err(WireError::TooLarge {
                size: wide(before + entry.at.len()),
                limit: self.limits.content(),
            });
        }
        if entry.flags & MORE != 0 || self.partial.is_some() {
            self.take_fragment(number, entry, frame, sink)?;
        } else {
            self.begin(number)?;
            self.hand_on(number, entry, frame, sink)?;
        }
        self.receive(length);
        Ok(())
    }

    fn hand_on(
        &self,
        number: u64,
        entry: &Entry,
        frame: &Bytes,
        sink: &mut impl Sink,
    ) -> Result<(), WireError> {
        let Entry { flags, attempt, ref at } = *entry;
        let content = frame.slice(at.clone());
        let datagram = content::read(flags, &content, &self.limits)?;
        sink.datagram(number, datagram, attempt, flags & DUPLICATE != 0);
        Ok(())
    }

    fn take_fragment(
        &mut self,
        number: u64,
        entry: &Entry,
        frame: &Bytes,
        sink: &mut impl Sink,
    ) -> Result<(), WireError> {
        let more = entry.flags & MORE != 0;
        if more && entry.at.len() < MIN_FRAGMENT {
            return Err(malformed(format!(
                "a fragment of less than {MIN_FRAGMENT} bytes, and not the last"
            )));
        }
        let flags = entry.flags & !MORE;
        let mut partial = match self.partial.take() {
            Some(partial) if (partial.flags, partial.attempt) == (flags, entry.attempt) => partial,
            Some(_) => return Err(malformed("fragments of one datagram differ in their flags")),
            None => {
                self.begin(number)?;
                Partial { first: number, flags, attempt: entry.attempt, content: BytesMut::new() }
            }
        };
        partial.content.extend_from_slice(&frame[entry.at.clone()]);
        if more {
            self.partial = Some(partial);
            return Ok(());
        }
        let datagram = content::read(flags, &partial.content.freeze(), &self.limits)?;
        self.fragmented.insert(number, partial.first);
        sink.datagram(number, datagram, partial.attempt, flags & DUPLICATE != 0);
        Ok(())
    }
}

/// A plain datagram, whole and for the first time.
struct PlainEntry<'a> {
    /// Bytes of its content, and of its payload alone.
    length: u32,
    payload: usize,
    /// What follows it.
    rest: &'a [u8],
}

/// The plain first attempt that `bytes` begins with. None for anything else, also for what is against the rules.
#[inline]
fn plain(bytes: &[u8]) -> Option<PlainEntry<'_>> {
    if let [0, length @ 0..0x80, content @ ..] = bytes {
        let payload = usize::from(*length);
        let rest = content.get(payload..)?;
        return Some(PlainEntry { length: u32::from(*length), payload, rest });
    }
    long_plain(bytes)
}

/// How many plain datagrams without tag and with payloads of `size` bytes, below 128, `bytes` begins with, up to
/// `most`, and what follows them.
fn streak(bytes: &[u8], size: usize, most: usize) -> (usize, &[u8]) {
    let entries = bytes.chunks_exact(2 + size).take(most);
    let like = |entry: &&[u8]| entry[0] == 0 && usize::from(entry[1]) == size;
    let count = entries.take_while(like).count();
    (count, &bytes[count * (2 + size)..])
}

fn long_plain(bytes: &[u8]) -> Option<PlainEntry<'_>> {
    let (flags, content) = bytes.split_first().filter(|(flags, _)| **flags & !TAGGED == 0)?;
    let mut rest = Rest(content);
    let length = rest.length().ok()?;
    let content = rest.bytes(length).ok()?;
    let tag = if *flags == TAGGED { content.first_chunk::<2>()?.len() } else { 0 };
    let is_tag = tag == 0 || content[..tag] != [0, 0];
    let payload = length - tag;
    let length = u32::try_from(length).ok().filter(|_| is_tag)?;
    Some(PlainEntry { length, payload, rest: rest.0 })
}

/// The first number of a DATA, and how many there are.
fn numbers(rest: &mut Rest<'_>) -> Read<(u64, u64)> {
    let (first, count) = (rest.number()?, rest.number()?);
    if first == 0 || count == 0 {
        return Err("numbers begin with 1, and there is one at least".into());
    }
    // Each takes two bytes at least.
    if narrow(count) > rest.0.len() / 2 {
        return Err(format!("{count} entries in {} bytes", rest.0.len()).into());
    }
    if first.checked_add(count).is_none() {
        return Err("a number of over 64 bits".into());
    }
    Ok((first, count))
}

fn entry(rest: &mut Rest<'_>, end: usize) -> Read<Entry> {
    let flags = rest.flags(KNOWN)?;
    let attempt = if flags & ATTEMPT == 0 { 1 } else { rest.attempt()? };
    if flags & ATTEMPT != 0 && attempt <= 1 {
        return Err("an attempt that goes without saying".into());
    }
    if flags & ENVELOPED != 0 && flags & (TAGGED | ABSENT) != 0 {
        return Err("its envelope says tag and absence already".into());
    }
    let length = rest.length()?;
    if flags & VOID != 0 {
        if flags != VOID {
            return Err("a void has no other flag".into());
        }
        return Ok(Entry { flags, attempt, at: end..end });
    }
    let start = end - rest.0.len();
    rest.bytes(length)?;
    Ok(Entry { flags, attempt, at: start..start + length })
}

fn malformed(reason: impl Into<std::borrow::Cow<'static, str>>) -> WireError {
    WireError::malformed("DATA", reason)
}
