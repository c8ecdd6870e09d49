//! Which messages go into one call. No client is touched here, and nothing waits.
//!
//! A call takes at most ten, and so many bytes. One that is not full leaves only while few are under way, so that
//! batches grow with the load and nothing waits where there is none. Of a group of a FIFO queue only one batch is under
//! way, so that what fails is not overtaken.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use crate::mapping::Written;
use crate::target::Target;

/// A message to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The number of its datagram.
    pub(crate) number: u64,
    pub(crate) target: Arc<Target>,
    pub(crate) message: Arc<Written>,
    /// On a FIFO queue.
    pub(crate) order: Option<Order>,
    /// Seconds until it is delivered.
    pub(crate) delay: Option<i32>,
    /// Since when it may be there without our knowing.
    pub(crate) doubt: Option<Instant>,
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
        let mut batch = Vec::with_capacity(places.len());
        for place in places.into_iter().rev() {
            batch.extend(self.waiting.remove(place));
        }
        batch.reverse();
        self.busy.extend(batch.iter().filter_map(group));
        self.calls += 1;
        Some(batch)
    }

    /// The places of what goes into one call, and whether no more fits.
    fn choose(&self) -> (Vec<usize>, bool) {
        let (mut places, mut bytes) = (Vec::new(), 0);
        let mut target: Option<&Arc<Target>> = None;
        for (place, entry) in self.waiting.iter().enumerate() {
            if group(entry).is_some_and(|group| self.busy.contains(&group)) {
                continue;
            }
            let first = *target.get_or_insert(&entry.target);
            if !Arc::ptr_eq(first, &entry.target) && *first != entry.target {
                continue;
            }
            if bytes + entry.message.size > first.largest.max(LEAST_BATCH) && !places.is_empty() {
                return (places, true);
            }
            bytes += entry.message.size;
            places.push(place);
            if places.len() == MOST_ENTRIES {
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
const MOST_PARTIAL: usize = 2;

#[cfg(test)]
mod tests;
