//! What was read and is not settled: by partition and assignment, with a watermark that only rises. No client is
//! touched here, and nothing waits.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use seam_core::Deliveries;
use seam_core::driver::{Board, Harvest, Harvester};

pub(crate) use partition::Record;
use partition::{Item, Partition};

/// What was read by one consumer, and who has it.
#[derive(Default)]
pub(crate) struct Inbox {
    partitions: BTreeMap<i32, Partition>,
    boards: HashMap<u64, Handed>,
    members: HashMap<u64, Member>,
    numbers: u64,
    generation: u64,
    /// Read and in nobody's hand.
    held: usize,
    held_bytes: usize,
    harvest: Harvest,
    /// Whether nothing is ever committed.
    private: bool,
}

/// A receiver.
#[derive(Default)]
struct Member {
    in_hand: usize,
    in_hand_bytes: usize,
    late: u64,
    waker: Option<Waker>,
}

/// A batch in a receiver's hands.
struct Handed {
    board: Arc<Board>,
    member: u64,
    slots: Vec<Option<Slot>>,
    open: usize,
}

struct Slot {
    generation: u64,
    item: Item,
}

/// A partition that is ours from now on.
pub(crate) struct Assigned {
    pub(crate) partition: i32,
    /// Where reading begins, if not where the group was.
    pub(crate) start: Option<i64>,
    /// What lies before this offset may have been delivered before.
    pub(crate) seen: i64,
}

/// What a receiver may be given.
pub(crate) struct Most {
    /// Deliveries that it asked for.
    pub(crate) asked: usize,
    /// Deliveries, with those that it has.
    pub(crate) credit: usize,
    /// Bytes, with those that it has; one delivery always fits.
    pub(crate) bytes: usize,
}

/// What may be read.
#[derive(Clone, Copy, Default)]
pub(crate) struct Room {
    pub(crate) records: usize,
    /// Of all of them; one more may lie across.
    pub(crate) bytes: usize,
}

impl Room {
    pub(crate) fn is_none(self) -> bool {
        self.records == 0 || self.bytes == 0
    }
}

/// Deliveries that are nobody's any more; to be revoked without a lock.
pub(crate) type Revoked = Vec<(Arc<Board>, Range<u32>)>;

impl Inbox {
    /// An inbox of which nothing is ever committed.
    pub(crate) fn private() -> Self {
        Self { private: true, ..Self::default() }
    }

    /// A new receiver; its number.
    pub(crate) fn join(&mut self) -> u64 {
        self.numbers += 1;
        self.members.insert(self.numbers, Member::default());
        self.numbers
    }

    /// A receiver goes; what it has stays its own to settle.
    pub(crate) fn leave(&mut self, member: u64) -> Vec<Waker> {
        self.members.remove(&member);
        for partition in self.partitions.values_mut() {
            if partition.holder == Some(member) {
                partition.holder = None;
            }
        }
        self.wakers()
    }

    /// Partitions are ours from now on.
    pub(crate) fn assign(&mut self, partitions: impl Iterator<Item = Assigned>) {
        for Assigned { partition, start, seen } in partitions {
            self.generation += 1;
            let generation = self.generation;
            // A start of our own is committed like anything else, so that the group keeps it.
            let state = Partition { generation, seen, watermark: start, ..Partition::default() };
            self.partitions.insert(partition, state);
        }
    }

    /// Lets go of what of these partitions is in nobody's hand; whether something of them is in somebody's.
    pub(crate) fn quiet(&mut self, partitions: &[i32]) -> bool {
        let mut busy = false;
        for number in partitions {
            let Some(partition) = self.partitions.get_mut(number) else { continue };
            let parked = partition.parked.drain(..).map(|(_, item)| item);
            for item in partition.ready.drain(..).chain(parked) {
                self.held -= 1;
                self.held_bytes -= item.size;
            }
            busy |= partition.in_hand > 0;
        }
        busy
    }

    /// These partitions are no longer ours; how many deliveries of theirs nobody settled.
    pub(crate) fn revoke(&mut self, partitions: &[i32]) -> (Revoked, u64) {
        self.quiet(partitions);
        self.partitions.retain(|number, _| !partitions.contains(number));
        let (mut revoked, mut count) = (Vec::new(), 0);
        for handed in self.boards.values_mut() {
            for (index, slot) in (0_u32..).zip(&mut handed.slots) {
                let Some(lost) =
                    slot.take_if(|slot| partitions.contains(&slot.item.record.partition))
                else {
                    continue;
                };
                revoked.push((handed.board.clone(), index..index + 1));
                count += 1;
                handed.open -= 1;
                if let Some(member) = self.members.get_mut(&handed.member) {
                    member.in_hand -= 1;
                    member.in_hand_bytes -= lost.item.size;
                }
            }
        }
        self.boards.retain(|_, handed| handed.open > 0);
        (revoked, count)
    }

