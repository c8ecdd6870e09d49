//! Samples, pairs of them, and how they are printed.

use std::future::Future;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use tokio::runtime::{Builder, Runtime};

/// What one run cost.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    messages: f64,
    seconds: f64,
    cpu_seconds: f64,
    allocations: f64,
}

/// Runs `work`, which moves `count` messages, on two threads.
pub(crate) fn run(count: u32, work: impl Future<Output = ()>) -> Sample {
    let runtime = runtime();
    let allocations = crate::ALLOCATOR.stats().allocations;
    let (start, cpu) = (Instant::now(), ProcessTime::now());
    runtime.block_on(work);
    let allocations = crate::ALLOCATOR.stats().allocations - allocations;
    Sample {
        messages: f64::from(count),
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: cpu.elapsed().as_secs_f64(),
        allocations: f64::from(u32::try_from(allocations).unwrap_or(u32::MAX)),
    }
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("two threads start")
}

impl Sample {
    fn rate(&self) -> f64 {
        self.messages / self.seconds / 1e6
    }

    fn cpu(&self) -> f64 {
        self.cpu_seconds / self.messages * 1e6
    }
}

/// Runs of ours and of theirs, side by side.
pub(crate) struct Pairs(Vec<(Sample, Sample)>);

impl Pairs {
    pub(crate) fn run(
        pairs: usize,
        ours: impl Fn() -> Sample,
        theirs: impl Fn() -> Sample,
    ) -> Self {
        let pair = |at| {
            if at % 2 == 0 {
                let first = theirs();
                (ours(), first)
            } else {
                (ours(), theirs())
            }
        };
        Self((0..pairs).map(pair).collect())
    }

    pub(crate) fn print(&self, name: &str, size: usize, goal: &str) {
        let median = |value: &dyn Fn(&(Sample, Sample)) -> f64| {
            median_by(self.0.iter().map(value).collect(), |value| *value)
        };
        println!(
            "{name:<24} {size:>6} {:>9.2} {:>9.2} {:>7.2} {goal:>7} {:>9.3} {:>9.3} {:>8.3} {:>8.3} {:>8.0}",
            median(&|(ours, _)| ours.rate()),
            median(&|(_, theirs)| theirs.rate()),
            median(&|(ours, theirs)| ours.rate() / theirs.rate()),
            median(&|(ours, _)| ours.cpu()),
            median(&|(_, theirs)| theirs.cpu()),
            median(&|(ours, _)| ours.allocations / ours.messages),
            median(&|(_, theirs)| theirs.allocations / theirs.messages),
            mebibytes(resident()),
        );
    }
}

pub(crate) fn print_header() {
    println!(
        "{:<24} {:>6} {:>9} {:>9} {:>7} {:>7} {:>9} {:>9} {:>8} {:>8} {:>8}",
        "case",
        "bytes",
        "ours M/s",
        "M/s",
        "ratio",
        "goal",
        "our CPU",
        "CPU s/M",
        "our all.",
        "allocs",
        "RSS MiB"
    );
}

pub(crate) fn median_by<T>(mut values: Vec<T>, key: impl Fn(&T) -> f64) -> T {
    values.sort_by(|a, b| key(a).total_cmp(&key(b)));
    let middle = values.len() / 2;
    values.swap_remove(middle)
}

/// The middle of many durations.
pub(crate) fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}

/// Bytes that the process has in memory; nothing where the system does not say.
pub(crate) fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kibibytes.unwrap_or(0) << 10
}

pub(crate) fn mebibytes(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0
}
