//! Who takes what of that which came, and how it is lent.

use std::collections::HashMap;

use bytes::Bytes;
use seam_core::driver::Framing;
use seam_core::{Datagram, Deliveries, Note, View};
use seam_wire::Run;
use slab::Slab;

use super::settling::{Lot, Numbers, Sizes};
use super::{Hold, Item, Load, Seat, State, number};

impl State {
    pub(super) fn take(&mut self, seat: usize, max: usize, into: &mut Deliveries) -> Option<bool> {
        if !self.seats.get(seat).is_some_and(|seat| seat.live) {
            return Some(false);
        }
        let room = self.seats.get(seat).map_or(0, |s| s.credit.saturating_sub(s.in_hand));
        let max = max.min(room);
        if max > 0 && (self.take_parked(seat, max, into) || self.take_ready(seat, max, into)) {
            return Some(true);
        }
        let ended = self.closed && self.ready.is_empty();
        ended.then_some(false)
    }

    fn take_parked(&mut self, seat: usize, max: usize, into: &mut Deliveries) -> bool {
        let Some(feed) = self.seats[seat].parked.front().map(|(feed, _)| *feed) else {
            return false;
        };
        let mut items = std::mem::take(&mut self.items);
        while items.len() < max
            && self.seats[seat].parked.front().is_some_and(|(next, _)| *next == feed)
            && let Some((_, item)) = self.seats[seat].parked.pop_front()
        {
            items.push(item);
        }
        self.lend_items(seat, feed, items, into)
    }

    fn take_ready(&mut self, seat: usize, max: usize, into: &mut Deliveries) -> bool {
        for _ in 0..self.ready.len() {
            let Some(feed) = self.ready.pop_front() else { return false };
            let taken = match self.feeds.get(feed).and_then(|queue| queue.loads.front()) {
                Some(Load::Run(..)) => self.take_run(seat, feed, max, into),
                Some(Load::Item(_)) => self.take_items(seat, feed, max, into),
                None => continue,
            };
            if self.feeds.get(feed).is_some_and(|queue| !queue.loads.is_empty()) {
                self.ready.push_back(feed);
            }
            if taken {
                return true;
            }
        }
        false
    }

    fn take_run(&mut self, seat: usize, feed: usize, max: usize, into: &mut Deliveries) -> bool {
        let (Some(queue), Some(hand)) = (self.feeds.get_mut(feed), self.seats.get_mut(seat)) else {
            return false;
        };
        let handle = queue.feed.clone();
        let Some(Load::Run(framing, frame, run)) = queue.loads.front_mut() else {
            return false;
        };
        let Some((taken, sizes)) = split(hand, *framing, frame, run, max) else { return false };
        hand.in_hand += taken.count;
        hand.in_hand_bytes += taken.size;
        self.serial = self.serial.wrapping_add(1);
        let token = u64::from(self.serial) << 32 | number(self.lots.vacant_key());
        let board = into.begin(taken.count, token, handle.clone());
        into.lend_read(frame.clone(), *framing, taken.at.start, taken.count);
        if run.count == 0 {
            queue.loads.pop_front();
        }
        if let Some(peer) = &queue.peer {
            board.set_peer(peer.clone());
        }
        self.resumed.extend(queue.took(&handle, taken.count, taken.size));
        let (numbers, keys) = (Numbers::From(taken.first), Vec::new());
        let (open, open_bytes) = (taken.count, taken.size);
        self.lots.insert(Lot { feed, seat, token, board, numbers, sizes, open, open_bytes, keys });
        true
    }

    fn take_items(&mut self, seat: usize, feed: usize, max: usize, into: &mut Deliveries) -> bool {
        let mut items = std::mem::take(&mut self.items);
        let mut bytes = 0;
        while items.len() < max {
            let Some(queue) = self.feeds.get_mut(feed) else { break };
            let Some(Load::Item(next)) = queue.loads.front() else { break };
            let owner = owner(&self.keys, &self.seats, &next.datagram).unwrap_or(seat);
            let size = next.datagram.view().size();
            if owner == seat {
                let hand = &self.seats[seat];
                let first = hand.in_hand == 0 && items.is_empty();
                if !first && hand.in_hand_bytes + bytes + size > hand.credit_bytes {
                    break;
                }
            }
            let Some(Load::Item(item)) = queue.loads.pop_front() else { break };
            let handle = queue.feed.clone();
            self.resumed.extend(queue.took(&handle, 1, size));
            self.count_key(&item.datagram, owner);
            if owner == seat {
                bytes += size;
                items.push(item);
            } else if let Some(other) = self.seats.get_mut(owner) {
                other.parked.push_back((feed, item));
            }
        }
        if items.is_empty() {
            self.items = items;
            return false;
        }
        self.lend_items(seat, feed, items, into)
    }

