//! What has come in and waits to be received: of all peers of an endpoint, merged fairly, shared by its
//! receivers.
//!
//! Each session has a *feed*. What it received waits there until a receiver takes it; the feeds that have
//! something take turns. What was taken is a *lot*, settled on its board by whoever handles it; the session
//! harvests the boards of its own feed.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use seam_core::driver::{Board, Framing, Harvest, Harvester};
use seam_core::{Datagram, Deliveries, Error, Event, Events, Note, Peer, View};
use seam_wire::Run;
use slab::Slab;

use crate::lock;
use crate::remote::Remote;

/// The way in of an endpoint.
pub(crate) struct Inbox {
    state: Mutex<State>,
    events: Events,
    /// Verdicts that came too late.
    late: AtomicU64,
}

#[derive(Default)]
struct State {
    feeds: Slab<Queue>,
    /// Feeds that have something, in turn.
    ready: VecDeque<usize>,
    seats: Slab<Seat>,
    lots: Slab<Lot>,
    serial: u32,
    keys: HashMap<Bytes, Hold>,
    harvest: Harvest,
    /// Memory for items that are taken together.
    #[allow(clippy::vec_box, reason = "they are boxed already, and may have to wait so again")]
    items: Vec<Box<Item>>,
    /// Whether nothing will come any more.
    closed: bool,
    /// Why nothing will come any more, where it is no good end.
    failure: Option<Error>,
    /// Who waits for something to be settled.
    watchers: Vec<Waker>,
    /// Feeds of which something was taken, and whose readers had stopped.
    resumed: Vec<Arc<Feed>>,
}

/// What one session received and nobody has taken.
struct Queue {
    feed: Arc<Feed>,
    peer: Option<Arc<Peer>>,
    loads: VecDeque<Load>,
    /// Datagrams in it, and their bytes.
    waiting: (usize, usize),
}

/// Datagrams that came together.
pub(crate) enum Load {
    /// First attempts without envelope, one behind the other in what was read.
    Run(Framing, Bytes, Run),
    /// Anything else, each by itself.
    Item(Box<Item>),
}

pub(crate) struct Item {
    pub(crate) number: u64,
    pub(crate) datagram: Datagram,
    pub(crate) attempt: u32,
    pub(crate) possible_duplicate: bool,
}

/// One receiver.
struct Seat {
    credit: usize,
    credit_bytes: usize,
    in_hand: usize,
    in_hand_bytes: usize,
    /// Of keys that it has in hand: the feed, and what came.
    parked: VecDeque<(usize, Box<Item>)>,
    waker: Option<Waker>,
    /// False once its receiver was dropped; what it has may still be settled.
    live: bool,
}

/// What one receiver took at once.
struct Lot {
    feed: usize,
    seat: usize,
    token: u64,
    board: Arc<Board>,
    numbers: Numbers,
    sizes: Sizes,
    open: usize,
    open_bytes: usize,
    keys: Vec<(u32, Bytes)>,
}

enum Numbers {
    From(u64),
    /// Each with the attempt that it is.
    Each(Vec<(u64, u32)>),
}

/// Bytes of each datagram of a lot; mostly they are all alike.
enum Sizes {
    Alike(usize),
    Each(Vec<usize>),
}

/// Who has a key, and how many of it.
struct Hold {
    seat: usize,
    count: usize,
}

/// An outcome that a handler gave.
pub(crate) enum Outcome {
    Done(std::ops::Range<u64>),
    /// To be delivered again, as this attempt, after this delay.
    Released {
        number: u64,
        attempt: u32,
        after: Duration,
    },
}

/// The end of one session that receives: where its boards report.
pub(crate) struct Feed {
    inbox: Weak<Inbox>,
    index: usize,
    marked: Mutex<Vec<u64>>,
    remote: Weak<Remote>,
    /// Whether its reader stopped because too much waits.
    paused: AtomicBool,
    /// Whether its connection has ended, and nobody is told of verdicts any more.
    retired: AtomicBool,
}

