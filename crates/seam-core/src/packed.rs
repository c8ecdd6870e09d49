//! Datagrams without envelope, one behind the other in a buffer: cheaper to fill, to hand on and to read than
//! values of their own.

use std::ops::Range;

use crate::{Datagram, View};

/// For drivers: how datagrams without envelope lie one behind the other in what was read.
///
/// [`Framing::Entry`] is also how a [`Batch`](crate::Batch) keeps them, so that a link writes them as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// The entries of a DATA frame of `docs/wire.md`, of flags [`Framing::TAGGED`] and [`Framing::ABSENT`]
    /// alone: flags, the length as LEB128, the tag in two bytes, big-endian, where there is one, and the payload.
    Entry,
    /// The frames of version 1 of `docs/wire.md`: four bytes of size, big-endian, which is 4 and the payload's, two
    /// of version, two of tag, and the payload.
    Header,
}

/// Where a datagram lies.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spot {
    tag: u16,
    absent: bool,
    start: usize,
    /// Where the next one begins.
    pub(crate) end: usize,
}

impl Framing {
    /// Of an entry's flags: a tag other than 0 stands before the payload.
    pub const TAGGED: u8 = 32;
    /// Of an entry's flags: there is no payload, which differs from an empty one.
    pub const ABSENT: u8 = 128;

    /// The `count` datagrams that lie one behind the other from `offset` on.
    ///
    /// # Panics
    ///
    /// If they do not, once they are read.
    pub fn views(
        self,
        bytes: &[u8],
        offset: usize,
        count: usize,
    ) -> impl Iterator<Item = View<'_>> {
        Spots { framing: self, bytes, offset, left: count }
    }

    /// Where the datagram begins that is the `count`th after the one at `offset`.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    #[must_use]
    pub fn skip(self, bytes: &[u8], offset: usize, count: usize) -> usize {
        (0..count).fold(offset, |offset, _| self.read(bytes, offset).end)
    }

    /// The datagram that begins at `at`.
    ///
    /// # Panics
    ///
    /// If none does.
    #[inline]
    pub(crate) fn read(self, bytes: &[u8], at: usize) -> Spot {
        match self {
            Self::Entry => entry(bytes, at),
            Self::Header => header(bytes, at),
        }
    }
}

#[inline]
fn header(bytes: &[u8], at: usize) -> Spot {
    let Some(&[a, b, c, d, _, _, tag, tag_low]) = bytes[at..].first_chunk() else {
        panic!("no header at {at}")
    };
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let tag = u16::from_be_bytes([tag, tag_low]);
    Spot { tag, absent: false, start: at + 8, end: at + 4 + size }
}

#[inline]
fn entry(bytes: &[u8], at: usize) -> Spot {
    let (start, length) = match bytes[at..] {
        [0, length @ 0..0x80, ..] => (at + 2, usize::from(length)),
        [0, low, high @ 0..0x80, ..] => (at + 3, usize::from(low & 0x7f) | usize::from(high) << 7),
        _ => return any_entry(bytes, at),
    };
    Spot { tag: 0, absent: false, start, end: start + length }
}

fn any_entry(bytes: &[u8], at: usize) -> Spot {
    let flags = bytes[at];
    let (mut start, mut length, mut shift) = (at + 1, 0, 0);
    loop {
        let byte = bytes[start];
        start += 1;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    let end = start + length;
    let tagged = flags & Framing::TAGGED != 0;
    let tag = if tagged { u16::from_be_bytes([bytes[start], bytes[start + 1]]) } else { 0 };
    let start = if tagged { start + 2 } else { start };
    Spot { tag, absent: flags & Framing::ABSENT != 0, start, end }
}

impl Spot {
    #[inline]
    pub(crate) fn view(self, bytes: &[u8]) -> View<'_> {
        let payload = if self.absent { None } else { Some(&bytes[self.payload()]) };
        View { tag: self.tag, payload, shared: None, envelope: None }
    }

    pub(crate) fn payload(self) -> Range<usize> {
        self.start..self.end
    }

    pub(crate) fn tag(self) -> u16 {
        self.tag
    }
}

/// Entries that were written here, and where every so many of them stand.
#[derive(Default)]
pub(crate) struct Packed {
    /// As long as it ever was; what is behind `used` means nothing.
    buffer: Vec<u8>,
    used: usize,
    len: usize,
    /// Bytes of payload, and entries with a tag.
    size: usize,
    tagged: usize,
    marks: Vec<Mark>,
    /// Room that is made first, in bytes.
    expected: usize,
}

