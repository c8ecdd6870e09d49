//! Each rule broken on purpose must be noticed, and by the invariant that it is there for.

use seam_wire::{Mutant, with_mutant};

use super::{Broken, noticed};

/// In so many commands each one must be noticed.
const LIMIT: u64 = 100_000;

#[track_caller]
fn check_noticed(mutant: Mutant) {
    let failure = with_mutant(mutant, || noticed(Broken::Nothing, LIMIT));
    println!("{mutant:?}: {}", failure.unwrap_or_else(|| panic!("nothing notices {mutant:?}")));
}

#[track_caller]
fn check_noticed_here(broken: Broken) {
    let failure = noticed(broken, LIMIT);
    println!("{broken:?}: {}", failure.unwrap_or_else(|| panic!("nothing notices {broken:?}")));
}

#[test]
fn welcome_without_records_is_noticed() {
    check_noticed(Mutant::WelcomeWithoutRecords);
}

#[test]
fn record_forgotten_when_told_is_noticed() {
    check_noticed(Mutant::RecordForgottenWhenTold);
}

#[test]
fn told_kept_across_connections_is_noticed() {
    check_noticed(Mutant::ToldKeptAcrossConnections);
}

#[test]
fn seen_that_is_not_processed_is_noticed() {
    check_noticed(Mutant::SeenIsNext);
}

#[test]
fn seen_never_sent_is_noticed() {
    check_noticed(Mutant::SeenNeverSent);
}

#[test]
fn released_that_holds_the_watermark_is_noticed() {
    check_noticed(Mutant::ReleasedHoldsSettled);
}

#[test]
fn resend_under_the_old_number_is_noticed() {
    check_noticed(Mutant::ResendUnderOldNumber);
}

#[test]
fn outcome_applied_twice_is_noticed() {
    check_noticed(Mutant::OutcomeAppliedTwice);
}

#[test]
fn known_outcome_given_back_is_noticed() {
    check_noticed(Mutant::KnownGivenBack);
}

#[test]
fn ack_on_receipt_is_noticed() {
    check_noticed(Mutant::AckOnReceipt);
}

#[test]
fn resume_without_removal_of_duplicates_is_noticed() {
    check_noticed(Mutant::ResumeWithoutDedup);
}

#[test]
fn implicit_creation_is_noticed() {
    check_noticed(Mutant::ImplicitCreation);
}

#[test]
fn no_fencing_is_noticed() {
    check_noticed(Mutant::NoFencing);
}

#[test]
fn narrow_number_is_noticed() {
    check_noticed(Mutant::NarrowNumber);
}

#[test]
fn credit_by_count_only_is_noticed() {
    check_noticed(Mutant::CountOnly);
}

#[test]
fn fin_before_acked_is_noticed() {
    check_noticed(Mutant::FinBeforeAcked);
}

#[test]
fn resend_while_resumable_is_noticed() {
    check_noticed_here(Broken::ResendWhileResumable);
}

#[test]
fn resend_after_unknown_is_noticed() {
    check_noticed_here(Broken::ResendAfterUnknown);
}

#[test]
fn key_that_moves_is_noticed() {
    check_noticed_here(Broken::KeyMoves);
}

#[test]
fn delayed_one_forgotten_is_noticed() {
    check_noticed_here(Broken::DelayedForgotten);
}

#[test]
fn old_reader_that_stays_is_noticed() {
    check_noticed_here(Broken::OldReaderStays);
}
