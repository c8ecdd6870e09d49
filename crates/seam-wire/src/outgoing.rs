//! What waits to be written on one connection.

use std::collections::VecDeque;
use std::io::IoSlice;

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use seam_core::Datagrams;

/// Bytes in the order in which they are written: small things copied into one buffer, large ones by reference.
///
/// Its memory is used again. It has no bound of its own; who fills it looks at [`Outgoing::pending`].
#[derive(Debug, Default)]
pub struct Outgoing {
    buffer: Vec<u8>,
    /// Of `buffer`, what is written.
    head: usize,
    /// What is written at a place of `buffer`, before the bytes that stand there.
    shared: VecDeque<(usize, Chunk)>,
    pending_shared: usize,
    written: u64,
}

/// What is written by reference.
#[derive(Debug)]
enum Chunk {
    Payload(Bytes),
    /// These bytes of the entries of a content.
    Entries(Arc<Datagrams>, Range<usize>),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Payload(bytes) => bytes,
            Self::Entries(content, range) => content
                .entries(0..content.len())
                .map_or(&[], |entries| &entries.bytes[range.clone()]),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Payload(bytes) => bytes.advance(count),
            Self::Entries(_, range) => range.start += count,
        }
    }
}

impl Outgoing {
    /// Payloads from this size on are worth a segment of their own, in bytes.
    pub const SHARED_FROM: usize = Datagrams::SHARED_FROM;

    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where to append. What stands there already must stay as it is.
    #[must_use]
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.head >= COMPACT_FROM && self.head * 2 >= self.buffer.len() {
            self.compact();
        }
        &mut self.buffer
    }

    /// Appends `bytes`: by reference from [`Outgoing::SHARED_FROM`] on, else as a copy.
    pub fn push_shared(&mut self, bytes: Bytes) {
        if bytes.len() < Self::SHARED_FROM {
            self.buffer().extend_from_slice(&bytes);
        } else {
            self.pending_shared += bytes.len();
            self.shared.push_back((self.buffer.len(), Chunk::Payload(bytes)));
        }
    }

    /// Appends these places of `content` as they lie there, by reference where they are enough.
    ///
    /// # Panics
    ///
    /// If they do not lie there as entries.
    pub fn push_entries(&mut self, content: &Arc<Datagrams>, places: Range<usize>) {
        let entries = content.entries(places).expect("the content is packed");
        if entries.bytes.len() < Self::SHARED_FROM {
            self.buffer().extend_from_slice(entries.bytes);
        } else {
            self.pending_shared += entries.bytes.len();
            let range = entries.offset..entries.offset + entries.bytes.len();
            self.shared.push_back((self.buffer.len(), Chunk::Entries(content.clone(), range)));
        }
    }

    /// Bytes that wait.
    #[must_use]
    #[inline]
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.head + self.pending_shared
    }

    /// Fills `slices` with what comes next, and tells how many it filled. Those beyond are untouched.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut filled, mut from) = (0, self.head);
        let mut push = |bytes: &'a [u8]| {
            if bytes.is_empty() {
                return true;
            }
            let Some(slot) = slices.get_mut(filled) else { return false };
            *slot = IoSlice::new(bytes);
            filled += 1;
            true
        };
        for (place, chunk) in &self.shared {
            if !push(&self.buffer[from..*place]) || !push(chunk.bytes()) {
                return filled;
            }
            from = *place;
        }
        push(&self.buffer[from..]);
        filled
    }

    /// Takes away the first `count` bytes, which were written.
    ///
    /// # Panics
    ///
    /// If fewer wait.
    pub fn advance(&mut self, mut count: usize) {
        assert!(count <= self.pending(), "no more is written than waits");
        self.written += crate::number::wide(count);
        while count > 0 {
            let place = self.shared.front().map_or(self.buffer.len(), |(place, _)| *place);
            let copied = count.min(place - self.head);
            self.head += copied;
            count -= copied;
            let Some((_, chunk)) = self.shared.front_mut().filter(|_| count > 0) else { continue };
            let length = chunk.bytes().len();
            let by_reference = count.min(length);
            chunk.advance(by_reference);
            self.pending_shared -= by_reference;
            count -= by_reference;
            if by_reference == length {
                self.shared.pop_front();
            }
        }
        if self.pending() == 0 {
            self.clear();
        }
    }

    /// Bytes written so far, in all.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Forgets what waits, as when the connection is gone; keeps memory of common size.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEEP);
        self.shared.clear();
        self.head = 0;
        self.pending_shared = 0;
    }

    fn compact(&mut self) {
        self.buffer.drain(..self.head);
        for (place, _) in &mut self.shared {
            *place -= self.head;
        }
        self.head = 0;
    }
}

/// What is written is cut off the buffer once it is this much, and at least half of it.
const COMPACT_FROM: usize = 64 << 10;

/// The most memory that an empty one keeps.
const KEEP: usize = 1 << 20;
