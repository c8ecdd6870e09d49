//! Producers and consumers, over `memory://`.

use std::future::{pending, ready};
use std::sync::Mutex;

use futures_util::join;
use integration_tests::Process;
use integration_tests::actors::{Books, Consumer, Producer, Role, Said, Summary, consume, produce};
use tokio::sync::oneshot;

use super::{PATIENCE, actor};

/// Nobody listens to what is said.
fn ignore(_: &Said) {}

const URI: &str = "memory://fruit?confirm=settled";

#[tokio::test]
async fn all_that_is_produced_is_consumed_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let registry = seam::registry();
    let producer = Producer { body: (0, 300), ..Producer::new(URI, folder.path(), "anna", 1_000) };
    let consumer = Consumer::new(URI, folder.path(), "ben");
    let said = Mutex::new(Vec::new());
    let (stop, stopped) = oneshot::channel::<()>();
    let produced = async {
        let say = |line: &Said| said.lock().unwrap().push(line.clone());
        let summary = produce(&registry, &producer, say, pending()).await;
        stop.send(()).unwrap();
        summary
    };
    let consumed = consume(&registry, &consumer, ignore, async { drop(stopped.await) });
    let (produced, consumed) = join!(produced, consumed);
    let (produced, consumed) = (produced.unwrap(), consumed.unwrap());
    assert_eq!((produced.messages, produced.left), (1_000, 0));
    assert_eq!((consumed.messages, consumed.left), (1_000, 0));
    let report = Books::new(folder.path()).check().unwrap();
    assert_eq!((report.acknowledged, report.unsettled), (1_000, 0));
    report.assert_clean();
    let said = said.into_inner().unwrap();
    assert!(matches!(said[0], Said::Ready(_)) && said.contains(&Said::Done(produced)));
    assert!(said.iter().any(|line| matches!(line, Said::At(500..))));
}

#[tokio::test]
async fn a_producer_that_was_stopped_goes_on_where_nobody_has_settled() {
    let folder = tempfile::tempdir().unwrap();
    let registry = seam::registry();
    let mut producer = Producer::new(URI, folder.path(), "anna", 300);
    let consumer = Consumer::new(URI, folder.path(), "ben");
    let (stop, stopped) = oneshot::channel::<()>();
    let produced = async {
        let summary = produce(&registry, &producer, ignore, pending()).await.unwrap();
        assert_eq!(summary.messages, 300);
        // Stopped before it has begun.
        assert_eq!(produce(&registry, &producer, ignore, ready(())).await.unwrap().left, 0);
        producer.messages = 500;
        let summary = produce(&registry, &producer, ignore, pending()).await.unwrap();
        assert_eq!(summary.messages, 200);
        stop.send(()).unwrap();
    };
    let consumed = consume(&registry, &consumer, ignore, async { drop(stopped.await) });
    assert_eq!(join!(produced, consumed).1.unwrap().messages, 500);
    let report = Books::new(folder.path()).check().unwrap();
    assert_eq!((report.acknowledged, report.duplicated), (500, 0));
    report.assert_clean();
}

#[tokio::test]
async fn one_that_is_asked_to_end_drains_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut consumer = actor(&Role::Consume(Consumer::new(URI, folder.path(), "ben")));
    assert!(matches!(consumer.report(PATIENCE).await.unwrap(), Said::Ready(_)));
    consumer.terminate().unwrap();
    let summary = done(&mut consumer).await;
    assert_eq!((summary.messages, summary.left), (0, 0));
    assert!(consumer.exit(PATIENCE).await.unwrap().success());
}

#[tokio::test]
async fn one_whose_parent_is_gone_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut consumer = actor(&Role::Consume(Consumer::new(URI, folder.path(), "ben")));
    assert!(matches!(consumer.report(PATIENCE).await.unwrap(), Said::Ready(_)));
    consumer.hush();
    done(&mut consumer).await;
    assert!(consumer.exit(PATIENCE).await.unwrap().success());
}

/// What it found once it has drained; that its connection stood and ended is told before.
async fn done(actor: &mut Process) -> Summary {
    loop {
        match actor.report(PATIENCE).await.unwrap() {
            Said::Done(summary) => return summary,
            Said::Connected | Said::Disconnected => {}
            other => panic!("{other:?}"),
        }
    }
}
