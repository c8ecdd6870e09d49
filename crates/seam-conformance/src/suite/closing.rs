//! Closing: only a drain is graceful, and it says what it left.

use std::time::Duration;

use futures_util::future::{join, join_all};
use seam_core::{Capability, Connection, Error, Fate, Receiver};

use crate::bench::{Bench, poll_and_drop};
use crate::ledger::{Outcome, Stamp};
use crate::report::{Check, Stop, ensure};
use crate::suite::needs;

pub(crate) async fn a_drain_of_what_is_done_leaves_nothing(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 20).await?;
    line.finish().await
}

pub(crate) async fn a_drain_waits_for_what_is_in_hand(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 1).await?;
    let delivery = line.next().await?;
    let handling = async {
        bench.pass(bench.options.moment()).await;
        bench.ack(delivery)
    };
    let drain = bench.drain(&line.server);
    let (drained, handled) = join(drain, handling).await;
    handled?;
    let drained = drained?;
    ensure!(drained.is_clean(), "it did not wait: {drained:?}");
    Ok(())
}

pub(crate) async fn a_drain_ends_at_its_deadline(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 1).await?;
    let delivery = line.next().await?;
    let drain = line.server.drain(bench.options.moment());
    let drained = bench.within("a drain with a deadline", drain).await??;
    ensure!(drained.unsettled == 1, "it left {} unsettled, not 1", drained.unsettled);
    ensure!(!delivery.is_current(), "what it left is still ours");
    Ok(())
}

pub(crate) async fn a_drain_accounts_for_every_datagram(bench: &Bench<'_>) -> Check {
    let credit = if bench.takes("credit")? { "credit=2" } else { "" };
    let mut line = bench.line_with("", credit).await?;
    let mut posted = bench.post(&line.sender, "line", ("k", false), 10).await?;
    let drained = bench.within("the drain", line.client.drain(bench.options.moment())).await??;
    let receipts = bench.receipts(&mut posted).await?;
    ensure!(receipts.len() == 10, "{} answers for 10 datagrams", receipts.len());
    for (_, failed) in receipts.failed() {
        let stamp = Stamp::of(failed.datagram().view());
        let listed = drained.unsent.iter().any(|left| Stamp::of(left.datagram().view()) == stamp);
        ensure!(listed, "a datagram failed, and the drain does not list it: {failed}");
    }
    for left in &drained.unsent {
        let stamp = Stamp::of(left.datagram().view());
        let stamp = stamp.ok_or_else(|| Stop::failed("it came back changed"))?;
        if left.fate() == Fate::NotSent {
            bench.ledger.outcome(&stamp, Outcome::NotSent);
            bench.forget(&stamp);
        }
    }
    what_was_promised_arrives(bench, &mut line.receiver).await
}

/// Receives until everything that has a receipt has come; what was proved not to be sent must not be there.
async fn what_was_promised_arrives(bench: &Bench<'_>, receiver: &mut Receiver) -> Check {
    let arriving = async {
        while bench.ledger.check().lost > 0 {
            let Some(delivery) = receiver.next().await? else { break };
            bench.saw(&delivery);
            bench.ack(delivery)?;
        }
        Check::Ok(())
    };
    let arrived = bench.until(bench.options.deadline(), arriving).await;
    let report = bench.ledger.check();
    arrived
        .unwrap_or_else(|| Err(Stop::failed(format!("what has a receipt is lost: {report}"))))?;
    ensure!(report.lost == 0 && report.unexpected == 0, "{report}");
    Ok(())
}

pub(crate) async fn after_a_drain_everything_is_closed(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.settle().await?;
    for connection in [&line.client, &line.server] {
        bench.end(connection).await?;
        let sender = bench.within("the refusal", connection.sender()).await?;
        ensure!(matches!(sender, Err(Error::Closed { .. })), "it came to {sender:?}");
        let receiver = bench.within("the refusal", connection.receiver()).await?;
        ensure!(matches!(receiver, Err(Error::Closed { .. })), "it came to {receiver:?}");
    }
    let (_, datagram) = bench.message("late", "k", false);
    let Err(refused) = bench.within("the refusal", line.sender.send(datagram)).await? else {
        return Err(Stop::failed("a closed connection took a datagram"));
    };
    let closed = matches!(refused.error(), Error::Closed { .. });
    ensure!(closed && refused.fate() == Fate::NotSent, "refused as {refused}");
    let end = bench.within("the end of the receiver", line.receiver.next()).await??;
    ensure!(end.is_none(), "a drained receiver goes on");
    Ok(())
}

