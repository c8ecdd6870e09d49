//! What is wrong is told in one clear line by the right error, and harms nobody else.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seam_conformance::free_port;
use seam_core::{Action, Connection, Datagram, Error, Registry};
use seam_tcp::Tcp;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

fn registry() -> Registry {
    Registry::new().with(Tcp::new())
}

fn uri(port: u16, parameters: &str) -> String {
    let more = if parameters.is_empty() { "" } else { "&" };
    format!("tcp://127.0.0.1:{port}/orders?connect_timeout=1s{more}{parameters}")
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it ends")
}

/// Why a client cannot be opened.
async fn client_error(uri: &str) -> Error {
    within(registry().client(uri)).await.expect_err("it is refused")
}

async fn server_error(uri: &str) -> Error {
    within(registry().server(uri)).await.expect_err("it is refused")
}

/// One line without jargon that has all of `words`.
#[track_caller]
fn assert_tells(error: &Error, words: &[&str]) {
    let line = error.to_string();
    assert!(!line.contains('\n'), "more than a line: {line}");
    for word in words {
        assert!(line.contains(word), "nothing of `{word}` in: {line}");
    }
}

/// Sends one datagram from a new client to `server`.
async fn assert_serves(server: &Connection, uri: &str) {
    let mut receiver = server.receiver().await.unwrap();
    let client = within(registry().client(uri)).await.unwrap();
    let sender = client.sender().await.unwrap();
    let send = sender.send(Datagram::new("12 apples"));
    let take = async { receiver.next().await.unwrap().unwrap().ack().unwrap() };
    let (sent, ()) = within(async { tokio::join!(send, take) }).await;
    sent.unwrap();
    assert!(within(client.drain(PATIENCE)).await.unwrap().is_clean());
}

/// Whether the other end has closed.
async fn is_closed(socket: &mut TcpStream, patience: Duration) -> bool {
    let mut bytes = [0; 256];
    let reading = async { while socket.read(&mut bytes).await.is_ok_and(|count| count > 0) {} };
    timeout(patience, reading).await.is_ok()
}

/// Everything that is logged on this thread, down to `TRACE`.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    async fn until(&self, word: &str) {
        let waiting = async {
            while !self.text().contains(word) {
                tokio::task::yield_now().await;
            }
        };
        let found = timeout(PATIENCE, waiting).await;
        assert!(found.is_ok(), "nothing of `{word}` in:\n{}", self.text());
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A file with this token.
fn token(token: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, token).unwrap();
    (folder, file)
}

/// What listens answers every connection with `answer`, or with what came; says nothing where that is empty.
async fn foreign(answer: Option<&'static [u8]>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = socket.read(&mut bytes).await {
                    socket.write_all(answer.unwrap_or(&bytes[..count])).await.unwrap();
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn an_address_in_use_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = server_error(&uri(taken.local_addr().unwrap().port(), "")).await;
    assert!(matches!(error, Error::InvalidEndpoint { .. }), "{error:?}");
    assert_tells(&error, &["in use by another program", "choose another port"]);
    let error = server_error("tcp://192.0.2.1:7420/orders?insecure").await;
    assert_tells(&error, &["no address of this machine"]);
}

#[tokio::test]
async fn nobody_at_home_is_told() {
    let error = client_error(&uri(free_port(), "")).await;
    assert!(matches!(error, Error::Disconnected { .. }) && error.is_retryable(), "{error:?}");
    assert_tells(&error, &["nobody listens at 127.0.0.1:", "is the server started?"]);
    let error = client_error("tcp://no-such-host.invalid/orders?connect_timeout=5s").await;
    assert!(matches!(error, Error::Disconnected { .. }) && error.is_retryable(), "{error:?}");
    assert_tells(&error, &["no-such-host.invalid"]);
}

