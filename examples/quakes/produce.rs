//! Producers: each sends the records of its own networks, so that the order of a network is one sender's.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use seam::layers::Stop;
use seam::{Datagram, SendErrors, Sender};
use seam_conformance::ledger::Stamp;

use crate::Failure;
use crate::args::Args;
use crate::books::Books;
use crate::places::Places;
use crate::record::Line;
use crate::tally::Tally;

/// Producers at work; records of one network always go to the same one.
const PRODUCERS: usize = 2;
/// Records that one producer has under way before it looks at their receipts.
const UNDER_WAY: usize = 256;

/// One producer's work.
struct Producer {
    name: String,
    sender: Sender,
    books: Arc<Books>,
    tally: Arc<Tally>,
    stop: Stop,
    pause: Duration,
    attempt: u32,
}

pub(crate) async fn run(
    args: &Args,
    places: &Places,
    books: &Arc<Books>,
    tally: &Arc<Tally>,
    stop: &Stop,
    lines: Vec<Line>,
) -> Result<(), Failure> {
    let connection = places.registry.client(places.to_send(&places.via)?).await?;
    let mut shares = vec![Vec::new(); PRODUCERS];
    for line in lines {
        let share =
            line.network.as_deref().map_or(0, |network| network.bytes().map(usize::from).sum());
        shares[share % PRODUCERS].push(line);
    }
    let mut producers = Vec::new();
    for (at, share) in shares.into_iter().enumerate() {
        let name = format!("producer-{at}");
        let (first, attempt) = books.first_open(&name);
        let pause = match args.rate {
            Some(rate) => Duration::from_secs(1) * u32::try_from(PRODUCERS).unwrap_or(1) / rate,
            None => Duration::ZERO,
        };
        let producer = Producer {
            name,
            sender: connection.sender().await?,
            books: books.clone(),
            tally: tally.clone(),
            stop: stop.clone(),
            pause,
            attempt,
        };
        let first = usize::try_from(first).unwrap_or(usize::MAX).min(share.len());
        producers.push(tokio::spawn(producer.send_all(share, first)));
    }
    for producer in producers {
        producer.await.map_err(|error| Failure::File(format!("a producer failed: {error}")))??;
    }
    let drained = connection.drain(crate::DRAIN).await?;
    tally.left(u64::try_from(drained.unsent.len()).unwrap_or(u64::MAX));
    Ok(())
}

impl Producer {
    /// Sends every line from `first` on; lines are numbered within the producer.
    async fn send_all(mut self, lines: Vec<Line>, first: usize) -> Result<(), Failure> {
        let numbered: Vec<(u64, Line)> = (0..).zip(lines).skip(first).collect();
        for part in numbered.chunks(UNDER_WAY) {
            if self.stop.is_stopped() {
                break;
            }
            self.send_part(part).await?;
        }
        Ok(())
    }

    /// Sends some lines and waits for their receipts; sends again what failed and may succeed, in order.
    async fn send_part(&mut self, part: &[(u64, Line)]) -> Result<(), Failure> {
        let mut open: Vec<(Stamp, Datagram)> =
            part.iter().map(|(number, line)| self.stamped(*number, line)).collect();
        let mut first = true;
        loop {
            let fed = self.feed(&open, first).await?;
            open.truncate(fed);
            first = false;
            open = match self.sender.flush().await {
                Ok(_) => self.settle(open, None),
                Err(errors) => self.settle(open, Some(errors)),
            };
            if open.is_empty() {
                return Ok(());
            }
            if self.stop.is_stopped() {
                let given_up = u64::try_from(open.len()).unwrap_or(u64::MAX);
                self.tally.note(|figures| figures.given_up += given_up);
                return Ok(());
            }
        }
    }

    /// Feeds what is open, as fast as it may go; how many it was until somebody said to stop.
    async fn feed(&mut self, open: &[(Stamp, Datagram)], first: bool) -> Result<usize, Failure> {
        for (fed, (stamp, datagram)) in open.iter().enumerate() {
            if first && self.stop.is_stopped() {
                return Ok(fed);
            }
            self.books.sent(stamp);
            self.tally.note(|figures| figures.sent += u64::from(first));
            if let Err(refused) = self.sender.feed(datagram.clone()).await {
                return Err(refused.into_parts().2.into());
            }
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
        Ok(open.len())
    }

    /// Tells the books what became of what was sent; what is to be sent again, in order.
    fn settle(
        &self,
        sent: Vec<(Stamp, Datagram)>,
        errors: Option<SendErrors>,
    ) -> Vec<(Stamp, Datagram)> {
        if let Some(errors) = &errors {
            // The progress of a run is no reason to fail where nobody reads it.
            drop(writeln!(std::io::stderr(), "quakes: {}: {errors}", self.name));
        }
        let failed = errors.map(|errors| errors.failed).unwrap_or_default();
        let mut again = Vec::new();
        for error in &failed {
            self.books.failed(error.datagram().view(), error.fate());
            if let Some(stamp) = Stamp::of(error.datagram().view()) {
                again.push((stamp.number, error.error().is_retryable()));
            }
        }
        let (mut open, mut receipted, mut given_up) = (Vec::new(), 0, 0);
        for (stamp, datagram) in sent {
            match again.iter().find(|(number, _)| *number == stamp.number) {
                None => {
                    self.books.receipted(&stamp);
                    receipted += 1;
                }
                Some((_, true)) => {
                    let attempt = stamp.attempt.saturating_add(1);
                    open.push(restamped(&stamp, attempt, &datagram));
                }
                Some((_, false)) => given_up += 1,
            }
        }
        let resent = u64::try_from(open.len()).unwrap_or(u64::MAX);
        self.tally.note(|figures| {
            figures.receipted += receipted;
            figures.resent += resent;
            figures.given_up += given_up;
        });
        open
    }

    fn stamped(&self, number: u64, line: &Line) -> (Stamp, Datagram) {
        let mut datagram = Datagram::new(line.text.clone())
            .with_kind("quake")
            .with_content_type("application/json")
            .with_header(RECORD, line.number);
        // A damaged line has no network; it is its own key in the books, and none on the way.
        let key = match &line.network {
            Some(network) => {
                datagram = datagram.with_key(network.clone());
                network.clone()
            }
            None => format!("damaged-{}", line.number),
        };
        Stamp::new(self.name.clone(), key, number).with_attempt(self.attempt).put(datagram)
    }
}

/// The header with the number of a record over all producers.
pub(crate) const RECORD: &str = "record";

fn restamped(stamp: &Stamp, attempt: u32, datagram: &Datagram) -> (Stamp, Datagram) {
    let mut datagram = datagram.clone();
    datagram.envelope_mut().headers.retain(|(name, _)| **name != *Stamp::HEADER);
    stamp.clone().with_attempt(attempt).put(datagram)
}
