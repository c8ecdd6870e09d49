//! What messages cost while they wait.

use seam_core::Batch;

use crate::measure::{self, mebibytes};
use crate::seam;

/// Beside the bytes of a message, as the goal counts it.
const BESIDE: usize = 128;

pub(crate) fn print(count: u32, size: usize) {
    measure::runtime().block_on(async {
        let registry = seam::registry();
        let uri = "memory://bench?credit=2000000&credit_bytes=4GiB";
        let server = registry.server(uri).await.expect("it opens");
        let receiver = server.receiver().await.expect("it receives");
        let sender = registry.sender(uri).await.expect("it opens");
        let payload = vec![7; size];
        let (resident, live) = (measure::resident(), live());
        let mut batch = Batch::new();
        for _ in 0..count / 256 {
            (0..256).for_each(|_| batch.push_bytes(0, &payload));
            let mut ticket = sender.admit(&mut batch).await.expect("it is admitted");
            assert!(ticket.receipts().await.all_ok());
        }
        let sent = usize::try_from(count / 256 * 256).expect("it fits");
        let (held, grown) = (self::live() - live, measure::resident().saturating_sub(resident));
        let goal = sent * (size + BESIDE);
        println!(
            "{sent} waiting messages of {size} bytes: {:.1} MiB counted, {:.1} MiB resident; {:.2} of their bytes \
             and {BESIDE} each (goal <= 1.3)",
            mebibytes(held),
            mebibytes(grown),
            mebibytes(held.max(grown)) / mebibytes(goal),
        );
        drop(receiver);
    });
}

/// Bytes that are allocated now.
fn live() -> usize {
    let stats = crate::ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}
