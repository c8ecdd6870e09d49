//! Who is not let in is told why within seconds, in one line, at both ends; and what is wrong with a file names the file.

use std::time::{Duration, SystemTime};

use seam_certificates::issue::{Authority, Purpose};
use seam_conformance::free_port;
use seam_core::{Connection, Datagram, Error, Event, Registry};
use seam_tls::Tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::certs::{Folder, HOUR, dials, issue, listens, revoke, shared};

/// Ten times what both ends may take.
const PATIENCE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn registry() -> Registry {
    Registry::new().with(Tls::new())
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it ends")
}

/// Of loopback, and of no neighbour.
fn uri(port: u16, parameters: &str) -> String {
    format!("tls://localhost:{port}/orders?{parameters}")
}

async fn listen(parameters: &str) -> (Connection, u16) {
    let port = free_port();
    (within(registry().server(uri(port, parameters).as_str())).await.unwrap(), port)
}

/// Why a client cannot be opened.
async fn client_error(uri: &str) -> Error {
    within(registry().client(uri)).await.expect_err("it is refused")
}

/// Why a listener cannot be opened.
async fn server_error(parameters: &str) -> Error {
    let uri = uri(free_port(), parameters);
    within(registry().server(uri.as_str())).await.expect_err("it is refused")
}

/// One line that has all of `words`.
#[track_caller]
fn assert_tells(line: &str, words: &[&str]) {
    assert!(!line.contains('\n'), "more than a line: {line}");
    for word in words {
        assert!(line.contains(word), "nothing of `{word}` in: {line}");
    }
}

/// Waits until the listener has told that it let somebody not in, and why.
async fn refused(server: &Connection) -> String {
    within(async {
        loop {
            if let Some(Event::PeersRefused { reason, .. }) = server.next_event().await {
                return reason;
            }
        }
    })
    .await
}

/// Both ends know, the dialler by an error that says no.
async fn assert_refused(
    listener: &str,
    dialler: &str,
    told_to_dialler: &[&str],
    told_to_listener: &[&str],
) {
    let (server, port) = listen(listener).await;
    let error = client_error(&uri(port, dialler)).await;
    assert!(matches!(error, Error::Denied { .. }) && !error.is_retryable(), "{error:?}");
    assert_tells(&error.to_string(), told_to_dialler);
    assert_tells(&refused(&server).await, told_to_listener);
    // And nobody else is kept out by it.
    let other = within(registry().client(uri(port, &dials()).as_str())).await;
    if listener == listens() {
        assert_serves(&server, &other.unwrap()).await;
    }
}

async fn assert_serves(server: &Connection, client: &Connection) {
    let mut receiver = server.receiver().await.unwrap();
    let sender = client.sender().await.unwrap();
    let send = sender.send(Datagram::new("12 apples"));
    let take = async { receiver.next().await.unwrap().unwrap().ack().unwrap() };
    within(async { tokio::join!(send, take) }).await.0.unwrap();
}

/// An authority, its listener and its client, each changed.
struct Place {
    folder: Folder,
    authority: Authority,
}

impl Place {
    fn new() -> Self {
        let (folder, authority) = (Folder::new(), Authority::new("another", HOUR).unwrap());
        folder.write("ca.pem", &authority.pem());
        Self { folder, authority }
    }

    fn write(
        &self,
        name: &str,
        purpose: Purpose,
        change: impl FnOnce(&mut seam_certificates::issue::Wish),
    ) {
        self.folder.write_issued(name, &issue(&self.authority, purpose, change));
    }

    fn trusting(&self, name: &str) -> String {
        format!("{}&ca={}", self.folder.own(name), self.folder.path("ca.pem").display())
    }

    fn letting_in(&self, name: &str) -> String {
        format!("{}&client_ca={}", self.folder.own(name), self.folder.path("ca.pem").display())
    }
}

