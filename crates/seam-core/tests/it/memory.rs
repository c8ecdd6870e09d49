//! Single behaviours of the memory transport, each step by hand under virtual time.

use std::time::Duration;

use seam_core::{Datagram, Deliveries, Fate, Memory, Receiver, Registry, Sender, VirtualClock};

use crate::hand::{Task, now};

pub(crate) fn memory() -> (Registry, VirtualClock) {
    let clock = VirtualClock::new();
    (Registry::new().with(Memory::new()).with_clock(clock.clone()), clock)
}

fn receiver(registry: &Registry, uri: &str) -> Receiver {
    now(registry.receiver(uri)).unwrap()
}

fn sender(registry: &Registry, uri: &str) -> Sender {
    now(registry.sender(uri)).unwrap()
}

#[test]
fn credit_in_bytes_is_not_exceeded_by_the_last_datagram() {
    let (registry, _) = memory();
    let mut receiver = receiver(&registry, "memory://orders?credit_bytes=100B");
    let sender = sender(&registry, "memory://orders");
    for size in [60, 60, 160] {
        drop(sender.try_send(Datagram::new(vec![0; size])).unwrap());
    }
    let mut deliveries = Deliveries::new();
    for size in [60, 60, 160] {
        assert!(now(receiver.receive(8, &mut deliveries)).unwrap());
        let sizes: Vec<usize> = deliveries.views().map(|view| view.size()).collect();
        assert_eq!(sizes, [size], "one alone always fits, two do not");
        deliveries.ack_all();
    }
}

#[test]
fn deliveries_of_a_dropped_receiver_are_revoked_with_its_connection() {
    let (registry, _) = memory();
    let connection = now(registry.server("memory://orders")).unwrap();
    let mut first = now(connection.receiver()).unwrap();
    let sender = sender(&registry, "memory://orders");
    now(sender.send(Datagram::new("x"))).unwrap();
    let delivery = now(first.next()).unwrap().unwrap();
    drop(first);
    assert!(delivery.is_current(), "still settleable");
    let mut second = receiver(&registry, "memory://orders");
    let next = Task::waiting(second.next());
    drop(connection);
    assert!(!delivery.is_current());
    let again = next.woken().unwrap().unwrap();
    assert_eq!((again.note().attempt, again.note().possible_duplicate), (2, true));
}

#[test]
fn what_was_delivered_once_is_never_told_as_not_sent() {
    let (registry, _) = memory();
    let mut receiver = receiver(&registry, "memory://orders");
    let sender = sender(&registry, "memory://orders?confirm=settled");
    let ticket = sender.try_send(Datagram::new("x")).unwrap();
    let delivery = now(receiver.next()).unwrap().unwrap();
    delivery.retry(Duration::from_secs(1)).unwrap();
    let fates: Vec<Fate> = ticket.withdraw().failed().iter().map(|(_, e)| e.fate()).collect();
    assert_eq!(fates, [Fate::MaybeSent]);
}

#[test]
fn what_a_group_that_is_gone_may_have_seen_is_never_told_as_not_sent() {
    let (registry, _) = memory();
    let _slow = receiver(&registry, "memory://orders");
    let mut private = receiver(&registry, "memory://orders?private");
    let sender = sender(&registry, "memory://orders?confirm=settled");
    let ticket = sender.try_send(Datagram::new("x")).unwrap();
    now(private.next()).unwrap().unwrap().ack().unwrap();
    drop(private);
    let fates: Vec<Fate> = ticket.withdraw().failed().iter().map(|(_, e)| e.fate()).collect();
    assert_eq!(fates, [Fate::MaybeSent]);
}
