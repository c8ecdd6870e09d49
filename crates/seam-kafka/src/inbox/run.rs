//! Records of one partition that were read together: kept as one, and handed out as one where that can be.

use std::ops::Range;
use std::sync::Arc;

use seam_core::{Datagram, Datagrams, Note, Position, Timestamp, Value};

/// What a record says of its time, and whose time that is.
type Time = Option<(&'static str, Timestamp)>;

/// Records of one partition as they are read, in order.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) partition: i32,
    datagrams: Datagrams,
    marks: Vec<Mark>,
    size: usize,
}

/// What is to be known of a record beside its datagram.
#[derive(Clone, Copy)]
struct Mark {
    offset: i64,
    time: Time,
    /// As credit counts it, in bytes.
    size: usize,
}

impl Gathered {
    /// Nothing yet, in the memory of `spare`, which is empty.
    pub(crate) fn new(partition: i32, spare: Option<Self>) -> Self {
        Self { partition, ..spare.unwrap_or_default() }
    }

    /// Whether a record of `partition` may join. Nothing is let go of before all of it is settled, so it has an end.
    pub(crate) fn takes(&self, partition: i32) -> bool {
        self.partition == partition && self.marks.len() < LONG && self.size < LARGE
    }

    /// Adds a record that has a payload, and neither key nor headers.
    pub(crate) fn push_plain(&mut self, offset: i64, time: Time, payload: &[u8]) {
        self.mark(offset, time, payload.len());
        self.datagrams.push_bytes(0, payload);
    }

    /// Adds any record.
    pub(crate) fn push(&mut self, offset: i64, time: Time, datagram: Datagram) {
        self.mark(offset, time, datagram.view().size());
        self.datagrams.push(datagram);
    }

    fn mark(&mut self, offset: i64, time: Time, size: usize) {
        self.marks.push(Mark { offset, time, size });
        self.size += size;
    }

    /// Bytes of all of them, as credit counts them.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn offsets(&self) -> impl Iterator<Item = i64> {
        self.marks.iter().map(|mark| mark.offset)
    }

    /// Each of them, for the first time.
    pub(super) fn into_items(self) -> impl Iterator<Item = Item> {
        let Self { partition, datagrams, marks, .. } = self;
        let count = marks.len();
        let run = Arc::new(Run { partition, datagrams: Arc::new(datagrams), marks });
        (0..count).map(move |place| Item { run: run.clone(), place, attempt: 1 })
    }
}

/// The same once nothing is added any more.
struct Run {
    partition: i32,
    datagrams: Arc<Datagrams>,
    marks: Vec<Mark>,
}

/// One record in an inbox.
pub(super) struct Item {
    run: Arc<Run>,
    place: usize,
    pub(super) attempt: u32,
}

impl Item {
    pub(super) fn partition(&self) -> i32 {
        self.run.partition
    }

    pub(super) fn offset(&self) -> i64 {
        self.run.marks[self.place].offset
    }

    pub(super) fn size(&self) -> usize {
        self.run.marks[self.place].size
    }

    pub(super) fn datagram(&self) -> Datagram {
        self.run.datagrams.datagram(self.place)
    }

    /// What is to say of its delivery; `seen` if a member before us may have settled it.
    pub(super) fn note(&self, seen: bool) -> Note {
        let Mark { offset, time, .. } = self.run.marks[self.place];
        let mut note = Note::attempt(self.attempt);
        note.position = Some(Position::Offset { partition: self.run.partition, offset });
        if let Some((name, time)) = time {
            note.native.push((name.into(), Value::Time(time)));
        }
        note.possible_duplicate = seen || self.attempt > 1;
        note
    }

    /// Whether this is a first attempt, and next to `last` in what was read, so that both may be lent as they lie.
    pub(super) fn follows(&self, last: Option<&Self>) -> bool {
        let next = |last: &Self| Arc::ptr_eq(&self.run, &last.run) && self.place == last.place + 1;
        self.attempt == 1 && last.map_or_else(|| !self.run.datagrams.has_envelopes(), next)
    }

    /// What it and the `count - 1` behind it were read in, and where they lie there.
    pub(super) fn stretch(&self, count: usize) -> (Arc<Datagrams>, Range<usize>) {
        (self.run.datagrams.clone(), self.place..self.place + count)
    }

    /// It is settled: what is left of what it was read in, if it was the last.
    pub(super) fn end(self) -> Option<Gathered> {
        let Run { partition, datagrams, mut marks } = Arc::into_inner(self.run)?;
        let mut datagrams = Arc::into_inner(datagrams)?;
        datagrams.clear();
        marks.clear();
        Some(Gathered { partition, datagrams, marks, size: 0 })
    }

    /// The next attempt, which keeps nothing but itself.
    pub(super) fn again(&self) -> Self {
        let mark = self.run.marks[self.place];
        let datagrams = Arc::new(Datagrams::from_iter([self.datagram()]));
        let run = Run { partition: self.run.partition, datagrams, marks: vec![mark] };
        Self { run: Arc::new(run), place: 0, attempt: self.attempt.saturating_add(1) }
    }
}

/// How many records, and about how many bytes, are gathered at most.
const LONG: usize = 1024;
const LARGE: usize = 256 << 10;