#[tokio::test]
async fn a_listener_of_another_authority_is_not_trusted() {
    let place = Place::new();
    place.write("client", Purpose::Client, |_| {});
    let words = ["certificate of the listener", "no authority that is trusted", "`ca=`"];
    assert_refused(&listens(), &place.trusting("client"), &words, &["refused", "no authority"])
        .await;
}

#[tokio::test]
async fn a_listener_of_another_name_is_not_trusted() {
    let place = Place::new();
    place.write("server", Purpose::Server, |wish| wish.names = vec!["shop.example".to_owned()]);
    place.write("client", Purpose::Client, |_| {});
    let words = ["another name", "shop.example", "`server_name=`"];
    let told = ["refused", "certificate"];
    assert_refused(&place.letting_in("server"), &place.trusting("client"), &words, &told).await;
    // Whoever knows the name gets in.
    let (server, port) = listen(&place.letting_in("server")).await;
    let named = format!("{}&server_name=shop.example", place.trusting("client"));
    let client = within(registry().client(uri(port, &named).as_str())).await.unwrap();
    assert_serves(&server, &client).await;
}

#[tokio::test]
async fn a_listener_out_of_its_time_is_not_trusted() {
    let now = SystemTime::now();
    for (since, until, word) in
        [(now - 2 * DAY, now - DAY, "has expired"), (now + DAY, now + 2 * DAY, "not valid yet")]
    {
        let place = Place::new();
        place.write("server", Purpose::Server, |wish| {
            (wish.not_before, wish.not_after) = (since, until);
        });
        place.write("client", Purpose::Client, |_| {});
        let told = ["refused", "expired, or is not valid yet"];
        assert_refused(&place.letting_in("server"), &place.trusting("client"), &[word], &told)
            .await;
    }
}

#[tokio::test]
async fn a_certificate_of_a_client_is_none_of_a_listener() {
    let place = Place::new();
    place.write("server", Purpose::Client, |_| {});
    place.write("client", Purpose::Client, |_| {});
    let words = ["certificate of the listener", "not made for"];
    let told = ["refused", "certificate"];
    assert_refused(&place.letting_in("server"), &place.trusting("client"), &words, &told).await;
}

#[tokio::test]
async fn a_listener_that_is_revoked_is_not_trusted() {
    let place = Place::new();
    place.write("server", Purpose::Server, |wish| wish.serial = Some(7));
    place.write("client", Purpose::Client, |_| {});
    let crl = place.folder.write("crl.pem", &revoke(&place.authority, &[7]));
    let dialler = format!("{}&crl={}", place.trusting("client"), crl.display());
    let told = ["refused", "certificate"];
    assert_refused(&place.letting_in("server"), &dialler, &["is revoked"], &told).await;
}

#[tokio::test]
async fn a_client_without_certificate_is_not_let_in() {
    let dialler = format!("ca={}", shared().path("ca.pem").display());
    let words = ["wants a certificate", "`cert=`", "`key=`"];
    assert_refused(&listens(), &dialler, &words, &["showed no certificate"]).await;
}

#[tokio::test]
async fn a_client_of_another_authority_is_not_let_in() {
    let place = Place::new();
    place.write("client", Purpose::Client, |_| {});
    let dialler =
        format!("{}&ca={}", place.folder.own("client"), shared().path("ca.pem").display());
    let told = ["certificate of the client", "no authority that is trusted", "`client_ca=`"];
    assert_refused(&listens(), &dialler, &["refused", "no authority that it trusts"], &told).await;
}

#[tokio::test]
async fn a_client_out_of_its_time_is_not_let_in() {
    let now = SystemTime::now();
    for (since, until, word) in
        [(now - 2 * DAY, now - DAY, "has expired"), (now + DAY, now + 2 * DAY, "not valid yet")]
    {
        let place = Place::new();
        place.write("server", Purpose::Server, |_| {});
        place.write("client", Purpose::Client, |wish| {
            (wish.not_before, wish.not_after) = (since, until);
        });
        let words = ["refused", "our certificate has expired, or is not valid yet"];
        assert_refused(&place.letting_in("server"), &place.trusting("client"), &words, &[word])
            .await;
    }
}