#[tokio::test]
async fn a_token_that_is_wrong_or_missing_is_told_at_both_ends() {
    let (log, _guard) = Log::start();
    let ((_a, right), (_b, wrong)) = (token("correct horse\n"), token("battery staple"));
    let with = |file: &PathBuf| format!("token_file={}", file.display());
    let port = free_port();
    let server = registry().server(&*uri(port, &with(&right))).await.unwrap();
    let error = client_error(&uri(port, &with(&wrong))).await;
    assert!(matches!(error, Error::Denied { .. }) && !error.is_retryable(), "{error:?}");
    assert_tells(&error, &["did not prove to know the token", "give both ends the same"]);
    let error = client_error(&uri(port, "")).await;
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert_tells(&error, &["it wants a proof of a token", "give `?token_file=`"]);
    log.until("a connection was refused").await;
    assert_serves(&server, &uri(port, &with(&right))).await;

    let open = free_port();
    let _server = registry().server(&*uri(open, "")).await.unwrap();
    let error = client_error(&uri(open, &with(&right))).await;
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert_tells(&error, &["it does not prove to know the token"]);

    let shown = format!("{server:?} {:?} {:?}", registry(), server.statistics());
    for secret in ["correct horse", "battery staple"] {
        assert!(!log.text().contains(secret) && !shown.contains(secret), "`{secret}` is shown");
    }
    let (_c, empty) = token("\n");
    assert_tells(&client_error(&uri(port, &with(&empty))).await, &["is empty"]);
    let missing = empty.with_file_name("nowhere");
    assert_tells(&client_error(&uri(port, &with(&missing))).await, &["cannot be read"]);
}

#[tokio::test]
async fn anybody_is_let_in_only_if_the_uri_says_so() {
    let port = free_port();
    for uri in [
        format!("tcp://0.0.0.0:{port}/orders"),
        format!("tcp://[::]:{port}/orders"),
        format!("tcp://0.0.0.0:{port}?wire=connect"),
    ] {
        let error = server_error(&uri).await;
        assert!(matches!(error, Error::InvalidEndpoint { .. }), "{error:?}");
        assert_tells(&error, &["would let anybody in", "`insecure`"]);
    }
    let error = client_error(&format!("tcp://0.0.0.0:{port}/orders?role=listen")).await;
    assert_tells(&error, &["`token_file=`", "`insecure`"]);
    let (log, _guard) = Log::start();
    let server = registry().server(&*format!("tcp://0.0.0.0:{port}/orders?insecure")).await;
    assert_eq!(log.text().matches("insecure`").count(), 1, "{}", log.text());
    assert_serves(&server.unwrap(), &uri(port, "")).await;
}

#[tokio::test]
async fn strangers_on_the_port_harm_nobody() {
    let (log, _guard) = Log::start();
    let port = free_port();
    let server = registry().server(&*uri(port, "")).await.unwrap();
    for (bytes, told) in [
        (&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], "an HTTP request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "a TLS ClientHello"),
        (b"\0\0\0\x06\0\x01\0\x03hi", "a peer of version 1 came; listen with `?wire=any`"),
        (b"", "it closed before it said who it is"),
        (b"\0\0\0\x08\0\x02", "it closed before it said who it is"),
        (b"\xff\xff\xff\xff\0\x02\x01\0", "over the limit of 4096"),
    ] {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        assert!(is_closed(&mut socket, PATIENCE).await, "it stays open: {told}");
        log.until(told).await;
    }
    assert_eq!(log.text().matches("a connection was refused").count(), 6, "{}", log.text());
    assert_serves(&server, &uri(port, "")).await;
}

/// Neither one that says nothing nor one that says a byte now and then is waited for longer than 5 s.
#[tokio::test]
async fn whoever_does_not_say_who_it_is_is_not_waited_for() {
    let port = free_port();
    let server = registry().server(&*uri(port, "")).await.unwrap();
    let began = Instant::now();
    let mut silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut hears, mut says) = TcpStream::connect(("127.0.0.1", port)).await.unwrap().into_split();
    let trickle = tokio::spawn(async move {
        for byte in b"\0\0\0\x40\0\x02\x01\0".iter().chain(&[1; 64]) {
            tokio::time::sleep(Duration::from_millis(300)).await;
            if says.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    });
    assert!(is_closed(&mut silent, PATIENCE).await, "the silent one is still there");
    within(async { while hears.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {} }).await;
    let took = began.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(8), "{took:?}");
    trickle.abort();
    assert_serves(&server, &uri(port, "")).await;
}

