//! Workers: one record of a network at a time, many networks at once.

use std::sync::Arc;
use std::time::Duration;

use seam::layers::{DeadLetter, Exponential, Job, Summary, lanes};
use seam::{Connection, Datagram, Sender, Value, Verdict};
use tokio::task::JoinHandle;

use crate::Failure;
use crate::args::Args;
use crate::books::Books;
use crate::places::Places;
use crate::produce::RECORD;
use crate::record::{Quake, STRONG};
use crate::tally::Tally;

/// Deliveries held at most: room for a burst of one network, so that the others go on.
const BACKLOG: usize = 1024;

/// The running workers.
pub(crate) struct Workers {
    connection: Connection,
    alerts: Connection,
    parked: Connection,
    running: JoinHandle<seam::Result<Summary>>,
}

/// What handling a record needs.
struct Handler {
    alerts: Sender,
    books: Arc<Books>,
    tally: Arc<Tally>,
}

pub(crate) async fn start(
    args: &Args,
    places: &Places,
    books: &Arc<Books>,
    tally: &Arc<Tally>,
) -> Result<Workers, Failure> {
    let alerts = places.registry.client(places.to_send(&places.alerts)?).await?;
    let parked = places.registry.client(places.to_send(&places.parked)?).await?;
    let connection = places.registry.server(&places.via).await?;
    let receiver = connection.receiver().await?;
    let letters = DeadLetter::new(parked.sender().await?, receiver.endpoint());
    let handler = Arc::new(Handler {
        alerts: alerts.sender().await?,
        books: books.clone(),
        tally: tally.clone(),
    });
    let workers = lanes(usize::from(args.workers))
        .with_retry(Exponential::new(Duration::from_millis(20)).with_limit(10))
        .with_dead_letter(letters)
        .with_backlog(BACKLOG)
        .run(receiver, move |job: Job| {
            let handler = handler.clone();
            async move { handler.handle(&job).await }
        });
    Ok(Workers { connection, alerts, parked, running: tokio::spawn(workers) })
}

impl Workers {
    /// Ends gracefully; how many deliveries and datagrams were left.
    pub(crate) async fn finish(self) -> Result<u64, Failure> {
        let mut left = 0;
        for connection in [&self.connection, &self.alerts, &self.parked] {
            let drained = connection.drain(crate::DRAIN).await?;
            left += drained.unsettled + u64::try_from(drained.unsent.len()).unwrap_or(u64::MAX);
        }
        let ended = self.running.await;
        ended.map_err(|error| Failure::File(format!("the workers failed: {error}")))??;
        Ok(left)
    }
}

impl Handler {
    async fn handle(&self, job: &Job) -> Result<Verdict, String> {
        let stamp = self.books.delivered(job);
        self.tally.note(|figures| {
            figures.delivered += 1;
            figures.repeated += u64::from(job.note().possible_duplicate);
        });
        let record = record_number(job.datagram());
        let quake = match Quake::read(job.datagram().payload().unwrap_or_default()) {
            Ok(quake) => quake,
            Err(reason) => {
                self.books.settled(stamp.as_ref());
                self.tally.note(|figures| {
                    figures.settled.extend(record);
                    figures.damaged.extend(record);
                });
                return Ok(Verdict::DeadLetter { reason: reason.into() });
            }
        };
        if let Err(reason) = look_up(&quake, record, job.attempt()) {
            self.tally.note(|figures| figures.retried += 1);
            return Err(reason);
        }
        if quake.mag >= STRONG {
            self.alert(&quake).await?;
        }
        self.books.settled(stamp.as_ref());
        self.tally.note(|figures| figures.settled.extend(record));
        Ok(Verdict::Ack)
    }

    /// Raises an alert. The record is settled only after the alert's receipt: a crash between the two raises
    /// it again, and never loses it.
    async fn alert(&self, quake: &Quake) -> Result<(), String> {
        let text = format!("magnitude {} {}", quake.mag, quake.place);
        let alert = Datagram::new(text)
            .with_key(quake.net.clone())
            .with_kind("alert")
            .with_header("quake", quake.id.clone());
        // Noted first: if we are told nothing, it may have been sent.
        self.tally.note(|figures| {
            figures.alerted.insert(quake.id.clone());
        });
        self.alerts.send(alert).await.map_err(|error| error.to_string())?;
        Ok(())
    }
}

/// A lookup that fails twice for each tenth record.
fn look_up(quake: &Quake, record: Option<u64>, attempt: u32) -> Result<(), String> {
    if record.is_some_and(|record| record % 10 == 9) && attempt <= 2 {
        return Err(format!("the lookup of {} is not available", quake.id));
    }
    Ok(())
}

fn record_number(datagram: &Datagram) -> Option<u64> {
    match datagram.view().header(RECORD) {
        Some(Value::U64(number)) => Some(*number),
        _ => None,
    }
}
