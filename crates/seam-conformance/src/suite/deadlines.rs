//! Deadlines: what has no receipt in time comes back, with its fate.

use seam_core::{Batch, Capability, Confirmation, Error, Fate, Side};

use crate::bench::{Bench, has};
use crate::ledger::Outcome;
use crate::options::End;
use crate::report::{Check, Stop, ensure};

/// The first parameters of a client that waits only a moment.
fn impatient(bench: &Bench<'_>) -> String {
    format!("send_timeout={}ms", bench.options.moment().as_millis())
}

pub(crate) async fn without_a_receiver_it_is_kept_or_comes_back(bench: &Bench<'_>) -> Check {
    if !bench.takes("send_timeout")? {
        return Err(Stop::failed("the scheme takes no `send_timeout`"));
    }
    let address = bench.address()?;
    let server = bench.server(&address, "").await?;
    let client = bench.client(&address, &impatient(bench)).await?;
    let sender = bench.sender(&client).await?;
    let (stamp, datagram) = bench.message("line", "k", false);
    let sent = bench.within("the send", sender.send(datagram)).await?;
    bench.ledger.outcome(&stamp, Outcome::of(&sent));
    match &sent {
        Ok(receipt) => {
            let kept = has(&client, &[Capability::Store]);
            let honest = kept || receipt.confirmation == Confirmation::Written;
            ensure!(honest, "nobody was there, and nothing keeps it: {receipt:?}");
            if !kept {
                bench.forget(&stamp);
            }
        }
        Err(error) => {
            let timed_out = matches!(error.error(), Error::TimedOut { .. });
            ensure!(timed_out && error.error().is_retryable(), "it came back as {error}");
            bench.forget(&stamp);
        }
    }
    nothing_unexpected(
        bench,
        &client,
        &server,
        sent.is_ok_and(|r| r.confirmation > Confirmation::Written),
    )
    .await
}

/// Opens a receiver, sends one more, and has the ledger look at what arrives.
async fn nothing_unexpected(
    bench: &Bench<'_>,
    client: &seam_core::Connection,
    server: &seam_core::Connection,
    must_arrive: bool,
) -> Check {
    let mut receiver = bench.receiver(server).await?;
    let sender = bench.sender(client).await?;
    let mut posted = bench.post(&sender, "later", ("k", false), 1).await?;
    bench.take_all(&mut receiver).await?;
    drop(bench.receipts(&mut posted).await?);
    let report = bench.ledger.check();
    ensure!(report.unexpected == 0, "what came back as not sent arrived: {report}");
    ensure!(!must_arrive || report.lost == 0, "{report}");
    Ok(())
}

pub(crate) async fn a_flush_gives_back_what_it_could_not_send(bench: &Bench<'_>) -> Check {
    let address = bench.address()?;
    let server = bench.server(&address, "").await?;
    let client = bench.client(&address, &impatient(bench)).await?;
    let mut sender = bench.sender(&client).await?;
    let mut stamps = Vec::new();
    for _ in 0..5 {
        let (stamp, datagram) = bench.message("line", "k", false);
        bench.within("feeding", sender.feed(datagram)).await??;
        stamps.push(stamp);
    }
    let kept = match bench.within("the flush", sender.flush()).await? {
        Ok(receipted) => {
            ensure!(receipted == 5, "{receipted} receipts for 5 datagrams");
            let kept = has(&client, &[Capability::Store]);
            let honest = kept || client.capabilities().confirmation() == Confirmation::Written;
            ensure!(honest, "nobody was there, and nothing keeps what was receipted");
            kept
        }
        Err(errors) => {
            let total = errors.receipted + u64::try_from(errors.failed.len())?;
            ensure!(total == 5, "{total} answers for 5 datagrams");
            for error in &errors.failed {
                let stamp = crate::ledger::Stamp::of(error.datagram().view());
                let stamp = stamp.ok_or_else(|| Stop::failed("it came back changed"))?;
                bench.ledger.outcome(&stamp, error.fate().into());
            }
            false
        }
    };
    if kept {
        stamps.iter().for_each(|stamp| bench.ledger.outcome(stamp, Outcome::Receipted));
    } else {
        stamps.iter().for_each(|stamp| bench.forget(stamp));
    }
    nothing_unexpected(bench, &client, &server, kept).await
}

pub(crate) async fn what_came_back_as_not_sent_never_arrives(bench: &Bench<'_>) -> Check {
    let credit = if bench.takes("credit")? { "credit=2" } else { "" };
    let mut line = bench.line_with(&impatient(bench), credit).await?;
    let mut posted = bench.post(&line.sender, "line", ("k", false), 10).await?;
    // Nobody settles, so some of them may find no room in time.
    let receipts = bench.receipts(&mut posted).await?;
    let maybe = receipts.failed().iter().filter(|(_, e)| e.fate() == Fate::MaybeSent).count();
    let counted = line.client.statistics().maybe_sent;
    ensure!(counted == u64::try_from(maybe)?, "{maybe} came back in doubt, {counted} counted");
    line.settle().await?;
    bench.judge(false)
}

pub(crate) async fn withdrawing_answers_for_each_datagram(bench: &Bench<'_>) -> Check {
    let credit = if bench.takes("credit")? { "credit=2" } else { "" };
    let mut line = bench.line_with("", credit).await?;
    let mut posted = bench.post(&line.sender, "line", ("k", false), 10).await?;
    let ticket = std::mem::replace(
        &mut posted.ticket,
        bench.post(&line.sender, "", ("", false), 0).await?.ticket,
    );
    let receipts = ticket.withdraw();
    bench.write_down(&posted, &receipts)?;
    let maybe = receipts.failed().iter().filter(|(_, e)| e.fate() == Fate::MaybeSent).count();
    let abandoned = line.client.statistics().abandoned;
    ensure!(abandoned == u64::try_from(maybe)?, "{maybe} given back in doubt, {abandoned} counted");
    line.settle().await?;
    bench.judge(false)
}

pub(crate) async fn what_is_given_back_in_doubt_is_counted(bench: &Bench<'_>) -> Check {
    let settled = "confirm=settled";
    let address = bench.address()?;
    let end = End::new(&address, Side::Client);
    let both = format!("{}&{settled}", impatient(bench));
    let can = bench.takes("confirm")?
        && bench.registry.check(bench.uri(end, settled)?.as_str(), Side::Client).is_ok();
    let parameters = if can { both } else { impatient(bench) };
    let mut line = bench.line_with(&parameters, "").await?;
    let (stamp, datagram) = bench.message("line", "k", false);
    let mut batch = Batch::new();
    batch.push(datagram);
    let mut ticket = bench.within("admission", line.sender.admit(&mut batch)).await??;
    let delivery = line.next().await?;
    let receipts = bench.within("the receipt", ticket.receipts()).await?;
    let in_doubt = receipts.failed().iter().any(|(_, e)| e.fate() == Fate::MaybeSent);
    ensure!(!can || in_doubt, "nobody settled it, and yet it came back as {receipts:?}");
    let abandoned = line.client.statistics().abandoned;
    ensure!(abandoned == u64::from(in_doubt), "{abandoned} counted as abandoned");
    let outcome = if receipts.all_ok() { Outcome::Receipted } else { Outcome::MaybeSent };
    bench.ledger.outcome(&stamp, outcome);
    line.ack(delivery)?;
    bench.judge(false)
}
