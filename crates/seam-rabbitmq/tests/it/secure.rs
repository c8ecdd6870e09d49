//! TLS and the ways to show who one is: what opens, and what is wrong where it does not.

use seam_core::{Datagram, Error};

use crate::stage::*;

/// The endpoint at the port with TLS, for a user with a password.
fn tls(address: &str, more: &str) -> String {
    let broker = authority("SEAM_TEST_RABBITMQ_TLS_URL");
    format!("rabbitmq+tls://{broker}/{address}?connect_timeout=10s&{more}")
}

fn ca() -> String {
    format!("ca={}", file("SEAM_TEST_CA_FILE"))
}

fn certificate() -> String {
    let (cert, key) = (file("SEAM_TEST_CLIENT_CERT_FILE"), file("SEAM_TEST_CLIENT_KEY_FILE"));
    format!("{}&cert={cert}&key={key}", ca())
}

/// Sends one datagram and receives it.
async fn round_trip(uri: &str) {
    let mut receiver = soon(registry().receiver(uri)).await.unwrap();
    send(uri, Datagram::new("12 apples")).await;
    let delivery = next(&mut receiver).await;
    assert_eq!(delivery.datagram(), &Datagram::new("12 apples"));
    delivery.ack().unwrap();
    soon(receiver.settled()).await.unwrap();
    drop(receiver);
    remove(uri).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn tls_with_the_right_authority_opens_by_either_form() {
    round_trip(&tls(&address("tls"), &ca())).await;
    let broker = authority("SEAM_TEST_RABBITMQ_TLS_URL");
    round_trip(&format!("amqps://{broker}/%2F?address={}&{}", address("amqps"), ca())).await;
    // The name of the certificate, where the host has another.
    let broker = broker.replace("localhost", "127.0.0.1");
    let named = format!("{}&server_name=localhost", ca());
    round_trip(&format!("rabbitmq+tls://{broker}/{}?{named}", address("named"))).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_certificate_opens_with_a_password_and_instead_of_one() {
    round_trip(&tls(&address("both"), &certificate())).await;
    let host = host("SEAM_TEST_RABBITMQ_TLS_URL");
    let more = format!("{}&sasl=external", certificate());
    round_trip(&format!("rabbitmq+tls://{host}/{}?{more}", address("external"))).await;
    round_trip(&format!("amqps://{host}/%2F?address={}&{more}", address("external"))).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_password_may_come_from_a_file_or_a_variable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let host = host("SEAM_TEST_RABBITMQ_URL");
    std::fs::write(&path, "seam\n").unwrap();
    let from_file = format!("password_file={}", path.to_str().unwrap().replace('/', "%2F"));
    round_trip(&format!("rabbitmq://seam@{host}/{}?{from_file}", address("file"))).await;
    let wrong = format!("rabbitmq://seam@{host}/orders?password_env=SEAM_TEST_BROKERS");
    let error = refusal(&wrong).await;
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    // Somebody whose password it is.
    let user = address("user");
    ctl(&["add_user", &user, &variable("SEAM_TEST_BROKERS")]).await;
    ctl(&["set_permissions", &user, ".*", ".*", ".*"]).await;
    round_trip(&wrong.replace("seam@", &format!("{user}@")).replace("orders", &address("env")))
        .await;
    ctl(&["delete_user", &user]).await;
    let absent = format!("rabbitmq://seam@{host}/orders?password_env=SEAM_TEST_NO_SUCH_VARIABLE");
    let error = refusal(&absent).await;
    assert!(!error.is_retryable(), "{error}");
    assert!(error.to_string().contains("`password_env`"), "{error}");
    std::fs::write(&path, "hunter2").unwrap();
    let error = refusal(&format!("rabbitmq://seam@{host}/orders?{from_file}")).await;
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = refusal(&format!("rabbitmq://seam@{host}/orders?{from_file}")).await;
    assert!(!error.is_retryable() && error.to_string().contains("password"), "{error}");
}

/// Why the endpoint does not open: a lost connection.
async fn lost(uri: &str, part: &str) {
    let error = refusal(uri).await;
    assert!(matches!(error, Error::Disconnected { .. }) && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains(part), "{error}");
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn another_authority_is_named_as_what_is_wrong() {
    let host = host("SEAM_TEST_RABBITMQ_TLS_URL");
    let other = format!("&ca={}", file("SEAM_TEST_OTHER_CA_FILE"));
    for more in [other.as_str(), ""] {
        let uri = format!("rabbitmq+tls://seam:hunter2@{host}/orders?connect_timeout=2s{more}");
        lost(&uri, "give its own by `ca=`").await;
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_certificate_for_another_name_is_told() {
    let uri = tls("orders", &format!("{}&server_name=shop.example", ca()));
    lost(&uri.replace("connect_timeout=10s", "connect_timeout=2s"), "`server_name=`").await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_certificate_that_the_broker_does_not_trust_is_told() {
    let (cert, key) =
        (file("SEAM_TEST_OTHER_CLIENT_CERT_FILE"), file("SEAM_TEST_OTHER_CLIENT_KEY_FILE"));
    let uri = tls("orders", &format!("{}&cert={cert}&key={key}", ca()));
    lost(&uri.replace("connect_timeout=10s", "connect_timeout=2s"), "(`cert=`)").await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_port_with_tls_and_one_without_are_told_apart() {
    let tls = host("SEAM_TEST_RABBITMQ_TLS_URL");
    let uri = format!("rabbitmq://seam:hunter2@{tls}/orders?connect_timeout=2s");
    let error = refusal(&uri).await;
    assert!(error.to_string().contains("TLS"), "{error}");
    let plain = host("SEAM_TEST_RABBITMQ_URL");
    let uri = format!("rabbitmq+tls://seam:hunter2@{plain}/orders?connect_timeout=2s&{}", ca());
    lost(&uri, "write `rabbitmq://`").await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_wrong_password_is_denied_over_tls_too() {
    let host = host("SEAM_TEST_RABBITMQ_TLS_URL");
    for more in [ca(), certificate()] {
        let error = refusal(&format!("rabbitmq+tls://seam:hunter2@{host}/orders?{more}")).await;
        assert!(matches!(error, Error::Denied { .. }) && !error.is_retryable(), "{error}");
        assert!(error.to_string().contains("the password is wrong"), "{error}");
    }
}

#[tokio::test]
async fn files_that_are_missing_or_no_pem_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().replace('/', "%2F")
    };
    let words = file("words.pem", "hunter2 is no certificate");
    let damaged = "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n";
    let damaged = file("damaged.pem", damaged);
    let absent = words.replace("words", "absent");
    for (parameters, part) in [
        (format!("ca={absent}"), "the file of `ca`"),
        (format!("ca={words}"), "`ca` cannot be used: it holds no certificate"),
        (format!("ca={damaged}"), "`ca` cannot be used"),
        (format!("cert={absent}&key={words}"), "the file of `cert`"),
        (format!("cert={words}&key={words}"), "`cert` cannot be used"),
        (format!("cert={words}"), "need each other"),
        (format!("key={words}"), "need each other"),
    ] {
        let uri = format!("rabbitmq+tls://127.0.0.1:1/orders?connect_timeout=2s&{parameters}");
        let error = refusal(&uri).await;
        assert!(!error.is_retryable(), "{error:?}");
        assert!(error.to_string().contains(part), "{parameters}: {error}");
    }
}
