//! What only QUIC has: one connection for all addresses of a peer, and reasons that came another way.

use std::net::UdpSocket;
use std::time::Duration;

use seam_conformance::free_port;
use seam_core::{Datagram, Error, Event, Receiver, Registry, Sender};
use seam_quic::Quic;
use tokio::time::timeout;

use crate::certs::{Other, dials, listens, other};

async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(30), future).await.expect("it ends")
}

fn registry() -> Registry {
    Registry::new().with(Quic::new())
}

fn uri(port: u16, address: &str, parameters: &str) -> String {
    format!("quic://localhost:{port}/{address}?{parameters}")
}

async fn pass(sender: &Sender, receiver: &mut Receiver, text: &'static str) -> seam_core::Delivery {
    let send = sender.send(Datagram::new(text));
    let (sent, taken) = within(async { tokio::join!(send, receiver.next()) }).await;
    sent.unwrap();
    let delivery = taken.unwrap().unwrap();
    assert_eq!(delivery.datagram().payload(), Some(text.as_bytes()));
    delivery
}

#[tokio::test]
async fn the_certificate_says_who_is_there_and_addresses_share_a_connection() {
    let (port, here, there) = (free_port(), registry(), registry());
    let mut from = Vec::new();
    for address in ["orders", "letters", "parcels"] {
        let mut receiver =
            within(here.receiver(uri(port, address, &listens()).as_str())).await.unwrap();
        let sender = within(there.sender(uri(port, address, &dials()).as_str())).await.unwrap();
        let delivery = pass(&sender, &mut receiver, "12 apples").await;
        let peer = delivery.peer().unwrap();
        assert_eq!(peer.identity.as_deref(), Some("dns:till-7"));
        assert!(
            peer.attributes.iter().any(|(name, value)| name == "subject" && value == "CN=till-7")
        );
        from.push((peer.address.clone(), receiver, sender));
        delivery.ack().unwrap();
    }
    assert!(from.iter().all(|(address, ..)| *address == from[0].0), "each has a port of its own");
}

/// What waits on one stream holds nobody back on another.
#[tokio::test]
async fn an_address_that_nobody_reads_does_not_block_another() {
    let (port, here, there) = (free_port(), registry(), registry());
    let slow = within(here.receiver(uri(port, "slow", &listens()).as_str())).await.unwrap();
    let mut quick = within(here.receiver(uri(port, "quick", &listens()).as_str())).await.unwrap();
    let to_slow = within(there.sender(uri(port, "slow", &dials()).as_str())).await.unwrap();
    let to_quick = within(there.sender(uri(port, "quick", &dials()).as_str())).await.unwrap();
    // More than its credit: it stays full.
    let filling = tokio::spawn(async move {
        loop {
            drop(to_slow.send(Datagram::new(vec![7; 512 << 10])).await);
        }
    });
    for _ in 0..100 {
        pass(&to_quick, &mut quick, "12 apples").await.ack().unwrap();
    }
    filling.abort();
    drop(slow);
}

/// Both ends know, the dialler by an error that says no.
async fn assert_refused(listener: &str, dialler: &str, told: [&str; 2]) {
    let port = free_port();
    let server = within(registry().server(uri(port, "orders", listener).as_str())).await.unwrap();
    let error = within(registry().client(uri(port, "orders", dialler).as_str())).await;
    let error = error.expect_err("it is refused");
    assert!(matches!(error, Error::Denied { .. }) && !error.is_retryable(), "{error:?}");
    let line = error.to_string();
    assert!(line.contains(told[0]) && !line.contains('\n'), "nothing of `{}` in: {line}", told[0]);
    let reason = within(async {
        loop {
            if let Some(Event::PeersRefused { reason, .. }) = server.next_event().await {
                return reason;
            }
        }
    })
    .await;
    assert!(reason.contains(told[1]), "nothing of `{}` in: {reason}", told[1]);
}

#[tokio::test]
async fn who_is_not_trusted_is_refused_at_both_ends() {
    let [trusts_other, without, of_other] =
        [other(Other::Listener), other(Other::Nobody), other(Other::Client)];
    let no_authority = "no authority that is trusted";
    assert_refused(&listens(), &trusts_other, [no_authority, "no authority that it trusts"]).await;
    assert_refused(&listens(), &without, ["wants a certificate", "showed no certificate"]).await;
    assert_refused(&listens(), &of_other, ["no authority that it trusts", no_authority]).await;
    let named = format!("{}&server_name=shop.example", dials());
    assert_refused(&listens(), &named, ["another name", "refused"]).await;
    let [expired, revoked] = [other(Other::Expired), other(Other::Revoked)];
    assert_refused(&expired, &other(Other::ClientOfExpired), ["has expired", "has expired"]).await;
    assert_refused(&revoked, &other(Other::ClientOfRevoked), ["is revoked", "is revoked"]).await;
}

#[tokio::test]
async fn silence_is_told_with_its_protocol() {
    // A socket that takes packets and says nothing, as a firewall does.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let uri = format!("quic://127.0.0.1:{port}/orders?connect_timeout=1s&{}", dials());
    let error = within(registry().client(uri.as_str())).await.expect_err("nobody answers");
    assert!(error.is_retryable(), "{error:?}");
    let line = error.to_string();
    assert!(line.contains("UDP") && line.contains("firewall"), "{line}");
}

#[tokio::test]
async fn what_does_not_fit_is_said_before_anything_is_opened() {
    for (parameters, word) in [
        ("wire=connect", "carries sessions"),
        ("mtu=70000", "65535"),
        ("mtu=1000", "1200"),
        ("quic_keep_alive=10s&quic_idle=15s", "half of `quic_idle`"),
        ("cert=a.pem", "needs its `key`"),
        ("tls=1.2", "tls"),
    ] {
        let error = within(registry().client(uri(1, "orders", parameters).as_str())).await;
        let error = error.expect_err("it is refused");
        assert!(matches!(error, Error::InvalidEndpoint { .. }), "{error:?}");
        assert!(error.to_string().contains(word), "nothing of `{word}` in: {error}");
    }
}
