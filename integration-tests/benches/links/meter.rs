//! Counts messages and the time and CPU they take, once warm.

use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use integration_tests::Usage;

use crate::job::{Job, Outcome};

/// Told of messages as they go by.
pub(crate) struct Meter {
    warm: Duration,
    all: Duration,
    start: Option<Instant>,
    mark: Option<Mark>,
    messages: u64,
    all_messages: u64,
    trips: Vec<Duration>,
}

/// Where the measured part began, and how far it has come.
struct Mark {
    since: Instant,
    until: Instant,
    cpu: ProcessTime,
}

impl Meter {
    pub(crate) fn new(job: &Job) -> Self {
        Self {
            warm: job.warm,
            all: job.warm + job.measured,
            start: None,
            mark: None,
            messages: 0,
            all_messages: 0,
            trips: Vec::with_capacity(TRIPS),
        }
    }

    /// `messages` went by. `false` once the time is up.
    pub(crate) fn add(&mut self, messages: usize) -> bool {
        let now = Instant::now();
        let messages = u64::try_from(messages).expect("it fits");
        let elapsed = now - *self.start.get_or_insert(now);
        self.all_messages += messages;
        match &mut self.mark {
            Some(mark) => {
                self.messages += messages;
                mark.until = now;
            }
            None if elapsed >= self.warm => {
                self.mark = Some(Mark { since: now, until: now, cpu: ProcessTime::now() });
            }
            None => {}
        }
        elapsed < self.all
    }

    /// A round trip that began at `start` is over. `false` once the time is up.
    pub(crate) fn trip(&mut self, start: Instant) -> bool {
        if self.mark.is_some() {
            self.trips.push(start.elapsed());
        }
        self.add(1)
    }

    pub(crate) fn finish(mut self) -> Outcome {
        let mark = self.mark.expect("it ran until it was warm");
        self.trips.sort_unstable();
        Outcome {
            messages: self.messages,
            seconds: (mark.until - mark.since).as_secs_f64(),
            cpu_seconds: mark.cpu.elapsed().as_secs_f64(),
            peak_bytes: Usage::own().map_or(0, |usage| usage.peak),
            allocations: 0,
            all_messages: self.all_messages,
            each_bytes: 0,
            trips: [500, 990, 999].map(|permille| quantile(&self.trips, permille)),
        }
    }
}

/// Room for the trips of a run, so that none waits for memory.
const TRIPS: usize = 1 << 20;

/// Microseconds that `permille` of the sorted `trips` do not exceed.
fn quantile(trips: &[Duration], permille: usize) -> f64 {
    let at = (trips.len() * permille / 1000).min(trips.len().saturating_sub(1));
    trips.get(at).map_or(0.0, |trip| trip.as_secs_f64() * 1e6)
}
