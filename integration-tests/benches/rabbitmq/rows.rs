//! What is run, and what is said of it.

use std::io;

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::job::{Job, Program};
use crate::paired::{Half, Outcome, Sheet, run};
use crate::raw;

/// How much is done.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) pairs: usize,
    pub(crate) messages: usize,
    /// Messages that wait while one receiver holds its credit.
    pub(crate) waiting: usize,
}

/// A queue that runs read and write.
struct Stand {
    effort: Effort,
    authority: String,
    queue: String,
    kind: &'static str,
    channel: lapin::Channel,
}

pub(crate) async fn report(effort: Effort, words: Vec<String>) -> io::Result<()> {
    let missing =
        |_| io::Error::other("SEAM_TEST_RABBITMQ_URL is not set; see `integration-tests/brokers`");
    let uri = std::env::var("SEAM_TEST_RABBITMQ_URL").map_err(missing)?;
    let authority = uri.split('/').nth(2).unwrap_or_default().to_owned();
    let connection = raw::connect(&authority).await.map_err(io::Error::other)?;
    let mut sheet = Sheet::new(effort.pairs, words);
    for kind in ["quorum", "classic"] {
        let channel = connection.create_channel().await.map_err(io::Error::other)?;
        let queue = format!("bench-{kind}-{}", std::process::id());
        let stand = Stand { effort, authority: authority.clone(), queue, kind, channel };
        stand.declare().await.map_err(io::Error::other)?;
        let measured = stand.measure(&mut sheet).await;
        let queue = stand.queue.as_str().into();
        let gone = stand.channel.queue_delete(queue, QueueDeleteOptions::default()).await;
        measured?;
        gone.map_err(io::Error::other)?;
    }
    sheet.print();
    Ok(())
}

impl Stand {
    async fn declare(&self) -> lapin::Result<()> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(self.kind.into()));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(self.queue.as_str().into(), options, arguments).await.map(drop)
    }

    async fn purge(&self) -> io::Result<()> {
        let queue = self.queue.as_str().into();
        let purged = self.channel.queue_purge(queue, QueuePurgeOptions::default()).await;
        purged.map(drop).map_err(io::Error::other)
    }

    async fn measure(&self, sheet: &mut Sheet) -> io::Result<()> {
        let (kind, count) = (self.kind, self.effort.messages);
        let sending = async |half| {
            self.purge().await?;
            self.run(if half == Half::Ours { Program::Send } else { Program::RawSend }, count).await
        };
        sheet.row(&format!("send, {kind}"), count, 0.97, sending).await?;
        let receiving = async |half| {
            self.fill(count).await?;
            let program = if half == Half::Ours { Program::Receive } else { Program::RawReceive };
            self.run(program, count).await
        };
        sheet.row(&format!("receive, {kind}"), count, 0.97, receiving).await?;
        let holding = format!("holding its credit, {kind}");
        if sheet.wants(&holding) {
            self.fill(self.effort.waiting).await?;
            let held = self.run(Program::Hold, self.effort.waiting).await?;
            sheet.note(&holding, &held.peak());
        }
        Ok(())
    }

    async fn fill(&self, count: usize) -> io::Result<()> {
        self.purge().await?;
        self.run(Program::RawSend, count).await.map(drop)
    }

    async fn run(&self, program: Program, messages: usize) -> io::Result<Outcome> {
        let (authority, queue) = (self.authority.clone(), self.queue.clone());
        run(&Job { program, messages, authority, queue, kind: self.kind.to_owned() }).await
    }
}