pub(crate) async fn a_drain_ends_a_receive_that_waits(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.settle().await?;
    let server = line.server.clone();
    let drain = bench.drain(&server);
    let receive = bench.within("the end of a receive", line.receiver.next());
    let (end, drained) = join(receive, drain).await;
    drop(drained?);
    ensure!(end??.is_none(), "a drained receiver goes on");
    Ok(())
}

pub(crate) async fn a_connection_lives_as_long_as_its_sender(bench: &Bench<'_>) -> Check {
    let mut line = bench.hub_line().await?;
    let second = line.client.clone();
    let sender = bench.sender(&second).await?;
    let other = bench.client(&line.address, "").await?;
    drop((second, std::mem::replace(&mut line.client, other)));
    line.sender = bench.sender(&line.client).await?;
    let mut posted = bench.post(&sender, "kept", ("k", false), 3).await?;
    bench.take_all(&mut line.receiver).await?;
    ensure!(bench.receipts(&mut posted).await?.all_ok(), "the sender outlived its connection");
    line.finish().await
}

pub(crate) async fn a_connection_lives_as_long_as_its_receiver(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let receiver = &mut line.receiver;
    drop(line.server);
    let mut posted = bench.post(&line.sender, "kept", ("k", false), 3).await?;
    bench.take_all(receiver).await?;
    ensure!(bench.receipts(&mut posted).await?.all_ok(), "a datagram has no receipt");
    bench.judge(false)
}

pub(crate) async fn dropping_the_last_handle_answers_who_waits(bench: &Bench<'_>) -> Check {
    let credit = if bench.takes("credit")? { "credit=2" } else { "" };
    let line = bench.line_with("", credit).await?;
    let mut posted = bench.post(&line.sender, "line", ("k", false), 10).await?;
    drop((line.sender, line.client));
    let receipts = bench.receipts(&mut posted).await?;
    ensure!(receipts.len() == 10, "{} answers for 10 datagrams", receipts.len());
    let mut receiver = line.receiver;
    what_was_promised_arrives(bench, &mut receiver).await
}

pub(crate) async fn a_drain_during_sends_answers_each(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let with_key = line.has(Capability::Envelope);
    let client = line.client.clone();
    let senders = join_all((0..5).map(|_| bench.sender(&client))).await;
    let senders = senders.into_iter().collect::<Check<Vec<_>>>()?;
    let sending = join_all(senders.iter().enumerate().map(|(number, sender)| async move {
        let name = format!("sender-{number}");
        for _ in 0..50 {
            let (stamp, datagram) = bench.message(&name, &name, with_key);
            let outcome = bench.within("a send", sender.send(datagram)).await?;
            bench.ledger.outcome(&stamp, Outcome::of(&outcome));
            if outcome.is_err() {
                bench.forget(&stamp);
            }
            crate::bench::yield_now().await;
        }
        Check::Ok(())
    }));
    let draining = async {
        crate::bench::yield_now().await;
        bench.end(&client).await?;
        Check::Ok(())
    };
    let working = async {
        let (sent, drained) = join(sending, draining).await;
        sent.into_iter().collect::<Check<()>>().and(drained)
    };
    let receiver = &mut line.receiver;
    let receiving = async {
        loop {
            let delivery = bench.next(receiver).await?;
            bench.ack(delivery)?;
        }
    };
    let worked = {
        let (working, receiving) = (Box::pin(working), Box::pin(receiving));
        match futures_util::future::select(working, receiving).await {
            futures_util::future::Either::Left((worked, _)) => worked,
            futures_util::future::Either::Right((received, _)) => received,
        }
    };
    worked?;
    bench.take_all(&mut line.receiver).await?;
    bench.judge(line.has(Capability::Order))
}

pub(crate) async fn an_address_can_be_opened_again(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let address = line.address.clone();
    line.post("k", 3).await?;
    line.finish().await?;
    let (server, client) = join(bench.server(&address, ""), bench.client(&address, "")).await;
    let (server, client) = (server?, client?);
    let receiver = bench.receiver(&server).await?;
    let sender = bench.sender(&client).await?;
    let mut line = crate::line::Line::new(bench, address, client, server, sender, receiver);
    line.post("k", 3).await?;
    line.finish().await
}

