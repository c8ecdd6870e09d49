//! What becomes of a failed attempt.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use seam_core::Verdict;

/// Decides what becomes of a datagram whose attempt failed. A closure is one, too:
///
/// ```
/// use std::time::Duration;
/// use seam_core::Verdict;
/// use seam_layers::{RetryPolicy, lanes};
///
/// let policy = |attempt: u32, reason: &str| match attempt {
///     1..3 => Verdict::Retry { after: Duration::from_secs(1) },
///     _ => Verdict::DeadLetter { reason: reason.into() },
/// };
/// assert_eq!(policy.verdict(3, "no stock"), Verdict::DeadLetter { reason: "no stock".into() });
/// let workers = lanes(8).with_retry(policy);
/// ```
pub trait RetryPolicy: Send + Sync {
    /// The verdict after attempt number `attempt`, from 1, has failed for `reason`. Must not wait.
    fn verdict(&self, attempt: u32, reason: &str) -> Verdict;

    /// Whether it ever gives up, so that a worker without anywhere to dead-letter to can be refused before it
    /// has received anything. `false` by default.
    fn gives_up(&self) -> bool {
        false
    }
}

impl<F: Fn(u32, &str) -> Verdict + Send + Sync> RetryPolicy for F {
    fn verdict(&self, attempt: u32, reason: &str) -> Verdict {
        self(attempt, reason)
    }
}

/// Delays that grow by a factor, up to a cap, with full jitter: each is drawn evenly between nothing and its
/// ceiling, so that what failed together does not come again together.
///
/// ```
/// use std::time::Duration;
/// use seam_core::Verdict;
/// use seam_layers::{Exponential, RetryPolicy};
///
/// let policy = Exponential::new(Duration::from_millis(100)).without_jitter().with_limit(3);
/// assert_eq!(policy.verdict(1, "no stock"), Verdict::Retry { after: Duration::from_millis(100) });
/// assert_eq!(policy.verdict(2, "no stock"), Verdict::Retry { after: Duration::from_millis(200) });
/// let last = policy.verdict(3, "no stock");
/// assert_eq!(last, Verdict::DeadLetter { reason: "gave up after 3 attempts: no stock".into() });
/// ```
pub struct Exponential {
    first: Duration,
    factor: f64,
    cap: Duration,
    limit: Option<u32>,
    jitter: Option<Mutex<StdRng>>,
}

impl Exponential {
    /// Ceilings of `first`, twice that, and so on, up to 30 s; full jitter; no limit of attempts.
    #[must_use]
    pub fn new(first: Duration) -> Self {
        Self {
            first,
            factor: 2.0,
            cap: Duration::from_secs(30),
            limit: None,
            jitter: Some(Mutex::new(rand::make_rng())),
        }
    }

    /// Sets by what each ceiling is larger than the one before, instead of 2. Below 1, or no number, is 1.
    #[must_use]
    pub fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor.max(1.0);
        self
    }

    /// Sets the largest ceiling, instead of 30 s.
    #[must_use]
    pub fn with_cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Dead-letters what attempt number `attempts` has failed on; at least 1. Without it, it goes on for ever.
    #[must_use]
    pub fn with_limit(mut self, attempts: u32) -> Self {
        self.limit = Some(attempts.max(1));
        self
    }

    /// Draws the jitter from a generator with this seed, so that a test is the same each time.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.jitter = Some(Mutex::new(StdRng::seed_from_u64(seed)));
        self
    }

    /// Waits for each ceiling itself.
    #[must_use]
    pub fn without_jitter(mut self) -> Self {
        self.jitter = None;
        self
    }

    /// The longest that attempt number `attempt`, once failed, makes the next one wait.
    #[must_use]
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let power = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.first.as_secs_f64() * self.factor.powi(power);
        // Not a number where nothing was multiplied by infinity: nothing it is.
        Duration::try_from_secs_f64(seconds).map_or_else(
            |_| if self.first.is_zero() { Duration::ZERO } else { self.cap },
            |ceiling| ceiling.min(self.cap),
        )
    }
}

impl Default for Exponential {
    /// Begins at 100 ms.
    fn default() -> Self {
        Self::new(Duration::from_millis(100))
    }
}

impl RetryPolicy for Exponential {
    fn verdict(&self, attempt: u32, reason: &str) -> Verdict {
        if self.limit.is_some_and(|limit| attempt >= limit) {
            return Verdict::DeadLetter {
                reason: format!("gave up after {attempt} attempts: {reason}").into(),
            };
        }
        let ceiling = self.ceiling(attempt);
        let Some(jitter) = &self.jitter else { return Verdict::Retry { after: ceiling } };
        let mut rng = jitter.lock().unwrap_or_else(PoisonError::into_inner);
        Verdict::Retry { after: rng.random_range(Duration::ZERO..=ceiling) }
    }

    fn gives_up(&self) -> bool {
        self.limit.is_some()
    }
}

impl fmt::Debug for Exponential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exponential")
            .field("first", &self.first)
            .field("factor", &self.factor)
            .field("cap", &self.cap)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_grow_to_the_cap_and_never_overflow() {
        let policy = Exponential::new(Duration::from_secs(1)).with_factor(3.0);
        let ceilings = [1, 2, 3, 4, 5, 1_000, u32::MAX].map(|n| policy.ceiling(n).as_secs());
        assert_eq!(ceilings, [1, 3, 9, 27, 30, 30, 30]);
        assert_eq!(Exponential::new(Duration::ZERO).ceiling(u32::MAX), Duration::ZERO);
        assert_eq!(
            Exponential::default().with_factor(f64::NAN).ceiling(9),
            Duration::from_millis(100)
        );
    }

    #[test]
    fn jitter_is_spread_below_its_ceiling_and_repeats_by_seed() {
        let draw = |seed| {
            let policy = Exponential::new(Duration::from_secs(1)).with_seed(seed);
            (0..100).map(|_| policy.verdict(3, "")).collect::<Vec<_>>()
        };
        let delays: Vec<Duration> = draw(1)
            .into_iter()
            .map(|verdict| match verdict {
                Verdict::Retry { after } => after,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(4)));
        assert!(delays.iter().any(|delay| *delay < Duration::from_secs(1)));
        assert!(delays.iter().any(|delay| *delay > Duration::from_secs(3)));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