    /// Lends items whose keys are counted already.
    #[allow(clippy::vec_box, reason = "they are boxed already, and may have to wait so again")]
    fn lend_items(
        &mut self,
        seat: usize,
        feed: usize,
        mut items: Vec<Box<Item>>,
        into: &mut Deliveries,
    ) -> bool {
        let Some(queue) = self.feeds.get(feed) else { return false };
        let handle = queue.feed.clone();
        self.serial = self.serial.wrapping_add(1);
        let token = u64::from(self.serial) << 32 | number(self.lots.vacant_key());
        let board = into.begin(items.len(), token, handle);
        if let Some(peer) = &queue.peer {
            board.set_peer(peer.clone());
        }
        let mut keys = Vec::new();
        let (count, open_bytes) = (items.len(), items.iter().map(|item| item.size()).sum());
        let (numbers, sizes) = match &items[..] {
            // The most common one without memory of its own.
            [one] if one.attempt == 1 => (Numbers::From(one.number), Sizes::Alike(open_bytes)),
            all => (
                Numbers::Each(all.iter().map(|item| (item.number, item.attempt)).collect()),
                Sizes::Each(all.iter().map(|item| item.size()).collect()),
            ),
        };
        for (place, item) in (0u32..).zip(items.drain(..)) {
            let Item { datagram, attempt, possible_duplicate, .. } = *item;
            keys.extend(datagram.envelope().key.clone().map(|key| (place, key)));
            if attempt == 1 && !possible_duplicate {
                into.push(datagram);
            } else {
                let mut note = Note::attempt(attempt);
                note.possible_duplicate = possible_duplicate;
                into.push_noted(datagram, note);
            }
        }
        self.items = items;
        let hand = &mut self.seats[seat];
        hand.in_hand += count;
        hand.in_hand_bytes += open_bytes;
        let open = count;
        self.lots.insert(Lot { feed, seat, token, board, numbers, sizes, open, open_bytes, keys });
        true
    }
}

/// The seat that has others of this key in hand and still receives.
fn owner(keys: &HashMap<Bytes, Hold>, seats: &Slab<Seat>, datagram: &Datagram) -> Option<usize> {
    let hold = keys.get(datagram.view().key()?)?;
    seats.get(hold.seat).filter(|seat| seat.live).map(|_| hold.seat)
}

/// Takes from the front of a run what fits what a seat may have in hand, up to `max`; with the sizes of each.
fn split(
    seat: &Seat,
    framing: Framing,
    frame: &[u8],
    run: &mut Run,
    max: usize,
) -> Option<(Run, Sizes)> {
    let each = || framing.views(frame, run.at.start, run.count).map(View::size);
    let (count, size) = fitting(seat, run, max, each());
    if count == 0 {
        return None;
    }
    let sizes = match run.alike {
        Some(size) => Sizes::Alike(size),
        None => Sizes::Each(each().take(count).collect()),
    };
    let end = if count == run.count { run.at.end } else { behind(framing, frame, run, count) };
    let taken = Run { count, size, at: run.at.start..end, ..run.clone() };
    run.first += number(count);
    run.count -= count;
    run.size -= size;
    run.at.start = end;
    Some((taken, sizes))
}

/// How many of a run fit what a seat may have in hand, up to `max`, and their bytes.
fn fitting(
    seat: &Seat,
    run: &Run,
    max: usize,
    each: impl Iterator<Item = usize>,
) -> (usize, usize) {
    let max = max.min(run.count);
    let room = seat.credit_bytes.saturating_sub(seat.in_hand_bytes);
    if max == run.count && run.size <= room {
        return (run.count, run.size);
    }
    let alone = usize::from(seat.in_hand == 0);
    if let Some(size) = run.alike {
        let count = room.checked_div(size).unwrap_or(max).max(alone).min(max);
        return (count, count * size);
    }
    let (mut count, mut total) = (0, 0);
    for size in each.take(max) {
        if count >= alone && total + size > room {
            break;
        }
        (count, total) = (count + 1, total + size);
    }
    (count, total)
}

/// Where the `count`th datagram of a run ends.
fn behind(framing: Framing, frame: &[u8], run: &Run, count: usize) -> usize {
    let start = run.at.start;
    let stride = framing.skip(frame, start, 1) - start;
    // Where payloads are alike, an entry has one of two lengths: with a tag, or without.
    if run.alike.is_some() && stride * run.count == run.at.len() {
        return start + stride * count;
    }
    framing.skip(frame, start, count)
}
