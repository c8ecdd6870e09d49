//! Peers: each is a connection of its own.

use futures_util::future::join;
use seam_core::{Action, Confirmation, Connection, Datagram, Error, Event, Side};

use crate::bench::{Bench, poll_and_drop};
use crate::ledger::Stamp;
use crate::options::End;
use crate::report::{Check, Stop, ensure};

/// A listener and a client of a fresh address; `None` where there are no peers, which then was checked.
async fn listener(bench: &Bench<'_>) -> Check<Option<(String, Connection)>> {
    let line = bench.line().await?;
    if line.lacks(&[seam_core::Capability::Peers]).is_some() {
        crate::suite::capabilities::refused(bench, seam_core::Capability::Peers).await?;
        return Ok(None);
    }
    line.finish().await?;
    let address = bench.address()?;
    let server = bench.server(&address, "").await?;
    Ok(Some((address, server)))
}

async fn accept(bench: &Bench<'_>, server: &Connection) -> Check<Connection> {
    let peer = bench.within("a peer", server.accept()).await??;
    peer.ok_or_else(|| Stop::failed("the listener ended"))
}

/// A client and its peer on the server.
async fn meet(
    bench: &Bench<'_>,
    address: &str,
    server: &Connection,
) -> Check<(Connection, Connection)> {
    let (client, peer) = join(bench.client(address, ""), accept(bench, server)).await;
    Ok((client?, peer?))
}

/// Sends one message from one end and has it arrive at the other.
async fn pass_on(bench: &Bench<'_>, from: &Connection, to: &Connection) -> Check {
    let sender = bench.sender(from).await?;
    let mut receiver = bench.receiver(to).await?;
    let mut posted = bench.post(&sender, "peer", ("k", false), 1).await?;
    let delivery = bench.next(&mut receiver).await?;
    let stamp = Stamp::of(delivery.view());
    ensure!(stamp.as_ref() == posted.stamps.first(), "another peer's datagram arrived");
    bench.ack(delivery)?;
    ensure!(bench.receipts(&mut posted).await?.all_ok(), "it has no receipt");
    Ok(())
}

pub(crate) async fn each_peer_is_a_connection_of_its_own(bench: &Bench<'_>) -> Check {
    let Some((address, server)) = listener(bench).await? else { return Ok(()) };
    let (one, peer_of_one) = meet(bench, &address, &server).await?;
    let (two, peer_of_two) = meet(bench, &address, &server).await?;
    let ids = [&peer_of_one, &peer_of_two].map(|c| c.peer().map(|peer| peer.id.clone()));
    ensure!(ids[0].is_some() && ids[1].is_some(), "a peer has no identity: {ids:?}");
    ensure!(ids[0] != ids[1], "two peers share the id {:?}", ids[0]);
    pass_on(bench, &two, &peer_of_two).await?;
    pass_on(bench, &one, &peer_of_one).await?;
    bench.judge(false)
}

pub(crate) async fn a_peer_can_be_answered(bench: &Bench<'_>) -> Check {
    let Some((address, server)) = listener(bench).await? else { return Ok(()) };
    let (client, peer) = meet(bench, &address, &server).await?;
    pass_on(bench, &client, &peer).await?;
    pass_on(bench, &peer, &client).await?;
    pass_on(bench, &client, &peer).await?;
    bench.judge(false)
}

pub(crate) async fn a_delivery_names_its_peer(bench: &Bench<'_>) -> Check {
    let Some((address, server)) = listener(bench).await? else { return Ok(()) };
    let (client, peer) = meet(bench, &address, &server).await?;
    let sender = bench.sender(&client).await?;
    let mut receiver = bench.receiver(&peer).await?;
    let mut posted = bench.post(&sender, "peer", ("k", false), 1).await?;
    let delivery = bench.next(&mut receiver).await?;
    let (named, known) = (delivery.peer().map(|p| p.id.clone()), peer.peer().map(|p| p.id.clone()));
    ensure!(named.is_some() && named == known, "it comes from {named:?}, of peer {known:?}");
    bench.ack(delivery)?;
    ensure!(bench.receipts(&mut posted).await?.all_ok(), "it has no receipt");
    Ok(())
}

pub(crate) async fn a_peer_that_departs_ends_its_receiver(bench: &Bench<'_>) -> Check {
    let Some((address, server)) = listener(bench).await? else { return Ok(()) };
    let (client, peer) = meet(bench, &address, &server).await?;
    let (_other, other_peer) = meet(bench, &address, &server).await?;
    let mut receiver = bench.receiver(&peer).await?;
    let mut staying = bench.receiver(&other_peer).await?;
    drop(client);
    // An abnormal end may be told as an error of the receiver.
    let ended = bench.within("the end of the receiver", receiver.next()).await?;
    ensure!(!matches!(ended, Ok(Some(_))), "something arrived from nobody");
    bench.stays("the receiver of another peer ended too", staying.next()).await?;
    let departed = async {
        while let Some(event) = server.next_event().await {
            if let Event::PeerDeparted { peer: gone } = event {
                let known = peer.peer().map(|peer| &peer.id);
                ensure!(known == Some(&gone.id), "another peer is said to have gone");
                return Ok(());
            }
        }
        Err(Stop::failed("the events ended without it"))
    };
    bench.within("the event that the peer has departed", departed).await?
}

