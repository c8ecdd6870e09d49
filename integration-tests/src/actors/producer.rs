//! An actor that sends.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::future::{Either, select};
use futures_util::join;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use seam_conformance::ledger::{Ledger, Outcome, Stamp};
use seam_core::{Batch, Connection, Error, Receipts, Registry, Sender, Ticket};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::{Books, DRAIN, Failure, Producer, Progress, Said, Summary};

/// Messages that are admitted together.
const BATCH: usize = 64;

/// Sends what `job` asks for until every message has its receipt or `stop` resolves, then drains. What comes
/// back is sent again, as a new attempt, where that may succeed.
///
/// # Errors
///
/// Those of the books and of opening, and the first failure that sending again cannot mend.
pub async fn produce(
    registry: &Registry,
    job: &Producer,
    say: impl FnMut(&Said),
    stop: impl Future<Output = ()>,
) -> Result<Summary, Failure> {
    let books = Books::new(&job.folder);
    let next = books.read()?.first_open(&job.name, 1);
    let (ledger, run) = books.open(&job.name)?;
    let connection = registry.client(job.uri.as_str()).await?;
    let is_stopped = AtomicBool::new(false);
    let progress = Progress::new(say);
    let mut work = Work {
        job,
        sender: connection.sender().await?,
        ledger: ledger.clone(),
        random: StdRng::seed_from_u64(job.seed ^ next),
        next,
        run,
        again: VecDeque::new(),
        open: VecDeque::new(),
        under_way: 0,
        progress: &progress,
        is_stopped: &is_stopped,
    };
    let given_back = Mutex::default();
    let left = {
        let watching = async {
            let returns = take_back(&connection, &given_back, &progress);
            join!(progress.watch(&connection), returns)
        };
        let sending = async {
            let mut run = pin!(work.run());
            let mut stop = pin!(stop);
            let drained = match select(&mut run, &mut stop).await {
                Either::Left((ended, _)) => {
                    ended?;
                    if job.lingers {
                        stop.await;
                    }
                    connection.drain(DRAIN).await?
                }
                Either::Right(((), _)) => {
                    is_stopped.store(true, Ordering::Relaxed);
                    // What is under way still gets its answer, by the drain if by nobody else.
                    let (drained, ended) = join!(connection.drain(DRAIN), run);
                    ended?;
                    drained?
                }
            };
            Ok::<usize, Failure>(drained.unsent.len())
        };
        match select(pin!(sending), pin!(watching)).await {
            Either::Left((left, _)) => left?,
            Either::Right(_) => unreachable!("it watches for ever"),
        }
    };
    drop(work);
    // Behind the receipts that they take back, which may have been written later than these came.
    for (stamp, outcome) in given_back.into_inner().unwrap_or_else(PoisonError::into_inner) {
        ledger.outcome(&stamp, outcome);
    }
    ledger.flushed()?;
    Ok(progress.finish(connection, u64::try_from(left).unwrap_or(u64::MAX)).await)
}

/// Gathers what lost sessions give back behind its receipt, for ever.
async fn take_back(
    connection: &Connection,
    given_back: &Mutex<Vec<(Stamp, Outcome)>>,
    progress: &Progress<impl FnMut(&Said)>,
) {
    while let Some(returned) = connection.returned().await {
        if let Some(stamp) = Stamp::of(returned.datagram().view()) {
            let mut given_back = given_back.lock().unwrap_or_else(PoisonError::into_inner);
            given_back.push((stamp, returned.fate().into()));
            progress.came_back();
        }
    }
    pending::<()>().await;
}

struct Work<'a, F> {
    job: &'a Producer,
    sender: Sender,
    ledger: Ledger,
    random: StdRng,
    /// The number of the next message.
    next: u64,
    /// Which run this is: the first attempt of its messages.
    run: u32,
    /// What came back, oldest first.
    again: VecDeque<Stamp>,
    open: VecDeque<(Ticket, Vec<Stamp>)>,
    under_way: usize,
    progress: &'a Progress<F>,
    is_stopped: &'a AtomicBool,
}

