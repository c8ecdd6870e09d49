//! From what is held to frames of DATA.

use std::ops::Range;

use seam_core::View;

use super::Sending;
use super::held::{Form, Held};
use crate::data::{
    MORE, VOID, attempt_flags, content_flags, entry_overhead, plain_length, prefix, put_entry,
    put_payload,
};
use crate::frame::{VERSION, kind};
use crate::limits::{DATA_OVERHEAD, DATA_TARGET};
use crate::number::{narrow, put, size, wide};
use crate::{Header, Outgoing};

impl Sending {
    /// Writes what is admitted and not yet transmitted on this connection, frame by frame while fewer than `budget`
    /// bytes wait in `out`.
    pub fn transmit(&mut self, channel: u8, out: &mut Outgoing, budget: usize) {
        while self.connected && self.cursor < self.next && out.pending() < budget {
            let stop =
                self.known.next_run(self.cursor).map_or(self.next, |run| run.start.min(self.next));
            let front = self.held.partition_point(|held| held.end() <= self.cursor);
            let numbers = if stop == self.cursor {
                self.void(front, channel, out)
            } else {
                self.data(front, stop, channel, out)
            };
            self.cursor = numbers.end;
            self.written = self.written.max(self.cursor);
        }
    }

    fn data(&mut self, front: usize, stop: u64, channel: u8, out: &mut Outgoing) -> Range<u64> {
        let (numbers, body) = self.plan(front, stop);
        begin(&numbers, body, channel, out);
        let (mut slot, mut before) =
            (std::mem::take(&mut self.slot), std::mem::take(&mut self.prefix));
        for held in self.held.range(front..).take_while(|held| held.first < numbers.end) {
            let from = numbers.start.max(held.first) - held.first;
            let until = numbers.end.min(held.end()) - held.first;
            match &held.form {
                Form::Packed(_) => held.write_packed(from..until, out),
                Form::Mixed(lengths) => {
                    held.write_mixed(from..until, lengths, &mut slot, &mut before, out);
                }
                Form::Fragments(fragment) => {
                    held.write_fragment(from, *fragment, &mut slot, &mut before, out);
                }
            }
        }
        (self.slot, self.prefix) = (slot, before);
        numbers
    }

    /// Which numbers the next frame holds, and how many bytes their entries take.
    fn plan(&self, front: usize, stop: u64) -> (Range<u64>, usize) {
        let target = DATA_TARGET.min(self.max_frame - DATA_OVERHEAD);
        let (mut number, mut body) = (self.cursor, 0);
        for held in self.held.range(front..) {
            let until = held.end().min(stop);
            let whole = number == held.first && until == held.end();
            if whole && body + held.entries() <= target {
                number = until;
                body += held.entries();
                continue;
            }
            // What lies together is not cut, where a frame of its own holds it.
            if whole && body > 0 && held.entries() <= target {
                break;
            }
            let fits = held.fitting(number..until, target, &mut body);
            number += fits;
            if number < until || number == stop {
                break;
            }
        }
        (self.cursor..number, body)
    }

    /// The next number has its outcome already, which the receiving half forgot: it is skipped there.
    #[cold]
    fn void(&self, front: usize, channel: u8, out: &mut Outgoing) -> Range<u64> {
        let length = self.held[front].length(self.cursor);
        let numbers = self.cursor..self.cursor + 1;
        begin(&numbers, 1 + size(length), channel, out);
        put_entry(VOID, 1, length, out.buffer());
        numbers
    }
}

/// Writes everything before the entries.
fn begin(numbers: &Range<u64>, entries: usize, channel: u8, out: &mut Outgoing) {
    let first = if mutant!(NarrowNumber) { numbers.start & 0xff } else { numbers.start };
    let count = numbers.end - numbers.start;
    let body = size(first) + size(count) + entries;
    let buffer = out.buffer();
    buffer.extend_from_slice(
        &Header { version: VERSION, kind: kind::DATA, channel, body }.to_bytes(),
    );
    put(buffer, first);
    put(buffer, count);
}

impl Held {
    /// Bytes of all entries.
    fn entries(&self) -> usize {
        match &self.form {
            Form::Packed(bytes) => *bytes,
            // Summed up entry by entry instead.
            Form::Mixed(_) | Form::Fragments(_) => usize::MAX / 2,
        }
    }

    /// How many of `numbers` fit a frame of `target` bytes that has `body`, of which it has one at least; adds them.
    fn fitting(&self, numbers: Range<u64>, target: usize, body: &mut usize) -> u64 {
        let mut fits = |entry: usize| {
            let fits = *body == 0 || *body + entry <= target;
            *body += if fits { entry } else { 0 };
            fits
        };
        let count = match &self.form {
            Form::Packed(_) => {
                let places = self.within(numbers.start - self.first..numbers.end - self.first);
                self.parcel.content.views(places).take_while(|view| fits(packed(*view))).count()
            }
            Form::Mixed(_) | Form::Fragments(_) => {
                numbers.take_while(|number| fits(self.entry(*number))).count()
            }
        };
        wide(count)
    }

    /// Bytes of the entry of `number`.
    fn entry(&self, number: u64) -> usize {
        let length = self.length(number);
        entry_overhead(self.parcel.attempt, length) + narrow(length)
    }

    /// Bytes of the content of `number`.
    fn length(&self, number: u64) -> u64 {
        let place = number - self.first;
        match &self.form {
            Form::Packed(_) => wide(plain_length(self.view(place))),
            Form::Mixed(lengths) => lengths[narrow(place)].into(),
            Form::Fragments(fragment) => (self.bytes - place * fragment).min(*fragment),
        }
    }

    fn flags(&self) -> u8 {
        attempt_flags(self.parcel.attempt, self.parcel.possible_duplicate)
    }

    fn write_packed(&self, places: Range<u64>, out: &mut Outgoing) {
        out.push_entries(&self.parcel.content, self.within(places));
    }

    fn write_mixed(
        &self,
        places: Range<u64>,
        lengths: &[u32],
        slot: &mut Vec<u8>,
        before: &mut Vec<u8>,
        out: &mut Outgoing,
    ) {
        let lengths = &lengths[narrow(places.start)..narrow(places.end)];
        let flags = self.flags();
        for (view, length) in self.parcel.content.views(self.within(places)).zip(lengths) {
            prefix(view, slot, before);
            let buffer = out.buffer();
            put_entry(flags | content_flags(view), self.parcel.attempt, (*length).into(), buffer);
            buffer.extend_from_slice(before);
            put_payload(view, 0..view.payload().map_or(0, <[u8]>::len), out);
        }
    }

    fn write_fragment(
        &self,
        place: u64,
        fragment: u64,
        slot: &mut Vec<u8>,
        before: &mut Vec<u8>,
        out: &mut Outgoing,
    ) {
        let view = self.view(0);
        prefix(view, slot, before);
        let start = place * fragment;
        let part = narrow(start)..narrow((start + fragment).min(self.bytes));
        let more = if place + 1 < self.numbers { MORE } else { 0 };
        let flags = more | self.flags() | content_flags(view);
        let buffer = out.buffer();
        put_entry(flags, self.parcel.attempt, wide(part.len()), buffer);
        let ahead = before.len();
        buffer.extend_from_slice(&before[part.start.min(ahead)..part.end.min(ahead)]);
        put_payload(view, part.start.saturating_sub(ahead)..part.end.saturating_sub(ahead), out);
    }
}

/// Bytes of the entry of a plain datagram that is sent for the first time.
fn packed(view: View<'_>) -> usize {
    let length = plain_length(view);
    entry_overhead(1, wide(length)) + length
}
