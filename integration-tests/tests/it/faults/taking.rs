//! Who receives within the test itself.

use seam::{Deliveries, Receiver};
use seam_conformance::ledger::Ledger;
use tokio::time::timeout;

use super::stage::patience;

/// Receives and acknowledges until so many have come; how many did.
pub(super) async fn take(receiver: &mut Receiver, ledger: &Ledger, messages: u64) -> u64 {
    let (mut deliveries, mut count) = (Deliveries::new(), 0);
    while count < messages {
        let receiving = receiver.receive(256, &mut deliveries);
        assert!(timeout(patience(), receiving).await.expect("all comes").unwrap());
        while let Some(lent) = deliveries.lend() {
            let stamp = ledger.delivered(lent.view(), lent.note()).unwrap();
            lent.ack();
            ledger.settled(&stamp);
            count += 1;
        }
    }
    deliveries.publish();
    count
}
