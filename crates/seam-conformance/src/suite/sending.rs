//! Sending: a receipt is a proof, and so is `NotSent`.

use futures_util::future::{join, join_all};
use futures_util::stream;
use seam_core::{Batch, Capability, Confirmation, Datagram, Error, Fate};

use crate::bench::Bench;
use crate::ledger::Outcome;
use crate::report::{Check, Stop, ensure};

pub(crate) async fn everything_arrives_once_as_it_was_sent(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 100).await?;
    line.finish().await
}

pub(crate) async fn a_thousand_datagrams_are_neither_lost_nor_doubled(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    for _ in 0..20 {
        line.post("k", 50).await?;
        bench.take_all(&mut line.receiver).await?;
    }
    line.finish().await
}

pub(crate) async fn a_receipt_has_the_declared_confirmation(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let declared = line.client.capabilities().confirmation();
    let (stamp, datagram) = bench.message("line", "k", false);
    let sent = bench.within("the send", line.sender.send(datagram));
    let (receipt, taken) = join(sent, bench.take_all(&mut line.receiver)).await;
    taken?;
    let receipt = receipt?;
    bench.ledger.outcome(&stamp, Outcome::of(&receipt));
    let reached = receipt?.confirmation;
    ensure!(reached >= declared, "declared {declared:?}, reached only {reached:?}");
    line.finish().await
}

pub(crate) async fn a_receipt_means_that_it_arrives(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    if line.client.capabilities().confirmation() == Confirmation::Settled {
        return line.finish().await;
    }
    let mut posted = bench.post(&line.sender, "line", ("k", false), 10).await?;
    let receipts = bench.receipts(&mut posted).await?;
    ensure!(receipts.all_ok(), "no receipt: {receipts:?}");
    bench.take_all(&mut line.receiver).await?;
    line.finish().await
}

pub(crate) async fn a_batch_has_an_answer_for_each_datagram(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let posted = bench.post(&line.sender, "line", ("k", false), 7).await?;
    ensure!(posted.ticket.len() == 7, "a ticket of {} for 7 datagrams", posted.ticket.len());
    line.posted.push(posted);
    line.finish().await
}

pub(crate) async fn several_tickets_may_be_open(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    for _ in 0..20 {
        line.post("k", 3).await?;
    }
    // The last one is asked first.
    line.posted.reverse();
    line.finish().await
}

pub(crate) async fn a_ticket_answers_once(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let mut posted = bench.post(&line.sender, "line", ("k", false), 3).await?;
    let (first, taken) =
        join(bench.receipts(&mut posted), bench.take_all(&mut line.receiver)).await;
    taken?;
    ensure!(first?.all_ok(), "a datagram failed");
    let second = bench.within("the second answer", posted.ticket.receipts()).await?;
    ensure!(second.is_empty(), "a second answer has {} datagrams", second.len());
    line.finish().await
}

pub(crate) async fn too_large_a_payload_fails_alone(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let Some(size) = line.client.capabilities().limits().payload.checked_add(1) else {
        return line.finish().await;
    };
    ensure!(size <= 1 << 30, "no payload is as large as the limit says");
    let mut batch = Batch::new();
    let stamps: Vec<_> = (0..2).map(|_| bench.message("line", "k", false)).collect();
    batch.push(stamps[0].1.clone());
    batch.push(Datagram::new(vec![0; size]));
    batch.push(stamps[1].1.clone());
    let mut ticket = bench.within("admission", line.sender.admit(&mut batch)).await??;
    let receipts = bench.within("the receipts", ticket.receipts());
    let (receipts, taken) = join(receipts, bench.take_all(&mut line.receiver)).await;
    taken?;
    let receipts = receipts?;
    for (index, (stamp, _)) in [0, 2].into_iter().zip(&stamps) {
        receipts.get(index).map_err(Stop::failed)?;
        bench.ledger.outcome(stamp, Outcome::Receipted);
    }
    let Err(refused) = receipts.get(1) else {
        return Err(Stop::failed("a payload over the limit was sent"));
    };
    let is_refused = matches!(refused.error(), Error::TooLarge { .. });
    ensure!(is_refused && refused.fate() == Fate::NotSent, "refused as {refused}");
    ensure!(refused.datagram().payload().map(<[u8]>::len) == Some(size), "it came back changed");
    line.finish().await
}

pub(crate) async fn the_largest_payload_arrives(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let size = line.client.capabilities().limits().payload.min(64 << 20);
    let mut payload = vec![0; size];
    payload.iter_mut().step_by(997).for_each(|byte| *byte = 0xa5);
    let datagram = Datagram::new(payload);
    let sent = bench.within("the send", line.sender.send(datagram.clone()));
    let received = async {
        let delivery = bench.within("the largest delivery", line.receiver.next()).await??;
        let delivery = delivery.ok_or_else(|| Stop::failed("the receiver ended"))?;
        ensure!(*delivery.datagram() == datagram, "it arrived changed");
        delivery.ack()?;
        Check::Ok(())
    };
    let (sent, received) = join(sent, received).await;
    received?;
    sent??;
    line.finish().await
}

