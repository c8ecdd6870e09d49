//! The transport under test, through its URI, as a program uses it.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use seam::{Batch, Deliveries, Result, Ticket};

use crate::job::Job;
use crate::paired::{Meter, Outcome};

/// Datagrams of a batch, and tickets whose receipts are asked for later.
const BATCH: usize = 100;
const OPEN: usize = 30;
/// Deliveries of one refill.
const REFILL: usize = 256;
const PATIENCE: Duration = Duration::from_secs(30);

fn uri(job: &Job) -> String {
    let pack = if job.packs { "?pack=true" } else { "" };
    format!("sqs+http://key:secret@{}/bench{pack}", job.host)
}

pub(crate) async fn send(job: &Job) -> Result<Outcome> {
    let connection = seam::registry().client(uri(job)).await?;
    let sender = connection.sender().await?;
    let payload = vec![b'7'; job.size];
    let (mut batch, mut open) = (Batch::new(), VecDeque::new());
    let meter = Meter::start();
    for _ in 0..job.messages / BATCH {
        for _ in 0..BATCH {
            batch.push_bytes(0, black_box(&payload));
        }
        open.push_back(sender.admit(&mut batch).await?);
        if open.len() > OPEN {
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

async fn receipts(ticket: Option<Ticket>) {
    let mut ticket = ticket.expect("one is open");
    let receipts = ticket.receipts().await;
    assert!(receipts.all_ok(), "{:?}", receipts.failed());
}

pub(crate) async fn receive(job: &Job) -> Result<Outcome> {
    let connection = seam::registry().server(uri(job)).await?;
    let mut receiver = connection.receiver().await?;
    let mut deliveries = Deliveries::new();
    let (mut meter, mut count) = (None, 0);
    while count < job.messages && receiver.receive(REFILL, &mut deliveries).await? {
        meter.get_or_insert_with(Meter::start);
        while let Some(delivery) = deliveries.lend() {
            assert_eq!(delivery.view().payload().map(<[u8]>::len), Some(job.size));
            delivery.ack();
            count += 1;
        }
    }
    drop(deliveries);
    receiver.settled().await?;
    Ok(meter.expect("something came").stop())
}
