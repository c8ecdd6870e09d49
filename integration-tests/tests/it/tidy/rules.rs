//! The rules, as pure functions.

use std::collections::BTreeSet;

use super::repository::{Crate, Repository};

/// Crates that move bytes and time only; whoever drives them brings sockets, clocks and tasks.
const PURE: [&str; 2] = ["seam-core", "seam-wire"];

/// The other crates that are no transport. Any crate that no list here names is one: it has the
/// same files as each other transport, is a feature of the facade, and has a page in `docs/`.
const LIBRARIES: [&str; 6] = [
    "seam-broker",
    "seam-certificates",
    "seam-channel",
    "seam-conformance",
    "seam-layers",
    "seam-link",
];

pub(super) const FACADE: &str = "seam-channel";

/// Who may lean on the facade: programs, which are nobody's dependency.
const TOP: [&str; 3] = ["seam-cli", "seam-examples", "integration-tests"];

/// Runtimes, sockets and native clients: a crate of one of these names, or of one that goes on
/// with a dash.
const IMPURE: [&str; 31] = [
    "amqprs",
    "async-executor",
    "async-io",
    "async-nats",
    "async-net",
    "async-rs",
    "async-std",
    "aws",
    "compio",
    "hyper",
    "lapin",
    "mio",
    "monoio",
    "native-tls",
    "openssl",
    "polling",
    "quiche",
    "quinn",
    "rdkafka",
    "reqwest",
    "ring",
    "rskafka",
    "rustix",
    "rustls",
    "s2n-quic",
    "sctp",
    "smol",
    "socket2",
    "tokio",
    "tonic",
    "webrtc",
];

/// What may lie at the root, files and folders.
const ROOT: [&str; 19] = [
    ".ci",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "clippy.toml",
    "crates",
    "deny.toml",
    "docker-compose.yml",
    "docs",
    "examples",
    "fuzz",
    "integration-tests",
    "rustfmt.toml",
];

/// What each transport crate has, so that knowing one is knowing all.
pub(super) const FILE_ROLES: [&str; 5] = [
    "src/lib.rs",
    "src/config.rs",
    "src/transport.rs",
    "tests/it/main.rs",
    "tests/it/conformance.rs",
];

pub(crate) fn pure_crates_stay_pure(repository: &Repository) -> Vec<String> {
    let pure = repository.crates.iter().filter(|c| PURE.contains(&&*c.name));
    pure.flat_map(|c| {
        let impure = c.reached.iter().filter(|name| is_impure(name));
        impure.map(|name| format!("{} must not reach {name}: it does no I/O", c.name))
    })
    .collect()
}

fn is_impure(name: &str) -> bool {
    let goes_on = |rest: &str| rest.is_empty() || rest.starts_with('-');
    IMPURE.iter().any(|impure| name.strip_prefix(impure).is_some_and(goes_on))
}

pub(crate) fn pure_crates_lean_on_core_alone(repository: &Repository) -> Vec<String> {
    let ours: BTreeSet<_> = repository.crates.iter().map(|c| &c.name).collect();
    let pure = repository.crates.iter().filter(|c| PURE.contains(&&*c.name));
    pure.flat_map(|c| {
        let wrong = c.reached.iter().filter(|name| ours.contains(name) && *name != "seam-core");
        wrong.map(|name| format!("{} must not lean on {name}", c.name))
    })
    .collect()
}

pub(crate) fn transports_stay_apart(repository: &Repository) -> Vec<String> {
    let transports = repository.crates.iter().filter(|c| transport(&c.name).is_some());
    transports
        .flat_map(|c| {
            let others = c.reached.iter().filter(|name| transport(name).is_some());
            others.map(|name| format!("{} must not lean on {name}; share in seam-link", c.name))
        })
        .collect()
}

/// The name of the transport that this crate is, which is its feature too.
fn transport(name: &str) -> Option<&str> {
    let other = PURE.contains(&name) || LIBRARIES.contains(&name) || TOP.contains(&name);
    name.strip_prefix("seam-").filter(|_| !other)
}

pub(crate) fn only_the_top_knows_the_facade(repository: &Repository) -> Vec<String> {
    let below = repository.crates.iter().filter(|c| !TOP.contains(&&*c.name));
    below
        .filter(|c| c.named.contains(FACADE))
        .map(|c| format!("{} must not lean on {FACADE}, which stands above it", c.name))
        .collect()
}

