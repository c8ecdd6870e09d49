//! Leases: who holds a delivery knows whether it is still theirs.

use std::time::Duration;

use seam_core::{Deliveries, Error};

use crate::bench::Bench;
use crate::ledger::Stamp;
use crate::report::{Check, Stop, ensure};
use crate::suite::needs;

pub(crate) async fn a_lease_is_current_while_its_connection_lives(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 1).await?;
    let delivery = line.next().await?;
    ensure!(delivery.is_current(), "a fresh lease is not current");
    let (datagram, duty) = delivery.split();
    bench.stays("a lease was revoked for no reason", duty.revoked()).await?;
    duty.ack()?;
    Stamp::of(datagram.view()).iter().for_each(|stamp| bench.is_settled(stamp));
    line.finish().await
}

pub(crate) async fn deliveries_outlive_their_receiver(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 2).await?;
    let (one, two) = (line.next().await?, line.next().await?);
    line.receiver = bench.receiver(&line.server).await?;
    for delivery in [one, two] {
        ensure!(delivery.is_current(), "the lease went with its receiver");
        line.ack(delivery)?;
    }
    line.finish().await?;
    let doubled = bench.ledger.check().duplicated;
    ensure!(doubled == 0, "{doubled} came again although they were acknowledged");
    Ok(())
}

pub(crate) async fn a_drain_that_does_not_wait_ends_the_lease(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 1).await?;
    let delivery = line.next().await?;
    let drained = bench.within("the drain", line.server.drain(Duration::ZERO)).await??;
    ensure!(drained.unsettled == 1, "it left {} unsettled, not 1", drained.unsettled);
    ensure!(!delivery.is_current(), "the lease is still current");
    let Err(refused) = delivery.ack() else {
        return Err(Stop::failed("an ack after the drain was taken"));
    };
    let (delivery, error) = refused.into_parts();
    ensure!(matches!(error, Error::LeaseLost), "refused as {error}");
    let (_, duty) = delivery.split();
    bench.within("the revocation", duty.revoked()).await
}

pub(crate) async fn leases_of_a_dropped_receiver_end_with_the_connection(
    bench: &Bench<'_>,
) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 1).await?;
    let delivery = line.next().await?;
    drop(std::mem::replace(&mut line.receiver, bench.receiver(&line.server).await?));
    let drained = bench.within("the drain", line.server.drain(Duration::ZERO)).await??;
    ensure!(drained.unsettled == 1, "it left {} unsettled, not 1", drained.unsettled);
    ensure!(!delivery.is_current(), "the lease is still current");
    ensure!(delivery.ack().is_err(), "an ack after the drain was taken");
    Ok(())
}

pub(crate) async fn a_dropped_connection_hands_its_deliveries_on(bench: &Bench<'_>) -> Check {
    let mut line = bench.shared_line("").await?;
    needs!(line, Redelivery);
    let stamps = line.post("k", 3).await?;
    let held = [line.next().await?, line.next().await?];
    let old = line.replace_server("").await?;
    drop(old);
    for delivery in held {
        bench.within("the revocation", delivery.split().1.revoked()).await?;
    }
    for stamp in &stamps[..2] {
        let delivery = line.again(stamp).await?;
        line.ack(delivery)?;
    }
    line.finish().await
}

pub(crate) async fn what_a_drain_leaves_goes_to_somebody_else(bench: &Bench<'_>) -> Check {
    let mut line = bench.shared_line("").await?;
    needs!(line, Redelivery);
    let stamps = line.post("k", 1).await?;
    let held = line.next().await?;
    let old = line.replace_server("").await?;
    let drained = bench.within("the drain", old.drain(Duration::ZERO)).await??;
    ensure!(drained.unsettled == 1, "it left {} unsettled, not 1", drained.unsettled);
    let delivery = line.again(&stamps[0]).await?;
    line.ack(delivery)?;
    ensure!(held.ack().is_err(), "two receivers settled one delivery");
    line.finish().await
}

pub(crate) async fn a_late_settlement_is_counted(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Redelivery);
    line.post("k", 1).await?;
    let mut deliveries = Deliveries::new();
    let more = line.receiver.receive(1, &mut deliveries);
    ensure!(bench.within("a delivery", more).await??, "the receiver ended");
    drop(bench.within("the drain", line.server.drain(Duration::ZERO)).await??);
    deliveries.ack_all();
    let told = async {
        while line.server.statistics().settlements_failed == 0 {
            bench.pass(Duration::from_millis(1)).await;
        }
    };
    bench.within("counting a settlement that came too late", told).await
}