/// A place between two entries, and what is before it.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) offset: usize,
    /// Bytes of payload.
    pub(crate) size: usize,
    /// Entries with a tag.
    pub(crate) tagged: usize,
}

/// A mark for so many entries: whoever seeks one reads fewer.
const EVERY: usize = 64;
/// Room that is made at once, in bytes.
const LEAST: usize = 128;

impl Packed {
    #[inline]
    pub(crate) fn push(&mut self, tag: u16, payload: &[u8]) {
        self.mark();
        self.size += payload.len();
        let end = self.used + 2 + payload.len();
        if let (0, Some([flags, length, room @ ..])) = (tag, self.buffer.get_mut(self.used..end))
            && let Ok(size @ 0..0x80) = u8::try_from(payload.len())
        {
            (*flags, *length) = (0, size);
            match (
                <&mut [u8; Datagram::INLINE]>::try_from(&mut *room),
                <&[u8; _]>::try_from(payload),
            ) {
                // The most common length in moves of known size.
                (Ok(room), Ok(full)) => *room = *full,
                _ => room.copy_from_slice(payload),
            }
            self.used = end;
        } else {
            self.put_head(0, tag, payload.len());
            self.put(payload);
        }
    }

    /// Appends a datagram without payload.
    pub(crate) fn push_absent(&mut self, tag: u16) {
        self.mark();
        self.put_head(Framing::ABSENT, tag, 0);
    }

    #[inline]
    fn mark(&mut self) {
        if self.len.is_multiple_of(EVERY) {
            self.marks.push(self.end());
        }
        self.len += 1;
    }

    fn end(&self) -> Mark {
        Mark { offset: self.used, size: self.size, tagged: self.tagged }
    }

    /// Writes what stands before a payload of `size` bytes.
    fn put_head(&mut self, flags: u8, tag: u16, size: usize) {
        let tagged = tag != 0;
        self.tagged += usize::from(tagged);
        let flags = flags | if tagged { Framing::TAGGED } else { 0 };
        let length = size + if tagged { 2 } else { 0 };
        let part = |bits: usize| u8::try_from(bits).expect("what is packed is below 16 KiB");
        match (part(length & 0x7f), part(length >> 7)) {
            (low, 0) => self.put(&[flags, low]),
            (low, high) => self.put(&[flags, 0x80 | low, high]),
        }
        if tagged {
            self.put(&tag.to_be_bytes());
        }
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let end = self.used + bytes.len();
        if self.buffer.len() < end {
            // Little beyond what is needed: it may have to wait for long, with many others.
            self.buffer.resize((end + end / 4).max(self.expected).max(LEAST), 0);
        }
        self.buffer[self.used..end].copy_from_slice(bytes);
        self.used = end;
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.used]
    }

    /// Bytes of payload.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Where the entry at `at` begins; the end where there are no more.
    pub(crate) fn seek(&self, at: usize) -> Mark {
        if at >= self.len {
            return self.end();
        }
        let mut mark = self.marks[at / EVERY];
        for _ in 0..at % EVERY {
            let spot = Framing::Entry.read(&self.buffer, mark.offset);
            mark.offset = spot.end;
            mark.size += spot.payload().len();
            mark.tagged += usize::from(spot.tag != 0);
        }
        mark
    }

    pub(crate) fn spot(&self, at: usize) -> Spot {
        Framing::Entry.read(&self.buffer, self.seek(at).offset)
    }

    /// About as much will come as `other` has.
    pub(crate) fn expect_like(&mut self, other: &Self) {
        self.expected = other.used;
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.marks.clear();
        (self.len, self.size, self.tagged) = (0, 0, 0);
    }
}

/// Reads one after the other.
pub(crate) struct Spots<'a> {
    pub(crate) framing: Framing,
    pub(crate) bytes: &'a [u8],
    pub(crate) offset: usize,
    pub(crate) left: usize,
}

impl<'a> Iterator for Spots<'a> {
    type Item = View<'a>;

    #[inline]
    fn next(&mut self) -> Option<View<'a>> {
        self.left = self.left.checked_sub(1)?;
        let spot = self.framing.read(self.bytes, self.offset);
        self.offset = spot.end;
        Some(spot.view(self.bytes))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
