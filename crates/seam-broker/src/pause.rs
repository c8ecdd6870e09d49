//! How long to wait before another try.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// How long to wait after so many failures, one after the other: the longer the more have failed, from 25 ms doubled up
/// to 2 s, and between half of that and all of it at random, so that not all clients come at once.
///
/// ```
/// use std::time::Duration;
///
/// assert!(seam_broker::pause(1) <= Duration::from_millis(50));
/// assert!(seam_broker::pause(u32::MAX) >= Duration::from_secs(1));
/// ```
#[must_use]
pub fn pause(failures: u32) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(1 << failures.min(8)).min(LONGEST_PAUSE);
    let random = RandomState::new().build_hasher().finish() % 1000;
    most / 2 + most / 2 * u32::try_from(random).unwrap_or(0) / 1000
}

const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
