//! E28: some of what many tasks send has nowhere to go. Those come back, and no other.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::join_all;
use integration_tests::{Figures, Scale, seed};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use seam::{Batch, Datagram, Error, Fate, Sender, Ticket};
use seam_conformance::ledger::{Ledger, Outcome, Stamp};
use tokio::time::timeout;

use super::super::stage::{Stage, patience};
use super::super::taking::take;
use super::broker::Broker;

const MESSAGES: u64 = 20_000;
/// Of these the routing key is one that nothing is bound by: one in seven.
const UNROUTABLE: usize = 2_857;
/// Messages of one ticket, and tickets of one task that are open, so that returns and confirms of many mix.
const TOGETHER: usize = 20;
const OPEN: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p integration-tests --features rabbitmq -- --include-ignored"]
async fn rabbit_unroutable() {
    let (_stage, seed, broker) = (Stage::new().await, seed(), Broker::own().await);
    let mut random = StdRng::seed_from_u64(seed);
    let runs = Scale::of_environment().pick(1, 20);
    for tasks in [1, 16, 256] {
        for _ in 0..runs {
            let ledger = Ledger::new();
            let exact = run(&broker, &ledger, tasks, &mut random).await;
            let report = ledger.check();
            Figures::new("E28 rabbit_unroutable", seed, report)
                .with("tasks", tasks)
                .with("sent", report.sent)
                .with("unroutable", exact)
                .print();
            report.assert_clean();
            assert_eq!(report.acknowledged, MESSAGES - u64::try_from(UNROUTABLE).unwrap());
            assert_eq!(report.duplicated, 0, "{report}");
        }
    }
}

/// Sends all of them by so many tasks, and receives what can be; how many came back.
async fn run(broker: &Broker, ledger: &Ledger, tasks: usize, random: &mut StdRng) -> usize {
    let bound = broker.uri("bound-e28?exchange=e28");
    let registry = seam::registry();
    let server = registry.server(bound.as_str()).await.unwrap();
    let (mut receiver, seen) = (server.receiver().await.unwrap(), ledger.clone());
    let routable = MESSAGES - MESSAGES / 7;
    let receiving = tokio::spawn(async move { take(&mut receiver, &seen, routable).await });
    let client = registry.client(broker.uri("e28?exchange=e28&routing_key=kind&credit=1000")).await;
    let client = client.unwrap();

    let mut numbers: Vec<u64> = (1..=MESSAGES).collect();
    numbers.shuffle(random);
    let parts = Arc::new(numbers);
    let mut sending = Vec::new();
    for task in 0..tasks {
        let sender = client.sender().await.unwrap();
        let (parts, ledger) = (parts.clone(), ledger.clone());
        sending.push(tokio::spawn(async move {
            let mine = parts.iter().copied().skip(task).step_by(tasks);
            send(sender, ledger, mine).await
        }));
    }
    let mut returned = BTreeSet::new();
    for part in timeout(patience(), join_all(sending)).await.unwrap() {
        returned.extend(part.unwrap());
    }
    let expected: BTreeSet<_> = (1..=MESSAGES).filter(|number| number.is_multiple_of(7)).collect();
    let wrong: Vec<_> = returned.symmetric_difference(&expected).collect();
    assert!(wrong.is_empty(), "of others: {wrong:?}");
    assert_eq!(timeout(patience(), receiving).await.unwrap().unwrap(), routable);
    assert!(client.drain(patience()).await.unwrap().is_clean());
    assert!(server.drain(patience()).await.unwrap().is_clean());
    registry.remove(bound.as_str()).await.unwrap();
    assert_eq!(returned.len(), UNROUTABLE);
    returned.len()
}

/// Sends `numbers`; those that came back as unroutable.
async fn send(sender: Sender, ledger: Ledger, numbers: impl Iterator<Item = u64>) -> BTreeSet<u64> {
    let (mut open, mut returned) = (VecDeque::new(), BTreeSet::new());
    let mut numbers = numbers.peekable();
    while numbers.peek().is_some() {
        let stamps: Vec<_> =
            numbers.by_ref().take(TOGETHER).map(|number| message(number, &ledger)).collect();
        let (stamps, datagrams): (Vec<_>, Vec<_>) = stamps.into_iter().unzip();
        let mut batch = Batch::from_iter(datagrams);
        open.push_back((sender.admit(&mut batch).await.unwrap(), stamps));
        if open.len() > OPEN {
            answer(open.pop_front(), &ledger, &mut returned).await;
        }
    }
    while !open.is_empty() {
        answer(open.pop_front(), &ledger, &mut returned).await;
    }
    returned
}

fn message(number: u64, ledger: &Ledger) -> (Stamp, Datagram) {
    let stamp = Stamp::new("anna", format!("key-{number}"), number);
    let (stamp, mut datagram) = stamp.datagram(b"12 apples");
    let kind = if number.is_multiple_of(7) { "unbound-e28" } else { "bound-e28" };
    datagram.envelope_mut().kind = Some(kind.into());
    ledger.sent(&stamp);
    (stamp, datagram)
}

async fn answer(open: Option<(Ticket, Vec<Stamp>)>, ledger: &Ledger, returned: &mut BTreeSet<u64>) {
    let (mut ticket, stamps) = open.expect("one is open");
    let receipts = ticket.receipts().await;
    for (stamp, receipt) in stamps.iter().zip(receipts.iter()) {
        match receipt {
            Ok(_) => ledger.outcome(stamp, Outcome::Receipted),
            Err(error) => {
                let is_returned = matches!(error.error(), Error::Unroutable { .. });
                assert!(is_returned && error.fate() == Fate::NotSent, "{error}");
                assert_eq!(Stamp::of(error.datagram().view()).as_ref(), Some(stamp), "its own");
                ledger.outcome(stamp, Outcome::NotSent);
                returned.insert(stamp.number);
            }
        }
    }
}
