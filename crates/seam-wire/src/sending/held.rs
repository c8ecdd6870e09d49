//! What was admitted, by number, until its outcome is known.

use std::ops::Range;

use seam_core::View;

use super::{Parcel, Sending};
use crate::data::{self, content_flags, plain_length, prefix};
use crate::number::{narrow, wide};

/// A run of consecutive numbers of one parcel.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) first: u64,
    pub(super) numbers: u64,
    /// Of all its content.
    pub(super) bytes: u64,
    pub(super) parcel: Parcel,
    pub(super) form: Form,
}

/// How the numbers of a run are written.
#[derive(Debug)]
pub(super) enum Form {
    /// As the parcel has them in memory, which are so many bytes.
    Packed(usize),
    /// Each is a datagram, with content of these lengths.
    Mixed(Box<[u32]>),
    /// All of them are one datagram, with this much content in each but the last.
    Fragments(u64),
}

impl Held {
    pub(super) fn end(&self) -> u64 {
        self.first + self.numbers
    }

    /// Which datagrams of the parcel have their outcome told by these numbers; a datagram by its last one.
    fn told_by(&self, numbers: &Range<u64>) -> Range<usize> {
        let from = numbers.start.max(self.first) - self.first;
        let until = numbers.end.min(self.end()).saturating_sub(self.first);
        match self.form {
            Form::Fragments(_) if until == self.numbers && from < until => 0..1,
            Form::Fragments(_) => 0..0,
            Form::Packed(_) | Form::Mixed(_) => narrow(from)..narrow(until),
        }
    }

    /// Which of the parcel's content these places are.
    pub(super) fn within(&self, places: Range<u64>) -> Range<usize> {
        let start = self.parcel.range.start;
        start + narrow(places.start)..start + narrow(places.end)
    }

    pub(super) fn view(&self, place: u64) -> View<'_> {
        self.parcel.content.view(self.parcel.range.start + narrow(place))
    }
}

impl Parcel {
    /// Takes the first `count` away.
    fn split_front(&mut self, count: usize) -> Self {
        let mut front = self.clone();
        front.range.end = self.range.start + count;
        self.skip(count);
        front
    }

    fn skip(&mut self, count: usize) {
        self.range.start += count;
        self.place += u32::try_from(count).expect("places fit into 32 bits");
    }
}

impl Sending {
    /// Numbers datagrams from the front of `parcel`, as many as there is credit for, and tells how many. The
    /// others stay where they are.
    ///
    /// A datagram may be begun while any byte of credit is left, so one of any size passes at last. Each must be
    /// within the limits of the peer's OPEN.
    pub fn admit(&mut self, mut parcel: Parcel) -> usize {
        let all = parcel.range.len();
        loop {
            let run = self.measure(&parcel);
            let count = run.count;
            if count == 0 {
                return all - parcel.range.len();
            }
            if count == parcel.range.len() {
                self.hold(parcel, run);
                return all;
            }
            let front = parcel.split_front(count);
            self.hold(front, run);
        }
    }

    fn hold(&mut self, parcel: Parcel, run: Run) {
        let (first, bytes) = (self.next, run.bytes);
        self.next += run.numbers;
        self.next_bytes += bytes;
        self.admitted += wide(run.count);
        self.held.push_back(Held { first, numbers: run.numbers, bytes, parcel, form: run.form });
    }

    /// The longest run at the front of `parcel` that may be admitted and has one form.
    fn measure(&mut self, parcel: &Parcel) -> Run {
        let credit = self.credit().min(parcel.range.len());
        let places = parcel.range.start..parcel.range.start + credit;
        let room = if mutant!(CountOnly) { u64::MAX } else { self.room_bytes() };
        let whole = wide(parcel.content.longest() + TAG) <= self.fragment();
        let again = parcel.attempt > 1 || parcel.possible_duplicate;
        if !whole || again || parcel.content.entries(places.clone()).is_none() {
            return self.measure_mixed(places, parcel, room);
        }
        measure_packed(places, parcel, room)
    }

    fn measure_mixed(&mut self, places: Range<usize>, parcel: &Parcel, room: u64) -> Run {
        let fragment = self.fragment();
        let (mut lengths, mut bytes) = (Vec::new(), 0);
        for view in parcel.content.views(places) {
            let length = self.content_length(view);
            if length > fragment && lengths.is_empty() {
                let numbers = length.div_ceil(fragment);
                return Run { count: 1, numbers, bytes: length, form: Form::Fragments(fragment) };
            }
            if length > fragment || bytes >= room {
                break;
            }
            bytes += length;
            lengths.push(u32::try_from(length).expect("a fragment fits into a frame"));
        }
        let count = lengths.len();
        Run { count, numbers: wide(count), bytes, form: Form::Mixed(lengths.into()) }
    }

    fn content_length(&mut self, view: View<'_>) -> u64 {
        let before = match content_flags(view) {
            0 | data::ABSENT => 0,
            _ => {
                prefix(view, &mut self.slot, &mut self.prefix);
                self.prefix.len()
            }
        };
        wide(before + view.payload().map_or(0, <[u8]>::len))
    }

    /// Tells, for each run of datagrams whose outcome these numbers tell: token, places, and whether they were
    /// ever written.
    pub(super) fn each_place(
        &self,
        numbers: Range<u64>,
        mut tell: impl FnMut(u64, Range<u32>, bool),
    ) {
        let from = self.held.partition_point(|held| held.end() <= numbers.start);
        for held in self.held.range(from..).take_while(|held| held.first < numbers.end) {
            let told = held.told_by(&numbers);
            let place = |index: usize| {
                held.parcel.place + u32::try_from(index).expect("places fit into 32 bits")
            };
            // A datagram is written from its first number on.
            let sent = match held.form {
                Form::Fragments(_) if self.written > held.first => 1,
                Form::Fragments(_) => 0,
                Form::Packed(_) | Form::Mixed(_) => narrow(self.written.saturating_sub(held.first)),
            };
            let between = sent.clamp(told.start, told.end);
            for (part, sent) in [(told.start..between, true), (between..told.end, false)] {
                if !part.is_empty() {
                    tell(held.parcel.token, place(part.start)..place(part.end), sent);
                }
            }
        }
    }

    /// Drops what lies at the front and has its outcome.
    pub(super) fn release_front(&mut self) {
        while self.held.front().is_some_and(|held| held.end() <= self.acked + 1) {
            self.held.pop_front();
        }
    }
}

/// The front of a parcel, measured.
struct Run {
    count: usize,
    numbers: u64,
    bytes: u64,
    form: Form,
}

/// Bytes of a tag.
const TAG: usize = 2;

/// Those of `places` that may be begun with `room` bytes of credit, as they lie in memory.
fn measure_packed(places: Range<usize>, parcel: &Parcel, room: u64) -> Run {
    let content = |places| {
        parcel.content.entries(places).map_or((0, 0), |e| (e.bytes.len(), wide(e.content)))
    };
    let (mut packed, mut bytes) = content(places.clone());
    let mut count = places.len();
    if bytes > room {
        let mut begun = 0;
        let fits = parcel.content.views(places.clone()).take_while(|view| {
            let fits = begun < room;
            begun += wide(plain_length(*view));
            fits
        });
        count = fits.count();
        (packed, bytes) = content(places.start..places.start + count);
    }
    Run { count, numbers: wide(count), bytes, form: Form::Packed(packed) }
}
