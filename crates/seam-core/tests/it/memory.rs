//! Single behaviours of the memory transport, each step by hand under virtual time.

use std::time::Duration;

use seam_core::{
    Batch, Clock, Datagram, Deliveries, Error, Fate, Memory, Receiver, Registry, Sender,
    VirtualClock,
};

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

#[test]
fn an_ack_wakes_a_full_receiver_whatever_others_did_meanwhile() {
    let (registry, _) = memory();
    let mut full = receiver(&registry, "memory://orders?credit=1");
    let mut other = receiver(&registry, "memory://orders?group=other");
    let sender = sender(&registry, "memory://orders");
    drop(sender.try_send(Datagram::new("1")).unwrap());
    drop(sender.try_send(Datagram::new("2")).unwrap());
    let first = now(full.next()).unwrap().unwrap();
    let second = Task::waiting(full.next());
    now(other.next()).unwrap().unwrap().ack().unwrap();
    first.ack().unwrap();
    assert_eq!(second.woken().unwrap().unwrap().datagram().payload(), Some(&b"2"[..]));
}

#[test]
fn every_receiver_ends_once_the_last_delivery_after_a_departure_is_settled() {
    let (registry, _) = memory();
    let server = now(registry.server("memory://chat")).unwrap();
    let client = now(registry.client("memory://chat")).unwrap();
    let peer = now(server.accept()).unwrap().unwrap();
    let (mut busy, mut idle) = (now(peer.receiver()).unwrap(), now(peer.receiver()).unwrap());
    now(now(client.sender()).unwrap().send(Datagram::new("bye"))).unwrap();
    let last = now(busy.next()).unwrap().unwrap();
    let mut idle = Task::waiting(idle.next());
    drop(client);
    assert!(idle.poll().is_none(), "something is in hand");
    last.ack().unwrap();
    assert!(idle.woken().unwrap().is_none());
}

#[test]
fn a_group_that_cannot_be_forgotten_yet_does_not_spin() {
    let (registry, clock) = memory();
    let sender = sender(&registry, "memory://orders?credit=1");
    drop(receiver(&registry, "memory://orders?session_expiry=1s&credit=1"));
    let _private = receiver(&registry, "memory://orders?private");
    drop(sender.try_send(Datagram::new("1")).unwrap());
    clock.advance(Duration::from_secs(5));
    let refused = sender.try_send(Datagram::new("2")).unwrap_err();
    assert!(matches!(refused.error(), Error::Full), "{refused}");
}

#[test]
fn a_group_is_forgotten_some_time_after_its_last_member_left() {
    let (registry, clock) = memory();
    let mut stays = receiver(&registry, "memory://orders");
    let sender = sender(&registry, "memory://orders?credit=1");
    drop(receiver(&registry, "memory://orders?session_expiry=5s&group=gone"));
    drop(sender.try_send(Datagram::new("1")).unwrap());
    let refused = sender.try_send(Datagram::new("2")).unwrap_err();
    assert!(matches!(refused.error(), Error::Full), "{refused}");
    now(stays.next()).unwrap().unwrap().ack().unwrap();
    let waits = Task::waiting(sender.send(Datagram::new("2")));
    clock.advance(Duration::from_secs(5));
    waits.woken().unwrap();
}

#[test]
fn the_largest_credit_that_can_be_written_is_one_to_live_with() {
    let (registry, _) = memory();
    let uri = "memory://orders?credit=18446744073709551615&credit_bytes=18446744073709551615B";
    let (mut one, _two) = (receiver(&registry, uri), receiver(&registry, uri));
    let sender = sender(&registry, uri);
    now(sender.send(Datagram::new("x"))).unwrap();
    now(one.next()).unwrap().unwrap().ack().unwrap();
    now(sender.send(Datagram::new("y"))).unwrap();
}

#[test]
fn a_second_drain_takes_no_fate_back() {
    let (registry, _) = memory();
    let _slow = receiver(&registry, "memory://orders?credit=1");
    let client = now(registry.client("memory://orders")).unwrap();
    let sender = now(client.sender()).unwrap();
    drop(sender.try_send(Datagram::new("1")).unwrap());
    let mut second = sender.try_send(Datagram::new("2")).unwrap();
    assert_eq!(now(client.drain(Duration::ZERO)).unwrap().unsent.len(), 2);
    assert!(now(client.drain(Duration::ZERO)).unwrap().is_clean());
    let receipts = now(second.receipts());
    assert_eq!(
        receipts.failed().iter().map(|(_, e)| e.fate()).collect::<Vec<_>>(),
        [Fate::NotSent]
    );
}