#[tokio::test]
async fn a_listener_that_is_no_seam_is_told() {
    let http = foreign(Some(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")).await;
    let error = client_error(&uri(http, "")).await;
    assert!(matches!(error, Error::Protocol { .. }) && !error.is_retryable(), "{error:?}");
    assert_tells(&error, &["does not speak this protocol", "an HTTP answer"]);

    let error = client_error(&uri(foreign(None).await, "")).await;
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    assert_tells(&error, &["sent our own bytes back", "`?wire=connect`"]);

    let version_1 = foreign(Some(b"\0\0\0\x06\0\x01\0\x03hi")).await;
    let error = client_error(&uri(version_1, "")).await;
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    assert_tells(&error, &["speaks version 1", "`?wire=connect`"]);

    let error = client_error(&uri(foreign(Some(b"")).await, "")).await;
    assert!(matches!(error, Error::Disconnected { .. }) && error.is_retryable(), "{error:?}");
    assert_tells(&error, &["nobody answered in time"]);

    let port = free_port();
    let plain = format!("tcp://127.0.0.1:{port}?wire=connect");
    let server = registry().server(&*plain).await.unwrap();
    let _receiver = server.receiver().await.unwrap();
    let error = client_error(&uri(port, "")).await;
    assert!(matches!(error, Error::Disconnected { .. }), "{error:?}");
    assert_tells(&error, &["closed before it said who it is", "`?wire=connect`"]);
}

#[tokio::test]
async fn an_address_that_is_not_served_or_twice_is_told() {
    let (port, registry) = (free_port(), registry());
    let server = registry.server(&*uri(port, "")).await.unwrap();
    let other = format!("tcp://127.0.0.1:{port}/pears?connect_timeout=500ms");
    let error = client_error(&other).await;
    assert!(matches!(error, Error::Disconnected { .. }) && error.is_retryable(), "{error:?}");
    assert_tells(&error, &["no endpoint of the address `pears` listens there"]);
    let error = registry.server(&*uri(port, "")).await.unwrap_err();
    assert!(matches!(error, Error::InvalidEndpoint { .. }), "{error:?}");
    assert_tells(&error, &["is served here already", "another address"]);
    let pears = registry.server(&*other).await.unwrap();
    assert_serves(&pears, &other).await;
    assert_serves(&server, &uri(port, "")).await;
}

#[tokio::test]
async fn too_many_connections_cost_the_oldest_stranger_its_place() {
    let port = free_port();
    let server = registry().server(&*uri(port, "connections=2")).await.unwrap();
    let mut first = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut second = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert!(is_closed(&mut first, Duration::from_secs(2)).await, "the oldest stranger stays");
    let one = within(registry().client(&*uri(port, ""))).await.unwrap();
    assert!(is_closed(&mut second, Duration::from_secs(2)).await, "a stranger keeps its place");
    let two = within(registry().client(&*uri(port, ""))).await.unwrap();
    let mut third = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert!(is_closed(&mut third, Duration::from_secs(2)).await, "three where two may be");
    drop((one, two));
    assert_serves(&server, &uri(port, "")).await;
}

#[tokio::test]
async fn whoever_may_not_send_is_told_so() {
    let port = free_port();
    let strict = registry().authorise(|access| access.action != Action::Send);
    let server = strict.server(&*uri(port, "")).await.unwrap();
    let mut receiver = server.receiver().await.unwrap();
    let client = registry().client(&*uri(port, "")).await.unwrap();
    let sender = client.sender().await.unwrap();
    let refused = within(sender.send(Datagram::new("let me in"))).await.unwrap_err();
    assert!(matches!(refused.error(), Error::Denied { .. }), "{refused:?}");
    assert_tells(refused.error(), &["does not let you send", "ask whoever runs it"]);
    let nothing = timeout(Duration::from_millis(200), receiver.next()).await;
    assert!(nothing.is_err(), "something came of it");
}

#[tokio::test]
async fn whoever_may_not_receive_is_told_so() {
    let port = free_port();
    let strict = registry().authorise(|access| access.action != Action::Receive);
    let client = strict.client(&*uri(port, "role=listen")).await.unwrap();
    let worker = registry().server(&*uri(port, "role=dial")).await.unwrap();
    let mut receiver = worker.receiver().await.unwrap();
    let error = within(receiver.next()).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert_tells(&error, &["you may not receive here"]);
    drop(client);
}

/// And whoever may only receive, does.
#[tokio::test]
async fn a_worker_that_may_not_send_still_receives() {
    let port = free_port();
    let strict =
        registry().authorise(|access| access.peer.id == "self" || access.action == Action::Receive);
    let client = strict.client(&*uri(port, "role=listen")).await.unwrap();
    let worker = registry().server(&*uri(port, "role=dial")).await.unwrap();
    let mut receiver = worker.receiver().await.unwrap();
    let sender = client.sender().await.unwrap();
    let take = async { receiver.next().await.unwrap().unwrap().ack().unwrap() };
    let (sent, ()) = within(async { tokio::join!(sender.send(Datagram::new("work")), take) }).await;
    sent.unwrap();
}
