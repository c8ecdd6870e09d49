//! Who receives within the test itself.

#[cfg(any(feature = "rabbitmq", feature = "sqs"))]
use super::stage::patience;
#[cfg(any(feature = "rabbitmq", feature = "sqs"))]
use seam::Deliveries;
use seam::Receiver;
use seam_conformance::ledger::Ledger;
#[cfg(any(feature = "rabbitmq", feature = "sqs"))]
use tokio::time::timeout;

/// Receives and acknowledges to the end.
pub(super) async fn acknowledge(mut receiver: Receiver, ledger: Ledger) {
    while let Some(delivery) = receiver.next().await.unwrap() {
        let stamp = ledger.delivered(delivery.view(), delivery.note()).unwrap();
        delivery.ack().unwrap();
        ledger.settled(&stamp);
    }
}

/// Receives and acknowledges until so many have come; how many did.
#[cfg(any(feature = "rabbitmq", feature = "sqs"))]
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
