//! Groups: each gets everything, and inside one receivers compete.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;
use seam_core::{Capability, Connection, Datagram, Delivery, Receiver, Sender, Side};

use crate::bench::{Bench, has};
use crate::ledger::Stamp;
use crate::options::End;
use crate::report::{Check, Stop, ensure};
use crate::suite::{capabilities, needs};

/// A sender, and a receiver on each server; each group has seen something, and so is known.
async fn gather(
    bench: &Bench<'_>,
    client: &Connection,
    servers: &[Connection],
    names: &[&str],
) -> Check<(Sender, Vec<Receiver>)> {
    let receivers = join_all(servers.iter().map(|server| bench.receiver(server))).await;
    let mut receivers = receivers.into_iter().collect::<Check<Vec<_>>>()?;
    let sender = bench.sender(client).await?;
    let mut missing = names.to_vec();
    let gathering = async {
        while !missing.is_empty() {
            let probe = sender.send(Datagram::new("probe"));
            let probe = bench.until(bench.options.moment(), probe);
            let looks = receivers.iter_mut().zip(names).map(|(receiver, name)| async move {
                let next = bench.until(bench.options.moment() / 10, receiver.next()).await;
                let Some(next) = next else { return Check::Ok(None) };
                next?.ok_or_else(|| Stop::failed("a receiver ended"))?.ack()?;
                Ok(Some(*name))
            });
            let (_, seen) = futures_util::future::join(probe, join_all(looks)).await;
            for seen in seen {
                let seen = seen?;
                missing.retain(|name| Some(*name) != seen);
            }
        }
        Check::Ok(())
    };
    bench.within("a probe to each group", gathering).await??;
    Ok((sender, receivers))
}

/// Receives in every group, by the name given beside each receiver, until each has these, and until no
/// receiver finds anything more: whatever comes twice is seen.
async fn all_groups(
    bench: &Bench<'_>,
    receivers: &mut [Receiver],
    names: &[&str],
    stamps: &[Stamp],
) -> Check {
    names.iter().for_each(|group| bench.ledger.expect_group(group));
    let expected = names.iter().flat_map(|group| stamps.iter().map(move |s| (*group, s.clone())));
    let missing: Mutex<HashSet<(&str, Stamp)>> = Mutex::new(expected.collect());
    let missing = &missing;
    let receiving = join_all(receivers.iter_mut().zip(names).map(|(receiver, group)| async move {
        loop {
            let next = bench.until(bench.options.moment() / 10, receiver.next()).await;
            let mut missing = missing.lock().unwrap_or_else(PoisonError::into_inner);
            match next {
                None if missing.is_empty() => return Check::Ok(()),
                None => continue,
                Some(next) => {
                    let delivery = next?.ok_or_else(|| Stop::failed("a receiver ended"))?;
                    if let Some(stamp) = see(bench, group, delivery)? {
                        missing.remove(&(*group, stamp));
                    }
                }
            }
        }
    }));
    let received = bench.within("every datagram in every group", receiving).await?;
    received.into_iter().collect::<Check<()>>()
}

/// Writes a delivery of `group` down and acknowledges it; a probe has no stamp and is not written down.
fn see(bench: &Bench<'_>, group: &str, delivery: Delivery) -> Check<Option<Stamp>> {
    if delivery.view().payload() == Some(b"probe") {
        delivery.ack()?;
        return Ok(None);
    }
    let stamp = bench.ledger.delivered_in(group, delivery.view(), delivery.note());
    delivery.ack()?;
    stamp.iter().for_each(|stamp| bench.ledger.settled_in(group, stamp));
    Ok(stamp)
}

async fn exchange(bench: &Bench<'_>, servers: &[&str], names: &[&str]) -> Check {
    let (client, servers) = bench.pool(servers).await?;
    let (sender, mut receivers) = gather(bench, &client, &servers, names).await?;
    let with_key = has(&client, &[Capability::Envelope]);
    let mut posted = bench.post(&sender, "line", ("k", with_key), 50).await?;
    all_groups(bench, &mut receivers, names, &posted.stamps).await?;
    ensure!(bench.receipts(&mut posted).await?.all_ok(), "a datagram has no receipt");
    bench.judge(has(&client, &[Capability::Order]))
}

