//! Child processes.

use std::io::ErrorKind;
use std::time::Duration;

use integration_tests::{Process, Usage};
use tokio::process::Command;

use super::PATIENCE;

/// A process that says what it is told.
fn parrot() -> Process {
    Process::spawn(Command::new("cat")).unwrap()
}

#[tokio::test]
async fn it_answers_and_ends_with_its_input() {
    let mut parrot = parrot();
    parrot.tell("[1, 2]").await.unwrap();
    assert_eq!(parrot.report::<Vec<u8>>(PATIENCE).await.unwrap(), [1, 2]);
    parrot.hush();
    assert_eq!(parrot.line(PATIENCE).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(parrot.exit(PATIENCE).await.unwrap().success());
    assert!(parrot.tell("too late").await.is_err());
}

#[tokio::test]
async fn a_frozen_one_says_nothing_until_it_is_thawed() {
    let mut parrot = parrot();
    parrot.freeze(PATIENCE).await.unwrap();
    parrot.tell("hello").await.unwrap();
    let silence = parrot.line(Duration::from_millis(50)).await;
    assert_eq!(silence.unwrap_err().kind(), ErrorKind::TimedOut);
    parrot.thaw().unwrap();
    assert_eq!(parrot.line(PATIENCE).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_killed_one_leaves_what_it_had_said() {
    let mut parrot = parrot();
    parrot.tell("hello").await.unwrap();
    assert_eq!(parrot.line(PATIENCE).await.unwrap(), "hello");
    parrot.kill().await.unwrap();
    assert_eq!(parrot.line(PATIENCE).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(parrot.thaw().unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn one_that_is_asked_to_end_ends() {
    let mut parrot = parrot();
    parrot.terminate().unwrap();
    assert!(!parrot.exit(PATIENCE).await.unwrap().success());
}

#[tokio::test]
async fn a_dropped_one_is_killed() {
    let parrot = parrot();
    let id = parrot.id().unwrap();
    drop(parrot);
    let gone = async {
        // It is reaped in the background, which wakes nobody.
        while Usage::of(id).is_ok_and(|usage| usage.resident > 0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn usage_counts_descriptors_threads_and_memory() {
    let before = Usage::own().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let files: Vec<_> = (0..500).map(|_| file.try_clone().unwrap()).collect();
    let after = Usage::own().unwrap();
    // Other tests of this process open and close some of their own.
    assert!(after.descriptors > before.descriptors + files.len() / 2);
    assert!(after.threads >= 1 && after.peak >= after.resident && after.resident > 1 << 20);
}