#[tokio::test]
async fn a_certificate_of_a_listener_is_none_of_a_client() {
    let place = Place::new();
    place.write("server", Purpose::Server, |_| {});
    place.write("client", Purpose::Server, |_| {});
    let told = ["certificate of the client", "not made for"];
    assert_refused(&place.letting_in("server"), &place.trusting("client"), &["refused"], &told)
        .await;
}

#[tokio::test]
async fn a_client_that_is_revoked_or_on_no_good_list_is_not_let_in() {
    let now = SystemTime::now();
    let lists: [fn(&Authority, SystemTime) -> String; 3] = [
        |authority, _| revoke(authority, &[7]),
        // Of another authority.
        |_, _| revoke(&Authority::new("a third", HOUR).unwrap(), &[]),
        |authority, now| authority.revoke(&[], now - 2 * DAY, now - DAY).unwrap(),
    ];
    for (list, word) in lists.into_iter().zip(["is revoked", "whose list is not in", "has expired"])
    {
        let place = Place::new();
        place.write("server", Purpose::Server, |_| {});
        place.write("client", Purpose::Client, |wish| wish.serial = Some(7));
        let crl = place.folder.write("crl.pem", &list(&place.authority, now));
        let listener = format!("{}&crl={}", place.letting_in("server"), crl.display());
        assert_refused(&listener, &place.trusting("client"), &["refused"], &[word]).await;
    }
    let place = Place::new();
    place.write("server", Purpose::Server, |_| {});
    place.write("client", Purpose::Client, |wish| wish.serial = Some(8));
    let crl = place.folder.write("crl.pem", &revoke(&place.authority, &[7]));
    let (server, port) =
        listen(&format!("{}&crl={}", place.letting_in("server"), crl.display())).await;
    let client = within(registry().client(uri(port, &place.trusting("client")).as_str())).await;
    assert_serves(&server, &client.unwrap()).await;
}

#[tokio::test]
async fn ends_that_speak_another_protocol_part() {
    let port = free_port();
    let plain = format!("tls://localhost:{port}?wire=connect&{}", listens());
    let _server = within(registry().server(plain.as_str())).await.unwrap();
    let error = client_error(&uri(port, &dials())).await;
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    assert_tells(&error.to_string(), &["seam/2", "ALPN", "wire=connect"]);
}

#[tokio::test]
async fn a_version_below_the_lowest_is_refused_and_one_above_is_not() {
    let both = format!("{}&tls=1.2", listens());
    let (server, port) = listen(&both).await;
    let client =
        within(registry().client(uri(port, &format!("{}&tls=1.2", dials())).as_str())).await;
    assert_serves(&server, &client.unwrap()).await;
    // A client of 1.2 alone, by openssl, since ours always has 1.3, too.
    let (server, port) = listen(&listens()).await;
    let folder = shared();
    let asked = tokio::process::Command::new("openssl")
        .args(["s_client", "-tls1_2", "-alpn", "seam/2", "-connect", &format!("localhost:{port}")])
        .args(["-cert", &folder.path("client.pem").display().to_string()])
        .args(["-key", &folder.path("client.key").display().to_string()])
        .stdin(std::process::Stdio::null())
        .output();
    let said = within(asked).await.expect("openssl is there");
    assert!(!said.status.success());
    assert_tells(&refused(&server).await, &["no version of TLS in common", "`tls=`"]);
}