pub(crate) async fn what_is_fed_goes_out_with_one_flush(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let mut sender = line.sender.clone();
    let with_key = line.has(Capability::Envelope);
    let feeding = async {
        let mut stamps = Vec::new();
        for _ in 0..300 {
            let (stamp, datagram) = bench.message("feeder", "k", with_key);
            bench.within("feeding", sender.feed(datagram)).await??;
            stamps.push(stamp);
        }
        let receipted = bench.within("the flush", sender.flush()).await??;
        ensure!(receipted == 300, "{receipted} receipts for 300 datagrams");
        stamps.iter().for_each(|stamp| bench.ledger.outcome(stamp, Outcome::Receipted));
        Check::Ok(())
    };
    let receiving = async {
        for _ in 0..300 {
            let delivery = bench.next(&mut line.receiver).await?;
            bench.ack(delivery)?;
        }
        Check::Ok(())
    };
    let (fed, received) = join(feeding, receiving).await;
    fed?;
    received?;
    line.finish().await
}

pub(crate) async fn a_stream_is_sent_to_its_end(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let messages: Vec<_> = (0..50).map(|_| bench.message("streamer", "k", false)).collect();
    let datagrams = stream::iter(messages.iter().map(|(_, datagram)| datagram.clone()));
    let mut sender = line.sender.clone();
    let sent = bench.within("sending the stream", sender.send_all(datagrams));
    let (sent, taken) = join(sent, bench.take_all(&mut line.receiver)).await;
    taken?;
    let receipted = sent??;
    ensure!(receipted == 50, "{receipted} receipts for 50 datagrams");
    messages.iter().for_each(|(stamp, _)| bench.ledger.outcome(stamp, Outcome::Receipted));
    line.finish().await
}

pub(crate) async fn clones_of_a_sender_have_their_own_pending(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let (mut one, mut other) = (line.sender.clone(), line.sender.clone());
    let (stamp, datagram) = bench.message("one", "k", false);
    bench.within("feeding", one.feed(datagram)).await??;
    let flushed = bench.within("the other flush", other.flush()).await??;
    ensure!(flushed == 0, "a clone flushed {flushed} datagrams of another");
    let flushed = bench.within("the flush", one.flush());
    let (flushed, taken) = join(flushed, bench.take_all(&mut line.receiver)).await;
    taken?;
    ensure!(flushed?? == 1, "a flush lost what was fed");
    bench.ledger.outcome(&stamp, Outcome::Receipted);
    line.finish().await
}

pub(crate) async fn many_senders_at_once_lose_nothing(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let with_key = line.has(Capability::Envelope);
    let client = &line.client;
    let producers = (0..20).map(|producer| async move {
        let sender = bench.sender(client).await?;
        let name = format!("producer-{producer}");
        for _ in 0..10 {
            let (stamp, datagram) = bench.message(&name, &name, with_key);
            let outcome = bench.within("a send", sender.send(datagram)).await?;
            bench.ledger.outcome(&stamp, Outcome::of(&outcome));
            outcome?;
        }
        Check::Ok(())
    });
    let receiver = &mut line.receiver;
    let receiving = async {
        for _ in 0..200 {
            let delivery = bench.next(receiver).await?;
            bench.ack(delivery)?;
        }
        Check::Ok(())
    };
    let (sent, received) = join(join_all(producers), receiving).await;
    sent.into_iter().collect::<Check<()>>()?;
    received?;
    line.finish().await
}

pub(crate) async fn equal_bodies_are_different_datagrams(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let mut batch: Batch = (0..3).map(|_| Datagram::new("the same")).collect();
    let mut ticket = bench.within("admission", line.sender.admit(&mut batch)).await??;
    for _ in 0..3 {
        let delivery = bench.within("a delivery", line.receiver.next()).await??;
        let delivery = delivery.ok_or_else(|| Stop::failed("the receiver ended"))?;
        ensure!(delivery.view().payload() == Some(b"the same"), "another body arrived");
        delivery.ack()?;
    }
    let receipts = bench.within("the receipts", ticket.receipts()).await?;
    ensure!(receipts.all_ok(), "one of them failed: {receipts:?}");
    line.finish().await
}

pub(crate) async fn addresses_do_not_mix(bench: &Bench<'_>) -> Check {
    let (mut one, mut other) = (bench.line().await?, bench.line().await?);
    for round in 0..10 {
        let line = if round % 2 == 0 { &mut one } else { &mut other };
        let stamps = line.post("k", 1).await?;
        let delivery = line.next().await?;
        let stamp = crate::ledger::Stamp::of(delivery.view());
        ensure!(stamp.as_ref() == stamps.first(), "a datagram of another address arrived");
        line.ack(delivery)?;
    }
    one.finish().await?;
    other.finish().await
}

pub(crate) async fn many_addresses_at_once_are_each_complete(bench: &Bench<'_>) -> Check {
    let lines = join_all((0..8).map(|_| async {
        let mut line = bench.line().await?;
        for _ in 0..20 {
            let stamps = line.post("k", 1).await?;
            let delivery = line.next().await?;
            let stamp = crate::ledger::Stamp::of(delivery.view());
            ensure!(stamp.as_ref() == stamps.first(), "a datagram of another address arrived");
            line.ack(delivery)?;
        }
        Check::Ok(line)
    }))
    .await;
    for line in lines {
        line?.finish().await?;
    }
    Ok(())
}
