//! E38: of each batch of sends and of deletes SQS does only a part.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use integration_tests::proxy::{Became, Call, Entry, Partial, Plan};
use integration_tests::{Figures, Scale, seed};
use seam::{Batch, Connection, Error, Fate};
use seam_conformance::ledger::{Ledger, Outcome, Stamp};
use tokio::time::timeout;

use super::super::stage::{Stage, patience};
use super::super::taking::take;
use super::place::Place;

/// Entries of a hundred that fail.
const FAILS: u32 = 30;

/// On a standard queue whatever failed comes back to who sent it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p integration-tests --features sqs -- --include-ignored"]
async fn sqs_partial() {
    partial("E38 sqs_partial", "load-e38", |_| true).await;
}

/// On a FIFO queue only what failed by the sender's fault does; the rest is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p integration-tests --features sqs -- --include-ignored"]
async fn sqs_partial_of_a_fifo_queue() {
    partial("E38 sqs_partial of FIFO", "load-e38.fifo", |by_sender| by_sender).await;
}

/// `surfaces`: whether what failed, by the sender's fault or not, is told at once.
async fn partial(case: &'static str, queue: &str, surfaces: fn(bool) -> bool) {
    let (_stage, seed, place) = (Stage::new().await, seed(), Place::new(queue));
    let messages = Scale::of_environment().pick(1_000, 10_000);
    let proxy = place.proxy(seed).await;
    let uri = format!("{}&send_timeout=5m", place.by(&proxy));
    let server = seam::registry().server(uri.as_str()).await.unwrap();
    // That a delete fails is nobody's fault, or the lease is lost.
    let fails = |operation, by_sender| Partial { operation, fails: FAILS, by_sender };
    let partial = vec![fails("SendMessageBatch", 30), fails("DeleteMessageBatch", 0)];
    proxy.plan(Plan { partial, ..Plan::default() });

    let ledger = Ledger::new();
    let told = send(&uri, &ledger, messages).await;
    let sends = proxy.calls("SendMessageBatch");
    let surfaced = check_asked(&sends, surfaces);
    assert!(told == surfaced, "{} failed, and {} were told", surfaced.len(), told.len());
    let stored = messages - u64::try_from(told.len()).unwrap();
    receive(&server, &ledger, stored).await;
    let deletes = proxy.calls("DeleteMessageBatch");
    assert_eq!(check_asked(&deletes, |_| false), BTreeMap::new(), "none is given up");
    place.until_empty().await;
    assert!(server.drain(patience()).await.unwrap().is_clean());

    let report = ledger.check();
    let calls =
        |calls: &[Call]| format!("{} calls {} entries", calls.len(), entries(calls).count());
    Figures::new(case, seed, report)
        .with("sent", report.sent)
        .with("refused", told.len())
        .with("failed_sends", failed(&sends))
        .with("failed_deletes", failed(&deletes))
        .with("sends", calls(&sends))
        .with("deletes", calls(&deletes))
        .print();
    place.remove().await;
    report.assert_clean();
    assert_eq!((report.sent, report.acknowledged), (messages, stored));
    assert_eq!((report.duplicated, report.unsettled, report.indeterminate), (0, 0, 0));
    // About as many as are to fail, or nothing was tried.
    let few = usize::try_from(messages).unwrap() / 5;
    assert!(failed(&sends) > few && failed(&deletes) > few);
    assert!(told.values().any(|by_sender| *by_sender));
}

/// Sends all, as text that SQS has as it is; each of a key of its own so that none fails with another; the bodies that came back, and whether by the
/// sender's fault.
async fn send(uri: &str, ledger: &Ledger, messages: u64) -> BTreeMap<String, bool> {
    let client = seam::registry().client(uri).await.unwrap();
    let (mut batch, mut stamps) = (Batch::new(), Vec::new());
    for number in 1..=messages {
        let (stamp, datagram) =
            Stamp::new("anna", format!("key-{number}"), number).datagram(b"12 apples");
        ledger.sent(&stamp);
        batch.push(datagram.with_key(stamp.key.clone()));
        stamps.push(stamp);
    }
    let mut ticket = client.sender().await.unwrap().admit(&mut batch).await.unwrap();
    let receipts = timeout(patience(), ticket.receipts()).await.expect("all are answered");
    let mut told = BTreeMap::new();
    for (stamp, receipt) in stamps.iter().zip(receipts.iter()) {
        let Err(error) = receipt else {
            ledger.outcome(stamp, Outcome::Receipted);
            continue;
        };
        ledger.outcome(stamp, error.fate().into());
        assert_eq!(error.fate(), Fate::NotSent, "{error}");
        let by_sender = matches!(error.error(), Error::Rejected { .. });
        assert_eq!(error.error().is_retryable(), !by_sender, "{error}");
        let body = error.datagram().payload().unwrap();
        told.insert(String::from_utf8(body.to_vec()).unwrap(), by_sender);
    }
    assert!(client.drain(patience()).await.unwrap().is_clean());
    told
}

/// Receives and acknowledges so many, each once.
async fn receive(server: &Connection, ledger: &Ledger, messages: u64) {
    let mut receiver = server.receiver().await.unwrap();
    assert_eq!(take(&mut receiver, ledger, messages).await, messages);
    assert_eq!(timeout(patience(), receiver.settled()).await.unwrap().unwrap().late, 0);
}

/// That each entry was asked for until it was done, and not once more; those that failed for good, by their bodies.
fn check_asked(calls: &[Call], surfaces: fn(bool) -> bool) -> BTreeMap<String, bool> {
    let mut asked: HashMap<&str, Vec<(&str, Became)>> = HashMap::new();
    for entry in entries(calls) {
        asked.entry(&entry.about).or_default().push((&entry.body, entry.became));
    }
    let mut failed = BTreeMap::new();
    for (about, all) in asked {
        let (&(body, last), before) = all.split_last().unwrap();
        match last {
            Became::Done => {}
            Became::Failed { by_sender } if surfaces(by_sender) => {
                failed.insert(body.to_owned(), by_sender);
            }
            other => panic!("{about} is {other:?} in the end: {all:?}"),
        }
        let goes_on =
            |became| matches!(became, Became::Failed { by_sender } if !surfaces(by_sender));
        assert!(before.iter().all(|(_, became)| goes_on(*became)), "{about}: {all:?}");
        let bodies: BTreeSet<_> = all.iter().map(|(body, _)| body).collect();
        assert_eq!(bodies.len(), 1, "{about} is one message");
    }
    failed
}

fn entries(calls: &[Call]) -> impl Iterator<Item = &Entry> {
    calls.iter().flat_map(|call| &call.entries)
}

fn failed(calls: &[Call]) -> usize {
    entries(calls).filter(|entry| matches!(entry.became, Became::Failed { .. })).count()
}
