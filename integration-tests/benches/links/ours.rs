//! The transport under test, through its URI, as a program uses it.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use integration_tests::bare::Over;
use seam::{Batch, Connection, Datagram, Deliveries, Receiver, Result, Sender, Ticket};
use tokio::task::JoinSet;

use crate::job::{Job, LAST, Program};
use crate::meter::Meter;
use crate::tasks::Count;

/// Datagrams and bytes of a batch, as a feeding sender gathers them.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 256 << 10;
/// Tickets whose receipts are asked for later.
const OPEN: usize = 64;
/// Deliveries of one refill.
const REFILL: usize = 1024;
/// Payloads from here on are shared, not copied.
const SHARED: usize = 8 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// What both ends open.
pub(crate) fn uri(job: &Job) -> String {
    let wire = if job.program == Program::Connect { "wire=connect" } else { "credit=16384" };
    let (over, address) = (job.spot.over, job.spot.address);
    match over {
        Over::Tcp => format!("tcp://{address}/bench?{wire}"),
        Over::Tls | Over::Quic => {
            let (port, folder) = (address.port(), job.spot.folder.display());
            format!(
                "{over}://localhost:{port}/bench?cert={folder}/server.pem&key={folder}/server.key&ca={folder}/ca.pem&{wire}"
            )
        }
        Over::Unix => format!("unix://{}?address=bench&{wire}", job.spot.path().display()),
    }
}

/// Sends all that `job` asks for and waits until it is done.
pub(crate) async fn send(job: &Job, mut meter: Meter) -> Result<Meter> {
    let connection = seam::registry().client(uri(job)).await?;
    let meter = match job.program {
        Program::Request => request(&connection, job, &mut meter).await.map(|()| meter),
        Program::Tasks(tasks) => send_each(&connection, job, tasks, meter).await,
        _ => stream(&connection.sender().await?, job, &mut meter).await.map(|()| meter),
    }?;
    let last = Datagram::copy_from(LAST, &[7]);
    if job.program == Program::Request {
        connection.request(last, PATIENCE).await?;
    } else {
        connection.sender().await?.send(last).await?;
    }
    assert!(connection.drain(PATIENCE).await?.is_clean(), "all is done");
    Ok(meter)
}

async fn stream(sender: &Sender, job: &Job, meter: &mut Meter) -> Result<()> {
    let payload = Bytes::from(vec![7; job.size]);
    let count = BATCH.min(BATCH_BYTES / job.size).max(1);
    let (mut batch, mut open) = (Batch::new(), VecDeque::new());
    loop {
        for _ in 0..count {
            fill(&mut batch, black_box(&payload), job.program);
        }
        open.push_back(sender.admit(&mut batch).await?);
        if open.len() > OPEN {
            receipts(open.pop_front()).await;
        }
        if !meter.add(count) {
            break;
        }
    }
    while !open.is_empty() {
        receipts(open.pop_front()).await;
    }
    Ok(())
}

#[inline]
fn fill(batch: &mut Batch, payload: &Bytes, program: Program) {
    match program {
        _ if payload.len() >= SHARED => batch.push_shared(0, payload.clone()),
        Program::Owned => batch.push(Datagram::copy_from(0, payload)),
        _ => batch.push_bytes(0, payload),
    }
}

async fn receipts(ticket: Option<Ticket>) {
    let mut ticket = ticket.expect("one is open");
    let receipts = ticket.receipts().await;
    assert!(receipts.all_ok(), "{:?}", receipts.failed());
}

async fn send_each(
    connection: &Connection,
    job: &Job,
    tasks: usize,
    meter: Meter,
) -> Result<Meter> {
    let sender = connection.sender().await?;
    let count = Count::new(meter);
    let payload = Bytes::from(vec![7; job.size]);
    let mut sending = JoinSet::new();
    for _ in 0..tasks {
        let (sender, count, payload) = (sender.clone(), count.clone(), payload.clone());
        sending.spawn(async move {
            loop {
                sender.send(Datagram::copy_from(0, &payload)).await?;
                if !count.add() {
                    return Ok(());
                }
            }
        });
    }
    sending.join_all().await.into_iter().collect::<Result<()>>()?;
    Ok(count.into_meter())
}

async fn request(connection: &Connection, job: &Job, meter: &mut Meter) -> Result<()> {
    let payload = vec![7; job.size];
    loop {
        let start = Instant::now();
        let reply = connection.request(Datagram::copy_from(0, &payload), PATIENCE).await?;
        assert_eq!(reply.payload().map(<[u8]>::len), Some(job.size));
        if !meter.trip(start) {
            return Ok(());
        }
    }
}

/// Receives until the last datagram has come.
pub(crate) async fn receive(job: &Job, meter: &mut Meter, ready: impl FnOnce()) -> Result<()> {
    let connection = seam::registry().server(uri(job)).await?;
    let mut receiver = connection.receiver().await?;
    ready();
    if job.program == Program::Request {
        reply(&mut receiver, meter).await?;
    } else {
        take(&mut receiver, job.program, meter).await?;
    }
    drop(receiver);
    connection.drain(PATIENCE).await.map(drop)
}

async fn take(receiver: &mut Receiver, program: Program, meter: &mut Meter) -> Result<()> {
    let mut deliveries = Deliveries::new();
    let mut tag = 0;
    while tag != LAST && receiver.receive(REFILL, &mut deliveries).await? {
        meter.add(deliveries.len());
        while let Some(lent) = deliveries.lend() {
            let view = lent.view();
            tag = view.tag();
            let payload = view.payload().unwrap_or_default();
            black_box((payload[0], payload[payload.len() - 1]));
            if program == Program::Owned {
                lent.take().ack()?;
            } else {
                lent.ack();
            }
        }
    }
    Ok(())
}

async fn reply(receiver: &mut Receiver, meter: &mut Meter) -> Result<()> {
    while let Some(request) = receiver.next().await? {
        let is_last = request.view().tag() == LAST;
        let reply = Datagram::copy_from(0, request.view().payload().unwrap_or_default());
        request.reply(reply).await?;
        if is_last {
            break;
        }
        meter.add(1);
    }
    Ok(())
}
