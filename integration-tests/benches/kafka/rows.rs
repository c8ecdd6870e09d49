//! What is run, and what is said of it.

use std::io;
use std::time::Duration;

use comfy_table::{Table, presets};
use integration_tests::Process;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tokio::process::Command;

use crate::job::{Job, Outcome, Program};
use crate::mock::{PARTITIONS, TOPIC};
use crate::{CHILD, MOCK};

const PATIENCE: Duration = Duration::from_secs(300);

/// How much is done.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) pairs: usize,
    /// Messages of 100 bytes; of larger ones a third.
    pub(crate) messages: usize,
    /// Messages that wait while one consumer holds its credit.
    pub(crate) waiting: usize,
}

/// Where runs read and write, and which are wanted.
struct Stand {
    effort: Effort,
    words: Vec<String>,
    servers: String,
    topic: String,
    runs: usize,
    table: Table,
}

pub(crate) async fn report(effort: Effort, words: Vec<String>) -> io::Result<()> {
    println!("medians of {} alternating pairs, each run a process of its own", effort.pairs);
    let mut mock = Process::spawn(own(&[MOCK])?)?;
    let line = mock.line(PATIENCE).await?;
    let servers = serde_json::from_str(&line)?;
    let mut stand = Stand::new(effort, words, servers, TOPIC.to_owned());
    for size in [100, 1024] {
        let word = |other: &str| format!("produce {size}, of {other}");
        stand
            .row(&word("raw BaseProducer"), size, Program::Produce, Program::RawBase, 0.98)
            .await?;
        stand
            .row(&word("raw FutureProducer"), size, Program::Produce, Program::RawFuture, 2.5)
            .await?;
    }
    drop(mock);
    match std::env::var("SEAM_TEST_KAFKA_URL") {
        Err(_) => println!("rows of consumers are left out: SEAM_TEST_KAFKA_URL is not set"),
        Ok(servers) => {
            for size in [100, 1024] {
                consumers(&mut stand, &servers, size).await?;
            }
        }
    }
    println!("{}", stand.table);
    Ok(())
}

/// Fills a topic of a real broker, and reads it again and again.
async fn consumers(stand: &mut Stand, servers: &str, size: usize) -> io::Result<()> {
    let name = format!("consume {size}, of raw BaseConsumer");
    let holding = format!("holding its credit, {size}");
    if !stand.wants(&name) && !stand.wants(&holding) {
        return Ok(());
    }
    let topic = format!("bench-{size}-{}", std::process::id());
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", servers).create().map_err(io::Error::other)?;
    let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
    let made = admin.create_topics(&[new], &AdminOptions::new()).await;
    made.map_err(io::Error::other)?;
    (stand.servers, stand.topic) = (servers.to_owned(), topic.clone());
    let filled = stand.run(Program::RawBase, size, stand.count(size) + 1).await;
    let outcome = match filled {
        Ok(_) => read(stand, size, &name, &holding).await,
        Err(error) => Err(error),
    };
    let gone = admin.delete_topics(&[&topic], &AdminOptions::new()).await;
    outcome.and(gone.map(drop).map_err(io::Error::other))
}

async fn read(stand: &mut Stand, size: usize, name: &str, holding: &str) -> io::Result<()> {
    stand.row(name, size, Program::Consume, Program::RawConsume, 0.95).await?;
    if stand.wants(holding) {
        let peak = stand.run(Program::Hold, size, stand.effort.waiting).await?.peak_bytes >> 20;
        stand.table.add_row([holding.to_owned(), format!("peak {peak} MiB")]);
    }
    Ok(())
}

impl Stand {
    fn new(effort: Effort, words: Vec<String>, servers: String, topic: String) -> Self {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["", "messages a second", "goal", "CPU of a message", "ours", "raw"]);
        Self { effort, words, servers, topic, runs: 0, table }
    }

    fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word))
    }

    fn count(&self, size: usize) -> usize {
        if size > 100 { self.effort.messages / 3 } else { self.effort.messages }
    }

    /// Runs both programs in turn, and notes how they compare.
    async fn row(
        &mut self,
        name: &str,
        size: usize,
        ours: Program,
        raw: Program,
        goal: f64,
    ) -> io::Result<()> {
        if !self.wants(name) {
            return Ok(());
        }
        let count = self.count(size);
        let mut pairs = Vec::new();
        for at in 0..self.effort.pairs {
            pairs.push(if at % 2 == 0 {
                (self.run(ours, size, count).await?, self.run(raw, size, count).await?)
            } else {
                let raw = self.run(raw, size, count).await?;
                (self.run(ours, size, count).await?, raw)
            });
        }
        let rate = |outcome: &Outcome| count_f64(count) / outcome.seconds;
        let cpu = |outcome: &Outcome| outcome.cpu_seconds / count_f64(count) * 1e6;
        let shown = |outcome: f64, cpu: f64| format!("{:.0}/s, {cpu:.2} µs", outcome);
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

    /// One run, as a group that nobody was before.
    async fn run(&mut self, program: Program, size: usize, messages: usize) -> io::Result<Outcome> {
        self.runs += 1;
        let job = Job {
            program,
            size,
            messages,
            servers: self.servers.clone(),
            topic: self.topic.clone(),
            group: format!("{}-{}", self.topic, self.runs),
        };
        let mut process = Process::spawn(own(&[CHILD, &serde_json::to_string(&job)?])?)?;
        process.report(PATIENCE).await
    }
}

fn own(arguments: &[&str]) -> io::Result<Command> {
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