    /// The partitions that are ours.
    pub(crate) fn assigned(&self) -> Vec<i32> {
        self.partitions.keys().copied().collect()
    }

    /// Takes what was read. What is of no partition of ours is left out: it comes to whoever has it.
    pub(crate) fn push(&mut self, record: Record) {
        let Some(partition) = self.partitions.get_mut(&record.partition) else { return };
        let offset = record.offset;
        partition.watermark.get_or_insert(offset);
        // What a start of our own jumped over, or a compaction took out, is done.
        if partition.log.len() == partition.below {
            partition.watermark = partition.watermark.max(Some(offset));
        }
        partition.log.push_back((offset, false));
        let size = record.datagram.view().size();
        self.held += 1;
        self.held_bytes += size;
        let seen = offset < partition.seen;
        partition.ready.push_back(Item { record, size, attempt: 1, seen });
    }

    /// How much more may be read. What waits in a partition that is [blocked](Self::blocked) does not count, so that it
    /// keeps nobody from reading the others.
    pub(crate) fn room(&self, credit: usize, bytes: usize) -> Room {
        let (mut held, mut held_bytes) = (self.held, self.held_bytes);
        for blocked in self.partitions.values().filter(|partition| partition.is_blocked(credit)) {
            held -= blocked.ready.len();
            held_bytes -= blocked.ready.iter().map(|item| item.size).sum::<usize>();
        }
        let least = usize::from(held == 0);
        Room {
            records: credit.saturating_sub(held),
            bytes: bytes.saturating_sub(held_bytes).max(least),
        }
    }

    /// The partitions of which nothing new is handed out, with their generations: so much of them is not committed
    /// that `credit` is used up, since something that was read early is still open.
    pub(crate) fn blocked(&self, credit: usize) -> BTreeMap<i32, u64> {
        let blocked = self.partitions.iter().filter(|(_, partition)| partition.is_blocked(credit));
        blocked.map(|(number, partition)| (*number, partition.generation)).collect()
    }

    /// The partitions that are ours, with their generations.
    pub(crate) fn generations(&self) -> BTreeMap<i32, u64> {
        let all = self.partitions.iter();
        all.map(|(number, partition)| (*number, partition.generation)).collect()
    }

    /// Whether a commit would make room where half of `credit` is used up.
    pub(crate) fn is_crowded(&self, credit: usize) -> bool {
        let crowded = |partition: &Partition| partition.below > 0 && partition.window > credit / 2;
        !self.private && self.partitions.values().any(crowded)
    }

    /// Fills `into` for `member` with no more than `most`; whether there was anything.
    pub(crate) fn hand_out(
        &mut self,
        member: u64,
        most: &Most,
        into: &mut Deliveries,
        now: Duration,
        harvester: Arc<dyn Harvester>,
    ) -> bool {
        let Some(own) = self.members.get(&member) else { return false };
        let room = most.asked.min(most.credit.saturating_sub(own.in_hand));
        let mut size = own.in_hand_bytes;
        let mut slots = Vec::new();
        for partition in self.partitions.values_mut() {
            partition.unpark(now);
            if partition.holder.is_some_and(|holder| holder != member) {
                continue;
            }
            while slots.len() < room && (size == 0 || size < most.bytes) {
                if partition.is_blocked(most.credit) {
                    break;
                }
                let Some(item) = partition.ready.pop_front() else { break };
                partition.window += usize::from(item.attempt == 1);
                size += item.size.max(1);
                partition.in_hand += 1;
                partition.holder = Some(member);
                slots.push(Some(Slot { generation: partition.generation, item }));
            }
        }
        if slots.is_empty() {
            return false;
        }
        self.lend(member, slots, into, harvester);
        true
    }

    fn lend(
        &mut self,
        member: u64,
        slots: Vec<Option<Slot>>,
        into: &mut Deliveries,
        harvester: Arc<dyn Harvester>,
    ) {
        self.numbers += 1;
        let board = into.begin(slots.len(), self.numbers, harvester);
        let mut bytes = 0;
        for Slot { item, .. } in slots.iter().flatten() {
            bytes += item.size;
            into.push_noted(item.record.datagram.clone(), item.note());
        }
        self.held -= slots.len();
        self.held_bytes -= bytes;
        if let Some(member) = self.members.get_mut(&member) {
            member.in_hand += slots.len();
            member.in_hand_bytes += bytes;
        }
        let open = slots.len();
        self.boards.insert(self.numbers, Handed { board, member, slots, open });
    }

