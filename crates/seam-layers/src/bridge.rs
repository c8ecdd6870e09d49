//! Carrying datagrams from one endpoint to another.

use std::borrow::BorrowMut;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::select;
use seam_core::{Clock, Datagram, Error, Receiver, Result, Sender, Verdict};

use crate::{DeadLetter, Exponential, Job, Lanes, RetryPolicy, Stop, Summary, lanes};

/// Carries whatever a receiver brings to `sink`: see [`Bridge`].
///
/// ```
/// use seam_core::{Datagram, Memory, Registry, VirtualClock};
/// use seam_layers::{Stop, bridge};
///
/// let clock = VirtualClock::new(); // `seam::registry()` brings a real one
/// # clock.clone().block_on(async {
/// let registry = Registry::new().with(Memory::new()).with_clock(clock);
/// let source = registry.receiver("memory://orders").await?;
/// let mut archive = registry.receiver("memory://archive").await?;
/// let order = Datagram::new("12 apples").with_key("customer-7").with_header("try", 2_u64);
/// registry.sender("memory://orders").await?.send(order.clone()).await?;
///
/// let stop = Stop::new();
/// let bridge = bridge(registry.sender("memory://archive").await?).with_stop(stop.clone());
/// let arriving = async {
///     let delivery = archive.next().await?.expect("it was carried");
///     assert_eq!(delivery.datagram(), &order);
///     delivery.ack()?;
///     stop.stop();
///     Ok::<(), seam_core::Error>(())
/// };
/// let (carried, arrived) = futures_util::future::join(bridge.run(source), arriving).await;
/// arrived?;
/// assert_eq!(carried?.acked, 1);
/// # Ok::<(), seam_core::Error>(()) }).unwrap();
/// ```
#[must_use = "it does nothing until it is `run`"]
pub fn bridge(sink: Sender) -> Bridge {
    Bridge {
        sink,
        at_once: AT_ONCE,
        policy: Box::new(Exponential::new(FIRST_PAUSE)),
        letters: None,
        stop: Stop::new(),
        progress: Progress::default(),
    }
}

/// Carries datagrams from a receiver to a sender of any other endpoint, made by [`bridge`].
///
/// - **Nothing is lost.** A delivery is acknowledged only once the sink has given its receipt. What is in hand when
///   the bridge ends or dies comes again from the source, so it may be carried twice; an `id` tells.
/// - **Everything arrives as it was**, with all its fields, or not at all.
/// - **Order.** One datagram of a key at a time is under way, many keys at once, so keys keep their order, also where
///   the sink fails meanwhile. Those without key go side by side.
/// - **A sink that is away** holds what is in hand, and with it the source, until it is back: it is tried again with
///   growing pauses. That counts no attempt of the source.
/// - **What cannot be carried**, because it is too large, or has a field that the sink does not know, or was rejected
///   by its broker, is parked with the reason: by [`Bridge::with_dead_letter`], or by the source's
///   `?dead_letter=`. Without either, the bridge ends with that error, and the delivery goes back. What has expired is
///   discarded.
/// - **A sink that refuses altogether**, such as one whose rights were taken away, ends the bridge.
#[must_use = "it does nothing until it is `run`"]
pub struct Bridge {
    sink: Sender,
    at_once: usize,
    policy: Box<dyn RetryPolicy>,
    letters: Option<DeadLetter>,
    stop: Stop,
    progress: Progress,
}

impl Bridge {
    /// Sets how many datagrams are under way at once, instead of 256; at least 1.
    pub fn with_at_once(mut self, datagrams: usize) -> Self {
        self.at_once = datagrams.max(1);
        self
    }

    /// Sets how long it waits before it tries a sink again that is away: the delays of `policy`, by the number of tries.
    /// Where the policy gives up, the datagram is parked. Instead of [`Exponential`] from 100 ms on, for ever.
    pub fn with_retry(mut self, policy: impl RetryPolicy + 'static) -> Self {
        self.policy = Box::new(policy);
        self
    }

    /// Sets where it parks what cannot be carried, instead of at the source's `?dead_letter=`.
    pub fn with_dead_letter(mut self, letters: DeadLetter) -> Self {
        self.letters = Some(letters);
        self
    }

