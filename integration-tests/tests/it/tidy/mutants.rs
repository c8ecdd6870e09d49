//! A repository that keeps every rule, and each way to break one.

use std::collections::BTreeSet;

use super::Rule;
use super::repository::{Crate, Repository};
use super::rules::*;

/// A repository that keeps every rule.
fn tidy() -> Repository {
    let mut repository = Repository::default();
    for (name, reached) in [
        ("seam-core", &["bytes"][..]),
        ("seam-wire", &["seam-core", "bytes"]),
        ("seam-link", &["seam-core", "seam-wire", "tokio"]),
        ("seam-tcp", &["seam-core", "seam-link", "tokio"]),
        ("seam-tls", &["seam-core", "seam-link", "tokio", "rustls"]),
        ("seam-channel", &["seam-core", "seam-tcp", "seam-tls", "tokio"]),
    ] {
        add(&mut repository, name, &format!("crates/{name}"), reached);
    }
    add(&mut repository, "seam-examples", "examples", &["seam-channel"]);
    add(&mut repository, "integration-tests", "integration-tests", &["seam-channel"]);
    for crate_folder in ["crates/seam-tcp", "crates/seam-tls"] {
        for role in FILE_ROLES {
            write(&mut repository, &format!("{crate_folder}/{role}"), "");
        }
    }
    of(&mut repository, FACADE).features = ["tcp", "tls"].map(str::to_owned).into();
    write(&mut repository, "docs/tcp.md", "");
    write(&mut repository, "docs/tls.md", "");
    write(&mut repository, "README.md", "tcp://host:1/a tls://host:1/a unix:///tmp/seam.sock");
    repository
}

fn add(repository: &mut Repository, name: &str, folder: &str, reached: &[&str]) {
    let reached: BTreeSet<String> = reached.iter().map(|name| (*name).to_owned()).collect();
    write(repository, &format!("{folder}/Cargo.toml"), "[lints]\nworkspace = true\n");
    repository.crates.push(Crate {
        name: name.to_owned(),
        folder: folder.to_owned(),
        features: BTreeSet::new(),
        named: reached.clone(),
        reached,
    });
}

fn write(repository: &mut Repository, path: &str, text: &str) {
    repository.files.insert(path.to_owned(), text.to_owned());
}

fn of<'a>(repository: &'a mut Repository, name: &str) -> &'a mut Crate {
    repository.crates.iter_mut().find(|c| c.name == name).expect("it is one of them")
}

fn reach(repository: &mut Repository, from: &str, to: &str) {
    of(repository, from).reached.insert(to.to_owned());
}

type Mutation = fn(&mut Repository);

