//! What is wrong is told in one clear line by the right error.

use std::time::Duration;

use seam_core::{Error, Registry, Side};
use seam_unix::Unix;
use tempfile::TempDir;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

fn registry() -> Registry {
    Registry::new().with(Unix::new())
}

#[track_caller]
fn assert_tells(error: &Error, words: &[&str]) {
    let line = error.to_string();
    assert!(!line.contains('\n'), "more than a line: {line}");
    for word in words {
        assert!(line.contains(word), "nothing of `{word}` in: {line}");
    }
}

#[tokio::test]
async fn nobody_who_listens_is_told_and_may_come_later() {
    let folder = TempDir::new().unwrap();
    let uri = format!("unix://{}/s.sock?address=a&connect_timeout=1s", folder.path().display());
    let refused = timeout(PATIENCE, registry().client(&*uri)).await.unwrap().unwrap_err();
    assert_tells(&refused, &["nobody listens at", "s.sock", "is the server started?"]);
    assert!(refused.is_retryable());
}

#[test]
fn a_path_that_is_too_long_is_told_before_anything_is_opened() {
    let uri = format!("unix:///{}?address=a", "x".repeat(200));
    let refused = registry().check(&*uri, Side::Server).unwrap_err();
    assert!(matches!(refused, Error::InvalidEndpoint { .. }));
    assert_tells(&refused, &["201 bytes", "a shorter one"]);
}

#[test]
fn what_is_no_path_address_or_mode_is_told() {
    for (uri, words) in [
        ("unix://run/s.sock?address=a", &["absolute path"][..]),
        ("unix:///run/s.sock", &["address"]),
        ("unix:///run/s.sock?address=a&mode=rw", &["mode=rw", "octal"]),
        ("unix:///run/s.sock?address=a&nagle", &["nagle"]),
    ] {
        let refused = registry().check(uri, Side::Server).unwrap_err();
        assert!(matches!(refused, Error::InvalidEndpoint { .. }), "{refused}");
        assert_tells(&refused, words);
    }
}

#[tokio::test]
async fn a_directory_that_is_missing_is_told() {
    let folder = TempDir::new().unwrap();
    let uri = format!("unix://{}/nowhere/s.sock?address=a", folder.path().display());
    let refused = timeout(PATIENCE, registry().server(&*uri)).await.unwrap().unwrap_err();
    assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
    assert_tells(&refused, &["the directory of", "create it"]);
}
