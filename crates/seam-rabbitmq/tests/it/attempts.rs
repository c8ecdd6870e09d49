//! What counts as an attempt with `retry`, though a quorum queue counts whatever was fetched and comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use seam_core::{Batch, Capability, Connection, Datagram, Receiver};

use crate::stage::*;

const MESSAGES: usize = 40;
const KILLER: usize = 7;

/// A queue, and one for its dead letters.
struct Queues {
    address: String,
    work: String,
    parked: String,
}

impl Queues {
    fn new(name: &str, retry: u32) -> Self {
        let (address, parked) = (address(name), uri(&self::address("parked"), ""));
        let more = format!("retry={retry}&dead_letter={}", escaped(&parked));
        let work = uri(&address, &more);
        Self { address, work, parked }
    }

    async fn fill(&self) {
        let sender = soon(registry().sender(self.work.as_str())).await.unwrap();
        let mut batch: Batch =
            (0..MESSAGES).map(|number| Datagram::new(number.to_string())).collect();
        let mut ticket = soon(sender.admit(&mut batch)).await.unwrap();
        assert!(soon(ticket.receipts()).await.all_ok());
    }

    async fn worker(&self) -> (Connection, Receiver) {
        let server = soon(registry().server(self.work.as_str())).await.unwrap();
        let receiver = soon(server.receiver()).await.unwrap();
        (server, receiver)
    }

    /// Ready once nothing waits to be fetched.
    async fn fetched(&self) {
        let (_connection, channel) = raw().await;
        soon(async { while waiting(&channel, &self.address).await > 0 {} }).await;
    }

    async fn remove(self) {
        remove(&self.work).await;
        remove(&self.parked).await;
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn what_kills_its_receiver_is_parked_and_what_was_fetched_with_it_is_not() {
    let queues = Queues::new("killer", 3);
    queues.fill().await;
    let mut parked = soon(registry().receiver(queues.parked.as_str())).await.unwrap();
    let (mut handled, mut letters, mut deaths) = (BTreeSet::new(), Vec::new(), 0);
    let (mut server, mut receiver) = queues.worker().await;
    while handled.len() + letters.len() < MESSAGES {
        let coming = async {
            tokio::select! {
                delivery = receiver.next() => (delivery.unwrap().unwrap(), false),
                letter = parked.next() => (letter.unwrap().unwrap(), true),
            }
        };
        let (delivery, is_letter) = soon(coming).await;
        if is_letter {
            letters.push(number(&delivery));
            delivery.ack().unwrap();
        } else if number(&delivery) == KILLER {
            // It takes everything that is in hand with it, and nobody says good-bye.
            deaths += 1;
            drop((server, receiver));
            assert!(!delivery.is_current());
            (server, receiver) = queues.worker().await;
        } else {
            handled.insert(number(&delivery));
            delivery.ack().unwrap();
        }
    }
    assert_eq!((letters, deaths), (vec![KILLER], 3));
    soon(receiver.settled()).await.unwrap();
    drop((server, receiver, parked));
    queues.remove().await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_drain_takes_the_last_attempt_from_nothing_that_nobody_saw() {
    let queues = Queues::new("drained", 2);
    send(&queues.work, Datagram::new("0")).await;
    for _ in 0..3 {
        let (server, receiver) = queues.worker().await;
        queues.fetched().await;
        assert!(soon(server.drain(PATIENCE)).await.unwrap().is_clean());
        drop(receiver);
    }
    let (server, mut receiver) = queues.worker().await;
    let delivery = next(&mut receiver).await;
    assert_eq!(delivery.note().attempt, 2);
    delivery.ack().unwrap();
    soon(receiver.settled()).await.unwrap();
    drop((server, receiver));
    queues.remove().await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_private_queue_counts_no_attempts_and_retries_are_counted_here() {
    let exchange = address("events");
    let registry = registry();
    let private = uri(&exchange, &format!("exchange={exchange}&private"));
    let server = soon(registry.server(private.as_str())).await.unwrap();
    assert!(!server.capabilities().has(Capability::Attempts));
    let mut receiver = soon(server.receiver()).await.unwrap();
    let sending = uri(&exchange, &format!("exchange={exchange}"));
    let sender = soon(registry.sender(sending.as_str())).await.unwrap();
    soon(sender.send(Datagram::new("12 apples"))).await.unwrap();
    for attempt in 1..=4 {
        let delivery = soon(receiver.next()).await.unwrap().unwrap();
        assert_eq!(delivery.note().attempt, attempt);
        delivery.retry(Duration::ZERO).unwrap();
    }
    soon(receiver.next()).await.unwrap().unwrap().ack().unwrap();
}
