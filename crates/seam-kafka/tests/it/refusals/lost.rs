//! A broker that goes away while a connection is open, and comes back: what was sent meanwhile has its fate, and what
//! is sent later arrives. The broker is librdkafka's own for tests, so nothing else has to be there.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use seam_core::{Event, Sender};

use super::*;

fn cluster(topic: &str) -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(topic, 1, 1).unwrap();
    cluster
}

/// Sends until one arrives.
async fn sent_at_last(sender: &Sender) {
    let sending = async {
        while let Err(error) = sender.send(Datagram::new("after")).await {
            assert!(error.error().is_retryable(), "{error}");
        }
    };
    soon(sending).await;
}

#[tokio::test]
async fn what_is_sent_without_a_broker_comes_back_in_time_and_what_follows_arrives() {
    let cluster = cluster("orders");
    let uri = format!(
        "kafka://{}/orders?declare=no&private&from=earliest&send_timeout=2s&librdkafka.reconnect.backoff.max.ms=200",
        cluster.bootstrap_servers()
    );
    let mut receiver = soon(registry().receiver(uri.as_str())).await.unwrap();
    let connection = soon(registry().client(uri.as_str())).await.unwrap();
    let sender = soon(connection.sender()).await.unwrap();
    soon(sender.send(Datagram::new("before"))).await.unwrap();
    cluster.broker_down(-1).unwrap();
    let told = async {
        loop {
            if let Some(Event::Disconnected { reason }) = connection.next_event().await {
                return reason;
            }
        }
    };
    assert_eq!(soon(told).await.lines().count(), 1);
    for _ in 0..2 {
        let error = soon(sender.send(Datagram::new("meanwhile"))).await.unwrap_err();
        line(error.error().clone());
        assert!(error.error().is_retryable(), "{error}");
        assert_eq!(error.datagram(), &Datagram::new("meanwhile"));
        assert_eq!(error.fate(), Fate::NotSent, "no broker was there to be given it");
    }
    cluster.broker_up(-1).unwrap();
    sent_at_last(&sender).await;
    for expected in ["before", "after"] {
        let delivery = soon(receiver.next()).await.unwrap().unwrap();
        assert_eq!(delivery.datagram(), &Datagram::new(expected), "no more and no less");
        delivery.ack().unwrap();
    }
}
