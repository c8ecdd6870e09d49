//! Wakers that run the program's code at once: nothing may hold a lock while it wakes.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Wake, Waker};
use std::thread::Builder;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use seam_core::{Clock, Connection, Datagram, Memory, Registry, VirtualClock};

use crate::hand::now;

/// Sends, receives and asks on everything there is, from inside `wake`.
struct Meddler(Vec<Connection>, Registry);

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        for connection in &self.0 {
            let _ = (connection.state(), connection.statistics());
            connection.next_event().now_or_never();
            if let Some(Ok(sender)) = connection.sender().now_or_never() {
                drop(sender.try_send(Datagram::new("from a waker")));
            }
            if let Some(Ok(mut receiver)) = connection.receiver().now_or_never() {
                drop(receiver.next().now_or_never());
                drop(receiver.settled().now_or_never());
            }
        }
        drop(self.1.sender("memory://orders").now_or_never());
    }
}

/// Polls `future` once with a meddling waker, and keeps it.
fn meddle<'a, T>(waker: &Waker, mut future: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
    let _ = future.as_mut().poll(&mut Context::from_waker(waker));
    future
}

/// Fails, instead of hanging, where something waits for itself.
#[track_caller]
fn within_time(work: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    Builder::new()
        .spawn(move || {
            work();
            done.send(()).unwrap();
        })
        .unwrap();
    ended.recv_timeout(Duration::from_secs(20)).expect("a waker that calls back was locked out");
}

fn meddlers(uris: &[&str]) -> (Registry, VirtualClock, Vec<Connection>, Waker) {
    let clock = VirtualClock::new();
    let registry = Registry::new().with(Memory::new()).with_clock(clock.clone());
    let open = |uri: &&str| now(registry.server(*uri)).unwrap();
    let mut connections: Vec<Connection> = uris.iter().map(open).collect();
    connections.push(now(registry.client("memory://orders")).unwrap());
    let waker = Waker::from(Arc::new(Meddler(connections.clone(), registry.clone())));
    (registry, clock, connections, waker)
}

#[test]
fn wakers_of_sends_and_receives_may_call_back() {
    within_time(|| {
        let (_, clock, connections, waker) = meddlers(&["memory://orders?credit=1"]);
        let [server, client] = &connections[..] else { unreachable!() };
        let (mut receiver, sender) =
            (now(server.receiver()).unwrap(), now(client.sender()).unwrap());
        let waits = meddle(&waker, receiver.next().boxed());
        drop(sender.try_send(Datagram::new("1")).unwrap());
        drop(waits);
        let delivery = now(receiver.next()).unwrap().unwrap();
        let send = meddle(&waker, sender.send(Datagram::new("2")).boxed());
        delivery.retry(Duration::from_secs(1)).unwrap();
        let waits = meddle(&waker, receiver.next().boxed());
        clock.advance(Duration::from_secs(2));
        drop((waits, send));
    });
}

#[test]
fn wakers_of_events_may_call_back_when_something_expires() {
    within_time(|| {
        let (_, clock, connections, waker) = meddlers(&["memory://orders"]);
        let [server, client] = &connections[..] else { unreachable!() };
        let (mut receiver, sender) =
            (now(server.receiver()).unwrap(), now(client.sender()).unwrap());
        let expiry = clock.wall().saturating_add(Duration::from_secs(1));
        drop(sender.try_send(Datagram::new("1").with_expiry(expiry)).unwrap());
        clock.advance(Duration::from_secs(2));
        while server.next_event().now_or_never().is_some() {}
        let event = meddle(&waker, server.next_event().boxed());
        assert!(receiver.next().now_or_never().is_none());
        drop(event);
    });
}

#[test]
fn wakers_of_lost_leases_may_call_back() {
    within_time(|| {
        let (_, _, connections, waker) = meddlers(&["memory://orders", "memory://orders?private"]);
        let [server, private, client] = &connections[..] else { unreachable!() };
        let sender = now(client.sender()).unwrap();
        for connection in [server, private] {
            let mut receiver = now(connection.receiver()).unwrap();
            drop(sender.try_send(Datagram::new("1")).unwrap());
            let (_, duty) = now(receiver.next()).unwrap().unwrap().split();
            let revoked = meddle(&waker, duty.revoked().boxed());
            drop(now(connection.drain(Duration::ZERO)).unwrap());
            drop(revoked);
            assert!(!duty.is_current());
        }
    });
}

#[test]
fn wakers_may_call_back_when_a_client_becomes_a_peer_and_departs() {
    within_time(|| {
        let (registry, _, connections, _) = meddlers(&["memory://chat"]);
        let server = &connections[0];
        let client = now(registry.client("memory://chat")).unwrap();
        let waker = Waker::from(Arc::new(Meddler(vec![client.clone()], registry.clone())));
        let (mut receiver, sender) =
            (now(client.receiver()).unwrap(), now(client.sender()).unwrap());
        let receives = meddle(&waker, receiver.next().boxed());
        let sends = meddle(&waker, sender.send(Datagram::new("1")).boxed());
        let peer = now(server.accept()).unwrap().unwrap();
        drop(sends);
        drop(receives);
        let receives = meddle(&waker, receiver.next().boxed());
        drop(now(client.drain(Duration::ZERO)).unwrap());
        drop((receives, peer));
    });
}
