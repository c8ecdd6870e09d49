//! The embedded default: datagrams within one process, with everything the contract offers.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, Waker};

use async_trait::async_trait;

use super::config::{self, Config};
use super::connection::MemoryConnection;
use crate::clock::lock;
use crate::distributor::Distributor;
use crate::driver::{self, OpenContext, Transport};
use crate::{Capabilities, Capability, Endpoint, Error, Result, Scheme, Side, Support};

/// The transport of `memory://`: an address of any form, no host, nothing outside the process.
///
/// It has every capability but `Replay` and `Store`. What one side sends, the other side receives: clients
/// send to servers, and servers to clients. Clones share their addresses; two values share none.
///
/// ```
/// # use seam_core::{Capability, Memory, Registry, Side};
/// let registry = Registry::new().with(Memory::new());
/// let capabilities = registry.check("memory://orders", Side::Client)?;
/// assert!(capabilities.has(Capability::Order));
/// assert!(!capabilities.has(Capability::Replay));
/// # Ok::<(), seam_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Memory {
    hub: Arc<Hub>,
}

impl Memory {
    /// A memory with no address in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Transport for Memory {
    fn schemes(&self) -> &'static [Scheme] {
        &config::SCHEMES
    }

    fn check(&self, endpoint: &Endpoint, _: Side) -> Result<Capabilities> {
        let config = Config::new(endpoint)?;
        Ok(capabilities(&config))
    }

    async fn open(
        &self,
        endpoint: &Endpoint,
        context: OpenContext,
    ) -> Result<Arc<dyn driver::Connection>> {
        let config = Config::new(endpoint)?;
        let address = self.hub.address(endpoint);
        let capabilities = capabilities(&config);
        let hub = self.hub.clone();
        Ok(MemoryConnection::open(hub, &address, endpoint, config, capabilities, context))
    }
}

fn capabilities(config: &Config) -> Capabilities {
    let missing = [Capability::Replay, Capability::Store];
    let all = Capability::ALL.into_iter().filter(|capability| !missing.contains(capability));
    all.fold(Capabilities::none(), |set, capability| set.with(capability, Support::Native))
        .with_confirmation(config.confirm)
        .with_limits(config.limits.clone())
}

/// Every address of one memory, and every address that replies go to.
#[derive(Debug)]
pub(super) struct Hub {
    id: u64,
    numbers: AtomicU64,
    addresses: Mutex<HashMap<Box<str>, Weak<Address>>>,
    replies: Mutex<HashMap<u64, Weak<Distributor>>>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            // Random, so that a reply address is refused by every memory but its own.
            id: RandomState::new().build_hasher().finish(),
            numbers: AtomicU64::new(0),
            addresses: Mutex::default(),
            replies: Mutex::default(),
        }
    }
}

/// One address: what clients send to servers, what servers send to clients, and the clients that may
/// become peers.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) up: Arc<Distributor>,
    pub(super) down: Arc<Distributor>,
    lobby: Mutex<Lobby>,
}

/// Clients on their way to `accept`.
#[derive(Debug, Default)]
struct Lobby {
    /// Whether some server accepts peers instead of receiving from all.
    accepting: bool,
    arrived: VecDeque<Weak<MemoryConnection>>,
    wakers: Vec<Waker>,
}

impl Hub {
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn address(&self, endpoint: &Endpoint) -> Arc<Address> {
        let mut addresses = lock(&self.addresses);
        if let Some(address) = addresses.get(endpoint.address()).and_then(Weak::upgrade) {
            return address;
        }
        addresses.retain(|_, address| address.strong_count() > 0);
        let name = endpoint.to_string();
        let address = Arc::new(Address {
            up: Distributor::new(name.clone()),
            down: Distributor::new(name),
            lobby: Mutex::default(),
        });
        addresses.insert(endpoint.address().into(), Arc::downgrade(&address));
        address
    }

    /// The servers' side of an ordinary address, for `?reply_any`.
    pub(super) fn named(&self, reply_to: &[u8]) -> Result<Arc<Distributor>> {
        let name = std::str::from_utf8(reply_to).ok();
        let addresses = lock(&self.addresses);
        let address = name.and_then(|name| addresses.get(name)).and_then(Weak::upgrade);
        address.map(|address| address.up.clone()).ok_or(Error::RequesterGone)
    }

    /// Makes an address for replies; returns how it is written in `reply_to`.
    pub(super) fn add_replies(&self, topic: &Arc<Distributor>) -> String {
        let number = self.number();
        let mut replies = lock(&self.replies);
        replies.retain(|_, topic| topic.strong_count() > 0);
        replies.insert(number, Arc::downgrade(topic));
        format!("seam-memory/{:x}/{number:x}", self.id)
    }

    /// The topic of a reply address of this memory.
    pub(super) fn replies(&self, reply_to: &[u8]) -> Result<Arc<Distributor>> {
        let text = std::str::from_utf8(reply_to).ok();
        let parts = text.and_then(|text| text.strip_prefix("seam-memory/")?.split_once('/'));
        let numbers = parts.and_then(|(hub, number)| {
            let hub = u64::from_str_radix(hub, 16).ok()?;
            Some((hub, u64::from_str_radix(number, 16).ok()?))
        });
        let Some((_, number)) = numbers.filter(|(hub, _)| *hub == self.id) else {
            return Err(Error::Denied {
                endpoint: "reply_to".to_owned(),
                reason: "it is no address that a `request` on this memory made".to_owned(),
            });
        };
        let topic = lock(&self.replies).get(&number).and_then(Weak::upgrade);
        topic.filter(|topic| !topic.is_closed()).ok_or(Error::RequesterGone)
    }
}

impl Address {
    pub(super) fn arrive(&self, client: Weak<MemoryConnection>) {
        let mut lobby = lock(&self.lobby);
        lobby.arrived.retain(|client| client.strong_count() > 0);
        lobby.arrived.push_back(client);
        let wakers = std::mem::take(&mut lobby.wakers);
        drop(lobby);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_accepting(&self) -> bool {
        lock(&self.lobby).accepting
    }

    /// The next client that is still there; `None` once `ended` says that this server listens no more.
    pub(super) async fn next_client(
        &self,
        ended: impl Fn() -> bool,
    ) -> Option<Arc<MemoryConnection>> {
        lock(&self.lobby).accepting = true;
        poll_fn(|cx| {
            let mut lobby = lock(&self.lobby);
            if ended() {
                return Poll::Ready(None);
            }
            while let Some(client) = lobby.arrived.pop_front() {
                if let Some(client) = client.upgrade().filter(|client| client.is_open()) {
                    return Poll::Ready(Some(client));
                }
            }
            if !lobby.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                lobby.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Wakes whoever accepts, to look whether it still listens.
    pub(super) fn disturb(&self) {
        let wakers = std::mem::take(&mut lock(&self.lobby).wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}
