//! Pairs of programs: ours, and a raw client by itself. Each run is a process of its own; each pair runs both, in
//! alternating order; figures are medians over the pairs.

mod ours;

use std::error::Error;
use std::io::{self, Write, stdout};
use std::time::{Duration, Instant};

use comfy_table::{Table, presets};
use cpu_time::ProcessTime;
use integration_tests::{Process, Usage};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::runtime::Runtime;

pub(crate) use ours::Run;

/// The first argument of a process that does a job.
pub(crate) const CHILD: &str = "child";

const PATIENCE: Duration = Duration::from_secs(300);

/// What a process found.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
}

impl Outcome {
    /// The most memory that it took, in words.
    #[allow(dead_code, reason = "that of SQS does not ask")]
    pub(crate) fn peak(&self) -> String {
        format!("peak {} MiB", self.peak_bytes >> 20)
    }
}

/// Counts time and CPU from the first message on.
pub(crate) struct Meter(Instant, ProcessTime);

impl Meter {
    pub(crate) fn start() -> Self {
        Self(Instant::now(), ProcessTime::now())
    }

    pub(crate) fn stop(&self) -> Outcome {
        Outcome {
            seconds: self.0.elapsed().as_secs_f64(),
            cpu_seconds: self.1.elapsed().as_secs_f64(),
            peak_bytes: Usage::own().map_or(0, |usage| usage.peak),
        }
    }
}

/// Prints a line for whoever started this process.
pub(crate) fn say(line: &str) -> io::Result<()> {
    writeln!(stdout(), "{line}")?;
    stdout().flush()
}

/// Does the job that `text` tells, and says its outcome, as one line of JSON.
pub(crate) fn child<J: DeserializeOwned>(
    runtime: &Runtime,
    text: &str,
    does: impl AsyncFnOnce(J) -> Result<Outcome, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let outcome = runtime.block_on(does(serde_json::from_str(text)?))?;
    Ok(say(&serde_json::to_string(&outcome)?)?)
}

/// Whether it is to be quick, and the words of the rows that are wanted.
pub(crate) fn wishes(arguments: Vec<String>) -> (bool, Vec<String>) {
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    (is_quick, arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect())
}

/// One half of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Ours,
    Raw,
}

/// What is said of all pairs.
pub(crate) struct Sheet {
    pairs: usize,
    /// Rows whose names hold none of these are left out; none of them wants all.
    words: Vec<String>,
    table: Table,
    notes: Vec<String>,
}

impl Sheet {
    pub(crate) fn new(pairs: usize, words: Vec<String>) -> Self {
        println!("medians of {pairs} alternating pairs, each run a process of its own");
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["", "messages a second", "goal", "CPU of a message", "ours", "raw"]);
        Self { pairs, words, table, notes: Vec::new() }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word))
    }

    /// Runs both halves in turn, `count` messages each, and notes how they compare.
    pub(crate) async fn row(
        &mut self,
        name: &str,
        count: usize,
        goal: f64,
        mut run: impl AsyncFnMut(Half) -> io::Result<Outcome>,
    ) -> io::Result<()> {
        if !self.wants(name) {
            return Ok(());
        }
        let mut pairs = Vec::new();
        for at in 0..self.pairs {
            pairs.push(if at % 2 == 0 {
                (run(Half::Ours).await?, run(Half::Raw).await?)
            } else {
                let raw = run(Half::Raw).await?;
                (run(Half::Ours).await?, raw)
            });
        }
        let rate = |outcome: &Outcome| count_f64(count) / outcome.seconds;
        let cpu = |outcome: &Outcome| outcome.cpu_seconds / count_f64(count) * 1e6;
        let shown = |rate: f64, cpu: f64| format!("{rate:.0}/s, {cpu:.2} µs");
        self.table.add_row([
            name.to_owned(),
            format!("{:.2} of raw", median(&pairs, |ours, raw| rate(ours) / rate(raw))),
            format!("{goal:.2}"),
            format!("{:.2} of raw", median(&pairs, |ours, raw| cpu(ours) / cpu(raw))),
            shown(median(&pairs, |ours, _| rate(ours)), median(&pairs, |ours, _| cpu(ours))),
            shown(median(&pairs, |_, raw| rate(raw)), median(&pairs, |_, raw| cpu(raw))),
        ]);
        Ok(())
    }

    /// Notes what is no ratio.
    pub(crate) fn note(&mut self, name: &str, text: &str) {
        self.notes.push(format!("{name}: {text}"));
    }

    pub(crate) fn print(&self) {
        println!("{}", self.table);
        self.notes.iter().for_each(|note| println!("{note}"));
    }
}

/// Runs a job in a process of this program.
pub(crate) async fn run<J: Serialize>(job: &J) -> io::Result<Outcome> {
    let mut process = Process::spawn(own(&[CHILD, &serde_json::to_string(job)?])?)?;
    process.report(PATIENCE).await
}

/// This program, with other arguments.
pub(crate) fn own(arguments: &[&str]) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    Ok(command)
}

fn median(pairs: &[(Outcome, Outcome)], value: impl Fn(&Outcome, &Outcome) -> f64) -> f64 {
    let mut values: Vec<f64> = pairs.iter().map(|(ours, raw)| value(ours, raw)).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn count_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
