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
    let text = config(uri).map(|config| config.queue).unwrap_err().to_string();
    assert!(text.contains(complaint), "{text}");
    assert!(text.lines().count() == 1 && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_plain_uri_is_a_standard_queue_of_ones_own() {
    let config = config("sqs://eu-west-1/orders").unwrap();
    assert_eq!((config.queue.as_str(), config.region.as_str()), ("orders", "eu-west-1"));
    assert!(
        !config.is_fifo
            && !config.packs
            && config.declare
            && config.account.is_none()
            && config.url.is_none()
    );
    assert_eq!(config.visibility, Duration::from_secs(30));
    assert_eq!((config.polls, config.credit, config.credit_bytes), (10, 4096, 1 << 20));
    assert_eq!(config.least_message(), 256 << 10);
}

#[test]
fn an_emulator_is_called_at_its_host() {
    let config = config("sqs+http://key:hunter2@[::1]:4566/000000000000/orders.fifo").unwrap();
    assert_eq!(config.url.as_deref(), Some("http://[::1]:4566"));
    assert_eq!((config.region.as_str(), config.is_fifo), ("us-east-1", true));
    assert_eq!(config.account.as_deref(), Some("000000000000"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn what_is_given_counts() {
    let uri = "sqs+https://h/q.fifo?region=eu-central-1&visibility=2m&throughput=high&declare=no&polls=1&credit=7&max_message=1MiB";
    let config = config(uri).unwrap();
    assert_eq!(config.url.as_deref(), Some("https://h:443"));
    assert_eq!((config.region.as_str(), config.polls, config.credit), ("eu-central-1", 1, 7));
    assert_eq!(config.visibility, Duration::from_secs(120));
    assert!(config.is_visibility_given && config.is_throughput_high && !config.declare);
    assert_eq!(config.least_message(), 1 << 20);
}

#[test]
fn limits_leave_room_for_base64() {
    let standard = config("sqs://r/q").unwrap();
    let limits = standard.limits(1 << 20);
    assert!(limits.payload.div_ceil(3) * 4 + MARK_BYTES <= 1 << 20, "{}", limits.payload);
    assert_eq!(limits.schedule, Duration::from_secs(900));
    assert_eq!(limits.delay, Duration::from_secs(12 * 3600));
    assert_eq!(config("sqs://r/q.fifo").unwrap().limits(1 << 20).schedule, Duration::ZERO);
}

#[test]
fn names_that_sqs_forbids_are_refused() {
    let most = "q".repeat(80);
    assert!(config(&format!("sqs://r/{most}")).is_ok());
    for name in ["a.b", "a%20b", "a%2Fb", "%C3%A4", ".fifo", "a.fifo.fifo", &format!("{most}q")] {
        check_refused(&format!("sqs://r/{name}"), "is no name of a queue");
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    check_refused("sqs://r/q?throughput=high", "FIFO");
    check_refused("sqs://key:hunter2@eu-west-1/q", "AWS_ACCESS_KEY_ID");
    check_refused("sqs://localhost:4566/q", "sqs+http://");
    check_refused("sqs+http://a,b/q", "one host");
    check_refused("sqs+http://key@h/q", "need each other");
    check_refused("sqs+http://h/q?ca=x", "sqs+https://");
    check_refused("sqs://r/12/q", "twelve digits");
    check_refused("sqs://r/q?region=eu-west-1", "region");
    check_refused("sqs://r/q?visibility=1s", "3s to 12h");
    check_refused("sqs://r/q?visibility=3500ms", "whole seconds");
    check_refused("sqs://r/q?visibility=13h", "3s to 12h");
    check_refused("sqs://r/q?max_message=2MiB", "1MiB");
    check_refused("sqs://r/q?role=dial", "no use");
    check_refused("sqs://r/q.fifo?pack=true", "standard queues");
}
