//! What `memory://` costs beside the channels that a program would use in its place.
//!
//! `cargo bench -p integration-tests --bench memory [-- --quick]` prints ratios and the goals for them. It
//! never fails on speed: a slow machine is no bug. Each pair runs the two one after the other, in alternating
//! order, so that what else the machine does hits both; the ratio is the median over the pairs. A word after
//! the flags runs only the rows whose names hold it, such as `owned`, `request` or `waiting`.

mod channels;
mod measure;
mod seam;
mod waiting;

use measure::{Pairs, Sample};

#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

/// How many pairs, and how many messages of each size.
#[derive(Clone, Copy)]
struct Effort {
    pairs: usize,
    /// Messages of 64 bytes; of larger ones fewer.
    messages: u32,
    requests: u32,
    waiting: u32,
}

const SIZES: [usize; 3] = [64, 1 << 10, 64 << 10];

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let effort = if quick {
        Effort { pairs: 3, messages: 200_000, requests: 2_000, waiting: 100_000 }
    } else {
        Effort { pairs: 7, messages: 2_000_000, requests: 20_000, waiting: 1_000_000 }
    };
    println!("medians of {} alternating pairs; M/s are million messages per second", effort.pairs);
    measure::print_header();
    for size in SIZES {
        one_to_one(effort, size);
    }
    for size in SIZES {
        eight_to_eight(effort, size);
    }
    if is_wanted("request") {
        requests(effort);
    }
    for size in [64, 1 << 10].into_iter().filter(|_| is_wanted("waiting")) {
        waiting::print(effort.waiting, size);
    }
}

fn one_to_one(effort: Effort, size: usize) {
    let count = count_of(effort, size);
    let lent = || seam::run(1, count, size, seam::Mode::Lent);
    let owned = || seam::run(1, count, size, seam::Mode::Owned);
    let tokio = || channels::tokio(count, size);
    let flume = || channels::flume(1, count, size);
    let goal = |ratio| (size == 64).then_some(ratio);
    row("1:1 lent / tokio mpsc", effort, size, goal(">= 3.0"), lent, tokio);
    row("1:1 owned / tokio mpsc", effort, size, goal(">= 1.0"), owned, tokio);
    row("1:1 lent / flume", effort, size, goal(">= 3.0"), lent, flume);
    row("1:1 owned / flume", effort, size, goal(">= 1.0"), owned, flume);
}

fn eight_to_eight(effort: Effort, size: usize) {
    let count = count_of(effort, size);
    let flume = || channels::flume(8, count, size);
    row(
        "8:8 lent / flume",
        effort,
        size,
        None,
        || seam::run(8, count, size, seam::Mode::Lent),
        flume,
    );
    row(
        "8:8 owned / flume",
        effort,
        size,
        None,
        || seam::run(8, count, size, seam::Mode::Owned),
        flume,
    );
}

fn row(
    name: &str,
    effort: Effort,
    size: usize,
    goal: Option<&str>,
    ours: impl Fn() -> Sample,
    theirs: impl Fn() -> Sample,
) {
    if is_wanted(name) {
        Pairs::run(effort.pairs, ours, theirs).print(name, size, goal.unwrap_or("-"));
    }
}

/// Whether the command line asks for this row.
fn is_wanted(name: &str) -> bool {
    let mut words =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| name.contains(&word))
}

fn requests(effort: Effort) {
    let medians = (0..effort.pairs).map(|_| {
        let hops = channels::two_hops(effort.requests);
        let request = seam::requests(effort.requests);
        (request.as_secs_f64() / hops.as_secs_f64(), request, hops)
    });
    let (ratio, request, hops) = measure::median_by(medians.collect(), |sample| sample.0);
    println!(
        "request and reply, p50: {request:.1?} / two tokio mpsc hops: {hops:.1?} = {ratio:.2} (goal <= 3.0)"
    );
}

/// Fewer of what is larger, so that each run takes about as long.
fn count_of(effort: Effort, size: usize) -> u32 {
    match size {
        64 => effort.messages,
        1024 => effort.messages / 2,
        _ => effort.messages / 20,
    }
}
