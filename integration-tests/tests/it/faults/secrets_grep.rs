//! E24: whatever happens, no secret is in anything that is printed, at any level.

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;
use std::time::Duration;

use integration_tests::actors::Role;
use integration_tests::{Figures, seed};
use seam_conformance::ledger::Report;
use tempfile::TempDir;
use tokio::time::timeout;

use super::stage::{Stage, actor, free_address, patience};

/// Secrets, each in a place of its own, and the URIs that have them.
pub(super) struct Secrets {
    seed: u64,
    folder: TempDir,
    /// Each secret, by the place it was given in.
    all: BTreeMap<String, String>,
    pub(super) uris: Vec<String>,
    /// What the environment of the process has.
    environment: BTreeMap<String, String>,
}

impl Secrets {
    pub(super) fn new(seed: u64) -> Self {
        let environment = [("SEAM_TEST_SECRET".to_owned(), "q999hunter2".to_owned())].into();
        let folder = tempfile::tempdir().unwrap();
        Self { seed, folder, all: BTreeMap::new(), uris: Vec::new(), environment }
    }

    /// Adds a URI with a secret in place of `$`; the secret.
    pub(super) fn text(&mut self, uri: &str) -> String {
        let secret = self.secret(uri);
        self.uris.push(uri.replace('$', &secret));
        secret
    }

    /// Adds a URI in which such a secret stands already.
    #[cfg(any(feature = "rabbitmq", feature = "sqs"))]
    pub(super) fn again(&mut self, uri: &str) {
        self.uris.push(uri.to_owned());
    }

    /// Adds a URI with the path of a file in place of `$`, which holds a secret.
    pub(super) fn file(&mut self, uri: &str) {
        let secret = self.secret(uri);
        let path = self.folder.path().join(&secret[..8]);
        fs::write(&path, format!("{secret}\n")).unwrap();
        let path = path.to_str().unwrap().replace('/', "%2F");
        self.uris.push(uri.replace('$', &path));
    }

    /// Sets a variable of the environment to a secret.
    #[cfg(feature = "sqs")]
    pub(super) fn environment(&mut self, name: &str) {
        let secret = self.secret(name);
        self.environment.insert(name.to_owned(), secret);
    }

    /// Sets a variable of the environment to what is no secret.
    #[cfg(feature = "sqs")]
    pub(super) fn plain(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// One that nothing else holds, by chance, not even as a part.
    fn secret(&mut self, place: &str) -> String {
        let number = self.all.len();
        let secret = format!("q{number:03}{:08x}hunter2", self.seed & 0xffff_ffff);
        self.all.insert(place.to_owned(), secret.clone());
        secret
    }

    /// Has a process open all of them and tell everything, and looks through what it prints, which it gives.
    pub(super) async fn check(self, case: &'static str) -> String {
        let mut actor = actor();
        actor.arg(serde_json::to_string(&Role::Confess(self.uris.clone())).unwrap());
        actor.envs(&self.environment).kill_on_drop(true);
        let ended = timeout(patience() + Duration::from_secs(60), actor.output()).await;
        let Output { status, stdout, stderr } = ended.expect("it comes to an end").unwrap();
        let said = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
        assert!(status.success() && !said.contains("panicked"), "{said}");
        let told = said.matches("refused: ").count();
        let places = self.all.iter();
        // The first letters would give it away nearly as well.
        let leaks: Vec<_> = places
            .filter(|(_, secret)| said.contains(&secret[..12]) || said.contains(&bytes(secret)))
            .map(|(place, _)| place)
            .collect();
        let lines: Vec<_> = said.lines().filter(|line| is_leak(line)).collect();
        Figures::new(case, self.seed, Report::default())
            .with("secrets", self.all.len())
            .with("bytes", said.len())
            .with("refusals", told)
            .with("hits", leaks.len().max(lines.len()))
            .print();
        assert!(leaks.is_empty() && lines.is_empty(), "{leaks:#?} in {lines:#?}");
        assert!(told >= self.uris.len() / 2, "it tells what was refused: {said}");
        said
    }
}

/// Whether a line holds a part that all secrets have, or what somebody signed: who has that can ask the same again, and a
/// key that is weak can be found by it.
fn is_leak(line: &str) -> bool {
    let mut parts = line.split("ignature");
    parts.next();
    let is_digit = |c: char| c.is_ascii_hexdigit();
    let is_signed = |part: &str| {
        let digits = part.trim_start_matches(|c| !is_digit(c));
        part.len() - digits.len() <= 4 && digits.chars().take_while(|c| is_digit(*c)).count() >= 64
    };
    line.contains("hunter2") || parts.any(is_signed)
}

/// The first letters as the `Debug` of bytes has them.
fn bytes(secret: &str) -> String {
    let bytes = format!("{:?}", &secret.as_bytes()[..12]);
    bytes.trim_matches(['[', ']']).to_owned()
}

#[test]
fn a_signature_is_a_leak_and_its_name_is_none() {
    let signed = "7d".repeat(32);
    assert!(is_leak(&format!("AWS4-HMAC-SHA256 SignedHeaders=host, Signature={signed}")));
    assert!(is_leak(&format!("signature: \"{signed}\"")));
    assert!(!is_leak(&format!("signature_location: Headers, hash of the body {signed}")));
}

#[tokio::test]
async fn secrets_grep() {
    let (_stage, mut secrets) = (Stage::new().await, Secrets::new(seed()));
    for (end, role) in [("0.0.0.0:0", "?role=listen&"), ("127.0.0.1:1", "?role=dial&")] {
        secrets.file(&format!("tcp://{end}/load{role}token_file=$&connect_timeout=500ms"));
    }
    let here = free_address();
    secrets.file(&format!("tcp://{here}/load?token_file=$&connect_timeout=1s"));
    for wrong in [
        "tcp://anna:$@127.0.0.1:1/load?connect_timeout=500ms",
        "tpc://anna:$@127.0.0.1:1/load",
        "tcp://anna:$@127.0.0.1:port/load",
        "tcp://anna:$@127.0.0.1:1/load?nothing=1",
        "memory://load?dead_letter=tcp%3A%2F%2Fanna%3A$%40127.0.0.1%3A1%2Fload",
        "memory://load?dead_letter=tpc%3A%2F%2Fanna%3A$%40127.0.0.1%3A1%2Fload",
    ] {
        secrets.text(wrong);
    }
    secrets.check("E24 secrets_grep").await;
}
