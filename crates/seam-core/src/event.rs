//! What happens on a connection while nobody asks, and what has been counted.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use crate::clock::lock;
use crate::{Capability, Peer};

/// Something that happened on a connection. Carries counts, never a datagram or a secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The connection stands, for the first time or again.
    Connected,
    /// The connection was lost, or a consumer on it; the transport goes on trying.
    Disconnected {
        /// What the native client reported.
        reason: String,
    },
    /// The other side accepts nothing for now.
    Blocked {
        /// What it said.
        reason: String,
    },
    /// The other side accepts again.
    Unblocked,
    /// A session ended abnormally.
    SessionLost {
        /// Datagrams whose outcome is known.
        settled: u64,
        /// Datagrams whose outcome is not known.
        unsettled: u64,
    },
    /// Deliveries are no longer ours to settle.
    LeaseLost {
        /// How many.
        count: u64,
    },
    /// Settlements came too late or were refused; the datagrams are delivered again.
    SettlementFailed {
        /// How many.
        count: u64,
    },
    /// Datagrams were given back to the caller although they may still arrive.
    Abandoned {
        /// How many.
        count: u64,
    },
    /// Datagrams failed whose receipts nobody asks for any more.
    Forgotten {
        /// How many.
        count: u64,
    },
    /// A sender was dropped with datagrams that were fed and not flushed.
    Unflushed {
        /// How many.
        count: u64,
    },
    /// Datagrams passed their expiry and were discarded.
    Expired {
        /// How many.
        count: u64,
    },
    /// A dead letter could not be sent; its delivery comes back.
    DeadLetterFailed {
        /// Why.
        reason: String,
    },
    /// Whoever asked was gone when the reply was sent.
    RequesterGone,
    /// A peer has come.
    PeerArrived {
        /// Who.
        peer: Arc<Peer>,
    },
    /// A peer has gone.
    PeerDeparted {
        /// Who.
        peer: Arc<Peer>,
    },
    /// Peers that came were not let in. One event stands for all of them since the last event of another kind, so that whoever
    /// knocks in vain does not push out what else happened.
    PeersRefused {
        /// How many.
        count: u64,
        /// From where the last one came, and why it was not let in.
        reason: String,
    },
    /// Files changed that this end shows or trusts, such as its certificate, and cannot be used; what was read before is used
    /// on.
    ReloadFailed {
        /// What is wrong with them.
        reason: String,
    },
    /// A promise no longer holds, for instance after a change of policy on the broker.
    CapabilityLost {
        /// Which.
        capability: Capability,
    },
}

/// Whether a connection can be used, for readiness probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It stands.
    Connected,
    /// It was lost and is being made again; sends and receives wait.
    Disconnected,
    /// [`Connection::drain`](crate::Connection::drain) runs.
    Draining,
    /// It was drained.
    Closed,
}

