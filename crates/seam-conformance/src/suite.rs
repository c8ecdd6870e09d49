//! Every behaviour by name, and what runs them.

mod backpressure;
mod cancelling;
mod capabilities;
mod closing;
mod dead_letters;
mod deadlines;
mod envelope;
mod events;
mod groups;
mod leases;
mod order;
mod peers;
mod receiving;
mod requests;
mod schedule;
mod sending;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use seam_core::Registry;

use crate::bench::Bench;
use crate::options::{Options, Subject};
use crate::report::{Check, Report, Verdict};

type Running<'a> = Pin<Box<dyn Future<Output = Check> + Send + 'a>>;

struct Behaviour {
    name: &'static str,
    run: for<'a> fn(&'a Bench<'a>) -> Running<'a>,
}

/// Runs every behaviour, one after the other, on the transport of `registry` that answers to `uri`.
///
/// ```
/// use seam_conformance::{Options, run};
/// use seam_core::{Memory, Registry, VirtualClock};
///
/// let clock = VirtualClock::new();
/// let registry = Registry::new().with(Memory::new()).with_clock(clock.clone());
/// let options = Options::new(move |run| clock.block_on(run));
/// let report = run(&registry, "memory://conformance", &options);
/// assert!(report.is_passed(), "{report}");
/// ```
#[must_use]
pub fn run(registry: &Registry, uri: &str, options: &Options) -> Report {
    let subject = Subject::new(registry.clone(), uri, options.clone());
    let mut report = Report::default();
    for behaviour in BEHAVIOURS {
        report.add(behaviour.name, verdict(behaviour, &subject));
    }
    report
}

/// Runs the behaviour of this name; what [`conformance!`](crate::conformance) calls in each test.
///
/// # Panics
///
/// If there is no such behaviour.
#[must_use]
pub fn check(name: &str, subject: &Subject) -> Verdict {
    let behaviour = BEHAVIOURS.iter().find(|behaviour| behaviour.name == name);
    verdict(behaviour.unwrap_or_else(|| panic!("no behaviour is named `{name}`")), subject)
}

/// The name of every behaviour, in the order in which they run.
pub fn behaviours() -> impl Iterator<Item = &'static str> {
    BEHAVIOURS.iter().map(|behaviour| behaviour.name)
}

/// A transport that panics has failed, and the next behaviour runs all the same.
fn verdict(behaviour: &Behaviour, subject: &Subject) -> Verdict {
    let mut verdict = Verdict::Failed("it was not run to its end by `block_on`".to_owned());
    let running = AssertUnwindSafe(|| {
        let verdict = &mut verdict;
        (subject.options.block_on)(Box::pin(async move {
            let bench = Bench::new(subject);
            let outcome = (behaviour.run)(&bench).await;
            let cleaned = bench.clean_up().await;
            *verdict = outcome.and(cleaned).into();
        }));
    });
    match catch_unwind(running) {
        Ok(()) => verdict,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Verdict::Failed(format!("it panicked: {}", text.unwrap_or("without a text")))
        }
    }
}

