//! Consumers to which nothing happens while something happens to others on the same broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use seam::{Connection, Datagram, Event};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::super::stage::patience;
use super::broker::Broker;

/// Two consumers, each with a queue of its own that is fed all the time.
pub(super) struct Bystanders {
    is_stopped: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Duration>>,
}

impl Bystanders {
    pub(super) async fn start(broker: &Broker) -> Self {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let uris = ["bystander-1", "bystander-2"].map(|queue| broker.uri(queue));
        let tasks = uris.map(|uri| tokio::spawn(stand_by(uri, is_stopped.clone())));
        Self { is_stopped, tasks: tasks.into() }
    }

    /// Ends them; the longest time between two deliveries. Nothing may have happened to them.
    pub(super) async fn stop(self) -> Duration {
        self.is_stopped.store(true, Ordering::SeqCst);
        let gaps = timeout(patience(), join_all(self.tasks)).await.unwrap();
        gaps.into_iter().map(Result::unwrap).max().unwrap_or_default()
    }
}

/// Sends and receives in turn.
async fn stand_by(uri: String, is_stopped: Arc<AtomicBool>) -> Duration {
    let registry = seam::registry();
    let server = registry.server(uri.as_str()).await.unwrap();
    let mut receiver = server.receiver().await.unwrap();
    let client = registry.client(uri.as_str()).await.unwrap();
    let sender = client.sender().await.unwrap();
    let (mut gap, mut count) = (Duration::ZERO, 0);
    while !is_stopped.load(Ordering::SeqCst) {
        let since = Instant::now();
        sender.send(Datagram::new("12 apples")).await.unwrap();
        let delivery = receiver.next().await.unwrap().unwrap();
        assert_eq!(delivery.note().attempt, 1);
        delivery.ack().unwrap();
        count += 1;
        gap = gap.max(since.elapsed());
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(receiver.settled().await.unwrap().late, 0);
    assert!(server.statistics().acked == count && count > 0);
    for connection in [client, server] {
        undisturbed(&connection).await;
        assert!(connection.drain(patience()).await.unwrap().is_clean());
    }
    registry.remove(uri.as_str()).await.unwrap();
    gap
}

async fn undisturbed(connection: &Connection) {
    while let Ok(event) = timeout(Duration::ZERO, connection.next_event()).await {
        assert!(matches!(event, Some(Event::Connected)), "{event:?}");
    }
    let counts = connection.statistics();
    let bad = [counts.leases_lost, counts.settlements_failed, counts.disconnects, counts.not_sent];
    assert_eq!((bad, counts.maybe_sent), ([0; 4], 0));
}