pub(crate) async fn the_end_of_the_listener_ends_accept(bench: &Bench<'_>) -> Check {
    let Some((_, server)) = listener(bench).await? else { return Ok(()) };
    let (accepted, drained) =
        join(bench.within("the end of accept", server.accept()), bench.drain(&server)).await;
    drop(drained?);
    ensure!(accepted??.is_none(), "a peer came to a listener that is closed");
    Ok(())
}

pub(crate) async fn accept_and_receiver_exclude_each_other(bench: &Bench<'_>) -> Check {
    let Some((address, server)) = listener(bench).await? else { return Ok(()) };
    let receiver = bench.receiver(&server).await?;
    let accepted = bench.within("the refusal", server.accept()).await?;
    ensure!(matches!(accepted, Err(Error::Misuse { .. })), "it came to {accepted:?}");
    drop((receiver, server));
    let server = bench.server(&bench.address()?, "").await?;
    ensure!(poll_and_drop(server.accept()).is_none(), "a peer came from nowhere");
    let received = bench.within("the refusal", server.receiver()).await?;
    ensure!(matches!(received, Err(Error::Misuse { .. })), "it came to {received:?}");
    drop(address);
    Ok(())
}

pub(crate) async fn a_dropped_accept_loses_no_peer(bench: &Bench<'_>) -> Check {
    let Some((address, server)) = listener(bench).await? else { return Ok(()) };
    for _ in 0..3 {
        ensure!(poll_and_drop(server.accept()).is_none(), "a peer came from nowhere");
    }
    let (client, peer) = meet(bench, &address, &server).await?;
    pass_on(bench, &client, &peer).await?;
    bench.judge(false)
}

pub(crate) async fn two_busy_peers_do_not_block_each_other(bench: &Bench<'_>) -> Check {
    let Some((address, server)) = listener(bench).await? else { return Ok(()) };
    let (client, peer) = meet(bench, &address, &server).await?;
    let (up, down) = (bench.sender(&client).await?, bench.sender(&peer).await?);
    let (mut at_peer, mut at_client) =
        (bench.receiver(&peer).await?, bench.receiver(&client).await?);
    let both = async {
        let flood = |mut sender: seam_core::Sender| async move {
            for _ in 0..500 {
                sender.feed(Datagram::new(vec![7; 4096])).await?;
            }
            sender.flush().await?;
            Check::Ok(())
        };
        let drink = async |receiver: &mut seam_core::Receiver| {
            for _ in 0..500 {
                let next = receiver.next().await?;
                next.ok_or_else(|| Stop::failed("the receiver ended"))?.ack()?;
            }
            Check::Ok(())
        };
        let sent = join(flood(up), flood(down));
        let received = join(drink(&mut at_peer), drink(&mut at_client));
        let ((up, down), (at_peer, at_client)) = join(sent, received).await;
        up.and(down).and(at_peer).and(at_client)
    };
    bench.within("what both peers send at once", both).await?
}

pub(crate) async fn a_peer_that_is_refused_gets_nowhere(bench: &Bench<'_>) -> Check {
    if listener(bench).await?.is_none() {
        return Ok(());
    }
    let address = bench.address()?;
    let end = End::of_hub(&address, Side::Server);
    let uri = bench.uri(end, "")?;
    let strict = bench.registry.clone().authorise(|access| access.action != Action::Send);
    let server = bench.within("opening the server", strict.server(uri.as_str())).await??;
    let timeout = format!("send_timeout={}ms", bench.options.moment().as_millis());
    let asking = async {
        // It may be refused when it opens, when it makes a sender, or when it sends.
        let Ok(client) = bench.client(&address, &timeout).await else { return Check::Ok(()) };
        let Ok(sender) = client.sender().await else { return Ok(()) };
        let sent = bench.within("the refusal", sender.send(Datagram::new("let me in"))).await?;
        // What is no more than written has nobody who could refuse it.
        let written = client.capabilities().confirmation() == Confirmation::Written;
        ensure!(written || sent.is_err(), "a peer that was refused has a receipt");
        Ok(())
    };
    let accepting = bench.stays("a peer that was refused was accepted", server.accept());
    let (asked, accepted) = join(asking, accepting).await;
    asked?;
    accepted
}
