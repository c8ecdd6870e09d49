//! The reference passes, and the suite is as large and as named as it says.

use std::collections::HashSet;

use seam_conformance::{Options, Verdict, behaviours, run};
use seam_core::{Memory, Registry, VirtualClock};

#[test]
fn memory_passes_under_virtual_time() {
    let clock = VirtualClock::new();
    let registry = Registry::new().with(Memory::new()).with_clock(clock.clone());
    let options = Options::new(move |run| clock.block_on(run));
    let report = run(&registry, "memory://conformance", &options);
    assert!(report.is_passed(), "{report}");
    let left_out: Vec<_> = report
        .results()
        .filter(|(_, verdict)| matches!(verdict, Verdict::NotApplicable(_)))
        .map(|(name, _)| name)
        .collect();
    let without_options =
        ["nothing_lives_on_after_the_last_handle", "a_restart_of_the_broker_loses_nothing"];
    assert_eq!(left_out, without_options);
}

#[test]
fn every_behaviour_has_a_name_of_its_own() {
    let names: Vec<_> = behaviours().collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    assert!(names.len() >= 70, "{}", names.len());
}

#[test]
fn a_transport_that_cannot_be_opened_fails_everything() {
    let clock = VirtualClock::new();
    let registry = Registry::new().with_clock(clock.clone());
    let options = Options::new(move |run| clock.block_on(run));
    let report = run(&registry, "memory://conformance", &options);
    assert!(report.results().all(|(_, verdict)| *verdict != Verdict::Passed), "{report}");
}
