//! `seam certs`, and what it makes at work.

use std::path::Path;

use seam_conformance::free_port;
use tempfile::TempDir;

use crate::process::{Running, run, seam};

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn three_commands_carry_lines_between_ends_that_prove_who_they_are() {
    let folder = TempDir::new().unwrap();
    let out = shown(&folder.path().join("certs"));
    let made = run(&["certs", "new", "--out", &out], b"");
    assert_eq!((made.code, made.complaint.as_str()), (Some(0), ""));
    let files = ["ca.pem", "ca.key", "server.pem", "server.key", "client.pem", "client.key"];
    let wanted: String = files.iter().map(|file| format!("{out}/{file}\n")).collect();
    assert_eq!(made.output, wanted);

    let at = format!("tls://localhost:{}/orders", free_port());
    let server = format!("{at}?cert={out}/server.pem&key={out}/server.key&client_ca={out}/ca.pem");
    let client = format!("{at}?ca={out}/ca.pem&cert={out}/client.pem&key={out}/client.key");
    let receiver = Running::start(seam(&["receive", &server, "--count", "3"]));
    let sent = run(&["send", &client], b"12 apples\n7 pears\n1 quince\n");
    let received = receiver.end();
    assert_eq!((sent.code, received.code), (Some(0), Some(0)), "{sent:?}");
    assert_eq!(received.output, "12 apples\n7 pears\n1 quince\n");
}

#[test]
fn who_shows_nothing_is_refused_in_one_line() {
    let folder = TempDir::new().unwrap();
    let out = shown(folder.path());
    run(&["certs", "new", "--out", &out], b"");
    let at = format!("tls://localhost:{}/orders", free_port());
    let server = format!("{at}?cert={out}/server.pem&key={out}/server.key&client_ca={out}/ca.pem");
    let receiver = Running::start(seam(&["receive", &server]));
    let sent = run(&["send", &format!("{at}?ca={out}/ca.pem")], b"12 apples\n");
    assert_eq!(sent.code, Some(1));
    let words = ["wants a certificate", "`cert=`"];
    assert!(words.iter().all(|word| sent.complaint.contains(word)), "{}", sent.complaint);
    assert_eq!(sent.complaint.lines().count(), 1, "{}", sent.complaint);
    drop(receiver);
}

#[test]
fn nothing_is_overwritten() {
    let folder = TempDir::new().unwrap();
    let out = shown(folder.path());
    run(&["certs", "new", "--out", &out], b"");
    let before = std::fs::read(folder.path().join("ca.pem")).unwrap();
    let again = run(&["certs", "new", "--out", &out], b"");
    assert_eq!(again.code, Some(1));
    assert!(again.complaint.contains("ca.pem is there already"), "{}", again.complaint);
    assert_eq!(std::fs::read(folder.path().join("ca.pem")).unwrap(), before);
}

#[test]
fn show_tells_whose_it_is_what_for_and_how_long() {
    let folder = TempDir::new().unwrap();
    let out = shown(folder.path());
    let hosts = ["--host", "shop.example", "--host", "10.0.0.7"];
    let made = ["certs", "new", "--out", &out, "--client", "spiffe://shop/till/7", "--days", "30"];
    run(&[&made[..], &hosts].concat(), b"");
    let files = ["ca.pem", "server.pem", "client.pem"].map(|file| format!("{out}/{file}"));
    let said = run(&["certs", "show", &files[0], &files[1], &files[2]], b"");
    assert_eq!((said.code, said.complaint.as_str()), (Some(0), ""));
    for wanted in [
        "\n  made for     signing others\n",
        "\n  names        dns:shop.example, ip:10.0.0.7\n",
        "\n  names        uri:spiffe://shop/till/7\n",
        "\n  made for     server\n",
        "\n  made for     client\n",
        ", 29 days left\n",
        "\n  fingerprint  sha256:",
    ] {
        assert!(said.output.contains(wanted), "{wanted}\n{}", said.output);
    }
    let said = run(&["certs", "show", "--json", &files[1]], b"");
    let found: serde_json::Value = serde_json::from_str(&said.output).unwrap();
    assert_eq!(found[0]["names"], serde_json::json!(["dns:shop.example", "ip:10.0.0.7"]));
}

#[test]
fn what_is_no_certificate_is_said_to_be_none() {
    let folder = TempDir::new().unwrap();
    let out = shown(folder.path());
    run(&["certs", "new", "--out", &out], b"");
    let cases = [
        (format!("{out}/server.key"), "holds no certificate"),
        (format!("{out}/none.pem"), "does not exist"),
        (out.clone(), "cannot be read"),
    ];
    for (file, word) in cases {
        let said = run(&["certs", "show", &file], b"");
        assert_eq!((said.code, said.output.as_str()), (Some(1), ""));
        assert!(
            said.complaint.contains(&file) && said.complaint.contains(word),
            "{}",
            said.complaint
        );
        assert_eq!(said.complaint.lines().count(), 1);
    }
    for wrong in [
        &["certs"][..],
        &["certs", "new"],
        &["certs", "show"],
        &["certs", "new", "--out", "x", "--days", "0"],
    ] {
        assert_eq!(run(wrong, b"").code, Some(2), "{wrong:?}");
    }
    let bad = run(&["certs", "new", "--out", &format!("{out}/new"), "--host", "sh\u{f6}p"], b"");
    assert_eq!(bad.code, Some(1));
    assert!(bad.complaint.contains("is no name of a certificate"), "{}", bad.complaint);
}
