//! TLS: what opens, and what is wrong where it does not.

use super::*;

fn ca() -> String {
    variable("SEAM_TEST_CA_FILE").replace('/', "%2F")
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn tls_with_the_right_authority_opens() {
    let broker = variable("SEAM_TEST_KAFKA_TLS_URL");
    let uri = format!("kafka+tls://{broker}/{}?ca={}", address("tls"), ca());
    round_trip(&uri).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_certificate_and_each_way_to_show_a_password_open() {
    let (broker, ca) = (variable("SEAM_TEST_KAFKA_SASL_TLS_URL"), ca());
    let file = |name: &str| variable(name).replace('/', "%2F");
    let cert = file("SEAM_TEST_CLIENT_CERT_FILE");
    let key = file("SEAM_TEST_CLIENT_KEY_FILE");
    for sasl in ["plain", "scram-sha-256", "scram-sha-512"] {
        let topic = address("both");
        let uri = format!(
            "kafka+tls://seam:seam@{broker}/{topic}?ca={ca}&cert={cert}&key={key}&sasl={sasl}"
        );
        round_trip(&uri).await.unwrap();
    }
}

/// Why the TLS port does not open with these parameters: a lost connection.
async fn lost(uri: String, complaint: &str) {
    let error = refusal(&format!("{uri}connect_timeout=3s")).await;
    assert!(matches!(error, Error::Disconnected { .. }) && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains(complaint), "{error}");
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn another_authority_is_named_as_what_is_wrong() {
    let broker = variable("SEAM_TEST_KAFKA_TLS_URL");
    let other = variable("SEAM_TEST_OTHER_CA_FILE").replace('/', "%2F");
    lost(format!("kafka+tls://{broker}/orders?ca={other}&"), "give its own by `ca=`").await;
    lost(format!("kafka+tls://{broker}/orders?"), "give its own by `ca=`").await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_port_with_tls_and_one_without_are_told_apart() {
    let tls = variable("SEAM_TEST_KAFKA_TLS_URL");
    lost(format!("kafka://{tls}/orders?"), "want TLS (`kafka+tls://`)").await;
    let plain = variable("SEAM_TEST_KAFKA_URL");
    lost(format!("kafka+tls://{plain}/orders?ca={}&", ca()), "write `kafka://`").await;
    let both = variable("SEAM_TEST_KAFKA_SASL_TLS_URL");
    lost(format!("kafka://seam:hunter2@{both}/orders?"), "want TLS (`kafka+tls://`)").await;
    lost(format!("kafka+tls://{both}/orders?ca={}&", ca()), "user and password").await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_wrong_password_is_denied_by_each_way_to_show_it() {
    let (broker, ca) = (variable("SEAM_TEST_KAFKA_SASL_TLS_URL"), ca());
    for sasl in ["plain", "scram-sha-256", "scram-sha-512"] {
        let uri = format!("kafka+tls://seam:hunter2@{broker}/orders?ca={ca}&sasl={sasl}");
        let error = refusal(&uri).await;
        assert!(matches!(error, Error::Denied { .. }) && !error.is_retryable(), "{error}");
        assert!(error.to_string().contains("user or password is wrong"), "{error}");
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
    let key = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n";
    let key = file("damaged.key", key);
    let absent = words.replace("words", "absent");
    let folder = folder.path().to_str().unwrap();
    for (parameters, complaint) in [
        (format!("ca={absent}"), "`ca`: cannot read"),
        (format!("ca={folder}"), "`ca`: cannot read"),
        (format!("ca={words}"), "holds no certificate in PEM"),
        (format!("ca={key}"), "holds no certificate in PEM"),
        (format!("ca={damaged}"), "`ca` is damaged"),
        (format!("cert={absent}&key={key}"), "`cert`: cannot read"),
        (format!("cert={damaged}&key={absent}"), "`key`: cannot read"),
        (format!("cert={damaged}&key={damaged}"), "holds no key in PEM"),
        (format!("cert={damaged}&key={key}"), "`cert` is damaged"),
        (format!("cert={damaged}"), "go together"),
        (format!("key={key}"), "go together"),
    ] {
        let error = refusal(&format!("kafka+tls://127.0.0.1:1/orders?{parameters}")).await;
        assert!(matches!(error, Error::InvalidEndpoint { .. }), "{error:?}");
        assert!(error.to_string().contains(complaint), "{parameters}: {error}");
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_key_of_another_certificate_is_told() {
    let broker = variable("SEAM_TEST_KAFKA_TLS_URL");
    let (cert, key) =
        (variable("SEAM_TEST_CLIENT_CERT_FILE"), variable("SEAM_TEST_OTHER_CLIENT_KEY_FILE"));
    let uri = format!("kafka+tls://{broker}/orders?ca={}&cert={cert}&key={key}", ca());
    let error = refusal(&uri).await;
    assert!(matches!(error, Error::InvalidEndpoint { .. }), "{error:?}");
    assert!(error.to_string().contains("not the key of the certificate"), "{error}");
}