macro_rules! statistics {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counts since the connection was opened; each only rises.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        #[non_exhaustive]
        pub struct Statistics {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Statistics {
            /// Each count with its name, as a metrics exporter wants them.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }

        #[derive(Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            fn snapshot(&self) -> Statistics {
                Statistics { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

statistics! {
    /// Datagrams admitted.
    admitted,
    /// Datagrams receipted.
    receipted,
    /// Datagrams given back as [`Fate::NotSent`](crate::Fate).
    not_sent,
    /// Datagrams given back as [`Fate::MaybeSent`](crate::Fate).
    maybe_sent,
    /// Datagrams given back that may still arrive.
    abandoned,
    /// Datagrams that failed after their ticket was dropped.
    forgotten,
    /// Datagrams fed to a sender that was dropped before it flushed them.
    unflushed,
    /// Deliveries handed to the program.
    delivered,
    /// Deliveries whose attempt is not the first.
    redelivered,
    /// Deliveries acknowledged.
    acked,
    /// Deliveries to be tried again.
    retried,
    /// Deliveries handed to the dead-letter endpoint and acknowledged.
    dead_lettered,
    /// Dead letters that could not be sent.
    dead_letters_failed,
    /// Deliveries discarded.
    discarded,
    /// Deliveries dropped without a verdict.
    dropped,
    /// Datagrams that passed their expiry.
    expired,
    /// Deliveries whose lease was lost.
    leases_lost,
    /// Settlements that came too late or were refused.
    settlements_failed,
    /// Requests sent.
    requests,
    /// Replies that came after their request had given up.
    late_replies,
    /// Replies whose requester was gone.
    requesters_gone,
    /// Sessions that ended abnormally.
    sessions_lost,
    /// Times the connection, or a consumer on it, was lost.
    disconnects,
    /// Times the other side blocked.
    blocks,
    /// Peers that came.
    peers_arrived,
    /// Peers that went.
    peers_departed,
    /// Peers that were not let in.
    peers_refused,
    /// Times that changed files could not be used.
    reloads_failed,
    /// Events that nobody took in time.
    events_dropped,
}

pub(crate) fn add(counter: &AtomicU64, count: impl TryInto<u64>) {
    counter.fetch_add(count.try_into().unwrap_or(0), Ordering::Relaxed);
}

/// Where a transport reports what happens. Cheap to clone; what it reports is also counted.
#[derive(Clone)]
pub struct Events(Arc<Shared>);

struct Shared {
    counters: Counters,
    inner: Mutex<Ring>,
}

struct Ring {
    events: VecDeque<Event>,
    wakers: Vec<Waker>,
    state: State,
}

impl Ring {
    fn push(&mut self, event: Event, counters: &Counters) {
        if let (
            Some(Event::PeersRefused { count: before, reason: last }),
            Event::PeersRefused { count, reason },
        ) = (self.events.back_mut(), &event)
        {
            *before += count;
            last.clone_from(reason);
            return;
        }
        if self.events.len() == Events::CAPACITY {
            self.events.pop_front();
            add(&counters.events_dropped, 1u64);
        }
        self.events.push_back(event);
    }
}

impl Events {
    /// How many events wait for [`Connection::next_event`](crate::Connection::next_event) at most;
    /// then the oldest is dropped and counted.
    pub const CAPACITY: usize = 256;

    /// For tests of a transport; a program's come with its connection.
    #[must_use]
    pub fn new() -> Self {
        let ring = Ring { events: VecDeque::new(), wakers: Vec::new(), state: State::Connected };
        Self(Arc::new(Shared { counters: Counters::default(), inner: Mutex::new(ring) }))
    }

    /// Reports `event`. Never waits.
    pub fn emit(&self, event: Event) {
        tracing::debug!(?event, "seam event");
        self.count(&event);
        let mut ring = lock(&self.0.inner);
        match event {
            Event::Connected if ring.state == State::Disconnected => ring.state = State::Connected,
            Event::Disconnected { .. } if ring.state == State::Connected => {
                ring.state = State::Disconnected;
            }
            _ => {}
        }
        ring.push(event, &self.0.counters);
        let wakers = std::mem::take(&mut ring.wakers);
        drop(ring);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn count(&self, event: &Event) {
        let c = &self.0.counters;
        match event {
            Event::Connected | Event::Unblocked | Event::CapabilityLost { .. } => {}
            Event::Disconnected { .. } => add(&c.disconnects, 1u64),
            Event::Blocked { .. } => add(&c.blocks, 1u64),
            Event::SessionLost { .. } => add(&c.sessions_lost, 1u64),
            Event::LeaseLost { count } => add(&c.leases_lost, *count),
            Event::SettlementFailed { count } => add(&c.settlements_failed, *count),
            Event::Abandoned { count } => add(&c.abandoned, *count),
            Event::Forgotten { count } => add(&c.forgotten, *count),
            Event::Unflushed { count } => add(&c.unflushed, *count),
            Event::Expired { count } => add(&c.expired, *count),
            Event::DeadLetterFailed { .. } => add(&c.dead_letters_failed, 1u64),
            Event::RequesterGone => add(&c.requesters_gone, 1u64),
            Event::PeerArrived { .. } => add(&c.peers_arrived, 1u64),
            Event::PeerDeparted { .. } => add(&c.peers_departed, 1u64),
            Event::PeersRefused { count, .. } => add(&c.peers_refused, *count),
            Event::ReloadFailed { .. } => add(&c.reloads_failed, 1u64),
        }
    }

    /// What has been counted so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.0.counters.snapshot()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    pub(crate) fn state(&self) -> State {
        lock(&self.0.inner).state
    }

    pub(crate) fn set_state(&self, state: State) {
        let mut ring = lock(&self.0.inner);
        ring.state = state;
        let wakers = std::mem::take(&mut ring.wakers);
        drop(ring);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The next event; `None` once the connection is closed and every event was taken.
    pub(crate) async fn next(&self) -> Option<Event> {
        poll_fn(|cx| {
            let mut ring = lock(&self.0.inner);
            if let Some(event) = ring.events.pop_front() {
                return Poll::Ready(Some(event));
            }
            if ring.state == State::Closed {
                return Poll::Ready(None);
            }
            if !ring.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                ring.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Events({:?})", self.state())
    }
}