impl Inbox {
    pub(crate) fn new(events: Events) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), events, late: AtomicU64::new(0) })
    }

    /// Adds a receiver.
    pub(crate) fn join(&self, credit: usize, credit_bytes: usize) -> usize {
        lock(&self.state).seats.insert(Seat {
            credit,
            credit_bytes,
            in_hand: 0,
            in_hand_bytes: 0,
            parked: VecDeque::new(),
            waker: None,
            live: true,
        })
    }

    /// Ends a receiver; what it has in hand stays settleable.
    pub(crate) fn leave(&self, seat: usize) {
        let wakers = {
            let mut state = lock(&self.state);
            let Some(leaving) = state.seats.get_mut(seat) else { return };
            leaving.live = false;
            let mut wakers: Vec<Waker> = leaving.waker.take().into_iter().collect();
            let parked = std::mem::take(&mut leaving.parked);
            for (feed, item) in parked.into_iter().rev() {
                state.release_key(item.datagram.view().key());
                state.put_back(feed, item);
            }
            state.forget_seat(seat);
            wakers.append(&mut state.wakers());
            wakers
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends every receiver; what they have in hand stays settleable.
    pub(crate) fn dismiss(&self) {
        let seats: Vec<usize> = {
            let state = lock(&self.state);
            state.seats.iter().filter(|(_, seat)| seat.live).map(|(seat, _)| seat).collect()
        };
        seats.into_iter().for_each(|seat| self.leave(seat));
    }

    /// How many receivers there are, and what they may have in hand together.
    pub(crate) fn window(&self) -> (usize, usize, usize) {
        let state = lock(&self.state);
        let live = state.seats.iter().filter(|(_, seat)| seat.live);
        live.fold((0, 0, 0), |(seats, count, bytes), (_, seat)| {
            (seats + 1, seat.credit.saturating_add(count), seat.credit_bytes.saturating_add(bytes))
        })
    }

    /// Deliveries that nobody has settled.
    pub(crate) fn in_hand(&self) -> usize {
        lock(&self.state).lots.iter().map(|(_, lot)| lot.open).sum()
    }

    /// Wakes `waker` whenever something was settled.
    pub(crate) fn watch(&self, waker: &Waker) {
        let mut state = lock(&self.state);
        if !state.watchers.iter().any(|known| known.will_wake(waker)) {
            state.watchers.push(waker.clone());
        }
    }

    /// Nothing will come any more: receivers end once they took what waits.
    pub(crate) fn close(&self) {
        let wakers: Vec<Waker> = {
            let mut state = lock(&self.state);
            state.closed = true;
            state.seats.iter_mut().filter_map(|(_, seat)| seat.waker.take()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whoever receives is told of `error` at the end.
    pub(crate) fn fail(&self, error: &Error) {
        lock(&self.state).failure = Some(error.clone());
    }

    /// Whether a receiver would get something, be it why nothing comes any more.
    pub(crate) fn has_something(&self) -> bool {
        let state = lock(&self.state);
        !state.ready.is_empty() || state.failure.is_some()
    }

    /// Why it ended, told once; none where it ended well.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        lock(&self.state).failure.take()
    }

    /// As [`Inbox::close`], and what is left of any session can neither be taken nor settled any more.
    pub(crate) fn end(&self) {
        self.close();
        let feeds: Vec<Arc<Feed>> =
            lock(&self.state).feeds.iter().map(|(_, queue)| queue.feed.clone()).collect();
        for feed in feeds {
            feed.revoke();
        }
    }

    /// Adds a session that receives.
    pub(crate) fn feed(
        self: &Arc<Self>,
        remote: Weak<Remote>,
        peer: Option<Arc<Peer>>,
    ) -> Arc<Feed> {
        let mut state = lock(&self.state);
        let entry = state.feeds.vacant_entry();
        let feed = Arc::new(Feed {
            inbox: Arc::downgrade(self),
            index: entry.key(),
            marked: Mutex::default(),
            remote,
            paused: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        });
        entry.insert(Queue { feed: feed.clone(), peer, loads: VecDeque::new(), waiting: (0, 0) });
        feed
    }

    /// Refills `into`; `Some(false)` once nothing comes any more, `None` where there is nothing now.
    pub(crate) fn take(&self, seat: usize, max: usize, into: &mut Deliveries) -> Option<bool> {
        let (taken, wakers, resumed) = {
            let mut state = lock(&self.state);
            let taken = state.take(seat, max, into);
            (taken, state.wakers(), std::mem::take(&mut state.resumed))
        };
        resumed.iter().for_each(|feed| feed.kick());
        wakers.into_iter().for_each(Waker::wake);
        taken
    }

    /// As [`Inbox::take`]; wakes `cx` once there may be something.
    pub(crate) fn poll_take(
        &self,
        seat: usize,
        max: usize,
        into: &mut Deliveries,
        cx: &Context<'_>,
    ) -> Poll<bool> {
        let (poll, wakers, resumed) = {
            let mut state = lock(&self.state);
            let poll = match state.take(seat, max, into) {
                Some(more) => Poll::Ready(more),
                None => Poll::Pending,
            };
            let wakers = state.wakers();
            if let Some(seat) = state.seats.get_mut(seat).filter(|_| poll.is_pending()) {
                seat.waker = Some(cx.waker().clone());
            }
            (poll, wakers, std::mem::take(&mut state.resumed))
        };
        resumed.iter().for_each(|feed| feed.kick());
        wakers.into_iter().for_each(Waker::wake);
        poll
    }

    /// A receive that waits is dropped: what it was woken for goes to somebody else.
    pub(crate) fn cancel(&self, seat: usize) {
        let wakers = {
            let mut state = lock(&self.state);
            if let Some(seat) = state.seats.get_mut(seat) {
                seat.waker = None;
            }
            state.wakers()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Verdicts that came too late since the last call.
    pub(crate) fn take_late(&self) -> u64 {
        self.late.swap(0, Ordering::Relaxed)
    }
}

impl Feed {
    /// Whether less waits than receivers may have in hand; if not, the remote is told once there is room.
    pub(crate) fn has_room(&self) -> bool {
        let Some(inbox) = self.inbox.upgrade() else { return false };
        let (_, count, bytes) = inbox.window();
        let state = lock(&inbox.state);
        let waiting = state.feeds.get(self.index).map_or((0, 0), |queue| queue.waiting);
        let room = waiting.0 < count && waiting.1 < bytes;
        self.paused.store(!room, Ordering::SeqCst);
        room
    }

    fn kick(&self) {
        if let Some(remote) = self.remote.upgrade() {
            remote.kick();
        }
    }

    /// Appends what came.
    pub(crate) fn push(&self, loads: &mut Vec<Load>) {
        if loads.is_empty() {
            return;
        }
        let Some(inbox) = self.inbox.upgrade() else { return loads.clear() };
        let wakers = {
            let mut state = lock(&inbox.state);
            let Some(queue) = state.feeds.get_mut(self.index) else { return };
            let idle = queue.loads.is_empty();
            for load in loads.iter() {
                let (count, bytes) = load.size();
                queue.waiting = (queue.waiting.0 + count, queue.waiting.1 + bytes);
            }
            queue.loads.extend(loads.drain(..));
            if idle {
                state.ready.push_back(self.index);
            }
            state.wakers()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes over every verdict given since the last call.
    pub(crate) fn harvest(&self, mut told: impl FnMut(Outcome)) {
        let mut marked = {
            let mut list = lock(&self.marked);
            if list.is_empty() {
                return;
            }
            std::mem::take(&mut *list)
        };
        let Some(inbox) = self.inbox.upgrade() else { return };
        let mut state = lock(&inbox.state);
        for token in marked.drain(..) {
            state.harvest(token, &mut told);
        }
        let mut list = lock(&self.marked);
        if list.capacity() == 0 {
            *list = marked;
        }
        drop(list);
        if self.retired.load(Ordering::SeqCst) {
            state.forget_feed(self.index);
        }
        let mut wakers = std::mem::take(&mut state.watchers);
        wakers.append(&mut state.wakers());
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether nothing of it waits or is in hand.
    pub(crate) fn is_settled(&self) -> bool {
        self.inbox.upgrade().is_none_or(|inbox| lock(&inbox.state).is_settled(self.index))
    }

    /// Lets go of what nobody has taken: it was never begun.
    pub(crate) fn bounce(&self, mut told: impl FnMut(Outcome)) {
        let Some(inbox) = self.inbox.upgrade() else { return };
        let mut state = lock(&inbox.state);
        let loads = match state.feeds.get_mut(self.index) {
            Some(queue) => {
                queue.waiting = (0, 0);
                std::mem::take(&mut queue.loads)
            }
            None => return,
        };
        state.ready.retain(|feed| *feed != self.index);
        let mut bounced = |number, attempt| {
            told(Outcome::Released { number, attempt, after: Duration::ZERO });
        };
        for load in loads {
            match load {
                Load::Run(_, _, run) => {
                    (run.first..).take(run.count).for_each(|number| bounced(number, 1));
                }
                Load::Item(item) => bounced(item.number, item.attempt),
            }
        }
    }

    /// The session is lost: nothing of it may be settled or taken any more. Says how many deliveries were in
    /// somebody's hands.
    pub(crate) fn revoke(&self) -> u64 {
        let Some(inbox) = self.inbox.upgrade() else { return 0 };
        let (wakers, revoked) = {
            let mut state = lock(&inbox.state);
            let revoked = state.revoke(self.index);
            state.ready.retain(|feed| *feed != self.index);
            if state.feeds.contains(self.index) {
                drop(state.feeds.remove(self.index));
            }
            let mut wakers = std::mem::take(&mut state.watchers);
            wakers.append(&mut state.wakers());
            (wakers, revoked)
        };
        wakers.into_iter().for_each(Waker::wake);
        if revoked > 0 {
            inbox.events.emit(Event::LeaseLost { count: revoked });
        }
        revoked
    }

    /// Its connection has ended: what came stays to be received, and nobody is told of verdicts.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.harvest(|_| {});
        if let Some(inbox) = self.inbox.upgrade() {
            lock(&inbox.state).forget_feed(self.index);
        }
    }
}

impl Harvester for Feed {
    fn settled(&self, board: &Arc<Board>, _: bool) {
        if board.is_revoked() {
            let mut harvest = Harvest::default();
            board.harvest(&mut harvest);
            let late = harvest.done.iter().map(|range| u64::from(range.end - range.start)).sum();
            if let Some(inbox) = self.inbox.upgrade().filter(|_| late > 0) {
                inbox.late.fetch_add(late, Ordering::Relaxed);
                inbox.events.emit(Event::SettlementFailed { count: late });
            }
            return;
        }
        // Whoever marked it before has said so, and the verdict is found with that one.
        if !board.mark() {
            return;
        }
        lock(&self.marked).push(board.token());
        if self.retired.load(Ordering::SeqCst) {
            return self.harvest(|_| {});
        }
        self.kick();
    }
}

impl Item {
    fn size(&self) -> usize {
        self.datagram.view().size()
    }
}

impl Load {
    /// Datagrams in it, and their bytes.
    fn size(&self) -> (usize, usize) {
        match self {
            Self::Run(_, _, run) => (run.count, run.size),
            Self::Item(item) => (1, item.datagram.view().size()),
        }
    }
}

impl Queue {
    /// Notes what was taken; the feed, if its reader had stopped.
    fn took(&mut self, feed: &Arc<Feed>, count: usize, bytes: usize) -> Option<Arc<Feed>> {
        self.waiting = (self.waiting.0 - count, self.waiting.1 - bytes);
        feed.paused.swap(false, Ordering::SeqCst).then(|| feed.clone())
    }
}

impl State {
    fn take(&mut self, seat: usize, max: usize, into: &mut Deliveries) -> Option<bool> {
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

    fn harvest(&mut self, token: u64, told: &mut impl FnMut(Outcome)) {
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
    fn uncharge(&mut self, lot: usize, places: std::ops::Range<u32>) {
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

    fn revoke(&mut self, feed: usize) -> u64 {
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

    fn lot_of(&self, token: u64) -> Option<usize> {
        let at = usize::try_from(token & u64::from(u32::MAX)).ok()?;
        self.lots.get(at).filter(|lot| lot.token == token).map(|_| at)
    }

    /// Removes a feed whose connection has ended, once nothing of it waits or is in hand.
    fn forget_feed(&mut self, feed: usize) {
        if self.feeds.contains(feed) && self.is_settled(feed) {
            self.feeds.remove(feed);
        }
    }

    fn is_settled(&self, feed: usize) -> bool {
        let waits = self.feeds.get(feed).is_some_and(|queue| !queue.loads.is_empty());
        let parked = self.seats.iter().any(|(_, s)| s.parked.iter().any(|(from, _)| *from == feed));
        !waits && !parked && !self.lots.iter().any(|(_, lot)| lot.feed == feed)
    }

    fn put_back(&mut self, feed: usize, item: Box<Item>) {
        let Some(queue) = self.feeds.get_mut(feed) else { return };
        if queue.loads.is_empty() {
            self.ready.push_back(feed);
        }
        let size = item.datagram.view().size();
        queue.waiting = (queue.waiting.0 + 1, queue.waiting.1 + size);
        queue.loads.push_front(Load::Item(item));
    }

    /// Removes a seat whose receiver is gone, once nothing of it is in hand.
    fn forget_seat(&mut self, seat: usize) {
        let over = self.seats.get(seat).is_some_and(|s| !s.live && s.in_hand == 0);
        if over && !self.lots.iter().any(|(_, lot)| lot.seat == seat) {
            self.seats.remove(seat);
        }
    }

    fn count_key(&mut self, datagram: &Datagram, seat: usize) {
        let Some(key) = &datagram.envelope().key else { return };
        let hold = self.keys.entry(key.clone()).or_insert(Hold { seat, count: 0 });
        hold.seat = seat;
        hold.count += 1;
    }

    fn release_key(&mut self, key: Option<&[u8]>) {
        let Some(key) = key else { return };
        let Some(hold) = self.keys.get_mut(key) else { return };
        hold.count -= 1;
        if hold.count == 0 {
            self.keys.remove(key);
        }
    }

    /// The receivers that wait and can take something.
    fn wakers(&mut self) -> Vec<Waker> {
        let something = !self.ready.is_empty();
        let can =
            |seat: &Seat| seat.in_hand < seat.credit && (something || !seat.parked.is_empty());
        let able = self.seats.iter_mut().filter(|(_, seat)| can(seat));
        able.filter_map(|(_, seat)| seat.waker.take()).collect()
    }
}

impl Lot {
    /// Number and attempt of the delivery at this place.
    fn number(&self, place: u32) -> (u64, u32) {
        match &self.numbers {
            Numbers::From(first) => (first + u64::from(place), 1),
            Numbers::Each(numbers) => numbers[index(place)],
        }
    }

    fn tell_done(&self, places: std::ops::Range<u32>, told: &mut impl FnMut(Outcome)) {
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
    fn sum(&self, places: std::ops::Range<u32>) -> usize {
        match self {
            Self::Alike(size) => size * places.len(),
            Self::Each(sizes) => sizes[index(places.start)..index(places.end)].iter().sum(),
        }
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

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

fn number(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
