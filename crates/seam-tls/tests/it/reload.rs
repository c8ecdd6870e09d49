//! Certificates are renewed while everything runs.

use std::time::Duration;

use seam_certificates::issue::{Authority, Purpose};
use seam_conformance::free_port;
use seam_core::{Connection, Datagram, Event, Registry};
use seam_tls::Tls;
use tokio::time::timeout;

use crate::certs::{Folder, HOUR, issue};

async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(30), future).await.expect("it ends")
}

/// Sends one datagram over a new connection.
async fn serves(
    registry: &Registry,
    uri: &str,
    server: &Connection,
) -> Result<(), seam_core::Error> {
    let client = within(registry.client(uri)).await?;
    let (sender, mut receiver) = (client.sender().await?, server.receiver().await?);
    let send = sender.send(Datagram::new("12 apples"));
    let take = async { receiver.next().await.unwrap().unwrap().ack().unwrap() };
    within(async { tokio::join!(send, take) }).await.0.unwrap();
    Ok(())
}

#[tokio::test]
async fn a_new_certificate_is_shown_and_a_broken_one_is_not() {
    let (folder, old) = (Folder::new(), Authority::new("old", HOUR).unwrap());
    folder.write("old.pem", &old.pem());
    let server_now = |authority: &Authority| {
        folder.write_issued("server", &issue(authority, Purpose::Server, |_| {}));
    };
    server_now(&old);
    let (port, registry) = (free_port(), Registry::new().with(Tls::new()));
    let listens = format!("tls://localhost:{port}/orders?{}", folder.own("server"));
    let server = within(registry.server(listens.as_str())).await.unwrap();
    let dials = |ca: &str| {
        format!("tls://localhost:{port}/orders?connect_timeout=5s&ca={}", folder.path(ca).display())
    };
    serves(&registry, &dials("old.pem"), &server).await.unwrap();

    // Broken: it is told, and what was there is shown on.
    folder.write("server.pem", "nothing\n");
    let reason = within(async {
        loop {
            if let Some(Event::ReloadFailed { reason }) = server.next_event().await {
                return reason;
            }
        }
    })
    .await;
    assert!(reason.contains("server.pem") && reason.contains("used on"), "{reason}");
    serves(&registry, &dials("old.pem"), &server).await.unwrap();

    // Of another authority: whoever trusts that gets in as soon as it was read.
    let new = Authority::new("new", HOUR).unwrap();
    folder.write("new.pem", &new.pem());
    server_now(&new);
    within(async {
        while serves(&registry, &dials("new.pem"), &server).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(serves(&registry, &dials("old.pem"), &server).await.is_err());
}

/// Whoever dials shows what its files hold when it dials.
#[tokio::test]
async fn a_client_shows_its_new_certificate_at_its_next_dialling() {
    let (folder, authority) = (Folder::new(), Authority::new("one", HOUR).unwrap());
    folder.write("ca.pem", &authority.pem());
    folder.write_issued("server", &issue(&authority, Purpose::Server, |_| {}));
    let client_now = |name: &str| {
        let names = vec![name.to_owned()];
        let issued = issue(&authority, Purpose::Client, |wish| wish.names = names);
        folder.write_issued("client", &issued);
    };
    client_now("till-1");
    let (port, registry) = (free_port(), Registry::new().with(Tls::new()));
    let ca = folder.path("ca.pem").display().to_string();
    let listens = format!("tls://localhost:{port}/orders?{}&client_ca={ca}", folder.own("server"));
    let dials = format!("tls://localhost:{port}/orders?{}&ca={ca}", folder.own("client"));
    let server = within(registry.server(listens.as_str())).await.unwrap();
    let identity = async || {
        let client = within(registry.client(dials.as_str())).await.unwrap();
        let arrived = within(async {
            loop {
                if let Some(Event::PeerArrived { peer }) = server.next_event().await {
                    return peer.identity.clone();
                }
            }
        });
        let identity = arrived.await;
        (identity, client)
    };
    let first = identity().await;
    assert_eq!(first.0.as_deref(), Some("dns:till-1"));
    client_now("till-2");
    assert_eq!(identity().await.0.as_deref(), Some("dns:till-2"));
    // Broken: it goes on with what it had, and says so.
    folder.write("client.pem", "nothing\n");
    let (third, client) = identity().await;
    assert_eq!(third.as_deref(), Some("dns:till-2"));
    let told = within(async {
        loop {
            if let Some(Event::ReloadFailed { reason }) = client.next_event().await {
                return reason;
            }
        }
    });
    assert!(told.await.contains("client.pem"));
}
