//! Each broken transport is caught by the behaviour that is named for its fault; without the fault, and on
//! plain memory, that behaviour passes.

use seam_conformance::{Options, Subject, Verdict, check};
use seam_core::driver::Transport;
use seam_core::{Memory, Registry, VirtualClock};
use tokio::runtime::{Builder, Handle};

use crate::broken::{Broken, Fault};

/// One test for each fault, named for it.
macro_rules! mutants {
    ($($test:ident: $fault:ident => $behaviour:ident;)*) => {
        $(
            #[test]
            fn $test() {
                caught(Fault::$fault, stringify!($behaviour));
            }
        )*
    };
}

mutants! {
    losing_one_in_a_hundred: LosesOneInAHundred => a_thousand_datagrams_are_neither_lost_nor_doubled;
    duplicating_one_in_a_hundred: DuplicatesOneInAHundred => a_thousand_datagrams_are_neither_lost_nor_doubled;
    removing_equal_bodies: RemovesEqualBodies => equal_bodies_are_different_datagrams;
    corrupting_a_body: CorruptsABody => everything_arrives_once_as_it_was_sent;
    reordering_a_key: ReordersAKey => a_key_keeps_its_order;
    acking_what_is_dropped: AcksOnDrop => a_dropped_delivery_comes_again;
    swallowing_a_header: SwallowsAHeader => headers_keep_their_order_and_duplicates;
    stamping_a_field: StampsAField => a_field_left_empty_arrives_empty;
    turning_empty_into_none: TurnsEmptyIntoNone => an_empty_payload_differs_from_none;
    claiming_a_capability: ClaimsToStore => what_is_kept_survives_without_a_receiver;
    denying_a_capability_that_works: DeniesRepliesAndGivesThem => each_missing_capability_is_refused;
    saying_not_sent_of_what_was_sent: SaysNotSentOfWhatWasSent => what_came_back_as_not_sent_never_arrives;
    delivering_after_expiry: DeliversAfterExpiry => what_has_expired_is_never_delivered;
    delivering_before_its_time: DeliversBeforeItsTime => what_is_scheduled_waits_for_its_time;
    leaking_a_task: LeaksATask => nothing_lives_on_after_the_last_handle;
    ignoring_the_deadline_of_drain: IgnoresTheDeadlineOfDrain => a_drain_ends_at_its_deadline;
    forgetting_what_a_drain_left: ForgetsWhatADrainLeft => a_drain_accounts_for_every_datagram;
    losing_a_cancelled_receive: LosesACancelledReceive => a_dropped_receive_loses_nothing;
    ignoring_the_delay_of_a_retry: IgnoresTheDelayOfARetry => a_retry_waits_its_delay;
    not_counting_attempts: DoesNotCountAttempts => attempts_are_counted;
    sharing_one_group_among_all: SharesOneGroupAmongAll => each_group_gets_every_datagram;
    giving_each_receiver_a_group: GivesEachReceiverAGroup => without_a_name_all_receivers_are_one_group;
    ignoring_credit: IgnoresCredit => no_more_is_in_hand_than_the_credit;
    dropping_on_overload: DropsOnOverload => a_slow_receiver_loses_nothing;
    receipting_before_it_is_admitted: ReceiptsBeforeAdmission => dropping_the_last_handle_answers_who_waits;
    replying_to_another_request: RepliesToAnotherRequest => requests_at_once_get_their_own_replies;
    refilling_more_than_asked: RefillsMoreThanAsked => a_refill_holds_no_more_than_was_asked;
    letting_everybody_in: LetsEverybodyIn => a_peer_that_is_refused_gets_nowhere;
    hiding_the_peer: HidesThePeer => each_peer_is_a_connection_of_its_own;
}

#[track_caller]
fn caught(fault: Fault, behaviour: &str) {
    let plain = verdict(Memory::new(), fault, behaviour);
    assert_eq!(plain, Verdict::Passed, "plain memory");
    let honest = verdict(Broken::new(fault, false), fault, behaviour);
    assert_eq!(honest, Verdict::Passed, "the wrapper without its fault");
    let broken = verdict(Broken::new(fault, true), fault, behaviour);
    assert!(matches!(broken, Verdict::Failed(_)), "not caught: {broken:?}");
}

/// Virtual time, so that what never comes is known at once; but tasks need a runtime.
fn verdict(transport: impl Transport, fault: Fault, behaviour: &str) -> Verdict {
    let registry = Registry::new().with(transport);
    let subject = if fault == Fault::LeaksATask {
        let options = Options::new(|run| {
            Builder::new_current_thread().build().unwrap().block_on(run);
        })
        .with_live_tasks(|| Handle::current().metrics().num_alive_tasks())
        .with_patience(0.1);
        Subject::new(registry, "memory://mutant", options)
    } else {
        let clock = VirtualClock::new();
        let registry = registry.with_clock(clock.clone());
        let options = Options::new(move |run| clock.block_on(run));
        Subject::new(registry, "memory://mutant", options)
    };
    check(behaviour, &subject)
}
