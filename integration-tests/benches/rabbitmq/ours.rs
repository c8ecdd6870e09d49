//! The transport under test, through its URI, as a program uses it.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use seam::{Batch, Datagram, Deliveries, Result, Ticket};

use crate::job::{Job, SIZE, WINDOW};
use crate::paired::{Meter, Outcome};

/// Datagrams of a batch, and tickets whose receipts are asked for later.
const BATCH: usize = 100;
const OPEN: usize = 9;
/// Deliveries of one refill.
const REFILL: usize = 256;
const PATIENCE: Duration = Duration::from_secs(30);

fn uri(job: &Job) -> String {
    let Job { authority, queue, kind, .. } = job;
    format!("rabbitmq://{authority}/{queue}?queue_type={kind}&credit={WINDOW}&credit_bytes=64MiB")
}

pub(crate) async fn send(job: &Job) -> Result<Outcome> {
    let connection = seam::registry().client(uri(job)).await?;
    let sender = connection.sender().await?;
    sender.send(Datagram::new(vec![7; SIZE])).await?;
    let payload = vec![7; SIZE];
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
            assert_eq!(delivery.view().payload().map(<[u8]>::len), Some(SIZE));
            delivery.ack();
            count += 1;
        }
    }
    drop(deliveries);
    receiver.settled().await?;
    Ok(meter.expect("something came").stop())
}

/// Takes as much as it is given, by the defaults, settles nothing, and waits until nothing more comes.
pub(crate) async fn hold(job: &Job) -> Result<Outcome> {
    let Job { authority, queue, kind, .. } = job;
    let uri = format!("rabbitmq://{authority}/{queue}?queue_type={kind}");
    let connection = seam::registry().server(uri).await?;
    let mut receiver = connection.receiver().await?;
    let meter = Meter::start();
    let mut held = Vec::new();
    let quiet = Duration::from_secs(3);
    while let Ok(next) = tokio::time::timeout(quiet, receiver.next()).await {
        held.extend(next?);
    }
    assert!(held.len() < job.messages, "credit ends it");
    Ok(meter.stop())
}
