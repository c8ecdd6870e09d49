//! A pool of workers over one receiver.

use std::borrow::BorrowMut;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use seam_core::{Endpoint, Error, Receiver, Result};

use crate::attempt::{Context, attempt};
use crate::worker::{Ended, Worker};
use crate::{DeadLetter, Exponential, Job, Outcome, RetryPolicy, Stop};

/// A pool that runs `concurrency` handlers at a time, at least 1: see [`Lanes`].
///
/// ```
/// use std::time::Duration;
/// use seam_core::{Datagram, Memory, Registry, VirtualClock};
/// use seam_layers::{Job, Stop, lanes};
///
/// let clock = VirtualClock::new(); // `seam::registry()` brings a real one
/// # clock.clone().block_on(async {
/// let registry = Registry::new().with(Memory::new()).with_clock(clock);
/// let receiver = registry.receiver("memory://orders").await?;
/// registry.sender("memory://orders").await?.send(Datagram::new("12 apples")).await?;
///
/// let stop = Stop::new();
/// let summary = lanes(16)
///     .with_stop(stop.clone())
///     .run(receiver, async |job: Job| {
///         assert_eq!(job.payload(), Some(&b"12 apples"[..]));
///         stop.stop();
///     })
///     .await?;
/// assert_eq!(summary.acked, 1);
/// # Ok::<(), seam_core::Error>(()) }).unwrap();
/// ```
#[must_use = "it does nothing until it is `run`"]
pub fn lanes(concurrency: usize) -> Lanes {
    let concurrency = concurrency.max(1);
    Lanes {
        concurrency,
        backlog: concurrency.saturating_mul(4),
        grace: Duration::ZERO,
        policy: Box::new(Exponential::default()),
        letters: None,
        stop: Stop::new(),
    }
}

/// A pool of workers over one [`Receiver`], made by [`lanes`].
///
/// - **Keys.** At most one handler runs for a key at a time, and those of a key run in the order in which
///   they were delivered. Other keys, and datagrams without key, run beside it.
/// - **Retries.** What has a key is not given back to be retried: the pool keeps it, waits for the delay, and
///   runs it again with the next attempt number; until it is settled nothing later of its key begins. While it
///   waits it takes no worker. What has no key goes back to the source with its delay, or waits here where
///   the source has no delays. `?retry=` is kept either way.
/// - **Attempts** that the pool makes itself are counted by this process. After a crash the source delivers
///   again, by its own count.
/// - **Panics** of a handler are caught and are failures like any other: the retry policy decides.
/// - **Revoked** deliveries: their [`Job::revoked`] is told, their handler is polled once more, then dropped, or
///   after [`Lanes::with_grace`]. No verdict is given.
/// - **Memory.** It holds at most [`Lanes::with_backlog`] deliveries, and at most the receiver's credit:
///   running, waiting for their key, waiting for a delay. At the bound it stops receiving.
#[must_use = "it does nothing until it is `run`"]
pub struct Lanes {
    concurrency: usize,
    backlog: usize,
    grace: Duration,
    policy: Box<dyn RetryPolicy>,
    letters: Option<DeadLetter>,
    stop: Stop,
}

impl Lanes {
    /// Sets how many deliveries it holds at most, instead of four for each handler; at least 1.
    ///
    /// One busy key can fill it, and then other keys wait, too: give it room for the bursts of one key.
    pub fn with_backlog(mut self, deliveries: usize) -> Self {
        self.backlog = deliveries.max(1);
        self
    }

    /// Sets what becomes of failures, instead of [`Exponential::default`], which never gives up.
    pub fn with_retry(mut self, policy: impl RetryPolicy + 'static) -> Self {
        self.policy = Box::new(policy);
        self
    }

    /// Sets where it dead-letters to, instead of to the endpoint's `?dead_letter=`.
    ///
    /// A letter that cannot be sent is tried again each second, and holds its key meanwhile.
    pub fn with_dead_letter(mut self, letters: DeadLetter) -> Self {
        self.letters = Some(letters);
        self
    }

    /// Sets how long the handler of a revoked delivery may go on before it is dropped, instead of not at all.
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets what stops it.
    pub fn with_stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Runs `handler` on everything that `receiver`, owned or borrowed, brings; ends once nothing comes any
    /// more, such as while its connection drains, or once it is [`stopped`](Stop::stop).
    ///
    /// At the end it finishes what it holds, except for what would have to wait: a delivery that waits for a
    /// delay goes back to the source, and behind it, in order, those of its key.
    ///
    /// It is one future, `Send` where the handler's are: spawn it, or await it. It needs no runtime; time comes
    /// from the endpoint's clock.
    ///
    /// Cancel safety: dropping it drops the handlers that run and everything that it holds; all of that comes
    /// again, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`], with nothing received, where the policy gives up and there is nowhere to
    /// dead-letter to. Those of [`Receiver::receive`] that end the receiver, once what it holds is finished.
    pub async fn run<R, H, F>(self, mut receiver: R, handler: H) -> Result<Summary>
    where
        R: BorrowMut<Receiver>,
        H: Fn(Job) -> F,
        F: Future,
        F::Output: Into<Outcome>,
    {
        let receiver = receiver.borrow_mut();
        self.check(receiver.endpoint())?;
        let clock = receiver.clock().clone();
        let context = Context {
            handler,
            policy: self.policy,
            letters: self.letters,
            clock: clock.clone(),
            grace: self.grace,
            limit: receiver.endpoint().attempts(),
        };
        let start = |held| attempt(&context, held);
        let mut worker = Worker::new(start, clock, self.concurrency, self.backlog);
        let ended = worker.receive_all(receiver, &self.stop).await;
        worker.finish().await;
        if matches!(ended, Ok(Ended::Stopped)) {
            // Dead letters of the endpoint go out, and verdicts reach the source, before we say that all is done.
            receiver.settled().await?;
        }
        ended.map(|_| worker.summary())
    }

    fn check(&self, endpoint: &Endpoint) -> Result<()> {
        let nowhere = self.letters.is_none() && endpoint.dead_letter().is_none();
        if nowhere && self.policy.gives_up() {
            return Err(Error::Misuse {
                what: "the retry policy gives up, and there is nowhere to dead-letter to",
                remedy: "add `with_dead_letter` or `?dead_letter=`, or lift the limit of attempts",
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes")
            .field("concurrency", &self.concurrency)
            .field("backlog", &self.backlog)
            .field("grace", &self.grace)
            .field("letters", &self.letters)
            .finish_non_exhaustive()
    }
}

/// What a pool did.
///
/// Each delivery ends as one of `acked`, `discarded`, `dead_lettered`, `handed_back`, `expired` or `revoked`;
/// the other counts are of attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Attempts that ran to their end.
    pub handled: u64,
    /// Of these, those that panicked.
    pub panicked: u64,
    /// Of these, those that the pool tried again itself.
    pub retried: u64,
    /// Dead letters that could not be sent, or had nowhere to go; tried again.
    pub letters_failed: u64,
    /// Deliveries acknowledged.
    pub acked: u64,
    /// Deliveries discarded by their handler.
    pub discarded: u64,
    /// Deliveries given up, their letter sent or with the endpoint's `?dead_letter=`.
    pub dead_lettered: u64,
    /// Deliveries that went back to the source: a retry without key, or what waited at the end.
    pub handed_back: u64,
    /// Deliveries whose expiry came while they waited here; discarded.
    pub expired: u64,
    /// Deliveries that were lost to us before their verdict; somebody else gets them.
    pub revoked: u64,
}
