//! What stands for request and reply where nothing correlates: one peer, and what it sends back.

use std::time::Duration;

use seam_core::{Batch, Connection, Datagram, Deliveries, View};

use crate::failure::{Failure, Outcome};
use crate::receive::DRAIN;
use crate::stop::Stop;

/// Sends `request`, and gives the first datagram that comes back.
pub(crate) async fn ask(
    connection: &Connection,
    request: Datagram,
    timeout: Duration,
) -> Outcome<Datagram> {
    let asked = async {
        // First, so that no answer comes before somebody listens.
        let mut receiver = connection.receiver().await?;
        connection.sender().await?.send(request).await?;
        let Some(reply) = receiver.next().await? else {
            return Err(Failure::new("the peer closed the connection without a reply"));
        };
        let datagram = reply.datagram().clone();
        reply.ack().map_err(seam_core::Error::from)?;
        Ok(datagram)
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(asked) => asked,
        Err(_) => Err(Failure::new(format!(
            "no reply within {timeout:?}; see whether a server is there and replies, or raise --timeout"
        ))),
    }
}

/// Datagrams sent back together at most.
const BATCH: usize = 256;

/// Sends each datagram of one peer back to it, until it departs; how many.
pub(crate) async fn echo(peer: &Connection, stop: &Stop) -> Outcome<u64> {
    let sender = peer.sender().await?;
    let mut receiver = peer.receiver().await?;
    let (mut deliveries, mut batch) = (Deliveries::new(), Batch::new());
    let mut echoed = 0;
    while let Some(more) = stop.or(receiver.receive(BATCH, &mut deliveries)).await {
        if !more? {
            break;
        }
        batch.extend(deliveries.views().map(View::to_datagram));
        let receipts = sender.admit(&mut batch).await?.receipts().await;
        echoed += u64::from(receipts.receipted());
        if let Some((_, error)) = receipts.failed().first() {
            return Err(Failure::new(error.to_string()));
        }
        deliveries.ack_all();
    }
    drop(deliveries);
    let drained = peer.drain(DRAIN).await?;
    match drained.is_clean() {
        true => Ok(echoed),
        false => Err(Failure::new("the peer did not take all that was sent back to it")),
    }
}