pub(crate) async fn receivers_that_come_and_go_lose_nothing(bench: &Bench<'_>) -> Check {
    let mut line = bench.shared_line("").await?;
    needs!(line, Redelivery);
    line.post("k", 100).await?;
    for _ in 0..5 {
        for _ in 0..10 {
            let delivery = line.next().await?;
            line.ack(delivery)?;
        }
        // Two are in hand when the receiver and its connection go.
        let held = (line.next().await?, line.next().await?);
        let old = line.replace_server("").await?;
        drop((old, held));
    }
    line.finish().await
}

pub(crate) async fn receivers_that_go_at_once_lose_nothing(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Redelivery);
    let receivers = join_all((0..10).map(|_| bench.receiver(&line.server))).await;
    let mut receivers = receivers.into_iter().collect::<Check<Vec<_>>>()?;
    line.post("k", 50).await?;
    for receiver in &mut receivers {
        drop(poll_and_drop(receiver.next()));
    }
    drop(receivers);
    line.finish().await
}

pub(crate) async fn receivers_that_fail_and_go_lose_nothing(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Redelivery);
    line.post("k", 50).await?;
    for _ in 0..3 {
        let mut receiver = bench.receiver(&line.server).await?;
        let failing = fail_some(bench, &mut receiver, 20);
        bench.until(bench.options.moment(), failing).await.unwrap_or(Ok(()))?;
    }
    line.finish().await
}

async fn fail_some(bench: &Bench<'_>, receiver: &mut Receiver, count: usize) -> Check {
    for _ in 0..count {
        bench.next(receiver).await?.retry(Duration::ZERO)?;
    }
    Ok(())
}

pub(crate) async fn nothing_lives_on_after_the_last_handle(bench: &Bench<'_>) -> Check {
    let Some(live_tasks) = &bench.options.live_tasks else {
        return Err(Stop::NotApplicable("the options do not count live tasks"));
    };
    let before = live_tasks();
    for graceful in [true, false] {
        let mut line = bench.line().await?;
        line.post("k", 5).await?;
        line.settle().await?;
        if graceful {
            line.finish().await?;
        }
    }
    let gone = async {
        while live_tasks() > before {
            bench.pass(Duration::from_millis(1)).await;
        }
    };
    let waited = bench.within("the tasks of closed connections", gone).await;
    waited.map_err(|_| Stop::failed(format!("{} tasks live on", live_tasks() - before)))
}

pub(crate) async fn a_restart_of_the_broker_loses_nothing(bench: &Bench<'_>) -> Check {
    let Some(restart) = &bench.options.restart else {
        return Err(Stop::NotApplicable("the options cannot restart the broker"));
    };
    let mut line = bench.line().await?;
    needs!(line, Store, Redelivery);
    for _ in 0..3 {
        let posted = bench.post(&line.sender, "line", ("k", line.has(Capability::Envelope)), 100);
        line.posted.push(posted.await?);
        bench.within("the restart", restart()).await?;
        try_all(bench, &line.client, &mut line.posted).await?;
    }
    line.finish().await
}

/// Sends again, with a higher attempt, what came back.
async fn try_all(
    bench: &Bench<'_>,
    client: &Connection,
    posted: &mut Vec<crate::bench::Posted>,
) -> Check {
    let sender = bench.sender(client).await?;
    for mut posted in posted.drain(..) {
        let receipts = bench.receipts(&mut posted).await?;
        for failed in receipts.into_failed() {
            let stamp = Stamp::of(failed.datagram().view());
            let stamp = stamp.ok_or_else(|| Stop::failed("it came back changed"))?;
            let attempt = stamp.attempt + 1;
            let body = Stamp::body(failed.datagram().view()).to_vec();
            let (stamp, datagram) = stamp.with_attempt(attempt).datagram(&body);
            bench.ledger.sent(&stamp);
            let outcome = bench.within("a send after the restart", sender.send(datagram)).await?;
            bench.ledger.outcome(&stamp, Outcome::of(&outcome));
            outcome?;
        }
    }
    Ok(())
}
