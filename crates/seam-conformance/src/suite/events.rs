//! Events and counts: what happens while nobody asks.

use seam_core::{Event, State};

use crate::bench::Bench;
use crate::report::{Check, Stop, ensure};

pub(crate) async fn a_connection_says_that_it_stands(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    for connection in [&line.client, &line.server] {
        let connected = async {
            while let Some(event) = connection.next_event().await {
                if matches!(event, Event::Connected) {
                    return Ok(());
                }
            }
            Err(Stop::failed("the events ended without it"))
        };
        bench.within("the event that it is connected", connected).await??;
        ensure!(connection.state() == State::Connected, "its state is {:?}", connection.state());
    }
    line.finish().await
}

pub(crate) async fn the_events_end_with_the_connection(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.settle().await?;
    for connection in [&line.client, &line.server] {
        bench.end(connection).await?;
        ensure!(connection.state() == State::Closed, "its state is {:?}", connection.state());
        let ended = async { while connection.next_event().await.is_some() {} };
        bench.within("the end of the events", ended).await?;
    }
    Ok(())
}

pub(crate) async fn a_dropped_wait_for_an_event_loses_none(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    while crate::bench::poll_and_drop(line.client.next_event()).is_some() {}
    let mut sender = line.sender.clone();
    let (stamp, datagram) = bench.message("line", "k", false);
    bench.forget(&stamp);
    bench.within("feeding", sender.feed(datagram)).await??;
    drop(sender);
    let event = bench.within("the event", line.client.next_event()).await?;
    ensure!(matches!(event, Some(Event::Unflushed { count: 1 })), "it is {event:?}");
    line.finish().await
}

pub(crate) async fn what_was_fed_and_not_flushed_is_counted(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    let mut sender = line.sender.clone();
    for _ in 0..3 {
        let (stamp, datagram) = bench.message("line", "k", false);
        bench.forget(&stamp);
        bench.within("feeding", sender.feed(datagram)).await??;
    }
    drop(sender);
    let counted = line.client.statistics().unflushed;
    ensure!(counted == 3, "{counted} counted as not flushed");
    line.finish().await
}

pub(crate) async fn the_counts_add_up(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    line.post("k", 29).await?;
    line.settle().await?;
    let (sent, received) = (line.client.statistics(), line.server.statistics());
    let counts = [sent.admitted, sent.receipted, received.delivered, received.acked];
    let ensured = counts[..2] == [30; 2] && counts[3] == 30 && counts[2] >= 30;
    ensure!(ensured, "admitted, receipted, delivered, acked: {counts:?}, not 30 each");
    ensure!(received.delivered - received.redelivered == 30, "a redelivery was not counted");
    line.finish().await
}
