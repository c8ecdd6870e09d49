//! Who is at the other end, by the word of the operating system.

use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seam_core::{Datagram, Error, Registry};
use seam_unix::Unix;
use tempfile::TempDir;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

fn uri(folder: &TempDir) -> String {
    format!("unix://{}/s.sock?address=chat&connect_timeout=1s", folder.path().display())
}

/// Who this process is.
fn own() -> Vec<(String, String)> {
    let this = std::fs::metadata("/proc/self").unwrap();
    let pid = std::process::id();
    let known = [("uid", u64::from(this.uid())), ("gid", this.gid().into()), ("pid", pid.into())];
    known.map(|(name, value)| (name.to_owned(), value.to_string())).into()
}

#[tokio::test]
async fn a_peer_is_known_by_user_group_and_process_at_both_ends() {
    let folder = TempDir::new().unwrap();
    let registry = Registry::new().with(Unix::new());
    let server = registry.server(&*uri(&folder)).await.unwrap();
    let client = registry.client(&*uri(&folder)).await.unwrap();
    let peer = timeout(PATIENCE, server.accept()).await.unwrap().unwrap().unwrap();
    let who = peer.peer().unwrap();
    assert_eq!(who.identity.as_deref(), Some(&*format!("uid:{}", own()[0].1)));
    assert_eq!(who.attributes, own());
    let mut receiver = peer.receiver().await.unwrap();
    let sender = client.sender().await.unwrap();
    let sending = sender.send(Datagram::new("12 apples"));
    let taking = async {
        let delivery = receiver.next().await.unwrap().unwrap();
        assert_eq!(delivery.peer().unwrap().attributes, own());
        delivery.ack().unwrap();
    };
    let (sent, ()) = timeout(PATIENCE, async { tokio::join!(sending, taking) }).await.unwrap();
    sent.unwrap();
}

#[tokio::test]
async fn the_hook_decides_by_the_user_before_anything_is_delivered() {
    let folder = TempDir::new().unwrap();
    let asked = Arc::<Mutex<Vec<Option<String>>>>::default();
    let seen = asked.clone();
    let refusing = Registry::new().with(Unix::new()).authorise(move |access| {
        seen.lock().unwrap().push(access.peer.identity.clone());
        access.peer.identity.as_deref() == Some("uid:4294967294")
    });
    let server = refusing.server(&*uri(&folder)).await.unwrap();
    let client = Registry::new().with(Unix::new()).client(&*uri(&folder)).await;
    let refused = match client {
        Err(error) => error,
        Ok(client) => {
            let sender = timeout(PATIENCE, client.sender()).await.unwrap().unwrap();
            let sent = timeout(PATIENCE, sender.send(Datagram::new("12 apples"))).await.unwrap();
            sent.unwrap_err().error().clone()
        }
    };
    assert!(matches!(refused, Error::Denied { .. }), "{refused}");
    let own = format!("uid:{}", own()[0].1);
    assert!(asked.lock().unwrap().iter().any(|peer| peer.as_deref() == Some(&*own)));
    drop(server);
}