pub(crate) fn each_crate_has_its_place_and_name(repository: &Repository) -> Vec<String> {
    let complain = |c: &Crate| match (&*c.folder, &*c.name) {
        ("examples", "seam-examples") | ("integration-tests", "integration-tests") => None,
        (folder, name) if folder != format!("crates/{name}") => {
            Some(format!("{name} lies in {folder}; it belongs into crates/{name}"))
        }
        (_, name) if !name.starts_with("seam-") => {
            Some(format!("{name} is one of ours; its name begins with `seam-`"))
        }
        _ => None,
    };
    repository.crates.iter().filter_map(complain).collect()
}

pub(crate) fn each_crate_obeys_the_lints(repository: &Repository) -> Vec<String> {
    let disobeys = |c: &&Crate| {
        let manifest = repository.files.get(&format!("{}/Cargo.toml", c.folder));
        !manifest.is_some_and(|text| text.contains("[lints]\nworkspace = true"))
    };
    let lax = repository.crates.iter().filter(disobeys);
    lax.map(|c| format!("{} lacks `[lints] workspace = true`", c.name)).collect()
}

pub(crate) fn transports_have_the_same_files(repository: &Repository) -> Vec<String> {
    let transports = repository.crates.iter().filter(|c| transport(&c.name).is_some());
    transports
        .flat_map(|c| FILE_ROLES.map(|role| format!("{}/{role}", c.folder)))
        .filter(|path| !repository.files.contains_key(path))
        .map(|path| format!("{path} is missing; every transport crate has it"))
        .collect()
}

pub(crate) fn transports_are_announced(repository: &Repository) -> Vec<String> {
    let facade = repository.crates.iter().find(|c| c.name == FACADE);
    let readme = repository.files.get("README.md").map_or("", String::as_str);
    let mut complaints = Vec::new();
    for name in repository.crates.iter().filter_map(|c| transport(&c.name)) {
        if !facade.is_some_and(|facade| facade.features.contains(name)) {
            complaints.push(format!("{FACADE} has no feature {name}"));
        }
        if !repository.files.contains_key(&format!("docs/{name}.md")) {
            complaints.push(format!("docs/{name}.md is missing"));
        }
        if !readme.contains(&format!("{name}://")) {
            complaints.push(format!("README.md says nothing of {name}://"));
        }
    }
    complaints
}

pub(crate) fn no_stray_file_at_the_root(repository: &Repository) -> Vec<String> {
    let tops = repository.files.keys().map(|path| path.split('/').next().unwrap_or(path));
    let strays: BTreeSet<_> = tops.filter(|top| !ROOT.contains(top)).collect();
    strays.into_iter().map(|top| format!("{top} does not belong at the root")).collect()
}

pub(crate) fn no_unfinished_work(repository: &Repository) -> Vec<String> {
    // The last is a test that is skipped and does not say why.
    let markers = ["TODO", "FIXME", "XXX", "HACK", "todo!", "unimplemented!", "#[ignore]"];
    let is_word = |text: &str, start: usize, end: usize| {
        let alone = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        alone(text[..start].chars().next_back()) && alone(text[end..].chars().next())
    };
    places(repository, &markers, is_word)
}

pub(crate) fn no_machine_path(repository: &Repository) -> Vec<String> {
    let folders = ["/home/", "/root/", "/tmp/", "/work/", "/Users/"];
    // Within a longer path, or as the address of a URI such as unix:///tmp/seam.sock, it is none.
    let starts = |text: &str, start: usize, _| {
        let before = text[..start].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"/._-~}>)*".contains(c))
    };
    places(repository, &folders, starts)
}

/// Where in the files, but for those that list what is looked for, one of `needles` stands and `counts` says that it counts.
fn places(
    repository: &Repository,
    needles: &[&str],
    counts: impl Fn(&str, usize, usize) -> bool,
) -> Vec<String> {
    let mut complaints = Vec::new();
    let files = repository.files.iter().filter(|(path, _)| !path.starts_with(THIS_FOLDER));
    for (path, text) in files.filter(|(path, _)| !path.ends_with(".jsonl")) {
        for (line, text) in (1..).zip(text.lines()) {
            for needle in needles {
                let mut found = text.match_indices(needle);
                if found.any(|(start, _)| counts(text, start, start + needle.len())) {
                    complaints.push(format!("{path}:{line} holds {needle}"));
                }
            }
        }
    }
    complaints
}

/// Excepted from what no file may say, since it lists what that is.
const THIS_FOLDER: &str = "integration-tests/tests/it/tidy/";
