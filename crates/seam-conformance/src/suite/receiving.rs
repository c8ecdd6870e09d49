//! Receiving: each verdict does what it says, and nothing else settles.

use std::time::Duration;

use futures_util::future::join_all;
use seam_core::{Capability, Deliveries, Error};

use crate::bench::{Bench, has};
use crate::ledger::Stamp;
use crate::report::{Check, Stop, ensure};
use crate::suite::needs;

pub(crate) async fn deliveries_are_lent_and_settled_together(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 50).await?;
    let mut deliveries = Deliveries::new();
    while bench.unfinished() > 0 {
        let more = line.receiver.receive(16, &mut deliveries);
        ensure!(bench.within("deliveries", more).await??, "the receiver ended");
        while let Some(lent) = deliveries.lend() {
            bench.ack_lent(lent);
        }
    }
    deliveries.publish();
    line.finish().await
}

pub(crate) async fn a_refill_holds_no_more_than_was_asked(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 20).await?;
    let mut deliveries = Deliveries::new();
    while bench.unfinished() > 0 {
        let more = line.receiver.receive(3, &mut deliveries);
        ensure!(bench.within("deliveries", more).await??, "the receiver ended");
        let count = deliveries.len();
        ensure!((1..=3).contains(&count), "asked for 3, got {count}");
        while let Some(lent) = deliveries.lend() {
            bench.ack_lent(lent);
        }
    }
    deliveries.publish();
    line.finish().await
}

pub(crate) async fn each_lent_delivery_is_settled_on_its_own(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Redelivery);
    line.post("k", 9).await?;
    let mut deliveries = Deliveries::new();
    let mut dropped = Vec::new();
    for round in 0..9 {
        let more = line.receiver.receive(9, &mut deliveries);
        ensure!(bench.within("deliveries", more).await??, "the receiver ended");
        while let Some(lent) = deliveries.lend() {
            let first = lent.note().attempt == 1;
            match Stamp::of(lent.view()) {
                Some(stamp) if first && stamp.number % 3 == 0 => {
                    bench.ledger.delivered(lent.view(), lent.note());
                    dropped.push(stamp);
                }
                _ => bench.ack_lent(lent),
            }
        }
        deliveries.publish();
        if bench.unfinished() == 0 || round == 8 {
            break;
        }
    }
    bench.take_all(&mut line.receiver).await?;
    let repeats = bench.ledger.check().duplicated;
    ensure!(
        repeats == u64::try_from(dropped.len())?,
        "{repeats} repeats of {} dropped",
        dropped.len()
    );
    line.finish().await
}

pub(crate) async fn a_dropped_delivery_comes_again(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Redelivery);
    let stamps = line.post("k", 1).await?;
    drop(line.next().await?);
    let delivery = line.again(&stamps[0]).await?;
    line.ack(delivery)?;
    line.finish().await
}

pub(crate) async fn a_dropped_delivery_is_counted_and_no_ack(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 1).await?;
    let delivery = line.next().await?;
    let stamp = Stamp::of(delivery.view());
    drop(delivery);
    let statistics = line.server.statistics();
    ensure!(statistics.dropped == 1, "{} drops counted", statistics.dropped);
    ensure!(statistics.acked == 0, "a drop was counted as an ack");
    // It is the sender that brings it again.
    if !has(&line.client, &[Capability::Redelivery]) {
        stamp.iter().for_each(|stamp| bench.is_settled(stamp));
    }
    line.finish().await
}

pub(crate) async fn a_retried_delivery_comes_again(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Redelivery);
    let stamps = line.post("k", 1).await?;
    line.next().await?.retry(Duration::ZERO)?;
    let delivery = line.again(&stamps[0]).await?;
    line.ack(delivery)?;
    ensure!(line.server.statistics().retried == 1, "the retry was not counted");
    line.finish().await
}