#[test]
fn no_receiver_is_made_on_a_connection_that_drains() {
    let (registry, _) = memory();
    let server = now(registry.server("memory://orders")).unwrap();
    let mut receiver = now(server.receiver()).unwrap();
    let sender = sender(&registry, "memory://orders");
    now(sender.send(Datagram::new("x"))).unwrap();
    let delivery = now(receiver.next()).unwrap().unwrap();
    let drain = Task::waiting(server.drain(Duration::from_secs(9)));
    assert!(matches!(now(server.receiver()), Err(Error::Closed { .. })));
    delivery.ack().unwrap();
    assert!(drain.woken().unwrap().is_clean());
}

#[test]
fn a_drain_learns_that_the_last_datagram_expired() {
    let (registry, clock) = memory();
    let mut receiver = receiver(&registry, "memory://orders");
    let client = now(registry.client("memory://orders")).unwrap();
    let sender = now(client.sender()).unwrap();
    let expiry = clock.wall().saturating_add(Duration::from_secs(1));
    drop(sender.try_send(Datagram::new("x").with_expiry(expiry)).unwrap());
    let drain = Task::waiting(client.drain(Duration::from_secs(9)));
    clock.advance(Duration::from_secs(2));
    let next = Task::waiting(receiver.next());
    assert!(drain.woken().unwrap().is_clean());
    drop(next);
}

#[test]
fn a_receiver_with_room_again_knows_of_what_is_delayed() {
    let (registry, clock) = memory();
    let mut leaves = receiver(&registry, "memory://orders?credit=1");
    let mut stays = receiver(&registry, "memory://orders?credit=1");
    let sender = sender(&registry, "memory://orders");
    (0..2).for_each(|_| drop(sender.try_send(Datagram::new("x")).unwrap()));
    let delayed = now(leaves.next()).unwrap().unwrap();
    let held = now(stays.next()).unwrap().unwrap();
    let mut next = Task::waiting(stays.next());
    delayed.retry(Duration::from_secs(5)).unwrap();
    drop(leaves);
    held.ack().unwrap();
    next.still_waits();
    clock.advance(Duration::from_secs(5));
    assert_eq!(next.woken().unwrap().unwrap().note().attempt, 2);
}

#[test]
fn a_throw_away_group_ends_with_its_receiver() {
    let (registry, clock) = memory();
    clock.block_on(async {
        let mut kept = registry.receiver("memory://orders").await.unwrap();
        let seen = registry.server("memory://orders?private").await.unwrap();
        let mut receiver = seen.receiver().await.unwrap();
        let sender = registry.sender("memory://orders?confirm=settled&credit=2").await.unwrap();
        let mut batch: Batch = (0..2).map(|tag| Datagram::new("x").with_tag(tag)).collect();
        let mut first = sender.admit(&mut batch).await.unwrap();
        let in_hand = receiver.next().await.unwrap().unwrap();
        drop(receiver);
        // What was not taken is owed to it no more; what is in hand still is.
        for _ in 0..2 {
            kept.next().await.unwrap().unwrap().ack().unwrap();
        }
        let mut ticket = sender.try_send(Datagram::new("y")).unwrap();
        kept.next().await.unwrap().unwrap().ack().unwrap();
        assert!(ticket.receipts().await.all_ok(), "it came after the group's receiver was gone");
        in_hand.ack().unwrap();
        assert!(first.receipts().await.all_ok());
    });
}

#[test]
fn a_handler_may_ask_while_its_connection_drains() {
    let (registry, clock) = memory();
    clock.block_on(async {
        let prices = registry.server("memory://prices").await.unwrap();
        let mut asked = prices.receiver().await.unwrap();
        let shop = registry.client("memory://prices").await.unwrap();
        let second = Duration::from_secs(1);
        let asking = shop.request(Datagram::new("apples?"), second);
        let answering = async {
            let request = asked.next().await.unwrap().unwrap();
            let draining = shop.drain(second);
            let replying = request.reply(Datagram::new("12"));
            let (drained, replied) = futures_util::future::join(draining, replying).await;
            replied.unwrap();
            assert!(drained.unwrap().is_clean());
        };
        let (answer, ()) = futures_util::future::join(asking, answering).await;
        assert_eq!(answer.unwrap().payload(), Some(&b"12"[..]));
    });
}
