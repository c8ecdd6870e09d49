//! Dead letters: what is given up goes where `dead_letter` says, with its reason.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join;
use seam_core::{Batch, Datagram, Delivery, Error, Side, Value, dead_letter};

use crate::bench::{Bench, encode};
use crate::line::Line;
use crate::options::End;
use crate::report::{Check, Stop, ensure};
use crate::suite::needs;

/// A line whose server sends its dead letters to the other.
async fn with_dead_letters<'a>(bench: &'a Bench<'a>, more: &str) -> Check<(Line<'a>, Line<'a>)> {
    let letters = bench.hub_line().await?;
    let uri = bench.uri(End::of_hub(&letters.address, Side::Client), "")?;
    let server = format!("dead_letter={}{more}", encode(&uri));
    let line = bench.line_with("", &server).await?;
    Ok((line, letters))
}

fn text<'a>(datagram: &'a Datagram, header: &str) -> &'a str {
    datagram.view().header(header).and_then(Value::as_text).unwrap_or_default()
}

/// Receives on both: the work by `handle`, until a letter comes.
async fn next_letter(
    line: &mut Line<'_>,
    letters: &mut Line<'_>,
    handle: impl Fn(Delivery) -> Check,
) -> Check<Datagram> {
    let bench = line.bench;
    let working = async {
        loop {
            let next = line.receiver.next().await?;
            let delivery = next.ok_or_else(|| Stop::failed("the receiver ended"))?;
            handle(delivery)?;
        }
    };
    let arriving = async {
        let next = bench.within("the dead letter", letters.receiver.next()).await??;
        let letter = next.ok_or_else(|| Stop::failed("the receiver ended"))?;
        let (letter, duty) = letter.split();
        duty.ack()?;
        Check::Ok(letter)
    };
    let both = futures_util::future::select(Box::pin(working), Box::pin(arriving));
    match both.await {
        futures_util::future::Either::Left((ended, _)) => ended,
        futures_util::future::Either::Right((letter, _)) => letter,
    }
}

pub(crate) async fn a_dead_letter_arrives_with_its_reason(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    needs!(line, Redelivery, Envelope);
    let (mut line, mut letters) = with_dead_letters(bench, "").await?;
    let work = Datagram::new("rotten").with_key("k").with_header("own", "kept");
    let mut batch = Batch::new();
    batch.push(work.clone());
    let mut ticket = bench.within("admission", line.sender.admit(&mut batch)).await??;
    let bury = |delivery: Delivery| Ok(delivery.dead_letter("it smells")?);
    let letter = next_letter(&mut line, &mut letters, bury).await?;
    ensure!(letter.payload() == work.payload(), "the body of the letter changed");
    ensure!(letter.view().key() == Some(b"k"), "the letter lost its key");
    ensure!(text(&letter, "own") == "kept", "the letter lost a header");
    let reason = text(&letter, dead_letter::REASON);
    ensure!(reason == "it smells", "its reason is `{reason}`");
    let origin = text(&letter, dead_letter::ORIGIN);
    ensure!(origin == line.server.endpoint().to_string(), "it comes from `{origin}`");
    let attempts = letter.view().header(dead_letter::ATTEMPTS);
    ensure!(attempts == Some(&Value::U64(1)), "its attempts are {attempts:?}");
    bench.within("settling", line.receiver.settled()).await??;
    ensure!(line.server.statistics().dead_lettered == 1, "it was not counted");
    ensure!(bench.within("the receipt", ticket.receipts()).await?.all_ok(), "it has no receipt");
    line.finish().await?;
    letters.finish().await
}

pub(crate) async fn what_is_tried_too_often_becomes_a_dead_letter(bench: &Bench<'_>) -> Check {
    give_up(bench, 3, |delivery| Ok(delivery.retry(Duration::ZERO)?)).await
}

pub(crate) async fn what_is_given_up_unseen_counts_the_attempts_that_were_made(
    bench: &Bench<'_>,
) -> Check {
    let drops = |delivery| {
        drop::<Delivery>(delivery);
        Ok(())
    };
    give_up(bench, 1, drops).await
}

/// Whatever comes fails by `fail`, until its attempts are used up: then its letter says so.
async fn give_up(bench: &Bench<'_>, retry: u32, fail: fn(Delivery) -> Check) -> Check {
    let line = bench.line().await?;
    needs!(line, Redelivery, Envelope);
    let (mut line, mut letters) = with_dead_letters(bench, &format!("&retry={retry}")).await?;
    let mut batch: Batch = [Datagram::new("stubborn")].into_iter().collect();
    let mut ticket = bench.within("admission", line.sender.admit(&mut batch)).await??;
    let tried = AtomicU32::new(0);
    let handle = |delivery| {
        tried.fetch_add(1, Ordering::Relaxed);
        fail(delivery)
    };
    let letter = next_letter(&mut line, &mut letters, handle).await?;
    let tried = tried.into_inner();
    ensure!(tried == retry, "it was tried {tried} times, not {retry}");
    ensure!(letter.payload() == Some(b"stubborn"), "the body of the letter changed");
    let attempts = letter.view().header(dead_letter::ATTEMPTS);
    ensure!(attempts == Some(&Value::U64(retry.into())), "its attempts are {attempts:?}");
    let reason = text(&letter, dead_letter::REASON);
    ensure!(reason == format!("gave up after {retry} attempts"), "its reason is `{reason}`");
    ensure!(bench.within("the receipt", ticket.receipts()).await?.all_ok(), "it has no receipt");
    bench.within("settling", line.receiver.settled()).await??;
    line.finish().await?;
    letters.finish().await
}

pub(crate) async fn a_drain_sends_the_dead_letters_that_wait(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    needs!(line, Redelivery, Envelope);
    let (mut line, mut letters) = with_dead_letters(bench, "").await?;
    line.post("k", 1).await?;
    let delivery = line.next().await?;
    let stamp = crate::ledger::Stamp::of(delivery.view());
    delivery.dead_letter("at the end")?;
    stamp.iter().for_each(|stamp| bench.is_settled(stamp));
    let drain = bench.drain(&line.server);
    let letter = bench.within("the dead letter", letters.receiver.next());
    let (drained, letter) = join(drain, letter).await;
    let drained = drained?;
    ensure!(drained.is_clean(), "the drain left something: {drained:?}");
    letter??.ok_or_else(|| Stop::failed("the receiver ended"))?.ack()?;
    letters.finish().await
}

pub(crate) async fn without_an_endpoint_a_dead_letter_is_refused(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 1).await?;
    let Err(refused) = line.next().await?.dead_letter("nowhere to go") else {
        return Err(Stop::failed("a dead letter went nowhere"));
    };
    let (delivery, error) = refused.into_parts();
    let typed = matches!(error, Error::Misuse { .. } | Error::Unsupported { .. });
    ensure!(typed, "refused as {error}");
    ensure!(delivery.is_current(), "the refusal cost the lease");
    line.ack(delivery)?;
    line.finish().await
}
