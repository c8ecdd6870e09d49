//! Which messages go into one call. No client is touched here, and nothing waits.
//!
//! A call takes at most ten, and so many bytes. One that is not full leaves only while few are under way, so that
//! batches grow with the load and nothing waits where there is none. Small datagrams of a sender that packs share a
//! message, as many as go into what is billed as one call. Of a group of a FIFO queue only one batch is under
//! way, so that what fails is not overtaken.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use seam_core::Datagram;
use tokio::time::Instant;

use crate::mapping::{MOST_PACKED, PACK_BYTES, Written};
use crate::target::Target;

/// A datagram to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The number of its datagram.
    pub(crate) number: u64,
    pub(crate) target: Arc<Target>,
    pub(crate) form: Form,
    /// On a FIFO queue.
    pub(crate) order: Option<Order>,
    /// Seconds until it is delivered.
    pub(crate) delay: Option<i32>,
    /// Since when it may be there without our knowing.
    pub(crate) doubt: Option<Instant>,
}

/// How a datagram is sent.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// As a message of its own.
    Alone(Arc<Written>),
    /// In a message with others, if there are any; the datagram is for where there are none.
    Packed(Bytes, Datagram),
}

impl Form {
    fn size(&self) -> usize {
        match self {
            Self::Alone(message) => message.size,
            Self::Packed(part, _) => part.len(),
        }
    }

    /// What a message that begins with it takes besides.
    fn besides(&self) -> usize {
        match self {
            Self::Alone(_) => 0,
            Self::Packed(..) => PACK_BYTES,
        }
    }
}

/// What a FIFO queue needs of a message.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) group: Arc<str>,
    /// What duplicates are known by.
    pub(crate) duplicate: String,
}

/// What waits to be sent.
#[derive(Default)]
pub(crate) struct Packing {
    waiting: VecDeque<Entry>,
    /// Groups of which a batch is under way, by the URL of their queue.
    busy: HashSet<(Arc<Target>, Arc<str>)>,
    /// Batches under way.
    calls: usize,
}

impl Packing {
    pub(crate) fn push(&mut self, entry: Entry) {
        self.waiting.push_back(entry);
    }

    /// The next batch, if one is to leave now. It is under way until [`Packing::ended`].
    pub(crate) fn take(&mut self) -> Option<Vec<Entry>> {
        if self.calls >= MOST_CALLS {
            return None;
        }
        let (places, is_full) = self.choose();
        if places.is_empty() || (!is_full && self.calls >= MOST_PARTIAL) {
            return None;
        }
        let batch: Vec<_> = if places.last() == Some(&(places.len() - 1)) {
            self.waiting.drain(..places.len()).collect()
        } else {
            let mut batch: Vec<_> =
                places.into_iter().rev().filter_map(|place| self.waiting.remove(place)).collect();
            batch.reverse();
            batch
        };
        self.busy.extend(batch.iter().filter_map(group));
        self.calls += 1;
        Some(batch)
    }

    /// The places of what goes into one call, and whether no more fits.
    fn choose(&self) -> (Vec<usize>, bool) {
        let (mut places, mut call) = (Vec::new(), Call::default());
        let mut target: Option<&Arc<Target>> = None;
        for (place, entry) in self.waiting.iter().enumerate() {
            if group(entry).is_some_and(|group| self.busy.contains(&group)) {
                continue;
            }
            let first = *target.get_or_insert(&entry.target);
            if !Arc::ptr_eq(first, &entry.target) && *first != entry.target {
                continue;
            }
            if !call.takes(entry) {
                return (places, true);
            }
            call.add(entry);
            places.push(place);
            if call.is_full() {
                return (places, true);
            }
        }
        (places, false)
    }

    /// A batch is under way no more; `again` of it is to be sent once more, in its order.
    pub(crate) fn ended(&mut self, batch: &[Entry], again: Vec<Entry>) {
        self.calls -= 1;
        for group in batch.iter().filter_map(group) {
            self.busy.remove(&group);
        }
        for entry in again.into_iter().rev() {
            // Before what was admitted later.
            let place = self.waiting.partition_point(|other| other.number < entry.number);
            self.waiting.insert(place, entry);
        }
    }
}

/// What goes into one call.
#[derive(Default)]
struct Call {
    /// How many datagrams each message has.
    messages: Vec<usize>,
    bytes: usize,
    /// The bytes of the last message, if more datagrams may go into it.
    pack: Option<usize>,
}

impl Call {
    /// Whether it has room for one more datagram; one always fits.
    fn takes(&self, entry: &Entry) -> bool {
        let is_begun = self.shared(entry).is_some();
        let size = entry.form.size() + if is_begun { 0 } else { entry.form.besides() };
        let fits = self.bytes + size <= entry.target.largest.max(LEAST_BATCH);
        self.messages.is_empty() || (fits && (is_begun || self.messages.len() < MOST_ENTRIES))
    }

    /// The bytes of the last message with a datagram more, if it may go into it.
    fn shared(&self, entry: &Entry) -> Option<usize> {
        let is_packed = matches!(entry.form, Form::Packed(..));
        let pack = self.pack.filter(|_| is_packed)? + entry.form.size();
        (pack <= MOST_PACKED).then_some(pack)
    }

    fn add(&mut self, entry: &Entry) {
        let size = entry.form.size();
        match (self.shared(entry), self.messages.last_mut()) {
            (Some(pack), Some(last)) => {
                *last += 1;
                self.pack = Some(pack);
            }
            _ => {
                self.messages.push(1);
                self.pack = matches!(entry.form, Form::Packed(..)).then_some(size);
                self.bytes += entry.form.besides();
            }
        }
        self.bytes += size;
    }

    /// Whether no other message fits, whatever it is.
    fn is_full(&self) -> bool {
        self.messages.len() == MOST_ENTRIES && self.pack.is_none()
    }
}

/// Which of `entries` go into which message of their call: each a range of them. What was chosen for one call still fits
/// when some of it was taken back.
pub(crate) fn messages(entries: &[Entry]) -> Vec<Range<usize>> {
    let mut call = Call::default();
    entries.iter().for_each(|entry| call.add(entry));
    let mut end = 0;
    let range = |count| {
        end += count;
        end - count..end
    };
    call.messages.into_iter().map(range).collect()
}

fn group(entry: &Entry) -> Option<(Arc<Target>, Arc<str>)> {
    entry.order.as_ref().map(|order| (entry.target.clone(), order.group.clone()))
}

/// What SQS takes in one call.
pub(crate) const MOST_ENTRIES: usize = 10;

/// What SQS takes in one call even where one message may have less, in bytes.
const LEAST_BATCH: usize = 256 << 10;

/// Calls under way at once.
const MOST_CALLS: usize = 16;

/// So many before a call waits until it is full.
pub(crate) const MOST_PARTIAL: usize = 2;

#[cfg(test)]
mod tests;