/// Lists the behaviours once: for `run`, and for the macro that makes a test of each.
macro_rules! suite {
    (($d:tt) $($module:ident { $($name:ident,)* })*) => {
        static BEHAVIOURS: &[Behaviour] = &[$($(Behaviour {
            name: stringify!($name),
            run: |bench| Box::pin($module::$name(bench)),
        },)*)*];

        /// One `#[test]` for each behaviour, in a module for each heading of the contract.
        ///
        /// Takes an expression that makes a fresh [`Subject`](crate::Subject) for each test. A behaviour that
        /// fails panics with its reason; one that is not applicable prints why. `ignore = "why"` behind it has
        /// them reported as ignored unless they are asked for, as tests are that need a broker.
        #[macro_export]
        macro_rules! conformance {
            ($d subject:expr $d(, ignore = $d why:literal)?) => {
                $(
                    #[allow(missing_docs)]
                    mod $module {
                        $(
                            #[test]
                            $d(#[ignore = $d why])?
                            fn $name() {
                                #[allow(unused_imports)]
                                use super::*;
                                $crate::assert_holds(stringify!($name), &$d subject);
                            }
                        )*
                    }
                )*
            };
        }
    };
}

/// Fails the test that calls it where the behaviour of this name does; prints why it is not applicable.
///
/// # Panics
///
/// If the behaviour fails.
#[doc(hidden)]
#[track_caller]
pub fn assert_holds(name: &str, subject: &Subject) {
    match check(name, subject) {
        Verdict::Passed => {}
        Verdict::Failed(why) => panic!("{name}: {why}"),
        Verdict::NotApplicable(why) => eprintln!("not applicable: {name}: {why}"),
    }
}

suite! {
    ($)
    sending {
        everything_arrives_once_as_it_was_sent,
        a_thousand_datagrams_are_neither_lost_nor_doubled,
        a_receipt_has_the_declared_confirmation,
        a_receipt_means_that_it_arrives,
        a_batch_has_an_answer_for_each_datagram,
        several_tickets_may_be_open,
        a_ticket_answers_once,
        too_large_a_payload_fails_alone,
        the_largest_payload_arrives,
        what_is_fed_goes_out_with_one_flush,
        a_stream_is_sent_to_its_end,
        clones_of_a_sender_have_their_own_pending,
        many_senders_at_once_lose_nothing,
        equal_bodies_are_different_datagrams,
        addresses_do_not_mix,
        many_addresses_at_once_are_each_complete,
    }
    deadlines {
        without_a_receiver_it_is_kept_or_comes_back,
        a_flush_gives_back_what_it_could_not_send,
        what_came_back_as_not_sent_never_arrives,
        withdrawing_answers_for_each_datagram,
        what_is_given_back_in_doubt_is_counted,
    }
    cancelling {
        a_dropped_receive_loses_nothing,
        a_dropped_batch_receive_loses_nothing,
        a_dropped_send_is_whole_or_nothing,
        a_dropped_admission_leaves_the_rest_in_its_batch,
        a_dropped_wait_for_receipts_keeps_the_ticket,
        a_dropped_opening_leaves_nothing_behind,
        a_dropped_drain_can_be_called_again,
        a_dropped_batch_comes_again,
    }
    receiving {
        deliveries_are_lent_and_settled_together,
        a_refill_holds_no_more_than_was_asked,
        each_lent_delivery_is_settled_on_its_own,
        a_dropped_delivery_comes_again,
        a_dropped_delivery_is_counted_and_no_ack,
        a_retried_delivery_comes_again,
        a_lent_delivery_can_be_retried,
        a_retry_waits_its_delay,
        a_delayed_retry_does_not_hold_up_others,
        a_delay_over_the_limit_is_refused,
        attempts_are_counted,
        attempts_survive_their_receiver,
        an_acknowledged_delivery_does_not_come_again,
        a_discarded_delivery_does_not_come_again,
        settlements_are_confirmed,
        a_duty_settles_without_its_datagram,
        deliveries_may_be_settled_in_any_order,
        a_paused_receiver_hands_out_nothing,
        the_first_failures_come_again_among_others,
        receivers_of_a_connection_compete,
        a_stream_of_deliveries_ends_with_the_receiver,
    }
    leases {
        a_lease_is_current_while_its_connection_lives,
        deliveries_outlive_their_receiver,
        a_drain_that_does_not_wait_ends_the_lease,
        leases_of_a_dropped_receiver_end_with_the_connection,
        a_dropped_connection_hands_its_deliveries_on,
        what_a_drain_leaves_goes_to_somebody_else,
        a_late_settlement_is_counted,
    }
    order {
        a_key_keeps_its_order,
        a_key_keeps_its_order_with_several_receivers,
        a_sender_without_keys_keeps_its_order,
        calls_at_once_keep_the_order_of_their_first_poll,
        a_call_that_waits_holds_back_later_ones,
        nothing_of_a_key_overtakes_a_failure,
    }
    envelope {
        any_bytes_arrive_as_payload,
        any_tag_arrives,
        a_field_left_empty_arrives_empty,
        an_empty_payload_differs_from_none,
        every_field_arrives,
        each_field_arrives_alone,
        ids_of_text_and_of_bytes_stay_apart,
        headers_keep_their_order_and_duplicates,
        headers_of_every_kind_arrive,
        headers_up_to_the_limits_arrive,
        headers_over_a_limit_are_refused_before_the_send,
        a_datagram_can_go_on_unchanged,
    }
    capabilities {
        each_missing_capability_is_refused,
        nothing_is_left_open_once_it_is_opened,
        what_is_promised_before_opening_holds_after,
        requiring_names_what_is_missing,
        an_unknown_parameter_is_refused,
        what_is_kept_survives_without_a_receiver,
    }
    requests {
        a_request_gets_its_reply,
        requests_at_once_get_their_own_replies,
        a_request_without_reply_ends_in_doubt,
        a_late_reply_is_counted_and_goes_to_nobody,
        a_dropped_request_disturbs_no_other,
        a_request_sets_its_own_address,
        a_made_up_reply_address_is_refused,
        what_is_no_request_cannot_be_replied_to,
        the_request_of_a_requester_that_is_gone_is_done,
    }
    peers {
        each_peer_is_a_connection_of_its_own,
        a_peer_can_be_answered,
        a_delivery_names_its_peer,
        a_peer_that_departs_ends_its_receiver,
        the_end_of_the_listener_ends_accept,
        accept_and_receiver_exclude_each_other,
        a_dropped_accept_loses_no_peer,
        two_busy_peers_do_not_block_each_other,
        a_peer_that_is_refused_gets_nowhere,
    }
    backpressure {
        a_slow_receiver_loses_nothing,
        no_more_is_in_hand_than_the_credit,
        one_datagram_at_a_time_with_a_credit_of_one,
        trying_to_send_never_waits,
        a_burst_larger_than_any_credit_arrives,
        one_datagram_fits_however_small_the_credit,
    }
    closing {
        a_drain_of_what_is_done_leaves_nothing,
        a_drain_waits_for_what_is_in_hand,
        a_drain_ends_at_its_deadline,
        a_drain_accounts_for_every_datagram,
        after_a_drain_everything_is_closed,
        a_drain_ends_a_receive_that_waits,
        a_connection_lives_as_long_as_its_sender,
        a_connection_lives_as_long_as_its_receiver,
        dropping_the_last_handle_answers_who_waits,
        a_drain_during_sends_answers_each,
        an_address_can_be_opened_again,
        receivers_that_come_and_go_lose_nothing,
        receivers_that_go_at_once_lose_nothing,
        receivers_that_fail_and_go_lose_nothing,
        nothing_lives_on_after_the_last_handle,
        a_restart_of_the_broker_loses_nothing,
    }
    events {
        a_connection_says_that_it_stands,
        the_events_end_with_the_connection,
        a_dropped_wait_for_an_event_loses_none,
        what_was_fed_and_not_flushed_is_counted,
        the_counts_add_up,
    }
    groups {
        each_group_gets_every_datagram,
        receivers_of_a_group_compete,
        without_a_name_all_receivers_are_one_group,
        a_private_receiver_sees_everything_while_it_lives,
        a_private_receiver_leaves_nothing_behind,
        a_group_goes_on_where_it_was,
        a_replay_reaches_back,
        a_late_member_gets_what_waits,
    }
    schedule {
        what_has_expired_is_never_delivered,
        what_expired_in_hand_is_counted,
        what_has_expired_is_refused,
        what_is_scheduled_waits_for_its_time,
        what_is_scheduled_does_not_hold_up_others,
        a_schedule_over_the_limit_is_refused,
        a_retry_does_not_outlive_the_expiry,
    }
    dead_letters {
        a_dead_letter_arrives_with_its_reason,
        what_is_tried_too_often_becomes_a_dead_letter,
        what_is_given_up_unseen_counts_the_attempts_that_were_made,
        a_drain_sends_the_dead_letters_that_wait,
        without_an_endpoint_a_dead_letter_is_refused,
    }
}

/// Ends the behaviour here where a capability is missing: then its refusal is what is checked.
macro_rules! needs {
    ($line:expr, $($capability:ident),+ $(,)?) => {
        if let Some(missing) = $line.lacks(&[$(seam_core::Capability::$capability),+]) {
            return $crate::suite::capabilities::refused($line.bench, missing).await;
        }
    };
}
use needs;
