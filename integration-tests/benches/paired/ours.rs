//! Ours, through its URI, as a program uses it.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use seam::{Batch, Datagram, Deliveries, Result, Ticket};

use super::{Meter, Outcome};

const PATIENCE: Duration = Duration::from_secs(30);

/// What one run does.
pub(crate) struct Run {
    pub(crate) uri: String,
    pub(crate) messages: usize,
    /// Bytes of each.
    pub(crate) size: usize,
    /// Datagrams that are admitted together, or taken by one refill at most.
    pub(crate) batch: usize,
    /// Tickets whose receipts are asked for later.
    pub(crate) open: usize,
}

impl Run {
    pub(crate) async fn send(self) -> Result<Outcome> {
        let connection = seam::registry().client(self.uri).await?;
        let sender = connection.sender().await?;
        let payload = vec![b'7'; self.size];
        // What is made by the first one is not counted.
        sender.send(Datagram::new(payload.clone())).await?;
        let (mut batch, mut open) = (Batch::new(), VecDeque::new());
        let meter = Meter::start();
        for _ in 0..self.messages / self.batch {
            for _ in 0..self.batch {
                batch.push_bytes(0, black_box(&payload));
            }
            open.push_back(sender.admit(&mut batch).await?);
            if open.len() > self.open {
                receipts(open.pop_front()).await;
            }
        }
        while !open.is_empty() {
            receipts(open.pop_front()).await;
        }
        let outcome = meter.stop();
        assert!(connection.drain(PATIENCE).await?.is_clean(), "all is stored");
        Ok(outcome)
    }

    /// Settles each delivery for itself.
    pub(crate) async fn receive(self) -> Result<Outcome> {
        let connection = seam::registry().server(self.uri).await?;
        let mut receiver = connection.receiver().await?;
        let mut deliveries = Deliveries::new();
        let (mut meter, mut count) = (None, 0);
        while count < self.messages && receiver.receive(self.batch, &mut deliveries).await? {
            meter.get_or_insert_with(Meter::start);
            while let Some(delivery) = deliveries.lend() {
                assert_eq!(delivery.view().payload().map(<[u8]>::len), Some(self.size));
                delivery.ack();
                count += 1;
            }
        }
        drop(deliveries);
        receiver.settled().await?;
        Ok(meter.expect("something came").stop())
    }

    /// Takes as much as it is given, settles nothing, and waits until nothing more comes.
    #[allow(dead_code, reason = "that of SQS holds nothing")]
    pub(crate) async fn hold(self) -> Result<Outcome> {
        let connection = seam::registry().server(self.uri).await?;
        let mut receiver = connection.receiver().await?;
        let meter = Meter::start();
        let mut held = Vec::new();
        let quiet = Duration::from_secs(3);
        while let Ok(next) = tokio::time::timeout(quiet, receiver.next()).await {
            held.extend(next?);
        }
        assert!(held.len() < self.messages, "credit ends it");
        Ok(meter.stop())
    }
}

async fn receipts(ticket: Option<Ticket>) {
    let mut ticket = ticket.expect("one is open");
    let receipts = ticket.receipts().await;
    assert!(receipts.all_ok(), "{:?}", receipts.failed());
}