/// Each rule, a way to break it, and what it must then say.
const MUTANTS: [(Rule, Mutation, &str); 26] = [
    (pure_crates_stay_pure, |r| reach(r, "seam-core", "tokio"), "reach tokio"),
    (pure_crates_stay_pure, |r| reach(r, "seam-core", "tokio-util"), "reach tokio-util"),
    (pure_crates_stay_pure, |r| reach(r, "seam-core", "async-std"), "reach async-std"),
    (pure_crates_stay_pure, |r| reach(r, "seam-wire", "socket2"), "reach socket2"),
    (pure_crates_stay_pure, |r| reach(r, "seam-wire", "aws-sdk-sqs"), "reach aws-sdk-sqs"),
    (pure_crates_stay_pure, |r| reach(r, "seam-wire", "rdkafka"), "reach rdkafka"),
    (
        pure_crates_lean_on_core_alone,
        |r| reach(r, "seam-wire", "seam-link"),
        "seam-wire must not lean on seam-link",
    ),
    (
        pure_crates_lean_on_core_alone,
        |r| reach(r, "seam-core", "seam-wire"),
        "seam-core must not lean on seam-wire",
    ),
    (
        transports_stay_apart,
        |r| reach(r, "seam-tls", "seam-tcp"),
        "seam-tls must not lean on seam-tcp",
    ),
    (
        only_the_top_knows_the_facade,
        |r| of(r, "seam-tcp").named.extend([FACADE.to_owned()]),
        "seam-tcp must not lean on seam-channel",
    ),
    (
        each_crate_has_its_place_and_name,
        |r| of(r, "seam-tls").folder = "crates/tls".to_owned(),
        "seam-tls lies in crates/tls",
    ),
    (
        each_crate_has_its_place_and_name,
        |r| add(r, "pigeon", "crates/pigeon", &[]),
        "pigeon is one of ours",
    ),
    (
        each_crate_obeys_the_lints,
        |r| write(r, "crates/seam-tcp/Cargo.toml", "[package]\n"),
        "seam-tcp lacks",
    ),
    (
        transports_have_the_same_files,
        |r| drop(r.files.remove("crates/seam-tcp/src/config.rs")),
        "crates/seam-tcp/src/config.rs is missing",
    ),
    (
        transports_have_the_same_files,
        |r| {
            add(r, "seam-pigeon", "crates/seam-pigeon", &[]);
            FILE_ROLES[1..]
                .iter()
                .for_each(|role| write(r, &format!("crates/seam-pigeon/{role}"), ""));
        },
        "crates/seam-pigeon/src/lib.rs is missing",
    ),
    (
        transports_have_the_same_files,
        |r| drop(r.files.remove("crates/seam-tls/tests/it/conformance.rs")),
        "crates/seam-tls/tests/it/conformance.rs is missing",
    ),
    (
        transports_are_announced,
        |r| of(r, FACADE).features.retain(|feature| feature != "tcp"),
        "seam-channel has no feature tcp",
    ),
    (transports_are_announced, |r| drop(r.files.remove("docs/tls.md")), "docs/tls.md is missing"),
    (
        transports_are_announced,
        |r| write(r, "README.md", "tls://"),
        "README.md says nothing of tcp://",
    ),
    (no_stray_file_at_the_root, |r| write(r, "notes.txt", ""), "notes.txt does not belong"),
    (no_stray_file_at_the_root, |r| write(r, "src/lib.rs", ""), "src does not belong"),
    (
        no_unfinished_work,
        |r| write(r, "docs/tcp.md", "fine\n// TODO: more"),
        "docs/tcp.md:2 holds TODO",
    ),
    (no_unfinished_work, |r| write(r, "docs/tcp.md", "todo!()"), "holds todo!"),
    (no_unfinished_work, |r| write(r, "docs/tcp.md", "#[ignore]"), "holds #[ignore]"),
    (no_machine_path, |r| write(r, "docs/tcp.md", "see /root/x"), "docs/tcp.md:1 holds /root/"),
    (no_machine_path, |r| write(r, "docs/tcp.md", "\"/tmp/x\""), "holds /tmp/"),
];

#[test]
fn no_rule_complains_of_a_tidy_repository() {
    for (rule, _, complaint) in MUTANTS {
        assert_eq!(rule(&tidy()), [""; 0], "where {complaint} is looked for");
    }
}

#[test]
fn each_rule_sees_what_breaks_it() {
    for (rule, mutate, complaint) in MUTANTS {
        let mut repository = tidy();
        mutate(&mut repository);
        let complaints = rule(&repository);
        let [told] = &complaints[..] else {
            panic!("{complaint} is to be the only complaint, not {complaints:?}");
        };
        assert!(told.contains(complaint), "{told}");
    }
}

#[test]
fn words_that_only_look_like_markers_or_paths_are_left_alone() {
    let mut repository = tidy();
    write(&mut repository, "docs/tcp.md", "MASTODON todos crates/work/x host/tmp/ XXXL");
    assert_eq!(no_unfinished_work(&repository), [""; 0]);
    assert_eq!(no_machine_path(&repository), [""; 0]);
}
