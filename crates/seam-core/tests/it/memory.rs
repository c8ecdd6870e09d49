//! Single behaviours of the memory transport, each step by hand under virtual time.

use seam_core::{Datagram, Deliveries, Memory, Receiver, Registry, Sender, VirtualClock};

use crate::hand::now;

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
