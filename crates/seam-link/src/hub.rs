//! An endpoint: its peers, what it sends to them and gets from them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use seam_core::distributor::{Distributor, Port, Sending};
use seam_core::{Action, Capabilities, Error, Event, Events, Peer, Result, SendError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::handshake::Established;
use crate::inbox::Inbox;
use crate::lock;
use crate::remote::{Ends, Remote};
use crate::shared::Shared;
use crate::sources::{Permit, Room, Source};

/// An endpoint, or one peer of it that was accepted alone.
pub(crate) struct Hub {
    pub(crate) shared: Arc<Shared>,
    pub(crate) capabilities: Capabilities,
    pub(crate) ends: Ends,
    pub(crate) port: Arc<Port>,
    /// Who is at the other end, where that is one peer.
    pub(crate) peer: Option<Arc<Peer>>,
    pub(crate) events: Events,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// For peers that came, as long as they are remembered.
    room: Room,
    pub(crate) inner: Mutex<Inner>,
}

/// What changes while it is open.
pub(crate) struct Inner {
    pub(crate) remotes: Vec<Arc<Remote>>,
    mode: Mode,
    pub(crate) draining: bool,
    pub(crate) open: bool,
    /// Why no peer will ever come again, and what was to be sent then.
    failed: Option<(Error, Vec<SendError>)>,
    /// Ways to requesters that were replied to lately.
    pub(crate) repliers: Vec<Replier>,
}

/// A way to one requester, kept for its next request.
pub(crate) struct Replier {
    pub(crate) reply_to: Box<[u8]>,
    pub(crate) channel: u8,
    pub(crate) remote: Arc<Remote>,
    pub(crate) port: Arc<Port>,
}

/// Whether peers are merged or handed out.
enum Mode {
    Undecided,
    Merged,
    Accepting { lobby: VecDeque<Arc<Hub>>, wakers: Vec<Waker> },
}

impl Hub {
    pub(crate) fn new(shared: Arc<Shared>, peer: Option<Arc<Peer>>) -> Arc<Self> {
        let distributor = Distributor::told(shared.name.clone());
        let events = shared.events().clone();
        let port = port(&shared, distributor.clone());
        let ends = Ends {
            inbox: Inbox::new(events.clone()),
            distributor,
            callers: Arc::default(),
            alone: peer.is_some(),
        };
        Arc::new(Self {
            capabilities: shared.config.capabilities(),
            ends,
            port,
            peer,
            events,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            room: Room::new(&shared.config),
            inner: Mutex::new(Inner {
                remotes: Vec::new(),
                mode: Mode::Undecided,
                draining: false,
                open: true,
                failed: None,
                repliers: Vec::new(),
            }),
            shared,
        })
    }

    /// The only peer, if there is one; a call then looks after its connection itself.
    pub(crate) fn only(&self) -> Option<Arc<Remote>> {
        match &lock(&self.inner).remotes[..] {
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        lock(&self.inner).open
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_open() { Ok(()) } else { Err(self.shared.closed()) }
    }

    /// Whether we may do this ourselves.
    pub(crate) fn allow(&self, action: Action) -> Result<()> {
        let mut own = Peer::new("self", self.shared.name.clone());
        own.group = self.shared.config.group_name().map(str::to_owned);
        self.shared.allow(self.peer.as_deref().unwrap_or(&own), action)
    }

    /// Adds a peer that this end dials.
    pub(crate) fn dialled(&self) -> Arc<Remote> {
        let remote = Remote::new(self.shared.clone(), self.ends.clone(), true);
        lock(&self.inner).remotes.push(remote.clone());
        self.tasks.spawn(remote.clone().drive());
        remote
    }

    /// Takes a connection that has come: of a peer that is known, or of a new one.
    pub(crate) fn arrive(self: &Arc<Self>, established: Established, permit: Permit) {
        let id = established.peer.id.clone();
        let peer = established.peer.clone();
        if let Some(known) = self.find(&id) {
            let proved = known.peer().is_some_and(|known| known.identity == peer.identity);
            match proved {
                true => known.attach(established, Some(permit)),
                false => tracing::warn!(peer = %peer.address, "it says it is who it is not"),
            }
            return;
        }
        let mut inner = lock(&self.inner);
        if !inner.open {
            return;
        }
        let Some(place) = self.room.enter(Source::of(&peer)) else {
            tracing::warn!(peer = %peer.address, "too many peers, of all or of one source; this one is closed");
            return;
        };
        let Mode::Accepting { lobby, wakers } = &mut inner.mode else {
            let remote = Remote::new(self.shared.clone(), self.ends.clone(), false);
            // Before anybody sees it: who accepts it must know who it is.
            remote.attach(established, Some(permit));
            inner.remotes.push(remote.clone());
            drop(inner);
            self.events.emit(Event::PeerArrived { peer });
            self.look_after(remote, place);
            return;
        };
        let child = Self::new(self.shared.clone(), Some(peer.clone()));
        let remote = Remote::new(self.shared.clone(), child.ends.clone(), false);
        remote.attach(established, Some(permit));
        lock(&child.inner).remotes.push(remote.clone());
        lobby.push_back(child);
        let wakers = std::mem::take(wakers);
        drop(inner);
        self.events.emit(Event::PeerArrived { peer });
        self.look_after(remote, place);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Drives a peer until it is gone, and tells that.
    fn look_after(self: &Arc<Self>, remote: Arc<Remote>, place: Permit) {
        let hub = Arc::downgrade(self);
        self.tasks.spawn(async move {
            remote.clone().drive().await;
            drop(place);
            if let (Some(hub), Some(peer)) = (hub.upgrade(), remote.peer()) {
                hub.forget(&remote);
                hub.events.emit(Event::PeerDeparted { peer });
            }
        });
    }

    fn forget(&self, remote: &Arc<Remote>) {
        let mut inner = lock(&self.inner);
        inner.remotes.retain(|known| !Arc::ptr_eq(known, remote));
        let theirs = |replier: &mut Replier| Arc::ptr_eq(&replier.remote, remote);
        let gone: Vec<Replier> = inner.repliers.extract_if(.., theirs).collect();
        drop((inner, gone));
    }

    /// The peer of this id that has not gone.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Remote>> {
        let all = {
            let inner = lock(&self.inner);
            let mut all = inner.remotes.clone();
            if let Mode::Accepting { lobby, .. } = &inner.mode {
                all.extend(lobby.iter().filter_map(|child| child.only()));
            }
            all
        };
        let is = |remote: &&Arc<Remote>| {
            !remote.is_gone() && remote.peer().is_some_and(|peer| peer.id == id)
        };
        all.iter().find(is).cloned()
    }

    /// From now on peers are merged, for receivers.
    pub(crate) fn merge(&self) -> Result<()> {
        let mut inner = lock(&self.inner);
        match inner.mode {
            Mode::Accepting { .. } => Err(EXCLUSIVE),
            _ => {
                inner.mode = Mode::Merged;
                Ok(())
            }
        }
    }

    /// From now on peers are handed out.
    pub(crate) fn part(self: &Arc<Self>) -> Result<()> {
        let moved = {
            let mut inner = lock(&self.inner);
            match inner.mode {
                Mode::Accepting { .. } => return Ok(()),
                Mode::Merged => return Err(EXCLUSIVE),
                Mode::Undecided => {}
            }
            inner.mode = Mode::Accepting { lobby: VecDeque::new(), wakers: Vec::new() };
            std::mem::take(&mut inner.remotes)
        };
        for remote in moved {
            let child = Self::new(self.shared.clone(), remote.peer());
            lock(&child.inner).remotes.push(remote.clone());
            remote.move_to(child.ends.clone());
            if let Mode::Accepting { lobby, .. } = &mut lock(&self.inner).mode {
                lobby.push_back(child);
            }
        }
        Ok(())
    }

    /// The next peer; `None` once this end listens no more.
    pub(crate) fn poll_accept(&self, cx: &Context<'_>) -> Poll<Option<Arc<Self>>> {
        let mut inner = lock(&self.inner);
        if !inner.open || inner.draining {
            return Poll::Ready(None);
        }
        let Mode::Accepting { lobby, wakers } = &mut inner.mode else { return Poll::Ready(None) };
        while let Some(child) = lobby.pop_front() {
            // Of one that has gone already, what it left is still received.
            if child.only().is_some_and(|remote| !remote.is_gone())
                || child.ends.inbox.has_something()
            {
                return Poll::Ready(Some(child));
            }
        }
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Wakes whoever accepts, to look whether it still listens.
    pub(crate) fn disturb(&self) {
        let wakers = match &mut lock(&self.inner).mode {
            Mode::Accepting { wakers, .. } => std::mem::take(wakers),
            _ => return,
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Receivers have come or gone: peers are told.
    pub(crate) fn attend(&self) {
        let remotes = lock(&self.inner).remotes.clone();
        remotes.iter().for_each(|remote| remote.attend());
    }

    /// This peer will not come again. With the last one all that waits for any comes back, for this reason.
    pub(crate) fn give_up(&self, remote: &Arc<Remote>, error: &Error) {
        remote.end(error.clone());
        {
            let mut inner = lock(&self.inner);
            inner.remotes.retain(|other| !Arc::ptr_eq(other, remote));
            if !inner.remotes.is_empty() || !inner.open {
                return;
            }
        }
        self.ends.distributor.close(error.clone());
        let unsent = self.port.close();
        lock(&self.inner).failed = Some((error.clone(), unsent));
        self.ends.inbox.close();
    }

    /// Why nothing will ever come again, if that is no end in peace.
    pub(crate) fn failure(&self) -> Option<Error> {
        lock(&self.inner).failed.as_ref().map(|(error, _)| error.clone())
    }

    /// Ends it at once; says what nobody settled, and what is not done.
    pub(crate) fn end(&self) -> (u64, Vec<SendError>) {
        self.end_with(&self.shared.closed())
    }

    /// The same, and tells peers why.
    pub(crate) fn end_with(&self, error: &Error) -> (u64, Vec<SendError>) {
        let (remotes, lobby, repliers, was_open) = {
            let mut inner = lock(&self.inner);
            let lobby = match &mut inner.mode {
                Mode::Accepting { lobby, .. } => std::mem::take(lobby),
                _ => VecDeque::new(),
            };
            let remotes = std::mem::take(&mut inner.remotes);
            let repliers = std::mem::take(&mut inner.repliers);
            (remotes, lobby, repliers, std::mem::replace(&mut inner.open, false))
        };
        if !was_open {
            return (0, Vec::new());
        }
        remotes.iter().for_each(|remote| remote.settle());
        let unsettled = u64::try_from(self.ends.inbox.in_hand()).unwrap_or(u64::MAX);
        let mut unsent = self.port.close();
        if let Some((_, earlier)) = lock(&self.inner).failed.take() {
            unsent.splice(..0, earlier);
        }
        for remote in &remotes {
            remote.end(error.clone());
        }
        for child in lobby {
            drop(child.end());
        }
        for replier in repliers {
            drop(replier.port.close());
        }
        self.ends.inbox.end();
        self.ends.callers.all().iter().for_each(|inbox| inbox.end());
        self.ends.distributor.close(self.shared.closed());
        self.stop.cancel();
        self.tasks.close();
        self.disturb();
        (unsettled, unsent)
    }
}

/// A way into `distributor` with the credit of this endpoint.
pub(crate) fn port(shared: &Shared, distributor: Arc<Distributor>) -> Arc<Port> {
    let config = &shared.config;
    let sending = Sending {
        credit: config.credit,
        credit_bytes: config.credit_bytes,
        confirm: config.confirm,
        events: shared.events().clone(),
    };
    Port::new(distributor, sending, shared.clock().clone())
}

/// Where listeners find the endpoints they serve.
pub(crate) type WeakHub = Weak<Hub>;

const EXCLUSIVE: Error = Error::Misuse {
    what: "this endpoint is used with both `accept` and `receiver`",
    remedy: "use `accept` to get each peer alone, or `receiver` to get all of them merged",
};
