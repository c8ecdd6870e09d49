//! Peers of a listener, however early they come.

use std::time::Duration;

use seam_conformance::free_port;
use seam_core::{Connection, Datagram, Event, Registry};
use seam_tcp::Tcp;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for an event that `is` says is the one.
async fn until(connection: &Connection, is: impl Fn(&Event) -> bool) {
    let looking = async {
        while let Some(event) = connection.next_event().await {
            if is(&event) {
                return;
            }
        }
        panic!("the events ended without it");
    };
    timeout(PATIENCE, looking).await.expect("the event comes");
}

/// A peer that receives already when somebody begins to accept; which way it falls is up to the machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_came_before_accept_is_told_once_and_loses_nothing() {
    for early in [true, false].repeat(8) {
        let uri = format!("tcp://127.0.0.1:{}/chat", free_port());
        let registry = Registry::new().with(Tcp::new());
        let server = registry.server(&*uri).await.unwrap();
        let client = registry.client(&*uri).await.unwrap();
        let mut at_client = client.receiver().await.unwrap();
        if early {
            until(&server, |event| matches!(event, Event::PeerArrived { .. })).await;
        }
        let up = client.sender().await.unwrap();
        let peer = timeout(PATIENCE, server.accept()).await.unwrap().unwrap().unwrap();
        let (down, mut at_peer) = (peer.sender().await.unwrap(), peer.receiver().await.unwrap());
        let talk = async {
            let (asked, answered) =
                tokio::join!(up.send(Datagram::new("well?")), down.send(Datagram::new("well!")));
            (asked.unwrap(), answered.unwrap())
        };
        let hear = async {
            at_peer.next().await.unwrap().unwrap().ack().unwrap();
            at_client.next().await.unwrap().unwrap().ack().unwrap();
        };
        timeout(PATIENCE, async { tokio::join!(talk, hear) }).await.unwrap();
        drop((at_client, up, client));
        until(&server, |event| matches!(event, Event::PeerDeparted { .. })).await;
        let counts = server.statistics();
        assert_eq!((counts.peers_arrived, counts.peers_departed, counts.disconnects), (1, 1, 1));
    }
}
