//! A steady load under which something happens.

use std::time::{Duration, Instant};

use seam_conformance::ledger::Report;

use super::stage::{Player, Stage, patience};

/// How fast a producer goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long it rests after each batch of 64.
    pub(super) rests: Duration,
    /// Messages without receipt at most.
    pub(super) under_way: u64,
}

/// A producer and a consumer at work until everything has happened.
pub(super) struct Load {
    pub(super) producer: Player,
    pub(super) consumer: Player,
    under_way: u64,
    at_least: u64,
}

impl Load {
    /// Starts both; so many messages at least will be sent.
    pub(super) async fn start(stage: &Stage, uri: &str, pace: Pace, at_least: u64) -> Self {
        let consumer = stage.consume(stage.consumer(uri, "ben")).await;
        let mut producer = stage.producer(uri, "anna", u64::MAX);
        producer.rests = pace.rests;
        producer.under_way = usize::try_from(pace.under_way).unwrap();
        let producer = stage.produce(producer).await;
        consumer.until(patience(), |heard| heard.at > 0).await;
        Self { producer, consumer, under_way: pace.under_way, at_least }
    }

    /// Waits until so many more tenths of all messages have their receipt.
    pub(super) async fn goes_on(&self, tenths: u64) {
        let goal = self.producer.heard().at + self.at_least / 10 * tenths;
        self.producer.until(patience(), |heard| heard.at >= goal).await;
    }

    /// How long it takes from now until everything that may be under way has its receipt, and as much was settled.
    pub(super) async fn recovery(&self) -> Duration {
        let since = Instant::now();
        let (sent, settled) = (self.producer.heard().at, self.consumer.heard().at);
        self.producer.until(patience(), |heard| heard.at > sent + self.under_way).await;
        self.consumer.until(patience(), |heard| heard.at > settled + self.under_way).await;
        since.elapsed()
    }

    /// Waits until enough was sent, and all of it settled; what the books come to, and for how long nothing was
    /// received.
    pub(super) async fn finish(self, stage: &Stage) -> (Report, String) {
        self.producer.until(patience(), |heard| heard.at >= self.at_least).await;
        let sent = self.producer.stop().await;
        assert_eq!(sent.summary.left, 0);
        let nearly = sent.summary.messages.saturating_sub(STEP);
        self.consumer.until(patience(), |heard| heard.at >= nearly).await;
        stage.settled().await;
        let received = self.consumer.stop().await;
        let report = stage.check();
        assert_eq!(report.acknowledged, report.sent, "every send has its answer");
        (report, format!("{:.1} s", received.summary.longest_silence))
    }
}

/// After how many messages an actor says how far it is.
const STEP: u64 = 100;
