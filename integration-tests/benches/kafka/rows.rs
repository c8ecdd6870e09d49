//! What is run, and what is said of it.

use std::io;
use std::time::Duration;

use integration_tests::Process;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::MOCK;
use crate::job::{Job, Program};
use crate::mock::{PARTITIONS, TOPIC};
use crate::paired::{Half, Outcome, Sheet, own, run};

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

/// Where runs read and write.
struct Stand {
    effort: Effort,
    servers: String,
    topic: String,
    runs: usize,
}

pub(crate) async fn report(effort: Effort, words: Vec<String>) -> io::Result<()> {
    let mut sheet = Sheet::new(effort.pairs, words);
    let mut mock = Process::spawn(own(&[MOCK])?)?;
    let line = mock.line(PATIENCE).await?;
    let servers = serde_json::from_str(&line)?;
    let mut stand = Stand { effort, servers, topic: TOPIC.to_owned(), runs: 0 };
    for size in [100, 1024] {
        let word = |other: &str| format!("produce {size}, of {other}");
        let halves = (Program::Produce, Program::RawBase);
        stand.row(&mut sheet, &word("raw BaseProducer"), size, halves, 0.98).await?;
        let halves = (Program::Produce, Program::RawFuture);
        stand.row(&mut sheet, &word("raw FutureProducer"), size, halves, 2.5).await?;
    }
    drop(mock);
    match std::env::var("SEAM_TEST_KAFKA_URL") {
        Err(_) => println!("rows of consumers are left out: SEAM_TEST_KAFKA_URL is not set"),
        Ok(servers) => {
            for size in [100, 1024] {
                consumers(&mut stand, &mut sheet, &servers, size).await?;
            }
        }
    }
    sheet.print();
    Ok(())
}

/// Fills a topic of a real broker, and reads it again and again.
async fn consumers(
    stand: &mut Stand,
    sheet: &mut Sheet,
    servers: &str,
    size: usize,
) -> io::Result<()> {
    let name = format!("consume {size}, of raw BaseConsumer");
    let holding = format!("holding its credit, {size}");
    if !sheet.wants(&name) && !sheet.wants(&holding) {
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
        Ok(_) => read(stand, sheet, size, &name, &holding).await,
        Err(error) => Err(error),
    };
    let gone = admin.delete_topics(&[&topic], &AdminOptions::new()).await;
    outcome.and(gone.map(drop).map_err(io::Error::other))
}

async fn read(
    stand: &mut Stand,
    sheet: &mut Sheet,
    size: usize,
    name: &str,
    holding: &str,
) -> io::Result<()> {
    let halves = (Program::Consume, Program::RawConsume);
    stand.row(sheet, name, size, halves, 0.95).await?;
    if sheet.wants(holding) {
        let held = stand.run(Program::Hold, size, stand.effort.waiting).await?;
        sheet.note(holding, &held.peak());
    }
    Ok(())
}

impl Stand {
    fn count(&self, size: usize) -> usize {
        if size > 100 { self.effort.messages / 3 } else { self.effort.messages }
    }

    async fn row(
        &mut self,
        sheet: &mut Sheet,
        name: &str,
        size: usize,
        (ours, raw): (Program, Program),
        goal: f64,
    ) -> io::Result<()> {
        let count = self.count(size);
        let run = async |half| {
            let program = if half == Half::Ours { ours } else { raw };
            self.run(program, size, count).await
        };
        sheet.row(name, count, goal, run).await
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
        run(&job).await
    }
}
