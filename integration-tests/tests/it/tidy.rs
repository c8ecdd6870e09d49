//! The house rules that no compiler holds: which crate may lean on which, where files stand, what
//! no file may say. Each rule is a function from the repository to its complaints, and each is
//! shown a repository that breaks it, so that no rule can fall asleep.

mod mutants;
mod repository;
mod rules;

use repository::Repository;

/// A rule gives one line for each place where it is broken.
type Rule = fn(&Repository) -> Vec<String>;

#[track_caller]
fn check_kept(rule: Rule) {
    let complaints = rule(&Repository::read());
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn core_and_wire_know_no_runtime_socket_or_native_client() {
    check_kept(rules::pure_crates_stay_pure);
}

#[test]
fn core_and_wire_lean_on_nothing_of_ours_but_core() {
    check_kept(rules::pure_crates_lean_on_core_alone);
}

#[test]
fn no_transport_knows_another() {
    check_kept(rules::transports_stay_apart);
}

#[test]
fn only_the_top_knows_the_facade() {
    check_kept(rules::only_the_top_knows_the_facade);
}

#[test]
fn each_crate_has_its_place_and_name() {
    check_kept(rules::each_crate_has_its_place_and_name);
}

#[test]
fn each_crate_obeys_the_lints_of_the_workspace() {
    check_kept(rules::each_crate_obeys_the_lints);
}

#[test]
fn transport_crates_have_the_same_file_roles() {
    check_kept(rules::transports_have_the_same_files);
}

#[test]
fn each_transport_is_a_feature_and_has_its_page() {
    check_kept(rules::transports_are_announced);
}

#[test]
fn no_stray_file_lies_at_the_root() {
    check_kept(rules::no_stray_file_at_the_root);
}

#[test]
fn no_file_holds_a_marker_of_unfinished_work() {
    check_kept(rules::no_unfinished_work);
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    check_kept(rules::no_machine_path);
}

/// Else the rules could hold because there is nothing to look at.
#[test]
fn the_repository_that_is_read_is_this_one() {
    let repository = Repository::read();
    let core = repository.crates.iter().find(|c| c.name == "seam-core").unwrap();
    assert_eq!(core.folder, "crates/seam-core");
    assert!(core.reached.contains("bytes") && core.named.contains("proptest"));
    assert!(!core.reached.contains("proptest"), "what only its tests need does not come with it");
    assert!(repository.files["Cargo.toml"].contains("[workspace]"));
}
