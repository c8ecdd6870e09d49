//! What was read of one partition, and how far it is settled.

use std::collections::VecDeque;
use std::time::Duration;

use super::run::Item;

/// One partition, from its assignment to its revocation.
#[derive(Default)]
pub(super) struct Partition {
    pub(super) generation: u64,
    /// What lies before this offset may have been delivered to a member before us.
    pub(super) seen: i64,
    pub(super) ready: VecDeque<Item>,
    pub(super) parked: Vec<(Duration, Item)>,
    /// Offsets read and not committed, and whether each is done.
    pub(super) log: VecDeque<(i64, bool)>,
    /// How many of them, from the first, lie below the watermark.
    pub(super) below: usize,
    /// How many of them were handed out: they come again if this member dies.
    pub(super) window: usize,
    /// What to read next, once all below is done.
    pub(super) watermark: Option<i64>,
    pub(super) committed: Option<i64>,
    /// The member that has some of it, and how many.
    pub(super) holder: Option<u64>,
    pub(super) in_hand: usize,
}

impl Partition {
    /// Notes that the record at `offset` was read.
    pub(super) fn read(&mut self, offset: i64) {
        self.watermark.get_or_insert(offset);
        // What a start of our own jumped over, or a compaction took out, is done.
        if self.log.len() == self.below {
            self.watermark = self.watermark.max(Some(offset));
        }
        self.log.push_back((offset, false));
    }

    /// What comes next, for `member`.
    pub(super) fn hand_out(&mut self, member: u64) -> Option<Item> {
        let item = self.ready.pop_front()?;
        self.window += usize::from(item.attempt == 1);
        self.in_hand += 1;
        self.holder = Some(member);
        Some(item)
    }

    pub(super) fn done(&mut self, offset: i64) {
        // Mostly it is the first that is open.
        let place = match self.log.get(self.below) {
            Some((first, _)) if *first == offset => Ok(self.below),
            _ => self.log.binary_search_by_key(&offset, |(offset, _)| *offset),
        };
        if let Ok(at) = place {
            self.log[at].1 = true;
        }
        while let Some((offset, true)) = self.log.get(self.below) {
            // Kafka commits the offset to read next, not the one just read.
            self.watermark = self.watermark.max(offset.checked_add(1));
            self.below += 1;
        }
    }

    /// What lies before `offset` is committed.
    pub(super) fn forget(&mut self, offset: Option<i64>) {
        while self.below > 0
            && let Some((first, _)) = self.log.front()
            && Some(*first) < offset
        {
            self.log.pop_front();
            self.below -= 1;
            self.window -= 1;
        }
    }

    /// Whether what comes next is new, and may not be handed out yet.
    pub(super) fn is_blocked(&self, credit: usize) -> bool {
        self.window >= credit && self.ready.front().is_some_and(|next| next.attempt == 1)
    }

    /// Makes ready, in the order of their offsets, what was parked and is due.
    pub(super) fn unpark(&mut self, now: Duration) {
        if self.parked.iter().all(|(due, _)| *due > now) {
            return;
        }
        let parked = std::mem::take(&mut self.parked);
        let (due, parked): (Vec<_>, Vec<_>) = parked.into_iter().partition(|(due, _)| *due <= now);
        self.parked = parked;
        for (_, item) in due {
            let place = self.ready.partition_point(|ready| ready.offset() < item.offset());
            self.ready.insert(place, item);
        }
    }
}
