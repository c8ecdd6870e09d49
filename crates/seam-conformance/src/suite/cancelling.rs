//! Cancelling: a dropped call loses nothing, and leaves nothing half done.

use futures_util::future::join;
use seam_core::{Batch, Capability, Deliveries, Note, Side};

use crate::bench::{Bench, poll_and_drop, yield_now};
use crate::ledger::Outcome;
use crate::options::End;
use crate::report::{Check, Stop, ensure};
use crate::suite::needs;

pub(crate) async fn a_dropped_receive_loses_nothing(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let sender = line.sender.clone();
    let with_key = line.has(Capability::Envelope);
    let sending = async {
        for _ in 0..50 {
            let (stamp, datagram) = bench.message("sender", "k", with_key);
            let outcome = bench.within("a send", sender.send(datagram)).await?;
            bench.ledger.outcome(&stamp, Outcome::of(&outcome));
            outcome?;
            yield_now().await;
        }
        Check::Ok(())
    };
    let receiver = &mut line.receiver;
    let receiving = async {
        let mut received = 0;
        while received < 50 {
            for _ in 0..5 {
                if let Some(next) = poll_and_drop(receiver.next()) {
                    let delivery = next?.ok_or_else(|| Stop::failed("the receiver ended"))?;
                    bench.saw(&delivery);
                    bench.ack(delivery)?;
                    received += 1;
                }
                yield_now().await;
            }
            if received < 50 {
                let delivery = bench.next(receiver).await?;
                bench.ack(delivery)?;
                received += 1;
            }
        }
        Check::Ok(())
    };
    let (sent, received) = join(sending, receiving).await;
    sent?;
    received?;
    line.finish().await
}

pub(crate) async fn a_dropped_batch_receive_loses_nothing(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let mut deliveries = Deliveries::new();
    for _ in 0..20 {
        // Waits already when the datagrams come.
        if let Some(more) = poll_and_drop(line.receiver.receive(8, &mut deliveries)) {
            ensure!(more?, "the receiver ended");
        }
        while let Some(lent) = deliveries.lend() {
            bench.ack_lent(lent);
        }
        deliveries.publish();
        line.post("k", 4).await?;
    }
    drop(deliveries);
    line.finish().await
}

pub(crate) async fn a_dropped_send_is_whole_or_nothing(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    for _ in 0..20 {
        let (stamp, datagram) = bench.message("dropper", "k", false);
        bench.forget(&stamp);
        if let Some(outcome) = poll_and_drop(line.sender.send(datagram)) {
            bench.ledger.outcome(&stamp, Outcome::of(&outcome));
        }
        line.post("k", 1).await?;
    }
    line.finish().await
}

pub(crate) async fn a_dropped_admission_leaves_the_rest_in_its_batch(bench: &Bench<'_>) -> Check {
    let credit = if bench.takes("credit")? { "credit=2" } else { "" };
    let mut line = bench.line_with(credit, "").await?;
    let messages: Vec<_> = (0..10).map(|_| bench.message("line", "k", false)).collect();
    let mut batch: Batch = messages.iter().map(|(_, datagram)| datagram.clone()).collect();
    // An admission that ends at once has its ticket; one that is dropped leaves it in the batch.
    let mut tickets = Vec::new();
    tickets.extend(poll_and_drop(line.sender.admit(&mut batch)).transpose()?);
    let rest = async {
        if !batch.is_empty() || tickets.is_empty() {
            tickets.push(bench.within("admission", line.sender.admit(&mut batch)).await??);
        }
        let mut answers = 0;
        for ticket in &mut tickets {
            let receipts = bench.within("the receipts", ticket.receipts()).await?;
            ensure!(receipts.all_ok(), "a datagram failed: {receipts:?}");
            answers += receipts.len();
        }
        ensure!(answers == 10, "{answers} receipts for 10 datagrams");
        Check::Ok(())
    };
    let (rest, taken) = join(rest, bench.take_all(&mut line.receiver)).await;
    rest?;
    taken?;
    messages.iter().for_each(|(stamp, _)| bench.ledger.outcome(stamp, Outcome::Receipted));
    line.finish().await
}

pub(crate) async fn a_dropped_wait_for_receipts_keeps_the_ticket(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let mut posted = bench.post(&line.sender, "line", ("k", false), 5).await?;
    let early = poll_and_drop(posted.ticket.receipts());
    bench.take_all(&mut line.receiver).await?;
    match early {
        Some(receipts) => bench.write_down(&posted, &receipts)?,
        None => line.posted.push(posted),
    }
    line.finish().await
}

pub(crate) async fn a_dropped_opening_leaves_nothing_behind(bench: &Bench<'_>) -> Check {
    let address = bench.address()?;
    for side in [Side::Server, Side::Client] {
        let uri = bench.uri(End::of_hub(&address, side), "")?;
        match side {
            Side::Server => drop(poll_and_drop(bench.registry.server(uri.as_str()))),
            Side::Client => drop(poll_and_drop(bench.registry.client(uri.as_str()))),
        }
    }
    // Whoever listens anew waits until a socket that was left is gone; a client would still reach it for a moment, and on a
    // wire without receipts what it writes there is lost.
    let server = bench.server(&address, "").await?;
    let client = bench.client(&address, "").await?;
    let receiver = bench.receiver(&server).await?;
    let sender = bench.sender(&client).await?;
    let mut line = crate::line::Line::new(bench, address, client, server, sender, receiver);
    line.post("k", 3).await?;
    line.finish().await
}

pub(crate) async fn a_dropped_drain_can_be_called_again(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 1).await?;
    let delivery = line.next().await?;
    let early = poll_and_drop(line.server.drain(bench.options.deadline()));
    ensure!(early.is_none(), "the drain did not wait for what is in hand");
    line.ack(delivery)?;
    let mut posted = line.posted.pop().ok_or_else(|| Stop::failed("nothing was posted"))?;
    ensure!(bench.receipts(&mut posted).await?.all_ok(), "it has no receipt");
    line.close().await
}

pub(crate) async fn a_dropped_batch_comes_again(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Redelivery);
    line.post("k", 3).await?;
    let mut deliveries = Deliveries::new();
    let more = bench.within("deliveries", line.receiver.receive(3, &mut deliveries)).await??;
    ensure!(more, "the receiver ended");
    let mut dropped = Vec::new();
    for view in deliveries.views() {
        dropped.extend(bench.ledger.delivered(view, &Note::default()));
    }
    drop(deliveries);
    for stamp in dropped {
        let delivery = line.again(&stamp).await?;
        line.ack(delivery)?;
    }
    line.finish().await
}
