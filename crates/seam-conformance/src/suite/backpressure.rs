//! Backpressure: a slow receiver slows its senders, and nothing is dropped.

use futures_util::future::join;
use seam_core::{Capability, Confirmation, Datagram, Error, Fate};

use crate::bench::{Bench, poll_and_drop};
use crate::ledger::Outcome;
use crate::report::{Check, Stop, ensure};

pub(crate) async fn a_slow_receiver_loses_nothing(bench: &Bench<'_>) -> Check {
    let credit = if bench.takes("credit")? { "credit=8" } else { "" };
    let mut line = bench.line_with(credit, credit).await?;
    let sender = line.sender.clone();
    let with_key = line.has(Capability::Envelope);
    let sending = async {
        for _ in 0..20 {
            let mut posted = bench.post(&sender, "flood", ("k", with_key), 10).await?;
            let receipts = bench.receipts(&mut posted).await?;
            ensure!(receipts.all_ok(), "a datagram failed: {receipts:?}");
        }
        Check::Ok(())
    };
    let receiver = &mut line.receiver;
    let receiving = async {
        for number in 0..200 {
            if number % 40 == 0 {
                bench.pass(bench.options.moment() / 10).await;
            }
            let delivery = bench.next(receiver).await?;
            bench.ack(delivery)?;
        }
        Check::Ok(())
    };
    let (sent, received) = join(sending, receiving).await;
    sent?;
    received?;
    line.finish().await
}

pub(crate) async fn no_more_is_in_hand_than_the_credit(bench: &Bench<'_>) -> Check {
    let takes_credit = bench.takes("credit")?;
    let mut line = bench.line_with("", if takes_credit { "credit=4" } else { "" }).await?;
    line.post("k", 10).await?;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(line.next().await?);
    }
    if takes_credit {
        let more = line.receiver.next();
        bench.stays("more is handed out than the credit", more).await?;
    }
    for delivery in held {
        line.ack(delivery)?;
    }
    line.finish().await
}

pub(crate) async fn one_datagram_at_a_time_with_a_credit_of_one(bench: &Bench<'_>) -> Check {
    let takes_credit = bench.takes("credit")?;
    let mut line = bench.line_with("", if takes_credit { "credit=1" } else { "" }).await?;
    line.post("k", 5).await?;
    for _ in 0..5 {
        let delivery = line.next().await?;
        if takes_credit {
            let second = line.receiver.next();
            bench.stays("a second delivery came before the first was settled", second).await?;
        }
        line.ack(delivery)?;
    }
    line.finish().await
}

pub(crate) async fn trying_to_send_never_waits(bench: &Bench<'_>) -> Check {
    let credit = if bench.takes("credit")? { "credit=4" } else { "" };
    let mut line = bench.line_with(credit, "").await?;
    // Whoever receives is known once something has arrived.
    line.settle().await?;
    let (mut full, mut sent) = (false, 0);
    // A receipt that comes meanwhile makes room, so more than the credit may be sent before it is full.
    while !full && sent < 64 {
        let (stamp, datagram) = bench.message("trier", "k", false);
        match line.sender.try_send(datagram.clone()) {
            Ok(ticket) => {
                sent += 1;
                line.posted.push(crate::bench::Posted { ticket, stamps: vec![stamp] });
            }
            Err(error) => {
                let is_full = matches!(error.error(), Error::Full);
                ensure!(is_full && error.fate() == Fate::NotSent, "refused as {error}");
                ensure!(*error.datagram() == datagram, "it came back changed");
                bench.ledger.outcome(&stamp, Outcome::NotSent);
                bench.forget(&stamp);
                full = true;
            }
        }
    }
    // What counts as done once it is written makes room at once.
    let held =
        !credit.is_empty() && line.client.capabilities().confirmation() > Confirmation::Written;
    let mut open = 0;
    for mut posted in std::mem::take(&mut line.posted) {
        match poll_and_drop(posted.ticket.receipts()) {
            Some(receipts) => bench.write_down(&posted, &receipts)?,
            None => {
                open += 1;
                line.posted.push(posted);
            }
        }
    }
    ensure!(!held || (full && open <= 4), "{open} of {sent} are open with a credit of 4");
    bench.take_all(&mut line.receiver).await?;
    line.finish().await
}

pub(crate) async fn a_burst_larger_than_any_credit_arrives(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let mut sender = line.sender.clone();
    let with_key = line.has(Capability::Envelope);
    let count = line.volume(6000);
    let sending = async {
        let mut stamps = Vec::new();
        for _ in 0..count {
            let (stamp, datagram) = bench.message("burst", "k", with_key);
            bench.within("feeding", sender.feed(datagram)).await??;
            stamps.push(stamp);
        }
        let receipted = bench.within("the flush", sender.flush()).await??;
        ensure!(receipted == count, "{receipted} receipts for {count} datagrams");
        stamps.iter().for_each(|stamp| bench.ledger.outcome(stamp, Outcome::Receipted));
        Check::Ok(())
    };
    let receiver = &mut line.receiver;
    let receiving = async {
        let mut deliveries = seam_core::Deliveries::new();
        let mut received = 0;
        while received < count {
            let more = bench.within("deliveries", receiver.receive(256, &mut deliveries)).await??;
            ensure!(more, "the receiver ended");
            while let Some(lent) = deliveries.lend() {
                bench.ack_lent(lent);
                received += 1;
            }
        }
        deliveries.publish();
        Check::Ok(())
    };
    let (sent, received) = join(sending, receiving).await;
    sent?;
    received?;
    line.finish().await
}

pub(crate) async fn one_datagram_fits_however_small_the_credit(bench: &Bench<'_>) -> Check {
    let credit = if bench.takes("credit_bytes")? { "credit_bytes=1KiB" } else { "" };
    let mut line = bench.line_with(credit, credit).await?;
    let size = line.client.capabilities().limits().payload.min(64 << 10);
    for _ in 0..3 {
        let sent = bench.within("the send", line.sender.send(Datagram::new(vec![1; size])));
        let receiving = async {
            let next = bench.within("a delivery", line.receiver.next()).await??;
            let delivery = next.ok_or_else(|| Stop::failed("the receiver ended"))?;
            ensure!(delivery.view().payload().map(<[u8]>::len) == Some(size), "another size");
            delivery.ack()?;
            Check::Ok(())
        };
        let (sent, received) = join(sent, receiving).await;
        received?;
        sent??;
    }
    line.finish().await
}
