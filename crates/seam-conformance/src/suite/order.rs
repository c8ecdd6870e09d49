//! Order: that of admission, per key.

use futures_util::future::{join, join_all};
use seam_core::{Capability, Fate};

use crate::bench::Bench;
use crate::ledger::Outcome;
use crate::report::{Check, Stop, ensure};
use crate::suite::needs;

pub(crate) async fn a_key_keeps_its_order(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Envelope, Order);
    for round in 0..40 {
        for key in 0..4 {
            line.post(&format!("key-{}", (round + key) % 16), 6).await?;
        }
        bench.take_all(&mut line.receiver).await?;
    }
    line.finish().await
}

pub(crate) async fn a_key_keeps_its_order_with_several_receivers(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Envelope, Order);
    let mut receivers = Vec::new();
    for _ in 0..2 {
        receivers.push(bench.receiver(&line.server).await?);
    }
    for round in 0..25 {
        for key in 0..4 {
            line.post(&format!("key-{}", (round + key) % 8), 2).await?;
        }
    }
    let all = receivers.iter_mut().chain([&mut line.receiver]);
    let receiving = join_all(all.map(|receiver| async {
        let mut held = Vec::new();
        while bench.unfinished() > 0 {
            let next = bench.until(bench.options.moment() / 10, receiver.next()).await;
            if let Some(next) = next {
                let delivery = next?.ok_or_else(|| Stop::failed("a receiver ended"))?;
                bench.saw(&delivery);
                held.push(delivery);
                if held.len() < 5 {
                    continue;
                }
            }
            held.drain(..).try_for_each(|delivery| bench.ack(delivery))?;
        }
        Check::Ok(())
    }));
    let received = bench.within("every delivery", receiving).await?;
    received.into_iter().collect::<Check<()>>()?;
    drop(receivers);
    line.finish().await
}

pub(crate) async fn a_sender_without_keys_keeps_its_order(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Order);
    for _ in 0..20 {
        let posted = bench.post(&line.sender, "line", ("", false), 10).await?;
        line.posted.push(posted);
        bench.take_all(&mut line.receiver).await?;
    }
    line.finish().await
}

pub(crate) async fn calls_at_once_keep_the_order_of_their_first_poll(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Order);
    let with_key = line.has(Capability::Envelope);
    let sender = &line.sender;
    let messages: Vec<_> = (0..50).map(|_| bench.message("line", "k", with_key)).collect();
    // `join_all` of many polls whom it likes; a chain of joins polls in this order.
    let sends = messages.iter().map(|(stamp, datagram)| {
        let mut send = Box::pin(sender.send(datagram.clone()));
        let waker = std::task::Waker::noop();
        let first = send.as_mut().poll(&mut std::task::Context::from_waker(waker));
        (stamp, first, send)
    });
    let sends: Vec<_> = sends.collect();
    let sending = async {
        for (stamp, first, send) in sends {
            let outcome = match first {
                std::task::Poll::Ready(outcome) => outcome,
                std::task::Poll::Pending => bench.within("a send", send).await?,
            };
            bench.ledger.outcome(stamp, Outcome::of(&outcome));
            outcome?;
        }
        Check::Ok(())
    };
    let (sent, taken) = join(sending, bench.take_all(&mut line.receiver)).await;
    sent?;
    taken?;
    line.finish().await
}

pub(crate) async fn a_call_that_waits_holds_back_later_ones(bench: &Bench<'_>) -> Check {
    let credit = if bench.takes("credit")? { "credit=3" } else { "" };
    let mut line = bench.line_with(credit, "").await?;
    needs!(line, Order);
    let with_key = line.has(Capability::Envelope);
    let sender = &line.sender;
    let batches = join_all((0..10).map(|_| bench.post(sender, "line", ("k", with_key), 4)));
    let (posted, taken) = join(batches, async {
        for _ in 0..40 {
            let delivery = bench.next(&mut line.receiver).await?;
            bench.ack(delivery)?;
        }
        Check::Ok(())
    })
    .await;
    taken?;
    for posted in posted {
        line.posted.push(posted?);
    }
    line.finish().await
}

pub(crate) async fn nothing_of_a_key_overtakes_a_failure(bench: &Bench<'_>) -> Check {
    let takes_credit = bench.takes("credit")?;
    let timeout = format!("send_timeout={}ms", bench.options.moment().as_millis());
    let mut line = bench.line_with(&timeout, if takes_credit { "credit=3" } else { "" }).await?;
    needs!(line, OrderedFailure);
    let with_key = line.has(Capability::Envelope);
    let mut posted = bench.post(&line.sender, "line", ("k", with_key), 12).await?;
    let receipts = bench.receipts(&mut posted).await?;
    let mut failed = false;
    for receipt in receipts.iter() {
        ensure!(!(failed && receipt.is_ok()), "a later datagram of the key has a receipt");
        failed |= receipt.is_err();
    }
    let not_sent = receipts.failed().iter().filter(|(_, e)| e.fate() == Fate::NotSent).count();
    let counted = line.client.statistics().not_sent;
    ensure!(counted == u64::try_from(not_sent)?, "{not_sent} not sent, {counted} counted");
    line.settle().await?;
    bench.judge(true)
}
