//! Who listens at a path, and what becomes of the files.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use seam_core::{Connection, Datagram, Error, Registry, Result};
use seam_unix::Unix;
use tempfile::TempDir;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

fn uri(folder: &TempDir, more: &str) -> String {
    format!("unix://{}/s.sock?address=orders&connect_timeout=1s{more}", folder.path().display())
}

async fn listen(uri: &str) -> Result<Connection> {
    timeout(PATIENCE, Registry::new().with(Unix::new()).server(uri)).await.unwrap()
}

async fn assert_serves(server: &Connection, uri: &str) {
    let mut receiver = server.receiver().await.unwrap();
    let sender = Registry::new().with(Unix::new()).sender(uri).await.unwrap();
    let sending = sender.send(Datagram::new("12 apples"));
    let taking = async { receiver.next().await.unwrap().unwrap().ack().unwrap() };
    let (sent, ()) = timeout(PATIENCE, async { tokio::join!(sending, taking) }).await.unwrap();
    sent.unwrap();
}

/// What lies in the folder.
fn files(folder: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_file_has_its_mode_and_goes_with_the_listener() {
    let folder = TempDir::new().unwrap();
    for (more, mode) in [("", 0o600), ("&mode=0666", 0o666)] {
        let server = listen(&uri(&folder, more)).await.unwrap();
        let found = std::fs::metadata(folder.path().join("s.sock")).unwrap();
        assert_eq!(found.permissions().mode() & 0o7777, mode);
        assert_eq!(files(&folder), ["s.sock", "s.sock.lock"]);
        assert!(timeout(PATIENCE, server.drain(PATIENCE)).await.unwrap().unwrap().is_clean());
        drop(server);
        let gone = async {
            while !files(&folder).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, gone).await.unwrap();
    }
}

#[tokio::test]
async fn a_socket_that_was_left_is_replaced() {
    let folder = TempDir::new().unwrap();
    // As a process leaves it that is killed.
    drop(UnixListener::bind(folder.path().join("s.sock")).unwrap());
    std::fs::write(folder.path().join("s.sock.lock"), "").unwrap();
    let server = listen(&uri(&folder, "")).await.unwrap();
    assert_serves(&server, &uri(&folder, "")).await;
}

#[tokio::test]
async fn one_that_lives_is_never_replaced_whoever_it_is() {
    let folder = TempDir::new().unwrap();
    let foreign = UnixListener::bind(folder.path().join("s.sock")).unwrap();
    let refused = listen(&uri(&folder, "")).await.unwrap_err();
    assert!(refused.to_string().contains("in use by another program"), "{refused}");
    drop(foreign);
    let ours = listen(&uri(&folder, "")).await.unwrap();
    let refused = listen(&uri(&folder, "")).await.unwrap_err();
    assert!(matches!(refused, Error::InvalidEndpoint { .. }), "{refused}");
    assert!(refused.to_string().contains("in use by another program"), "{refused}");
    assert_serves(&ours, &uri(&folder, "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_begin_at_once_one_listens() {
    let folder = TempDir::new().unwrap();
    for _ in 0..20 {
        let starting = (0..8).map(|_| {
            let uri = uri(&folder, "");
            tokio::spawn(async move { listen(&uri).await })
        });
        let starting: Vec<_> = starting.collect();
        let mut listening = Vec::new();
        for start in starting {
            listening.extend(start.await.unwrap().ok());
        }
        assert_eq!(listening.len(), 1);
        assert_serves(&listening[0], &uri(&folder, "")).await;
        let server = listening.pop().unwrap();
        drop(timeout(PATIENCE, server.drain(PATIENCE)).await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("s.sock"), "a letter").unwrap();
    let refused = listen(&uri(&folder, "")).await.unwrap_err();
    assert!(refused.to_string().contains("is no socket"), "{refused}");
    assert_eq!(std::fs::read_to_string(folder.path().join("s.sock")).unwrap(), "a letter");
}
