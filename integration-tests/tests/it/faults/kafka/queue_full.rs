//! E33: the client's own queue is full nearly all the time, and order holds all the same.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use integration_tests::{Figures, Scale, seed};
use seam::{Deliveries, Sender};
use seam_conformance::ledger::{Ledger, Outcome, Stamp};
use tokio::time::timeout;

use super::super::stage::{Stage, patience};
use super::pretence::{ALL, pretend};

/// What librdkafka holds at most; the credit would let ten times as many in.
const QUEUE: usize = 1_000;
const TASKS: u64 = 16;
/// Datagrams of one flush.
const ROUND: u64 = 500;

#[tokio::test]
async fn kafka_queue_full() {
    let (_stage, seed) = (Stage::new().await, seed());
    let rounds = Scale::of_environment().pick(4, 13);
    let messages = TASKS * ROUND * rounds;
    let (cluster, uri) = pretend(4);
    cluster.broker_round_trip_time(ALL, Duration::from_millis(20)).unwrap();
    let (registry, ledger) = (seam::registry(), Ledger::new());
    let sending = format!(
        "{uri}&credit=10000&librdkafka.queue.buffering.max.messages={QUEUE}&send_timeout=10m"
    );
    let client = registry.client(sending.as_str()).await.unwrap();
    let sender = client.sender().await.unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(feed(sender.clone(), ledger.clone(), task, rounds)))
        .collect();
    join_all(tasks).await.into_iter().for_each(|task| task.unwrap());
    drop(sender);
    let drained = client.drain(patience()).await.unwrap();

    let mut receiver = registry.receiver(uri.as_str()).await.unwrap();
    let (mut deliveries, mut last) = (Deliveries::new(), HashMap::new());
    let mut left = messages;
    while left > 0 {
        let receiving = timeout(patience(), receiver.receive(1_024, &mut deliveries)).await;
        assert!(receiving.unwrap_or_else(|_| panic!("{left} are missing")).unwrap());
        while let Some(lent) = deliveries.lend() {
            let stamp = ledger.delivered(lent.view(), lent.note()).unwrap();
            let before = last.insert(stamp.key.clone(), stamp.number);
            assert_eq!(before.unwrap_or(0) + 1, stamp.number, "of {}", stamp.key);
            lent.ack();
            ledger.settled(&stamp);
            left -= 1;
        }
    }
    let report = ledger.check();
    Figures::new("E33 kafka_queue_full", seed, report).with("sent", report.sent).print();
    report.assert_clean();
    assert_eq!((report.acknowledged, report.duplicated), (messages, 0));
    assert!(drained.is_clean() && client.statistics().not_sent == 0);
}

/// Sends its key's messages, many at once.
async fn feed(mut sender: Sender, ledger: Ledger, task: u64, rounds: u64) {
    for round in 0..rounds {
        let numbers = round * ROUND + 1..=(round + 1) * ROUND;
        let mut stamps = Vec::new();
        for number in numbers {
            let stamp = Stamp::new(format!("anna-{task}"), format!("key-{task}"), number);
            let (stamp, datagram) = stamp.datagram(b"12 apples");
            ledger.sent(&stamp);
            sender.feed(datagram.with_key(stamp.key.clone())).await.unwrap();
            stamps.push(stamp);
        }
        sender.flush().await.unwrap();
        stamps.iter().for_each(|stamp| ledger.outcome(stamp, Outcome::Receipted));
    }
}
