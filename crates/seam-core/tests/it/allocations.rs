//! What a message may cost: sizes, and allocations per message in the steady state.

use allocation_counter::measure;
use seam_core::{Batch, Datagram, Deliveries, SendError};

use crate::hand::now;
use crate::memory::memory;

#[test]
fn a_batch_out_and_lent_deliveries_in_allocate_nothing_per_message() {
    const BATCH: usize = 256;
    const ROUNDS: u64 = 100;
    let (registry, _) = memory();
    let mut receiver = now(registry.receiver("memory://orders")).unwrap();
    let sender = now(registry.sender("memory://orders")).unwrap();
    let (mut batch, mut deliveries) = (Batch::new(), Deliveries::new());
    let mut round = || {
        (0..BATCH).for_each(|_| batch.push_bytes(7, &[1; 64]));
        let mut ticket = now(sender.admit(&mut batch)).unwrap();
        assert!(now(receiver.receive(BATCH, &mut deliveries)).unwrap());
        let mut settled = 0;
        while let Some(lent) = deliveries.lend() {
            assert_eq!(lent.view().payload().map(<[u8]>::len), Some(64));
            lent.ack();
            settled += 1;
        }
        assert_eq!(settled, BATCH);
        assert!(now(ticket.receipts()).all_ok());
    };
    (0..10).for_each(|_| round());
    let counted = measure(|| (0..ROUNDS).for_each(|_| round()));
    // Twenty messages for each allocation: 0.05 of one for a message.
    let messages = ROUNDS * 256;
    assert!(counted.count_total * 20 < messages, "{counted:?} for {messages} messages");
    assert!(counted.bytes_max < 64 << 10, "{counted:?}: the steady state holds no more memory");
}

#[test]
fn sizes_are_as_promised() {
    assert!(size_of::<Datagram>() <= 96, "{}", size_of::<Datagram>());
    assert_eq!(size_of::<SendError>(), size_of::<usize>());
}
