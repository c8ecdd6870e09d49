//! What was read and is not settled: by partition and assignment, with a watermark that only rises. No client is
//! touched here, and nothing waits.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use seam_core::Deliveries;
use seam_core::driver::{Board, Harvest, Harvester};

use partition::Partition;
pub(crate) use run::Gathered;
use run::Item;

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
    /// The partition that is looked at first when something is handed out, so that each has its turn.
    turn: i32,
    /// Settled as a whole, and empty.
    spare: Vec<Gathered>,
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
    open_bytes: usize,
}

struct Slot {
    generation: u64,
    item: Item,
    /// Whether a member before us may have settled it.
    seen: bool,
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

/// What may be read, or was.
#[derive(Clone, Copy, Default)]
pub(crate) struct Room {
    pub(crate) records: usize,
    /// Of all of them; what is read together may lie across.
    pub(crate) bytes: usize,
}

impl Room {
    pub(crate) fn is_none(self) -> bool {
        self.records == 0 || self.bytes == 0
    }

    /// What is left of it.
    pub(crate) fn less(self, taken: Self) -> Self {
        let records = self.records.saturating_sub(taken.records);
        Self { records, bytes: self.bytes.saturating_sub(taken.bytes) }
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
                self.held_bytes -= item.size();
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
                let Some(lost) = slot.take_if(|slot| partitions.contains(&slot.item.partition()))
                else {
                    continue;
                };
                revoked.push((handed.board.clone(), index..index + 1));
                count += 1;
                handed.open -= 1;
                handed.open_bytes -= lost.item.size();
                if let Some(member) = self.members.get_mut(&handed.member) {
                    member.in_hand -= 1;
                    member.in_hand_bytes -= lost.item.size();
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

    /// Takes what was read, and adds to `spare` what may be used again. What is of no partition of ours is left out:
    /// it comes to whoever has it.
    pub(crate) fn take_in(&mut self, read: &mut Vec<Gathered>, spare: &mut Vec<Gathered>) {
        read.drain(..).for_each(|read| self.push(read));
        spare.append(&mut self.spare);
        spare.truncate(SPARE);
    }

    fn push(&mut self, read: Gathered) {
        let Some(partition) = self.partitions.get_mut(&read.partition) else { return };
        self.held_bytes += read.size();
        for offset in read.offsets() {
            partition.read(offset);
            self.held += 1;
        }
        partition.ready.extend(read.into_items());
    }

    /// How much more may be read. What waits in a partition that is [blocked](Self::blocked) does not count, so that it
    /// keeps nobody from reading the others.
    pub(crate) fn room(&self, credit: usize, bytes: usize) -> Room {
        let (mut held, mut held_bytes) = (self.held, self.held_bytes);
        for blocked in self.partitions.values().filter(|partition| partition.is_blocked(credit)) {
            held -= blocked.ready.len();
            held_bytes -= blocked.ready.iter().map(Item::size).sum::<usize>();
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
        let (mut slots, mut lies) = (Vec::new(), true);
        let turns = [(Included(self.turn), Unbounded), (Unbounded, Excluded(self.turn))];
        'full: for turn in turns {
            for (number, partition) in self.partitions.range_mut(turn) {
                partition.unpark(now);
                if partition.holder.is_some_and(|holder| holder != member) {
                    continue;
                }
                while let Some(next) = partition.ready.front() {
                    if slots.len() >= room || (size > 0 && size >= most.bytes) {
                        break 'full;
                    }
                    if partition.is_blocked(most.credit) {
                        break;
                    }
                    let follows = lies && next.follows(slots.last().map(|last: &Slot| &last.item));
                    if lies && !follows && slots.len() >= ENOUGH {
                        break 'full;
                    }
                    lies = follows;
                    let Some(item) = partition.hand_out(member) else { break };
                    size += item.size().max(1);
                    let generation = partition.generation;
                    slots.push(Slot { generation, seen: item.offset() < partition.seen, item });
                    self.turn = number.saturating_add(1);
                }
            }
        }
        if slots.is_empty() {
            return false;
        }
        self.lend(member, slots, lies, into, harvester);
        true
    }

    /// Hands out `slots`; `lies` if all of them lie one behind the other in what was read.
    fn lend(
        &mut self,
        member: u64,
        slots: Vec<Slot>,
        lies: bool,
        into: &mut Deliveries,
        harvester: Arc<dyn Harvester>,
    ) {
        self.numbers += 1;
        let board = into.begin(slots.len(), self.numbers, harvester);
        match slots.first().filter(|_| lies) {
            Some(first) => {
                let (datagrams, places) = first.item.stretch(slots.len());
                into.share(datagrams, places);
                into.annotate(slots.iter().map(|slot| slot.item.note(slot.seen)));
            }
            None => {
                for Slot { item, seen, .. } in &slots {
                    into.push_noted(item.datagram(), item.note(*seen));
                }
            }
        }
        let bytes = slots.iter().map(|slot| slot.item.size()).sum::<usize>();
        self.held -= slots.len();
        self.held_bytes -= bytes;
        if let Some(member) = self.members.get_mut(&member) {
            member.in_hand += slots.len();
            member.in_hand_bytes += bytes;
        }
        let (open, open_bytes) = (slots.len(), bytes);
        let slots = slots.into_iter().map(Some).collect();
        self.boards.insert(self.numbers, Handed { board, member, slots, open, open_bytes });
    }

    /// Takes over what was settled on `board`; how many settlements came too late, and whom to wake.
    pub(crate) fn settle(&mut self, board: &Arc<Board>, now: Duration) -> (u64, Vec<Waker>) {
        let mut harvest = std::mem::take(&mut self.harvest);
        board.harvest(&mut harvest);
        // What is not there any more was revoked as a whole.
        let known = self.boards.remove(&board.token());
        let mut handed = known.unwrap_or_else(|| Handed::nothing(board));
        let (open, open_bytes) = (handed.open, handed.open_bytes);
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
        if let Some(member) = self.members.get_mut(&handed.member) {
            member.in_hand -= open - handed.open;
            member.in_hand_bytes -= open_bytes - handed.open_bytes;
        }
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
        let Some(Slot { generation, item, .. }) = handed.take(index) else { return false };
        let partition = self.partitions.get_mut(&item.partition());
        let Some(partition) = partition.filter(|ours| ours.generation == generation) else {
            return false;
        };
        partition.in_hand -= 1;
        if partition.in_hand == 0 {
            partition.holder = None;
        }
        match again {
            None => {
                partition.done(item.offset());
                if self.private {
                    partition.forget(partition.watermark);
                }
            }
            Some(after) => {
                self.held += 1;
                self.held_bytes += item.size();
                partition.parked.push((now.saturating_add(after), item.again()));
                partition.unpark(now);
            }
        }
        self.spare.extend(item.end().filter(|_| self.spare.len() < SPARE));
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
        Self { board: board.clone(), member: 0, slots: Vec::new(), open: 0, open_bytes: 0 }
    }

    fn take(&mut self, index: u32) -> Option<Slot> {
        let slot = self.slots.get_mut(usize::try_from(index).ok()?)?.take()?;
        self.open -= 1;
        self.open_bytes -= slot.item.size();
        Some(slot)
    }
}

/// So many deliveries that lie one behind the other are not joined by others, which would have all of them copied.
const ENOUGH: usize = 32;

/// So much memory of what was settled is used again.
const SPARE: usize = 4;

mod partition;
mod run;
#[cfg(test)]
mod tests;
