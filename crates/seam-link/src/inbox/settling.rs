//! What receivers have in hand, until it is settled or lost.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use seam_core::Datagram;
use seam_core::driver::Board;

use super::{Hold, Item, Load, Outcome, Seat, State, index, number};

/// What one receiver took at once.
pub(super) struct Lot {
    pub(super) feed: usize,
    pub(super) seat: usize,
    pub(super) token: u64,
    pub(super) board: Arc<Board>,
    pub(super) numbers: Numbers,
    pub(super) sizes: Sizes,
    pub(super) open: usize,
    pub(super) open_bytes: usize,
    pub(super) keys: Vec<(u32, Bytes)>,
}

pub(super) enum Numbers {
    From(u64),
    /// Each with the attempt that it is.
    Each(Vec<(u64, u32)>),
}

/// Bytes of each datagram of a lot; mostly they are all alike.
pub(super) enum Sizes {
    Alike(usize),
    Each(Vec<usize>),
}

impl State {
    pub(super) fn harvest(&mut self, token: u64, told: &mut impl FnMut(Outcome)) {
        let Some(at) = self.lot_of(token) else { return };
        let mut harvest = std::mem::take(&mut self.harvest);
        self.lots[at].board.harvest(&mut harvest);
        for range in &harvest.done {
            self.lots[at].tell_done(range.clone(), told);
            self.uncharge(at, range.clone());
        }
        let dropped = harvest.dropped.iter().flat_map(|range| range.clone());
        let dropped = dropped.map(|place| (place, Duration::ZERO));
        for (place, after) in dropped.chain(harvest.retried.iter().copied()) {
            let (number, attempt) = self.lots[at].number(place);
            told(Outcome::Released { number, attempt: attempt.saturating_add(1), after });
            self.uncharge(at, place..place + 1);
        }
        self.harvest = harvest;
        if self.lots[at].open == 0 {
            let seat = self.lots.remove(at).seat;
            self.forget_seat(seat);
        }
    }

    /// Notes that these places of a lot are in nobody's hands any more.
    pub(super) fn uncharge(&mut self, lot: usize, places: std::ops::Range<u32>) {
        let lot = &mut self.lots[lot];
        let count = places.len();
        let bytes = lot.sizes.sum(places.clone());
        lot.open -= count;
        lot.open_bytes -= bytes;
        if let Some(seat) = self.seats.get_mut(lot.seat) {
            seat.in_hand -= count;
            seat.in_hand_bytes -= bytes;
        }
        if lot.keys.is_empty() {
            return;
        }
        let gone = lot.keys.extract_if(.., |(place, _)| places.contains(place));
        let gone: Vec<Bytes> = gone.map(|(_, key)| key).collect();
        gone.iter().for_each(|key| self.release_key(Some(key)));
    }

    pub(super) fn revoke(&mut self, feed: usize) -> u64 {
        let theirs = self.lots.iter().filter(|(_, lot)| lot.feed == feed);
        let theirs: Vec<usize> = theirs.map(|(at, _)| at).collect();
        let mut revoked = 0;
        for at in theirs {
            // Verdicts that nobody can be told of any more.
            let token = self.lots[at].token;
            self.harvest(token, &mut |_| {});
            let Some(lot) = self.lots.get(at).filter(|lot| lot.token == token) else { continue };
            let open = lot.open;
            revoked += number(open);
            let board = lot.board.clone();
            let lot = self.lots.remove(at);
            if let Some(seat) = self.seats.get_mut(lot.seat) {
                seat.in_hand -= open;
                seat.in_hand_bytes -= lot.open_bytes;
            }
            for (_, key) in &lot.keys {
                self.release_key(Some(key));
            }
            board.revoke(0..board.len());
            self.forget_seat(lot.seat);
        }
        for (_, seat) in &mut self.seats {
            seat.parked.retain(|(from, _)| *from != feed);
        }
        revoked
    }

    pub(super) fn lot_of(&self, token: u64) -> Option<usize> {
        let at = usize::try_from(token & u64::from(u32::MAX)).ok()?;
        self.lots.get(at).filter(|lot| lot.token == token).map(|_| at)
    }

    /// Removes a feed whose connection has ended, once nothing of it waits or is in hand.
    pub(super) fn forget_feed(&mut self, feed: usize) {
        if self.feeds.contains(feed) && self.is_settled(feed) {
            self.feeds.remove(feed);
        }
    }

    pub(super) fn is_settled(&self, feed: usize) -> bool {
        let waits = self.feeds.get(feed).is_some_and(|queue| !queue.loads.is_empty());
        let parked = self.seats.iter().any(|(_, s)| s.parked.iter().any(|(from, _)| *from == feed));
        !waits && !parked && !self.lots.iter().any(|(_, lot)| lot.feed == feed)
    }

    pub(super) fn put_back(&mut self, feed: usize, item: Box<Item>) {
        let Some(queue) = self.feeds.get_mut(feed) else { return };
        if queue.loads.is_empty() {
            self.ready.push_back(feed);
        }
        let size = item.datagram.view().size();
        queue.waiting = (queue.waiting.0 + 1, queue.waiting.1 + size);
        queue.loads.push_front(Load::Item(item));
    }

    /// Removes a seat whose receiver is gone, once nothing of it is in hand.
    pub(super) fn forget_seat(&mut self, seat: usize) {
        let over = self.seats.get(seat).is_some_and(|s| !s.live && s.in_hand == 0);
        if over && !self.lots.iter().any(|(_, lot)| lot.seat == seat) {
            self.seats.remove(seat);
        }
    }

    pub(super) fn count_key(&mut self, datagram: &Datagram, seat: usize) {
        let Some(key) = &datagram.envelope().key else { return };
        let hold = self.keys.entry(key.clone()).or_insert(Hold { seat, count: 0 });
        hold.seat = seat;
        hold.count += 1;
    }

    pub(super) fn release_key(&mut self, key: Option<&[u8]>) {
        let Some(key) = key else { return };
        let Some(hold) = self.keys.get_mut(key) else { return };
        hold.count -= 1;
        if hold.count == 0 {
            self.keys.remove(key);
        }
    }

    /// The receivers that wait and can take something.
    pub(super) fn wakers(&mut self) -> Vec<Waker> {
        let something = !self.ready.is_empty();
        let can =
            |seat: &Seat| seat.in_hand < seat.credit && (something || !seat.parked.is_empty());
        let able = self.seats.iter_mut().filter(|(_, seat)| can(seat));
        able.filter_map(|(_, seat)| seat.waker.take()).collect()
    }
}

impl Lot {
    /// Number and attempt of the delivery at this place.
    pub(super) fn number(&self, place: u32) -> (u64, u32) {
        match &self.numbers {
            Numbers::From(first) => (first + u64::from(place), 1),
            Numbers::Each(numbers) => numbers[index(place)],
        }
    }

    pub(super) fn tell_done(&self, places: std::ops::Range<u32>, told: &mut impl FnMut(Outcome)) {
        match &self.numbers {
            Numbers::From(first) => {
                let range = first + u64::from(places.start)..first + u64::from(places.end);
                told(Outcome::Done(range));
            }
            Numbers::Each(numbers) => {
                for (number, _) in &numbers[index(places.start)..index(places.end)] {
                    told(Outcome::Done(*number..number + 1));
                }
            }
        }
    }
}

impl Sizes {
    pub(super) fn sum(&self, places: std::ops::Range<u32>) -> usize {
        match self {
            Self::Alike(size) => size * places.len(),
            Self::Each(sizes) => sizes[index(places.start)..index(places.end)].iter().sum(),
        }
    }
}
