//! Schedule and expiry: not before its time, and never after it.

use std::time::Duration;

use seam_core::{Datagram, Error, Fate};

use crate::bench::Bench;
use crate::ledger::{Outcome, Stamp};
use crate::report::{Check, Stop, ensure};
use crate::suite::needs;

pub(crate) async fn what_has_expired_is_never_delivered(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Envelope);
    let clock = bench.registry.clock();
    let moment = bench.options.moment();
    let (stamp, datagram) = bench.message("line", "k", true);
    let datagram = datagram.with_expiry(clock.wall().saturating_add(moment));
    let mut batch = seam_core::Batch::new();
    batch.push(datagram);
    let ticket = bench.within("admission", line.sender.admit(&mut batch)).await??;
    bench.forget(&stamp);
    bench.pass(moment * 2).await;
    line.post("k", 1).await?;
    let delivery = line.next().await?;
    ensure!(
        Stamp::of(delivery.view()).as_ref() != Some(&stamp),
        "it was delivered after its expiry"
    );
    line.ack(delivery)?;
    drop(ticket);
    line.settle().await?;
    let report = bench.ledger.check();
    ensure!(report.indeterminate == 1, "it was delivered after its expiry: {report}");
    line.close().await
}

pub(crate) async fn what_expired_in_hand_is_counted(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Envelope);
    let clock = bench.registry.clock();
    let moment = bench.options.moment();
    let wall = clock.wall();
    let datagram = Datagram::new("brief").with_expiry(wall.saturating_add(moment));
    let mut batch = seam_core::Batch::new();
    batch.push(datagram);
    let mut ticket = bench.within("admission", line.sender.admit(&mut batch)).await??;
    let mut deliveries = seam_core::Deliveries::new();
    let more = bench.until(moment, line.receiver.receive(8, &mut deliveries)).await;
    bench.pass(moment * 2).await;
    let lent = deliveries.lend().is_some();
    ensure!(!lent, "it was lent after its expiry");
    deliveries.publish();
    drop(deliveries);
    line.settle().await?;
    let expired = line.server.statistics().expired + line.client.statistics().expired;
    let in_hand = matches!(more, Some(Ok(true)));
    ensure!(expired == 1 || !in_hand, "{expired} counted as expired");
    drop(bench.within("the receipt", ticket.receipts()).await?);
    line.close().await
}

pub(crate) async fn what_has_expired_is_refused(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    needs!(line, Envelope);
    let datagram = Datagram::new("old").with_expiry(bench.registry.clock().wall());
    let Err(refused) = bench.within("the refusal", line.sender.send(datagram)).await? else {
        return Err(Stop::failed("what had expired was sent"));
    };
    let expired = matches!(refused.error(), Error::Expired);
    ensure!(expired && refused.fate() == Fate::NotSent, "refused as {refused}");
    line.finish().await
}

pub(crate) async fn what_is_scheduled_waits_for_its_time(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Envelope, Schedule);
    let clock = bench.registry.clock();
    let at = clock.wall().saturating_add(bench.options.moment());
    let (stamp, datagram) = bench.message("line", "k", true);
    let mut batch = seam_core::Batch::new();
    batch.push(datagram.with_deliver_at(at));
    let ticket = bench.within("admission", line.sender.admit(&mut batch)).await??;
    line.posted.push(crate::bench::Posted { ticket, stamps: vec![stamp] });
    let delivery = line.next().await?;
    let now = clock.wall();
    ensure!(now >= at, "it was due at {at}, and came at {now}");
    line.ack(delivery)?;
    line.finish().await
}

pub(crate) async fn what_is_scheduled_does_not_hold_up_others(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Envelope, Schedule);
    let clock = bench.registry.clock();
    let ahead = line.client.capabilities().limits().schedule.min(Duration::from_secs(3600));
    let at = clock.wall().saturating_add(ahead);
    let (stamp, datagram) = bench.message("line", "later", true);
    bench.forget(&stamp);
    let mut batch = seam_core::Batch::new();
    batch.push(datagram.with_deliver_at(at));
    let ticket = bench.within("admission", line.sender.admit(&mut batch)).await??;
    line.post("now", 5).await?;
    for _ in 0..5 {
        let delivery = line.next().await?;
        let early = Stamp::of(delivery.view()).as_ref() == Some(&stamp);
        ensure!(!early || clock.wall() >= at, "it was delivered before its time");
        line.ack(delivery)?;
    }
    drop(ticket);
    Ok(())
}

pub(crate) async fn a_schedule_over_the_limit_is_refused(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    needs!(line, Envelope, Schedule);
    let limit = line.client.capabilities().limits().schedule;
    let wall = bench.registry.clock().wall();
    let at = wall.saturating_add(limit.saturating_add(Duration::from_secs(3600)));
    if at.saturating_since(wall) <= limit {
        return line.finish().await;
    }
    let sent = line.sender.send(Datagram::new("later").with_deliver_at(at));
    let Err(refused) = bench.within("the refusal", sent).await? else {
        return Err(Stop::failed("a schedule over the limit was taken"));
    };
    let invalid = matches!(refused.error(), Error::Invalid { .. });
    ensure!(invalid && refused.fate() == Fate::NotSent, "refused as {refused}");
    line.finish().await
}

pub(crate) async fn a_retry_does_not_outlive_the_expiry(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Envelope, Redelivery, Delay);
    let clock = bench.registry.clock();
    let moment = bench.options.moment();
    let (stamp, datagram) = bench.message("line", "k", true);
    let datagram = datagram.with_expiry(clock.wall().saturating_add(moment * 4));
    let mut batch = seam_core::Batch::new();
    batch.push(datagram);
    let mut ticket = bench.within("admission", line.sender.admit(&mut batch)).await??;
    bench.forget(&stamp);
    let delivery = line.next().await?;
    delivery.retry(moment * 6)?;
    let receipts = bench.within("the receipt", ticket.receipts()).await?;
    let outcome = if receipts.all_ok() { Outcome::Receipted } else { Outcome::MaybeSent };
    bench.ledger.outcome(&stamp, outcome);
    bench.pass(moment * 8).await;
    line.settle().await?;
    let report = bench.ledger.check();
    ensure!(report.duplicated == 0, "it was delivered after its expiry: {report}");
    line.close().await
}