pub(crate) async fn each_group_gets_every_datagram(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    needs!(line, Groups);
    exchange(bench, &["group=billing", "group=mail"], &["billing", "mail"]).await
}

pub(crate) async fn receivers_of_a_group_compete(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    needs!(line, Groups);
    let servers = ["group=billing", "group=billing", "group=mail"];
    exchange(bench, &servers, &["billing", "billing", "mail"]).await
}

pub(crate) async fn without_a_name_all_receivers_are_one_group(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    needs!(line, Redelivery);
    let (client, servers) = bench.pool(&["", ""]).await?;
    let mut receivers = Vec::new();
    for server in &servers {
        receivers.push(bench.receiver(server).await?);
    }
    let sender = bench.sender(&client).await?;
    let with_key = has(&client, &[Capability::Envelope]);
    let mut posted = bench.post(&sender, "line", ("k", with_key), 50).await?;
    all_groups(bench, &mut receivers, &["", ""], &posted.stamps).await?;
    ensure!(bench.receipts(&mut posted).await?.all_ok(), "a datagram has no receipt");
    bench.judge(has(&client, &[Capability::Order]))
}

pub(crate) async fn a_private_receiver_sees_everything_while_it_lives(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    needs!(line, Private);
    exchange(bench, &["", "private"], &["", "private"]).await
}

pub(crate) async fn a_private_receiver_leaves_nothing_behind(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    needs!(line, Private);
    let (client, mut servers) = bench.pool(&["", "private"]).await?;
    let (sender, mut receivers) = gather(bench, &client, &servers, &["", "private"]).await?;
    drop((receivers.pop(), servers.pop()));
    // Nobody reads the private group any more: neither senders nor the drain may wait for it.
    let mut posted = bench.post(&sender, "line", ("k", false), 20).await?;
    all_groups(bench, &mut receivers, &[""], &posted.stamps).await?;
    ensure!(bench.receipts(&mut posted).await?.all_ok(), "a datagram has no receipt");
    let drained = bench.drain(&client).await?;
    ensure!(drained.is_clean(), "the drain left something: {drained:?}");
    bench.judge(false)
}

pub(crate) async fn a_group_goes_on_where_it_was(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    needs!(line, Groups);
    line.finish().await?;
    let mut line = bench.shared_line("group=billing").await?;
    line.post("k", 10).await?;
    bench.take_all(&mut line.receiver).await?;
    let old = line.replace_server("group=billing").await?;
    bench.end(&old).await?;
    line.finish().await?;
    let doubled = bench.ledger.check().duplicated;
    ensure!(doubled == 0, "{doubled} came again to a group that had settled them");
    Ok(())
}

pub(crate) async fn a_replay_reaches_back(bench: &Bench<'_>) -> Check {
    let mut line = bench.shared_line("").await?;
    if line.lacks(&[Capability::Replay]).is_some() {
        return capabilities::refused(bench, Capability::Replay).await;
    }
    line.post("k", 10).await?;
    line.settle().await?;
    bench.ledger.expect_group("replay");
    let group = if line.has(Capability::Private) { "private" } else { "group=replay" };
    let end = End::of_pool(&line.address, Side::Server);
    let server = bench.open(end, &format!("{group}&from=earliest")).await?;
    let mut receiver = bench.receiver(&server).await?;
    for _ in 0..11 {
        let next = bench.within("an old delivery", receiver.next()).await??;
        let delivery = next.ok_or_else(|| Stop::failed("the receiver ended"))?;
        bench.ledger.delivered_in("replay", delivery.view(), delivery.note());
        delivery.ack()?;
    }
    let report = bench.ledger.check();
    ensure!(report.lost == 0 && report.unannounced == 0, "{report}");
    Ok(())
}

pub(crate) async fn a_late_member_gets_what_waits(bench: &Bench<'_>) -> Check {
    let mut line = bench.shared_line("").await?;
    needs!(line, Redelivery);
    line.post("k", 10).await?;
    drop(line.replace_server("").await?);
    line.finish().await
}