pub(crate) async fn a_lent_delivery_can_be_retried(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Redelivery);
    let stamps = line.post("k", 1).await?;
    let mut deliveries = Deliveries::new();
    let more = line.receiver.receive(1, &mut deliveries);
    ensure!(bench.within("a delivery", more).await??, "the receiver ended");
    let lent = deliveries.lend().ok_or_else(|| Stop::failed("an empty refill"))?;
    bench.ledger.delivered(lent.view(), lent.note());
    lent.retry(Duration::ZERO)?;
    deliveries.publish();
    let delivery = line.again(&stamps[0]).await?;
    line.ack(delivery)?;
    line.finish().await
}

pub(crate) async fn a_retry_waits_its_delay(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Redelivery, Delay);
    let stamps = line.post("k", 1).await?;
    let clock = bench.registry.clock();
    let delay = bench.options.moment();
    let before = clock.now();
    line.next().await?.retry(delay)?;
    let delivery = line.again(&stamps[0]).await?;
    let waited = clock.now().saturating_sub(before);
    ensure!(waited >= delay, "it came again after {waited:?}, not after {delay:?}");
    line.ack(delivery)?;
    line.finish().await
}

pub(crate) async fn a_delayed_retry_does_not_hold_up_others(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Redelivery, Delay);
    let delay = line.server.capabilities().limits().delay.min(Duration::from_secs(3600));
    let stamps = line.post("late", 1).await?;
    line.next().await?.retry(delay)?;
    line.post("other", 5).await?;
    for _ in 0..5 {
        let delivery = line.next().await?;
        let is_late = Stamp::of(delivery.view()).as_ref() == stamps.first();
        ensure!(!is_late, "it came again before its delay of {delay:?}");
        line.ack(delivery)?;
    }
    // It is too long to wait for: the address goes with it.
    Ok(())
}

pub(crate) async fn a_delay_over_the_limit_is_refused(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Redelivery, Delay);
    line.post("k", 1).await?;
    let limit = line.server.capabilities().limits().delay;
    let delivery = line.next().await?;
    let Some(over) = limit.checked_add(Duration::from_secs(1)) else {
        line.ack(delivery)?;
        return line.finish().await;
    };
    let Err(refused) = delivery.retry(over) else {
        return Err(Stop::failed(format!("a delay of {over:?} was taken")));
    };
    let (delivery, error) = refused.into_parts();
    ensure!(matches!(error, Error::Invalid { .. }), "refused as {error}");
    line.ack(delivery)?;
    line.finish().await
}

pub(crate) async fn attempts_are_counted(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Redelivery);
    let stamps = line.post("k", 1).await?;
    let mut delivery = line.next().await?;
    let first = delivery.note().attempt;
    ensure!(first == 1, "the first attempt is number {first}");
    for attempt in 2..=4 {
        delivery.retry(Duration::ZERO)?;
        delivery = line.again(&stamps[0]).await?;
        let counted = delivery.note().attempt;
        let exact = !line.has(Capability::Attempts) || counted == attempt;
        ensure!(exact, "attempt {attempt} says it is number {counted}");
    }
    line.ack(delivery)?;
    line.finish().await
}

pub(crate) async fn attempts_survive_their_receiver(bench: &Bench<'_>) -> Check {
    let mut line = bench.shared_line("").await?;
    needs!(line, Redelivery, Attempts);
    let stamps = line.post("k", 1).await?;
    line.next().await?.retry(Duration::ZERO)?;
    let held = line.again(&stamps[0]).await?;
    let old = line.replace_server("").await?;
    drop((old, held));
    let delivery = line.again(&stamps[0]).await?;
    let attempt = delivery.note().attempt;
    ensure!(attempt >= 3, "after two attempts elsewhere it says number {attempt}");
    line.ack(delivery)?;
    line.finish().await
}

