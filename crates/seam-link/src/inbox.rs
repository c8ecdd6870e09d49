//! What has come in and waits to be received: of all peers of an endpoint, merged fairly, shared by its
//! receivers.
//!
//! Each session has a *feed*. What it received waits there until a receiver takes it; the feeds that have
//! something take turns. What was taken is a *lot*, settled on its board by whoever handles it; the session
//! harvests the boards of its own feed.

mod feed;
mod settling;
mod taking;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use seam_core::driver::{Framing, Harvest};
use seam_core::{Datagram, Deliveries, Error, Events, Peer};
use seam_wire::Run;
use slab::Slab;

pub(crate) use self::feed::{Feed, Outcome};
use self::settling::Lot;
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

/// Who has a key, and how many of it.
struct Hold {
    seat: usize,
    count: usize,
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

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

fn number(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
