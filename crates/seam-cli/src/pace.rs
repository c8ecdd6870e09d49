//! How fast `send` sends.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// When the next datagrams are due.
pub(crate) struct Pace {
    interval: Option<Duration>,
    next: Instant,
}

/// How late datagrams may be sent together: timers are no finer than this.
const TOGETHER: Duration = Duration::from_millis(10);

impl Pace {
    /// One datagram each `interval`; without it, as fast as they go.
    pub(crate) fn new(interval: Option<Duration>) -> Self {
        Self { interval, next: Instant::now() }
    }

    /// Waits until one is due, and says how many are.
    pub(crate) async fn due(&mut self) -> usize {
        let Some(interval) = self.interval else { return usize::MAX };
        sleep_until(self.next).await;
        let now = Instant::now();
        // What was not there when it was due does not make the rate higher later.
        self.next = self.next.max(now.checked_sub(TOGETHER).unwrap_or(now));
        let late = now.duration_since(self.next);
        let more = late.as_nanos().checked_div(interval.as_nanos()).unwrap_or(u128::MAX);
        usize::try_from(more).unwrap_or(usize::MAX).saturating_add(1)
    }

    /// Notes that so many were taken.
    pub(crate) fn took(&mut self, count: usize) {
        if let Some(interval) = self.interval {
            self.next += interval.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_rate_gives_one_at_a_time_and_a_fast_one_some_together() {
        let begun = Instant::now();
        let mut slow = Pace::new(Some(Duration::from_secs(1)));
        for seconds in 0..3 {
            assert_eq!(slow.due().await, 1);
            slow.took(1);
            assert_eq!(begun.elapsed().as_secs(), seconds);
        }
        let mut fast = Pace::new(Some(Duration::from_micros(1)));
        tokio::time::advance(Duration::from_millis(5)).await;
        assert_eq!(fast.due().await, 5001);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_late_is_not_made_up_for() {
        let mut pace = Pace::new(Some(Duration::from_millis(2)));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(pace.due().await, 6);
    }
}