pub(crate) async fn an_acknowledged_delivery_does_not_come_again(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 5).await?;
    bench.take_all(&mut line.receiver).await?;
    bench.within("settling", line.receiver.settled()).await??;
    line.receiver = bench.receiver(&line.server).await?;
    line.finish().await?;
    let doubled = bench.ledger.check().duplicated;
    ensure!(doubled == 0, "{doubled} came again after their ack");
    Ok(())
}

pub(crate) async fn a_discarded_delivery_does_not_come_again(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 2).await?;
    for _ in 0..2 {
        let delivery = line.next().await?;
        let stamp = Stamp::of(delivery.view());
        delivery.discard()?;
        stamp.iter().for_each(|stamp| bench.is_settled(stamp));
    }
    ensure!(line.server.statistics().discarded == 2, "a discard was not counted");
    line.finish().await?;
    let doubled = bench.ledger.check().duplicated;
    ensure!(doubled == 0, "{doubled} came again after they were discarded");
    Ok(())
}

pub(crate) async fn settlements_are_confirmed(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 10).await?;
    bench.take_all(&mut line.receiver).await?;
    let settled = bench.within("settling", line.receiver.settled()).await??;
    ensure!(settled.late == 0, "{} settlements came too late", settled.late);
    line.finish().await
}

pub(crate) async fn a_duty_settles_without_its_datagram(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 1).await?;
    let (datagram, duty) = line.next().await?.split();
    ensure!(duty.is_current(), "a fresh lease is not current");
    duty.ack()?;
    Stamp::of(datagram.view()).iter().for_each(|stamp| bench.is_settled(stamp));
    line.finish().await
}

pub(crate) async fn deliveries_may_be_settled_in_any_order(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 10).await?;
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(line.next().await?);
    }
    for delivery in held.into_iter().rev() {
        line.ack(delivery)?;
    }
    line.finish().await
}

pub(crate) async fn a_paused_receiver_hands_out_nothing(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.receiver.pause();
    line.post("k", 1).await?;
    bench.stays("a paused receiver handed something out", line.receiver.next()).await?;
    line.receiver.resume();
    line.finish().await
}

pub(crate) async fn the_first_failures_come_again_among_others(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Redelivery);
    line.post("k", 100).await?;
    for _ in 0..2 {
        line.next().await?.retry(Duration::ZERO)?;
    }
    line.finish().await
}

pub(crate) async fn receivers_of_a_connection_compete(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(bench.receiver(&line.server).await?);
    }
    line.post("k", 60).await?;
    let receiver = &mut line.receiver;
    let receiving = join_all(others.iter_mut().chain([receiver]).map(|receiver| async {
        while bench.unfinished() > 0 {
            let Some(next) = bench.until(bench.options.moment(), receiver.next()).await else {
                continue;
            };
            let delivery = next?.ok_or_else(|| Stop::failed("a receiver ended"))?;
            bench.saw(&delivery);
            bench.ack(delivery)?;
        }
        Check::Ok(())
    }));
    let received = bench.within("sixty deliveries", receiving).await?;
    received.into_iter().collect::<Check<()>>()?;
    drop(others);
    line.finish().await
}

pub(crate) async fn a_stream_of_deliveries_ends_with_the_receiver(bench: &Bench<'_>) -> Check {
    use futures_util::StreamExt;
    let mut line = bench.line().await?;
    line.post("k", 5).await?;
    let mut posted = line.posted.pop().ok_or_else(|| Stop::failed("nothing was posted"))?;
    let mut stream = line.receiver.into_stream();
    for _ in 0..5 {
        let next = bench.within("a delivery", stream.next()).await?;
        let delivery = next.ok_or_else(|| Stop::failed("the stream ended"))??;
        bench.saw(&delivery);
        bench.ack(delivery)?;
    }
    ensure!(bench.receipts(&mut posted).await?.all_ok(), "a datagram has no receipt");
    bench.end(&line.server).await?;
    let end = bench.within("the end of the stream", stream.next()).await?;
    ensure!(end.is_none(), "the stream goes on after the drain");
    bench.judge(true)
}
