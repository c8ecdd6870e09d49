//! What is read from a URI, and what is refused.

use seam_core::Uri;

use super::*;

fn config(uri: &str) -> Result<Config> {
    let uri: Uri = uri.parse()?;
    let scheme = SCHEMES.iter().find(|scheme| scheme.name == uri.scheme()).unwrap();
    Config::new(&Endpoint::resolve(&uri, scheme)?)
}

#[track_caller]
fn check_refused(uri: &str, complaint: &str) {
    let error = config(uri).map(|config| config.topic).unwrap_err().to_string();
    assert!(error.contains(complaint), "{error}");
}

#[test]
fn a_plain_uri_is_a_work_queue_from_the_beginning() {
    let config = config("kafka://b1,b2:9094/orders").unwrap();
    assert_eq!(config.group, Group::Named("seam.orders".to_owned()));
    assert_eq!(config.from, Start::Earliest);
    assert!(config.declare);
}

#[test]
fn a_private_receiver_begins_now() {
    let config = config("kafka://b/orders?private").unwrap();
    assert_eq!((config.group, config.from), (Group::Private, Start::Latest));
}

#[test]
fn a_named_group_has_that_id() {
    let config = config("kafka://b/orders?group=billing&from=latest").unwrap();
    assert_eq!(config.group, Group::Named("billing".to_owned()));
    assert_eq!(config.from, Start::Latest);
}

#[test]
fn settings_that_would_break_a_promise_are_refused_by_name() {
    for name in ["acks", "enable.auto.commit", "sasl.password", "ssl.key.pem", "partitioner"] {
        check_refused(&format!("kafka://b/orders?librdkafka.{name}=1"), name);
    }
    config("kafka://b/orders?librdkafka.socket.keepalive.enable=true").unwrap();
}

#[test]
fn a_native_setting_never_shows_its_value() {
    let uri: Uri = "kafka://b/orders?librdkafka.ssl.truststore=hunter2".parse().unwrap();
    let endpoint = Endpoint::resolve(&uri, &SCHEMES[0]).unwrap();
    assert!(!format!("{endpoint} {endpoint:?} {uri}").contains("hunter2"));
    assert_eq!(endpoint.native().collect::<Vec<_>>(), [("ssl.truststore", "hunter2")]);
}

#[test]
fn a_broker_that_is_back_is_looked_for_within_a_second() {
    let setting = |uri: &str| {
        let endpoint = Endpoint::resolve(&uri.parse().unwrap(), &SCHEMES[0]).unwrap();
        native(&endpoint).unwrap().get("reconnect.backoff.max.ms").unwrap().to_owned()
    };
    assert_eq!(setting("kafka://b/orders"), "1000");
    assert_eq!(setting("kafka://b/orders?librdkafka.reconnect.backoff.max.ms=50"), "50");
}

#[test]
fn names_that_kafka_forbids_are_refused() {
    check_refused("kafka://b/or%20ders", "holds more than letters");
    check_refused("kafka://b/..", "is `.` or `..`");
    check_refused(&format!("kafka://b/{}", "x".repeat(250)), "longer than 249");
}

#[test]
fn what_has_no_use_here_is_refused() {
    check_refused("kafka://b/orders?role=dial", "has no use for parameter `role`");
    check_refused("kafka://b/orders?confirm=settled", "`confirm` must be stored");
    check_refused("kafka://b/orders?ca=ca.pem", "write kafka+tls://");
    check_refused("kafka://b/orders?librdkafka.", "unknown parameter");
}

#[test]
fn user_and_password_go_together() {
    let uri: Uri = "kafka://seam@b/orders".parse().unwrap();
    let endpoint = Endpoint::resolve(&uri, &SCHEMES[0]).unwrap();
    assert!(native(&endpoint).unwrap_err().to_string().contains("go together"));
}
