//! How much one source may have: connections, and peers that are remembered.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use seam_core::Peer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Config;
use crate::lock;

/// Where a connection comes from: who it has proved to be, else where it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Identity(String),
    V4(Ipv4Addr),
    /// The half of an address that a network has; whoever has one has all of the other half.
    V6([u16; 4]),
}

impl Source {
    /// The one of an address, where that is one of the internet.
    pub(crate) fn of_address(address: &str) -> Option<Self> {
        let address: SocketAddr = address.parse().ok()?;
        Some(match address.ip().to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self::V6([a, b, c, d])
            }
        })
    }

    pub(crate) fn of(peer: &Peer) -> Option<Self> {
        match &peer.identity {
            Some(identity) => Some(Self::Identity(identity.clone())),
            None => Self::of_address(&peer.address),
        }
    }
}

/// What each source has now.
#[derive(Debug)]
pub(crate) struct Sources {
    most: usize,
    counts: Mutex<HashMap<Source, usize>>,
}

impl Sources {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, counts: Mutex::default() })
    }

    /// One more of `source`, until it is dropped; `None` where it has as many as it may. What has no source is
    /// not counted.
    pub(crate) fn enter(self: &Arc<Self>, source: Option<Source>) -> Option<Place> {
        let Some(source) = source else { return Some(Place(None)) };
        let mut counts = lock(&self.counts);
        let count = counts.entry(source.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place(Some((self.clone(), source))))
    }
}

/// Room for so many, of which one source may have a share.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) all: Arc<Semaphore>,
    pub(crate) sources: Arc<Sources>,
}

impl Room {
    pub(crate) fn new(config: &Config) -> Self {
        let all = config.connections.min(Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(all)),
            sources: Sources::new(config.source_connections),
        }
    }

    /// One more of `source`, if there is room.
    pub(crate) fn enter(&self, source: Option<Source>) -> Option<Permit> {
        let all = self.all.clone().try_acquire_owned().ok()?;
        Some(Permit { _all: all, _source: self.sources.enter(source)? })
    }
}

/// A place among all, and among those of its source.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) _all: OwnedSemaphorePermit,
    pub(crate) _source: Place,
}

/// One that a source has.
#[derive(Debug)]
pub(crate) struct Place(Option<(Arc<Sources>, Source)>);

impl Drop for Place {
    fn drop(&mut self) {
        let Some((sources, source)) = self.0.take() else { return };
        let mut counts = lock(&sources.counts);
        if let Some(count) = counts.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Option<Source> {
        Source::of_address(address)
    }

    #[test]
    fn a_source_is_an_address_or_a_network() {
        assert_eq!(of("192.0.2.1:80"), of("[::ffff:192.0.2.1]:81"));
        assert_ne!(of("192.0.2.1:80"), of("192.0.2.2:80"));
        assert_eq!(of("[2001:db8::1]:80"), of("[2001:db8:0:0:ffff::2]:80"));
        assert_ne!(of("[2001:db8::1]:80"), of("[2001:db8:0:1::1]:80"));
        assert_eq!(of("/run/seam.sock"), None);
    }

    #[test]
    fn who_has_proved_its_name_is_counted_by_that() {
        let mut peer = Peer::new("1", "192.0.2.1:80");
        assert_eq!(Source::of(&peer), of("192.0.2.1:80"));
        peer.identity = Some("worker.example".to_owned());
        assert_eq!(Source::of(&peer), Some(Source::Identity("worker.example".to_owned())));
    }

    #[test]
    fn one_source_takes_no_more_than_its_share_and_gives_it_back() {
        let sources = Sources::new(2);
        let first = sources.enter(of("192.0.2.1:1"));
        let second = sources.enter(of("192.0.2.1:2"));
        assert!(first.is_some() && second.is_some());
        assert!(sources.enter(of("192.0.2.1:3")).is_none());
        assert!(sources.enter(of("192.0.2.2:1")).is_some() && sources.enter(None).is_some());
        drop(first);
        assert!(sources.enter(of("192.0.2.1:4")).is_some());
        drop(second);
        assert!(lock(&sources.counts).is_empty(), "nothing is kept of who has gone");
    }
}
