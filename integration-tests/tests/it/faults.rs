//! What is promised under faults, over real processes and sockets, counted by the ledger.
//!
//! Each case prints one line of figures. Counts, sizes and time-outs that are promised are asserted; every
//! other time and rate is printed, and fails a case only at [`TOLERANCE`] times its figure. They are sized for
//! every change; `SEAM_FULL=1` makes them large.

mod any_datagram;
mod bad_line;
mod byte_slicer;
mod cancel_anywhere;
mod cert_reload;
// It goes over all transports, so all must be compiled in.
#[cfg(all(feature = "kafka", feature = "rabbitmq", feature = "sqs"))]
mod chain;
mod close_busy;
mod cut_every_offset;
mod frozen_peer;
mod garbage;
mod half_open;
mod headers_round_trip;
#[cfg(feature = "kafka")]
mod kafka;
mod ledger_clean;
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
mod load;
mod lossless_pairs;
mod lying_length;
mod over;
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
mod own;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod reset_storm;
mod secrets_grep;
mod session_lost;
mod session_storm;
mod shutdown_in_flight;
mod slow_consumer;
mod slowloris;
#[cfg(feature = "sqs")]
mod sqs;
mod stage;
mod taking;
mod written_peer;

use std::time::Duration;

/// How far a time or a rate may be from its figure: machines differ, and have other things to do.
const TOLERANCE: u32 = 10;

/// The value that `part` (of 1) of all `values` do not exceed.
fn quantile(values: &mut [Duration], part: f64) -> Duration {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place between 0 and the last"
    )]
    let at = (last as f64 * part).ceil() as usize;
    values.get(at.min(last)).copied().unwrap_or_default()
}
