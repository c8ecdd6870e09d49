//! The line that fault tests print.

use std::time::Duration;

use integration_tests::{Figures, Scale};
use seam_conformance::ledger::{Ledger, Outcome, Stamp};

#[test]
fn a_line_holds_every_figure() {
    let ledger = Ledger::new();
    let stamp = Stamp::new("anna", "apples", 1);
    ledger.sent(&stamp);
    ledger.outcome(&stamp, Outcome::Receipted);
    let figures = Figures::new("E0 nothing", 7, ledger.check());
    let line = "E0 nothing seed 7 lost 1 reordered 0 dup 0 unexpected 0 recovery";
    assert_eq!(figures.to_string(), format!("{line} - rss -"));
    let figures = figures.with_recovery(Duration::from_millis(1_250)).with_rss(2 << 20);
    let figures = figures.with("cuts", 3);
    assert_eq!(figures.to_string(), format!("{line} 1.250 s rss 2048 KiB cuts 3"));
}

#[test]
fn a_scale_picks_its_own() {
    assert_eq!(Scale::Small.pick(1, 1_000), 1);
    assert_eq!(Scale::Full.pick(1, 1_000), 1_000);
}
