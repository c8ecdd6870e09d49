//! One client and one server that are connected: what most behaviours need.

use futures_util::future::join;
use seam_core::{Capability, Confirmation, Connection, Delivery, Receiver, Sender, Side};

use crate::bench::{Bench, Posted, has};
use crate::ledger::Stamp;
use crate::options::End;
use crate::report::{Check, Stop, ensure};

/// A sender on a client, a receiver on a server, and what was posted between them.
pub(crate) struct Line<'a> {
    pub(crate) bench: &'a Bench<'a>,
    pub(crate) address: String,
    pub(crate) client: Connection,
    pub(crate) server: Connection,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) posted: Vec<Posted>,
}

impl<'a> Line<'a> {
    pub(crate) fn new(
        bench: &'a Bench<'a>,
        address: String,
        client: Connection,
        server: Connection,
        sender: Sender,
        receiver: Receiver,
    ) -> Self {
        Self { bench, address, client, server, sender, receiver, posted: Vec::new() }
    }

    /// Opens another server of a shared line in place of the old one, which is given back.
    pub(crate) async fn replace_server(&mut self, parameters: &str) -> Check<Connection> {
        let end = End::of_pool(&self.address, Side::Server);
        let server = self.bench.open(end, parameters).await?;
        self.receiver = self.bench.receiver(&server).await?;
        Ok(std::mem::replace(&mut self.server, server))
    }

    /// How many to send at once: fewer where nothing but the operating system takes care of them.
    pub(crate) fn volume(&self, count: u64) -> u64 {
        match self.client.capabilities().confirmation() {
            Confirmation::Written => count.min(100),
            _ => count,
        }
    }

    /// Whether both ends promise it.
    pub(crate) fn has(&self, capability: Capability) -> bool {
        has(&self.client, &[capability]) && has(&self.server, &[capability])
    }

    /// The first of these that an end does not promise.
    pub(crate) fn lacks(&self, wanted: &[Capability]) -> Option<Capability> {
        wanted.iter().copied().find(|capability| !self.has(*capability))
    }

    /// Admits `count` messages of `key`; [`Line::finish`] asks for their receipts.
    pub(crate) async fn post(&mut self, key: &str, count: usize) -> Check<Vec<Stamp>> {
        let key = (key, self.has(Capability::Envelope));
        let posted = self.bench.post(&self.sender, &self.address, key, count).await?;
        let stamps = posted.stamps.clone();
        self.posted.push(posted);
        Ok(stamps)
    }

    /// The next delivery, written down.
    pub(crate) async fn next(&mut self) -> Check<Delivery> {
        self.bench.next(&mut self.receiver).await
    }

    pub(crate) fn ack(&self, delivery: Delivery) -> Check {
        self.bench.ack(delivery)
    }

    /// The next delivery, which must be a repeat that says so.
    pub(crate) async fn again(&mut self, stamp: &Stamp) -> Check<Delivery> {
        loop {
            let delivery = self.next().await?;
            if Stamp::of(delivery.view()).as_ref() == Some(stamp) {
                let note = delivery.note();
                let announced = note.attempt > 1 || note.possible_duplicate;
                ensure!(announced, "a redelivery looks like a first delivery: {note:?}");
                return Ok(delivery);
            }
            self.ack(delivery)?;
        }
    }

    /// Sends one more message and receives until it and all else is settled, then has every receipt.
    pub(crate) async fn settle(&mut self) -> Check {
        self.post("last", 1).await?;
        let Self { bench, posted, receiver, .. } = self;
        let receipts = async {
            for mut posted in posted.drain(..) {
                let receipts = bench.receipts(&mut posted).await?;
                if let Some((_, error)) = receipts.failed().first() {
                    return Err(Stop::failed(error));
                }
            }
            Check::Ok(())
        };
        let (receipts, taken) = join(receipts, bench.take_all(receiver)).await;
        receipts?;
        taken
    }

    /// Settles everything, drains both ends, and holds the ledger against what is promised.
    pub(crate) async fn finish(mut self) -> Check {
        self.settle().await?;
        self.close().await
    }

    /// Drains both ends, and holds the ledger against what is promised.
    pub(crate) async fn close(self) -> Check {
        let bench = self.bench;
        for (end, connection) in [("client", &self.client), ("server", &self.server)] {
            let drained = bench.drain(connection).await?;
            ensure!(drained.is_clean(), "the drain of the {end} left something: {drained:?}");
        }
        bench.judge(self.has(Capability::Order))
    }
}