#[tokio::test]
async fn tls_and_no_tls_misunderstand_each_other_in_clear_words() {
    // A listener that knows nothing of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"220 mail.example ready\r\n").await.unwrap();
        socket.read_to_end(&mut Vec::new()).await.ok();
    });
    let dialler = dials().replace("localhost", "127.0.0.1");
    let error = client_error(&format!("tls://127.0.0.1:{port}/orders?{dialler}")).await;
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    assert_tells(&error.to_string(), &["does not speak TLS", "`tcp://`"]);
    answering.abort();
    // A client that knows nothing of TLS.
    let (server, port) = listen(&listens()).await;
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(b"\0\0\0\x0f\0\x01\xff\xffHello world").await.unwrap();
    assert_tells(&refused(&server).await, &["does not speak TLS", "`tls://`"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_names_it_and_what_to_do() {
    let (folder, good) = (Folder::new(), shared());
    let of = |name: &str| good.path(name).display().to_string();
    let garbage = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let write = |name: &str, text: &str| folder.write(name, text).display().to_string();
    let cases = [
        ("cert", write("empty.pem", ""), "empty.pem", "holds no certificate"),
        ("cert", write("garbage.pem", garbage), "garbage.pem", "is damaged"),
        ("cert", folder.path("none.pem").display().to_string(), "none.pem", "does not exist"),
        ("key", write("locked.key", encrypted), "locked.key", "is encrypted"),
        ("key", write("no.key", "hello"), "no.key", "holds no private key"),
        ("key", of("client.key"), "client.key", "is not that of the certificate"),
        ("client_ca", write("none.ca", "# nobody\n"), "none.ca", "holds no certificate"),
        ("crl", write("none.crl", "# nobody\n"), "none.crl", "holds no revocation list"),
    ];
    for (name, path, file, word) in cases {
        let mut parameters = vec![
            ("cert", of("server.pem")),
            ("key", of("server.key")),
            ("client_ca", of("ca.pem")),
        ];
        match parameters.iter_mut().find(|(known, _)| *known == name) {
            Some((_, value)) => *value = path,
            None => parameters.push((name, path)),
        }
        let parameters: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let error = server_error(&parameters.join("&")).await;
        assert!(!error.is_retryable(), "{error:?}");
        assert_tells(&error.to_string(), &[file, word]);
    }
    let error = client_error(&uri(1, &format!("ca={}", write("none.ca", "")))).await;
    assert_tells(&error.to_string(), &["none.ca", "holds no certificate"]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_that_everybody_reads_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let (folder, good) = (Folder::new(), shared());
    let key = folder.write("open.key", &std::fs::read_to_string(good.path("server.key")).unwrap());
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let cert = good.path("server.pem");
    let error = server_error(&format!("cert={}&key={}", cert.display(), key.display())).await;
    assert_tells(&error.to_string(), &["open.key", "every user", "chmod 600"]);
}

#[tokio::test]
async fn what_does_not_fit_together_is_said_before_anything_is_opened() {
    for (parameters, words) in [
        ("cert=a.pem", &["`cert` needs its `key`"][..]),
        ("key=a.key", &["`key` needs its `cert`"]),
        ("server_name=a%20b", &["`a b`", "`server_name=`"]),
        ("tls=1.1", &["tls", "1.2"]),
    ] {
        let error = client_error(&uri(1, parameters)).await;
        assert!(matches!(error, Error::InvalidEndpoint { .. }), "{error:?}");
        assert_tells(&error.to_string(), words);
    }
    assert_tells(
        &server_error("nagle").await.to_string(),
        &["needs a certificate", "seam certs new"],
    );
    // Without proof of a client nobody outside of this machine may come.
    let open = format!("tls://0.0.0.0:{}/orders?{}", free_port(), shared().own("server"));
    let error = within(registry().server(open.as_str())).await.expect_err("it is refused");
    assert_tells(&error.to_string(), &["client_ca", "insecure"]);
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_waiting() {
    let (server, port) = listen(&listens()).await;
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let client = within(registry().client(uri(port, &dials()).as_str())).await.unwrap();
    assert_serves(&server, &client).await;
    drop(silent);
}
