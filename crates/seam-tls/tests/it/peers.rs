//! Who has proved to be there is on every delivery, and decides who may come.

use std::time::Duration;

use seam_conformance::free_port;
use seam_core::{Datagram, Error, Registry};
use seam_tls::Tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::certs::{dials, listens, shared};

async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(20), future).await.expect("it ends")
}

fn uri(port: u16, parameters: &str) -> String {
    format!("tls://localhost:{port}/orders?{parameters}")
}

#[tokio::test]
async fn the_certificate_says_who_is_there() {
    let (port, registry) = (free_port(), Registry::new().with(Tls::new()));
    let mut receiver = within(registry.receiver(uri(port, &listens()).as_str())).await.unwrap();
    let sender = within(registry.sender(uri(port, &dials()).as_str())).await.unwrap();
    let send = sender.send(Datagram::new("12 apples"));
    let take = async { receiver.next().await.unwrap().unwrap() };
    let peer = within(async {
        tokio::join!(
            async {
                send.await.unwrap();
            },
            async {
                let delivery = take.await;
                let peer = delivery.peer().cloned();
                delivery.ack().unwrap();
                peer
            }
        )
    })
    .await
    .1
    .expect("a link knows its peer");
    assert_eq!(peer.identity.as_deref(), Some("dns:till-7"));
    let attribute = |name: &str| {
        peer.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    };
    assert_eq!(attribute("subject"), Some("CN=till-7"));
    assert_eq!(attribute("name"), Some("dns:till-7"));
    assert!(attribute("fingerprint").unwrap().starts_with("sha256:"));
    assert!(attribute("not_after").is_some());
}

#[tokio::test]
async fn the_hook_decides_by_identity_before_anything_is_delivered() {
    let port = free_port();
    let keeps_out = Registry::new()
        .with(Tls::new())
        .authorise(|access| access.peer.identity.as_deref() != Some("dns:till-7"));
    let server = within(keeps_out.server(uri(port, &listens()).as_str())).await.unwrap();
    let _receiver = server.receiver().await.unwrap();
    let client = Registry::new().with(Tls::new());
    let sender = within(client.sender(uri(port, &dials()).as_str())).await;
    let error = match sender {
        Ok(sender) => {
            within(sender.send(Datagram::new("12 apples"))).await.unwrap_err().error().clone()
        }
        Err(error) => error,
    };
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert_eq!(server.statistics().delivered, 0);
}

/// A peer of `connect` 0.2 inside TLS, by openssl, which knows nothing of us.
#[tokio::test]
async fn openssl_brings_a_peer_of_connect() {
    let (port, registry) = (free_port(), Registry::new().with(Tls::new()));
    let plain = format!("tls://localhost:{port}?wire=connect&{}", listens());
    let mut receiver = within(registry.receiver(plain.as_str())).await.unwrap();
    let folder = shared();
    let path = |name: &str| folder.path(name).display().to_string();
    let mut openssl = tokio::process::Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-connect",
            &format!("localhost:{port}"),
        ])
        .args([
            "-CAfile",
            &path("ca.pem"),
            "-cert",
            &path("client.pem"),
            "-key",
            &path("client.key"),
        ])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("openssl is there");
    let mut into = openssl.stdin.take().unwrap();
    into.write_all(b"\0\0\0\x0f\0\x01\xff\xffHello world").await.unwrap();
    let delivery = within(receiver.next()).await.unwrap().unwrap();
    assert_eq!(delivery.datagram().payload(), Some(&b"Hello world"[..]));
    assert_eq!(delivery.peer().unwrap().identity.as_deref(), Some("dns:till-7"));
    delivery.ack().unwrap();
    drop(into);
    drop(receiver);
    let mut rest = Vec::new();
    within(openssl.stdout.take().unwrap().read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
}

/// On the plain wire nobody sends again, so a receiver must know an end from a cut.
#[tokio::test]
async fn an_end_without_close_notify_is_no_end() {
    let (port, registry) = (free_port(), Registry::new().with(Tls::new()));
    let plain = format!("tls://localhost:{port}?wire=connect&{}", listens());
    let server = within(registry.server(plain.as_str())).await.unwrap();
    for closes_well in [true, false] {
        let mut socket = raw_client(port).await;
        socket.write_all(b"\0\0\0\x0f\0\x01\xff\xffHello world").await.unwrap();
        socket.flush().await.unwrap();
        let peer = within(server.accept()).await.unwrap().unwrap();
        let mut receiver = peer.receiver().await.unwrap();
        within(receiver.next()).await.unwrap().unwrap().ack().unwrap();
        match closes_well {
            true => socket.shutdown().await.unwrap(),
            // The socket closes under it.
            false => socket.get_mut().0.shutdown().await.unwrap(),
        }
        let end = within(receiver.next()).await;
        assert_eq!(matches!(end, Ok(None)), closes_well, "{end:?}");
        assert!(closes_well || end.unwrap_err().is_retryable());
    }
}

/// Wherever it is cut: only whole datagrams come, and an end is good only behind one, and only if it was said.
#[tokio::test]
async fn every_offset_may_be_the_last() {
    let (port, registry) = (free_port(), Registry::new().with(Tls::new()));
    let plain = format!("tls://localhost:{port}?wire=connect&{}", listens());
    let server = within(registry.server(plain.as_str())).await.unwrap();
    let frame = b"\0\0\0\x0d\0\x01\0\x0712 apples";
    let bytes = [&frame[..], frame].concat();
    for closes_well in [true, false] {
        for after in 1..=bytes.len() {
            let mut socket = raw_client(port).await;
            socket.write_all(&bytes[..after]).await.unwrap();
            socket.flush().await.unwrap();
            let peer = within(server.accept()).await.unwrap().unwrap();
            match closes_well {
                true => socket.shutdown().await.unwrap(),
                false => socket.get_mut().0.shutdown().await.unwrap(),
            }
            let mut receiver = peer.receiver().await.unwrap();
            let mut whole = 0;
            let end = loop {
                match within(receiver.next()).await {
                    Ok(Some(delivery)) => {
                        assert_eq!(delivery.datagram().payload(), Some(&b"12 apples"[..]));
                        delivery.ack().unwrap();
                        whole += 1;
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            let case = format!("{closes_well}, {after}: {whole}, {end:?}");
            assert_eq!(whole, after / frame.len(), "{case}");
            let is_good = closes_well && after.is_multiple_of(frame.len());
            assert_eq!(end.is_ok(), is_good, "{case}");
        }
    }
}

/// Bare rustls, with our certificate and without our code.
async fn raw_client(port: u16) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

    let folder = shared();
    let certificate = |name: &str| CertificateDer::from_pem_file(folder.path(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.path("client.key")).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(seam_certificates::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate("client.pem")], key)
        .unwrap();
    let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(std::sync::Arc::new(config))
        .connect(name, socket)
        .await
        .unwrap()
}
