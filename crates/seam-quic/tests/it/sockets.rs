//! One UDP socket at a time has a port: how it is given back, taken again, and shared by many.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use seam_conformance::free_port;
use seam_core::{Datagram, Error, Registry};
use seam_quic::Quic;
use tokio::time::timeout;

use crate::certs::{dials, listens, path};

async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.expect("it ends")
}

fn registry() -> Registry {
    Registry::new().with(Quic::new())
}

fn listener(port: u16, address: &str) -> String {
    format!("quic://localhost:{port}/{address}?{}", listens())
}

/// A socket that dials without Seam, and what it dials with.
fn bare() -> (quinn::Endpoint, quinn::ClientConfig) {
    let mut trusted = rustls::RootCertStore::empty();
    trusted.add(CertificateDer::from_pem_file(path("ca.pem")).unwrap()).unwrap();
    let own = vec![CertificateDer::from_pem_file(path("client.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(path("client.key")).unwrap();
    let mut config =
        ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(trusted)
            .with_client_auth_cert(own, key)
            .unwrap();
    config.alpn_protocols = vec![b"seam/2".to_vec()];
    let config = Arc::new(QuicClientConfig::try_from(config).unwrap());
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    (endpoint, quinn::ClientConfig::new(config))
}

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A datagram from one to the other, over connections of their own.
async fn pass(here: &Registry, port: u16) {
    let mut receiver = within(here.receiver(listener(port, "orders").as_str())).await.unwrap();
    let uri = format!("quic://localhost:{port}/orders?{}", dials());
    let sender = within(registry().sender(uri.as_str())).await.unwrap();
    let send = sender.send(Datagram::new("12 apples"));
    let (sent, taken) = within(async { tokio::join!(send, receiver.next()) }).await;
    taken.unwrap().unwrap().ack().unwrap();
    sent.unwrap();
}

#[tokio::test]
async fn a_port_is_free_at_once_for_whoever_had_it() {
    let (port, here) = (free_port(), registry());
    for _ in 0..20 {
        pass(&here, port).await;
    }
}

#[tokio::test]
async fn a_drained_endpoint_has_given_its_port_back_to_everybody() {
    let port = free_port();
    for _ in 0..20 {
        let here = registry();
        let server = within(here.server(listener(port, "orders").as_str())).await.unwrap();
        let uri = format!("quic://localhost:{port}/orders?{}", dials());
        let client = within(registry().client(uri.as_str())).await.unwrap();
        drop(within(client.drain(Duration::from_secs(30))).await.unwrap());
        drop(within(server.drain(Duration::from_secs(30))).await.unwrap());
        drop(std::net::UdpSocket::bind(at(port)).expect("it is free"));
    }
}

#[tokio::test]
async fn a_port_is_taken_again_while_connections_of_before_stand() {
    let (port, here) = (free_port(), registry());
    let mut first = within(here.receiver(listener(port, "orders").as_str())).await.unwrap();
    let uri = format!("quic://localhost:{port}/orders?{}", dials());
    let sender = within(registry().sender(uri.as_str())).await.unwrap();
    let sending = tokio::spawn(async move { sender.send(Datagram::new("12 apples")).await });
    // It is kept, and its connection with it, though nobody listens.
    let kept = within(first.next()).await.unwrap().unwrap();
    drop(first);
    pass(&here, port).await;
    drop(kept.ack());
    drop(within(sending).await.unwrap());
}

#[tokio::test]
async fn who_listens_there_is_not_pushed_aside() {
    let (port, here) = (free_port(), registry());
    let _first = within(here.server(listener(port, "orders").as_str())).await.unwrap();
    for other in [here, registry()] {
        let uri = format!("{}&quic_idle=20s", listener(port, "letters"));
        let error = within(other.server(uri.as_str())).await.expect_err("somebody listens there");
        assert!(error.to_string().contains("in use by another"), "{error}");
        assert!(!matches!(error, Error::Denied { .. }), "{error:?}");
    }
}

/// Quinn keeps a connection whose first packet takes itself back until silence has lasted too long.
#[tokio::test]
async fn a_handshake_that_takes_itself_back_does_not_keep_the_port() {
    let (port, here) = (free_port(), registry());
    let (dialler, config) = bare();
    // What asks for a connection goes to somebody else, and what takes it back to the listener.
    let before = tokio::net::UdpSocket::bind(at(port)).await.unwrap();
    let connecting = dialler.connect_with(config, at(port), "localhost").unwrap();
    within(before.recv(&mut [0; 2048])).await.unwrap();
    drop(before);
    let uri = format!("{}&quic_idle=600s", listener(port, "orders"));
    let server = within(here.server(uri.as_str())).await.unwrap();
    drop(connecting);
    within(dialler.wait_idle()).await;
    drop(server);
    pass(&here, port).await;
}

#[tokio::test]
async fn a_listener_has_more_connections_than_handshakes_at_once() {
    let (port, here) = (free_port(), registry());
    let _server = within(here.server(listener(port, "orders").as_str())).await.unwrap();
    let (dialler, config) = bare();
    let mut connections = Vec::new();
    for number in 0..1100 {
        let connecting = dialler.connect_with(config.clone(), at(port), "localhost").unwrap();
        let connection = within(connecting).await;
        let connection = connection.unwrap_or_else(|error| panic!("number {number}: {error}"));
        let mut halves = connection.open_bi().await.unwrap();
        halves.0.write_all(b"S").await.unwrap();
        connections.push((connection, halves));
    }
}
