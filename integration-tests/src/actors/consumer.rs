//! An actor that receives.

use std::future::Future;
use std::pin::pin;

use futures_util::future::{Either, select};
use seam_conformance::ledger::{Ledger, Stamp};
use seam_core::{Deliveries, Error, Receiver, Registry};

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
    let mut progress = Progress::new(say);
    {
        let taking = pin!(take(&mut receiver, job.refill, &ledger, &mut progress));
        if let Either::Left((ended, _)) = select(taking, pin!(stop)).await {
            ended?;
        }
    }
    let draining = connection.drain(DRAIN);
    // What is on its way still comes while it drains.
    let taking = take(&mut receiver, job.refill, &ledger, &mut progress);
    let (drained, taken) = futures_util::join!(draining, taking);
    taken?;
    ledger.flushed()?;
    Ok(progress.finish(drained?.unsettled))
}

async fn take(
    receiver: &mut Receiver,
    refill: usize,
    ledger: &Ledger,
    progress: &mut Progress<impl FnMut(&Said)>,
) -> Result<(), Error> {
    let mut deliveries = Deliveries::new();
    let mut settled: Vec<Stamp> = Vec::new();
    while receiver.receive(refill, &mut deliveries).await? {
        while let Some(lent) = deliveries.lend() {
            settled.extend(ledger.delivered(lent.view(), lent.note()));
            lent.ack();
        }
        deliveries.publish();
        progress.add(u64::try_from(settled.len()).unwrap_or(u64::MAX));
        settled.drain(..).for_each(|stamp| ledger.settled(&stamp));
    }
    Ok(())
}
