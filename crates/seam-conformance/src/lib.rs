//! The public suite that every transport of Seam must pass, and the [`ledger`] that its tests count with.
//!
//! The contract of Seam is the same for a socket and for a broker. This crate holds it: each sentence of the
//! contract is a *behaviour* with a name, such as `a_dropped_delivery_comes_again`, and each behaviour runs on
//! any transport through the public API alone. It has no runtime of its own.
//!
//! # Your own transport
//!
//! Two files. Write a [`Subject`], and have [`conformance!`] make a test of each behaviour:
//!
//! ```
//! // tests/it/conformance.rs
//! use seam_conformance::{Options, Subject};
//! # use seam_core::{Memory as Pigeon, Registry, VirtualClock};
//!
//! # mod tests {
//! # use super::*;
//! seam_conformance::conformance!(subject());
//! # }
//!
//! fn subject() -> Subject {
//!     let clock = VirtualClock::new();
//!     let registry = Registry::new().with(Pigeon::new()).with_clock(clock.clone());
//!     // What needs a runtime is run on it here: `move |run| runtime.block_on(run)`.
//!     let options = Options::new(move |run| clock.block_on(run));
//!     Subject::new(registry, "memory://suite", options)
//! }
//! # assert_eq!(seam_conformance::check("a_key_keeps_its_order", &subject()),
//! #     seam_conformance::Verdict::Passed);
//! ```
//!
//! [`run`] runs all of them in one call, for a program that is no test.
//!
//! # What it asks for
//!
//! - **Each capability is tested both ways.** Where it is declared it must be kept. Where it is not, asking for
//!   it must fail with `Unsupported`: a behaviour that needs it then checks the refusal instead.
//! - **No assumption about time.** What must come is waited for, ten seconds by default
//!   ([`Options::with_patience`]); what must not come is looked for for a moment, so that slowness never fails.
//! - **Sizes come from `Limits`**, addresses are new in each run, and removed after each behaviour by
//!   `Registry::remove`.
//! - **Duplicates are counted**, and so are losses, reorderings within a key, altered bodies, and deliveries of
//!   what had been given back as `NotSent`: every message is in the [`Ledger`].
//!
//! A link whose ends need different URIs says so with [`Options::with_uri`]; a broker that a test can restart
//! brings [`Options::with_restart`]; a runtime that can count its tasks brings [`Options::with_live_tasks`].
//! Without the last two, the behaviours that need them are [`Verdict::NotApplicable`], and nothing else ever is.
//!
//! # What it sees
//!
//! The suite is tested by breaking the reference transport: it loses one in a hundred, acks what is dropped,
//! claims a capability, answers `NotSent` for what was sent, and so on. Each is caught by the behaviour that is
//! named for it.
//!
//! Whoever knows Watermill's universal tests finds them here:
//!
//! | Watermill | here |
//! | --- | --- |
//! | PublishSubscribe | `everything_arrives_once_as_it_was_sent`, `after_a_drain_everything_is_closed` |
//! | ConcurrentSubscribe | `many_senders_at_once_lose_nothing`, `receivers_of_a_connection_compete` |
//! | ConcurrentSubscribeMultipleTopics | `many_addresses_at_once_are_each_complete` |
//! | ResendOnError | `the_first_failures_come_again_among_others` |
//! | NoAck | `one_datagram_at_a_time_with_a_credit_of_one` |
//! | ContinueAfterSubscribeClose | `receivers_that_come_and_go_lose_nothing` |
//! | ConcurrentClose | `receivers_that_go_at_once_lose_nothing` |
//! | ContinueAfterErrors | `receivers_that_fail_and_go_lose_nothing` |
//! | PublishSubscribeInOrder | `a_key_keeps_its_order` |
//! | PublisherClose | `a_drain_during_sends_answers_each` |
//! | Topic | `addresses_do_not_mix` |
//! | MessageCtx | `a_drain_that_does_not_wait_ends_the_lease` |
//! | SubscribeCtx | `a_dropped_receive_loses_nothing`, `a_dropped_connection_hands_its_deliveries_on` |
//! | NewSubscriberReceivesOldMessages | `what_is_kept_survives_without_a_receiver`, `a_replay_reaches_back` |
//! | Reconnect | `a_restart_of_the_broker_loses_nothing` |
//! | ConsumerGroups | `each_group_gets_every_datagram` |

mod bench;
pub mod ledger;
mod line;
mod options;
mod ports;
mod report;
mod suite;

pub use ledger::Ledger;
pub use options::{End, Options, Run, Subject};
pub use ports::free_port;
pub use report::{Report, Verdict};
pub use suite::{assert_holds, behaviours, check, run};