impl<F: FnMut(&Said)> Work<'_, F> {
    async fn run(&mut self) -> Result<(), Error> {
        loop {
            let may_send = !self.is_stopped.load(Ordering::Relaxed)
                && (self.next <= self.job.messages || !self.again.is_empty());
            if may_send && self.under_way < self.job.under_way {
                self.send_some().await?;
            } else if let Some((ticket, _)) = self.open.front_mut() {
                let receipts = ticket.receipts().await;
                self.write_down(&receipts)?;
            } else {
                return Ok(());
            }
            // Where nothing ever makes it wait, it is still to be told to stop.
            yield_now().await;
        }
    }

    async fn send_some(&mut self) -> Result<(), Error> {
        let (mut batch, mut stamps) = self.fill();
        let admitted = self.sender.admit(&mut batch).await;
        let ticket = match admitted {
            Ok(ticket) => ticket,
            Err(error) => {
                let unsent = batch.take_unsent().len();
                for stamp in stamps.split_off(stamps.len() - unsent) {
                    self.ledger.outcome(&stamp, Outcome::NotSent);
                    self.send_again(stamp);
                }
                let is_over = self.is_stopped.load(Ordering::Relaxed);
                if !is_over && !error.is_retryable() {
                    return Err(error);
                }
                // The ticket of what was admitted before it failed.
                self.sender.try_admit(&mut batch)?
            }
        };
        self.under_way += stamps.len();
        self.open.push_back((ticket, stamps));
        if !self.job.rests.is_zero() {
            sleep(self.job.rests).await;
        }
        Ok(())
    }

    fn send_again(&mut self, stamp: Stamp) {
        self.progress.came_back();
        if !self.job.resends {
            return;
        }
        let attempt = stamp.attempt.saturating_add(1);
        self.again.push_back(stamp.with_attempt(attempt));
    }

    /// The next messages: first what came back.
    fn fill(&mut self) -> (Batch, Vec<Stamp>) {
        let (mut batch, mut stamps) = (Batch::new(), Vec::new());
        while stamps.len() < BATCH {
            let stamp = match self.again.pop_front() {
                Some(stamp) => stamp,
                None if self.next <= self.job.messages => {
                    // Without key there is no order to keep: each is its own in the books.
                    let key = self.next.checked_rem(self.job.keys).unwrap_or(self.next);
                    let stamp = Stamp::new(&self.job.name, format!("key-{key}"), self.next);
                    self.next += 1;
                    stamp.with_attempt(self.run)
                }
                None => break,
            };
            // Eight random bytes over and over: enough to know it by, and cheap.
            let word: [u8; 8] = self.random.random();
            let body: Vec<u8> = word.into_iter().cycle().take(self.size(stamp.number)).collect();
            let key = stamp.key.clone();
            let (stamp, datagram) = stamp.datagram(&body);
            self.ledger.sent(&stamp);
            batch.push(if self.job.keys > 0 { datagram.with_key(key) } else { datagram });
            stamps.push(stamp);
        }
        (batch, stamps)
    }

    /// Of the body of this message.
    fn size(&mut self, number: u64) -> usize {
        let (least, most) = self.job.body;
        match number {
            1 => return least,
            2 => return most,
            _ => {}
        }
        let draws = 0..self.job.draws.max(1);
        let drawn = draws.map(|_| self.random.random_range(least..=most));
        drawn.min().unwrap_or(least)
    }

    /// Tells the ledger what became of the oldest ticket.
    fn write_down(&mut self, receipts: &Receipts) -> Result<(), Error> {
        let Some((_, stamps)) = self.open.pop_front() else { return Ok(()) };
        self.under_way -= stamps.len();
        let mut receipted = 0;
        for (stamp, receipt) in stamps.into_iter().zip(receipts.iter()) {
            match receipt {
                Ok(_) => {
                    self.ledger.outcome(&stamp, Outcome::Receipted);
                    receipted += 1;
                }
                Err(error) => {
                    self.ledger.outcome(&stamp, error.fate().into());
                    let must = self.job.resends && !self.is_stopped.load(Ordering::Relaxed);
                    if must && !error.error().is_retryable() {
                        return Err(error.error().clone());
                    }
                    self.send_again(stamp);
                }
            }
        }
        self.progress.add(receipted);
        Ok(())
    }
}