    /// Takes over what was settled on `board`; how many settlements came too late, and whom to wake.
    pub(crate) fn settle(&mut self, board: &Arc<Board>, now: Duration) -> (u64, Vec<Waker>) {
        let mut harvest = std::mem::take(&mut self.harvest);
        board.harvest(&mut harvest);
        // What is not there any more was revoked as a whole.
        let known = self.boards.remove(&board.token());
        let mut handed = known.unwrap_or_else(|| Handed::nothing(board));
        let mut late = 0;
        for index in harvest.done.iter().cloned().flatten() {
            late += u64::from(!self.release(&mut handed, index, None, now));
        }
        for index in harvest.dropped.iter().cloned().flatten() {
            self.release(&mut handed, index, Some(Duration::ZERO), now);
        }
        for (index, after) in harvest.retried.drain(..) {
            late += u64::from(!self.release(&mut handed, index, Some(after), now));
        }
        self.harvest = harvest;
        if handed.open > 0 {
            self.boards.insert(board.token(), handed);
        }
        (late, self.wakers())
    }

    /// Ends one delivery: done, or to come again after `again`. Whether it was still ours.
    fn release(
        &mut self,
        handed: &mut Handed,
        index: u32,
        again: Option<Duration>,
        now: Duration,
    ) -> bool {
        let Some(Slot { generation, mut item }) = handed.take(index) else { return false };
        if let Some(member) = self.members.get_mut(&handed.member) {
            member.in_hand -= 1;
            member.in_hand_bytes -= item.size;
        }
        let partition = self.partitions.get_mut(&item.record.partition);
        let Some(partition) = partition.filter(|ours| ours.generation == generation) else {
            return false;
        };
        partition.in_hand -= 1;
        if partition.in_hand == 0 {
            partition.holder = None;
        }
        match again {
            None => {
                partition.done(item.record.offset);
                if self.private {
                    partition.forget(partition.watermark);
                }
            }
            Some(after) => {
                item.attempt = item.attempt.saturating_add(1);
                self.held += 1;
                self.held_bytes += item.size;
                partition.parked.push((now.saturating_add(after), item));
                partition.unpark(now);
            }
        }
        true
    }

    /// What is to be committed: each partition with the offset to read next.
    pub(crate) fn uncommitted(&self) -> Vec<(i32, i64)> {
        let all = self.partitions.iter().filter_map(|(number, partition)| {
            let watermark = partition.watermark?;
            (partition.committed.is_none_or(|committed| committed < watermark))
                .then_some((*number, watermark))
        });
        all.collect()
    }

    /// These offsets are committed.
    pub(crate) fn committed(&mut self, offsets: &[(i32, i64)]) {
        for (number, offset) in offsets {
            if let Some(partition) = self.partitions.get_mut(number) {
                partition.committed = partition.committed.max(Some(*offset));
                partition.forget(Some(*offset));
            }
        }
    }

    /// Deliveries in somebody's hands.
    pub(crate) fn in_hand(&self) -> usize {
        self.partitions.values().map(|partition| partition.in_hand).sum()
    }

    /// When the next retry is due that is not due yet.
    pub(crate) fn next_due(&self, now: Duration) -> Option<Duration> {
        let parked = self.partitions.values().flat_map(|partition| &partition.parked);
        parked.map(|(due, _)| *due).filter(|due| *due > now).min()
    }

    /// Notes whom to wake once `member` may get something.
    pub(crate) fn wait(&mut self, member: u64, waker: &Waker) {
        if let Some(member) = self.members.get_mut(&member) {
            member.waker = Some(waker.clone());
        }
    }

    /// Everybody who waits.
    pub(crate) fn wakers(&mut self) -> Vec<Waker> {
        self.members.values_mut().filter_map(|member| member.waker.take()).collect()
    }

    pub(crate) fn note_late(&mut self, member: u64, count: u64) {
        if let Some(member) = self.members.get_mut(&member) {
            member.late += count;
        }
    }

    /// Settlements of `member` that came too late, since the last call.
    pub(crate) fn take_late(&mut self, member: u64) -> u64 {
        self.members.get_mut(&member).map_or(0, |member| std::mem::take(&mut member.late))
    }
}

impl Handed {
    /// Nothing, for a board of which nothing is left.
    fn nothing(board: &Arc<Board>) -> Self {
        Self { board: board.clone(), member: 0, slots: Vec::new(), open: 0 }
    }

    fn take(&mut self, index: u32) -> Option<Slot> {
        let slot = self.slots.get_mut(usize::try_from(index).ok()?)?.take()?;
        self.open -= 1;
        Some(slot)
    }
}

mod partition;
#[cfg(test)]
mod tests;
