//! Senders that wait for credit, and the verdicts that give it.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join_all, join3};
use seam_core::{Clock, Datagram, Memory, Registry, Sender, VirtualClock};

const URI: &str = "memory://orders?credit=4";

/// Fills the credit of the receiver and of each sender; then more is sent than is acknowledged by and by.
fn check_all_go_on<F: Future>(connections: usize, drop_one: impl Fn(Sender) -> F) {
    let clock = VirtualClock::new();
    clock.block_on(async {
        let registry = Registry::new().with(Memory::new()).with_clock(clock.clone());
        let mut receiver = registry.receiver("memory://orders").await.unwrap();
        let mut senders = Vec::new();
        for _ in 0..connections {
            let sender = registry.sender(URI).await.unwrap();
            for _ in 0..4 {
                sender.send(Datagram::new("x")).await.unwrap();
            }
            senders.push(sender);
        }
        let mut held = Vec::new();
        for _ in 0..connections * 4 {
            held.push(receiver.next().await.unwrap().unwrap());
        }
        let dropped = join_all(senders.iter().cloned().map(&drop_one));
        let waiting = senders.iter().flat_map(|sender| [sender.clone(), sender.clone()]);
        let waiting = join_all(waiting.map(|sender| async move {
            sender.send(Datagram::new("y")).await.unwrap();
        }));
        let acking = async {
            clock.sleep(Duration::from_millis(1)).await;
            // Each on its own, and nobody receives: every verdict must reach whoever waits.
            for delivery in held {
                delivery.ack().unwrap();
                clock.sleep(Duration::from_millis(1)).await;
            }
        };
        join3(dropped, waiting, acking).await;
        assert!(clock.now() < Duration::from_secs(1), "a sender waited to its deadline");
    });
}

#[test]
fn every_sender_of_a_connection_goes_on() {
    check_all_go_on(1, |_| async {});
}

#[test]
fn senders_of_several_connections_go_on() {
    check_all_go_on(3, |_| async {});
}

#[test]
fn a_sender_that_gives_up_wakes_the_next() {
    check_all_go_on(2, |sender| async move {
        // It waits first in its queue, and is dropped at its first poll.
        drop(futures_util::poll!(pin!(sender.send(Datagram::new("z")))));
    });
}
