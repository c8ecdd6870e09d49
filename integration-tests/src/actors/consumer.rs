//! An actor that receives.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::join;
use rand::RngExt;
use seam_conformance::ledger::{Ledger, Stamp};
use seam_core::{Deliveries, Delivery, Error, Receiver, Registry};
use tokio::time::{Instant, sleep_until};

use super::{Books, Consumer, DRAIN, Failure, Progress, Said, Summary};

/// Receives from what `job` names, writes down and acknowledges each delivery until `stop` resolves; then
/// drains.
///
/// # Errors
///
/// Those of the books, opening, receiving and draining.
pub async fn consume(
    registry: &Registry,
    job: &Consumer,
    say: impl FnMut(&Said),
    stop: impl Future<Output = ()>,
) -> Result<Summary, Failure> {
    let (ledger, _) = Books::new(&job.folder).open(&job.name)?;
    let connection = registry.server(job.uri.as_str()).await?;
    let mut receiver = connection.receiver().await?;
    let progress = Progress::new(say);
    let left = {
        let acting = async {
            let mut work = Work {
                job,
                ledger: &ledger,
                progress: &progress,
                begun: 0,
                at_it: BTreeMap::new(),
            };
            {
                let taking = pin!(work.take(&mut receiver));
                if let Either::Left((ended, _)) = select(taking, pin!(stop)).await {
                    ended?;
                }
            }
            // What it is at goes to somebody else.
            work.at_it.clear();
            // What is on its way still comes while it drains.
            let (drained, taken) = join!(connection.drain(DRAIN), work.take(&mut receiver));
            taken?;
            Ok::<u64, Failure>(drained?.unsettled)
        };
        match select(pin!(acting), pin!(progress.watch(&connection))).await {
            Either::Left((left, _)) => left?,
            Either::Right(((), _)) => unreachable!("it watches for ever"),
        }
    };
    ledger.flushed()?;
    drop(receiver);
    Ok(progress.finish(connection, left).await)
}

struct Work<'a, F> {
    job: &'a Consumer,
    ledger: &'a Ledger,
    progress: &'a Progress<F>,
    /// Deliveries that it has ever begun to work on.
    begun: u64,
    /// What it works on, by until when and by when it was begun.
    at_it: BTreeMap<(Instant, u64), (Delivery, Option<Stamp>)>,
}

impl<F: FnMut(&Said)> Work<'_, F> {
    async fn take(&mut self, receiver: &mut Receiver) -> Result<(), Error> {
        let mut deliveries = Deliveries::new();
        loop {
            let due = self.at_it.keys().next().map(|(due, _)| *due);
            let most = self.job.refill.min(self.job.at_once.saturating_sub(self.at_it.len()));
            let more = match due {
                None => receiver.receive(most, &mut deliveries).await?,
                Some(due) if most == 0 => {
                    sleep_until(due).await;
                    self.finish_one();
                    continue;
                }
                Some(due) => {
                    let receiving = pin!(receiver.receive(most, &mut deliveries));
                    match select(receiving, pin!(sleep_until(due))).await {
                        Either::Left((more, _)) => more?,
                        Either::Right(_) => {
                            self.finish_one();
                            continue;
                        }
                    }
                }
            };
            if !more {
                return Ok(());
            }
            match self.job.work {
                Duration::ZERO => self.settle_all(&mut deliveries),
                work => self.begin_all(&mut deliveries, work),
            }
        }
    }

    fn settle_all(&self, deliveries: &mut Deliveries) {
        let mut settled: Vec<Stamp> = Vec::new();
        while let Some(lent) = deliveries.lend() {
            settled.extend(self.ledger.delivered(lent.view(), lent.note()));
            lent.ack();
        }
        deliveries.publish();
        self.progress.add(u64::try_from(settled.len()).unwrap_or(u64::MAX));
        settled.iter().for_each(|stamp| self.ledger.settled(stamp));
    }

    fn begin_all(&mut self, deliveries: &mut Deliveries, work: Duration) {
        let now = Instant::now();
        while let Some(lent) = deliveries.lend() {
            let stamp = self.ledger.delivered(lent.view(), lent.note());
            let part = if self.job.scatters { rand::rng().random_range(0.0..1.0) } else { 1.0 };
            self.begun += 1;
            self.at_it.insert((now + work.mul_f64(part), self.begun), (lent.take(), stamp));
        }
    }

    fn finish_one(&mut self) {
        let Some((_, (delivery, stamp))) = self.at_it.pop_first() else { return };
        // One that was revoked comes again.
        if !delivery.is_current() {
            return;
        }
        // Into the books first: whatever is acknowledged is in them, whenever this process is killed.
        stamp.iter().for_each(|stamp| self.ledger.settled(stamp));
        if delivery.ack().is_ok() {
            self.progress.add(1);
        }
    }
}