    /// Sets what stops it.
    pub fn with_stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// What it has done so far, to be asked while it runs.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Carries until nothing comes any more, such as while the source drains, or until it is
    /// [`stopped`](Stop::stop). What waits for a sink that is away goes back to the source then.
    ///
    /// It is one future: spawn it, or await it. Cancel safety: dropping it drops what it holds; that comes again
    /// from the source, and some of it may have been carried.
    ///
    /// # Errors
    ///
    /// Those of [`Receiver::receive`] that end the receiver; that of a datagram that cannot be carried and has nowhere
    /// to be parked; that of a sink that refuses everything. What was in hand goes back to the source.
    pub async fn run<R: BorrowMut<Receiver>>(self, mut receiver: R) -> Result<Summary> {
        let receiver = receiver.borrow_mut();
        let parks = self.letters.is_some() || receiver.endpoint().dead_letter().is_some();
        let carrying = Carrying {
            sink: self.sink,
            policy: self.policy,
            clock: receiver.clock().clone(),
            stop: self.stop.clone(),
            progress: self.progress,
            parks,
            refusal: Mutex::new(None),
        };
        let lanes: Lanes = lanes(self.at_once).with_stop(self.stop);
        let lanes = match self.letters {
            Some(letters) => lanes.with_dead_letter(letters),
            None => lanes,
        };
        let summary = lanes.run(receiver, async |job: Job| carrying.carry(job).await).await?;
        let refusal = carrying.refusal.into_inner().unwrap_or_else(PoisonError::into_inner);
        match refusal {
            Some(error) => Err(error),
            None => Ok(summary),
        }
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("sink", self.sink.endpoint())
            .field("at_once", &self.at_once)
            .field("letters", &self.letters)
            .finish_non_exhaustive()
    }
}

/// What a bridge has done so far; each count only rises. Clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    carried: AtomicU64,
    parked: AtomicU64,
    failed: AtomicU64,
}

impl Progress {
    /// Datagrams that have the sink's receipt.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.0.carried.load(Ordering::Relaxed)
    }

    /// Datagrams that cannot be carried, and are parked.
    #[must_use]
    pub fn parked(&self) -> u64 {
        self.0.parked.load(Ordering::Relaxed)
    }

    /// Times that the sink failed and was tried again.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }
}

/// A bridge that runs.
struct Carrying {
    sink: Sender,
    policy: Box<dyn RetryPolicy>,
    clock: Arc<dyn Clock>,
    stop: Stop,
    progress: Progress,
    /// Whether there is somewhere to park.
    parks: bool,
    /// Why the bridge ends, if it does by itself.
    refusal: Mutex<Option<Error>>,
}

/// What an error of the sink is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// This moment.
    Now,
    /// This datagram.
    Datagram,
    /// Nobody wants it any more.
    Expiry,
    /// The sink.
    Sink,
}

impl Carrying {
    /// Sends until there is a receipt, or no use in going on.
    async fn carry(&self, job: Job) -> Verdict {
        let (mut datagram, mut tries): (Datagram, u32) = (job.into_datagram(), 0);
        loop {
            let (back, _, error) = match self.sink.send(datagram).await {
                Ok(_) => {
                    self.progress.0.carried.fetch_add(1, Ordering::Relaxed);
                    return Verdict::Ack;
                }
                Err(failed) => failed.into_parts(),
            };
            datagram = back;
            tries = tries.saturating_add(1);
            let after = match about(&error) {
                About::Now => match self.policy.verdict(tries, &error.to_string()) {
                    Verdict::Retry { after } => after,
                    Verdict::DeadLetter { reason } => return self.park(error, &reason),
                    other => return other,
                },
                About::Datagram => {
                    let reason = error.to_string();
                    return self.park(error, &reason);
                }
                About::Expiry => return Verdict::Discard,
                About::Sink => return self.end(error),
            };
            self.progress.0.failed.fetch_add(1, Ordering::Relaxed);
            select(self.clock.sleep(after), pin!(self.stop.stopped())).await;
            if self.stop.is_stopped() {
                return AGAIN;
            }
        }
    }

    fn park(&self, error: Error, reason: &str) -> Verdict {
        if !self.parks {
            return self.end(error);
        }
        self.progress.0.parked.fetch_add(1, Ordering::Relaxed);
        Verdict::DeadLetter { reason: reason.into() }
    }

    /// Ends the bridge; the first error is told.
    fn end(&self, error: Error) -> Verdict {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stop.stop();
        AGAIN
    }
}

fn about(error: &Error) -> About {
    match error {
        Error::Expired => About::Expiry,
        Error::TooLarge { .. }
        | Error::Invalid { .. }
        | Error::Unsupported { .. }
        | Error::Rejected { .. } => About::Datagram,
        error if error.is_retryable() => About::Now,
        _ => About::Sink,
    }
}

const AGAIN: Verdict = Verdict::Retry { after: Duration::ZERO };

/// What is under way at once: enough to fill batches, few enough to come again.
const AT_ONCE: usize = 256;

/// The first pause before a sink is tried again; the next ones grow.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_about_the_datagram_the_sink_or_this_moment() {
        let endpoint = || "memory://a".to_owned();
        let too_large = Error::TooLarge { what: "payload (bytes)", size: 2, limit: 1 };
        let denied = Error::Denied { endpoint: endpoint(), reason: "no".into() };
        let rejected = Error::Rejected { endpoint: endpoint(), reason: "no".into() };
        assert_eq!(about(&Error::disconnected(endpoint(), "gone")), About::Now);
        assert_eq!(about(&too_large), About::Datagram);
        assert_eq!(about(&rejected), About::Datagram);
        assert_eq!(about(&Error::Expired), About::Expiry);
        assert_eq!(about(&denied), About::Sink);
        assert_eq!(about(&Error::Closed { endpoint: endpoint() }), About::Sink);
    }
}
