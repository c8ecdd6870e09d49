//! One attempt: the handler runs, and its delivery is settled.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use seam_core::clock::deadline;
use seam_core::{Clock, Delivery, Error, SettleError, Verdict};

use crate::stop::Flag;
use crate::{DeadLetter, Job, Outcome, RetryPolicy};

/// What every attempt of a pool shares.
pub(crate) struct Context<H> {
    pub(crate) handler: H,
    pub(crate) policy: Box<dyn RetryPolicy>,
    pub(crate) letters: Option<DeadLetter>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) grace: Duration,
    /// The `?retry=` of the endpoint.
    pub(crate) limit: Option<u32>,
}

/// A delivery that the pool holds.
pub(crate) struct Held {
    pub(crate) delivery: Delivery,
    /// Set once it is given up, and the letter could not be sent yet.
    pub(crate) letter: Option<Box<str>>,
}

/// What came of an attempt.
pub(crate) struct Attempted {
    pub(crate) key: Option<Bytes>,
    /// Whether the handler ran to its end.
    pub(crate) handled: bool,
    pub(crate) panicked: bool,
    pub(crate) end: End,
}

pub(crate) enum End {
    Acked,
    Discarded,
    DeadLettered,
    HandedBack,
    Revoked,
    /// To be tried again here.
    Again {
        held: Held,
        after: Duration,
    },
}

/// Between two tries of a letter that cannot be sent.
const LETTER_AGAIN: Duration = Duration::from_secs(1);

impl Held {
    pub(crate) fn new(delivery: Delivery) -> Self {
        Self { delivery, letter: None }
    }

    pub(crate) fn key(&self) -> Option<&Bytes> {
        self.delivery.datagram().envelope().key.as_ref()
    }
}

pub(crate) async fn attempt<H, F>(context: &Context<H>, held: Held) -> Attempted
where
    H: Fn(Job) -> F,
    F: Future,
    F::Output: Into<Outcome>,
{
    let key = held.key().cloned();
    let Held { delivery, letter } = held;
    if let Some(reason) = letter {
        let end = context.give_up(delivery, reason).await;
        return Attempted { key, handled: false, panicked: false, end };
    }
    let Some(ran) = context.run(&delivery).await else {
        return Attempted { key, handled: false, panicked: false, end: End::Revoked };
    };
    let panicked = ran.is_err();
    let end = match ran.unwrap_or_else(|panic| Outcome::Failed(text_of(&*panic))) {
        Outcome::Settle(verdict) => context.settle(delivery, verdict).await,
        Outcome::Failed(reason) => {
            let verdict = context.policy.verdict(delivery.note().attempt, &reason);
            context.settle(delivery, verdict).await
        }
    };
    Attempted { key, handled: true, panicked, end }
}

type Panic = Box<dyn Any + Send>;

impl<H> Context<H> {
    /// Runs the handler; `None` if the delivery was revoked meanwhile.
    async fn run<F>(&self, delivery: &Delivery) -> Option<Result<Outcome, Panic>>
    where
        H: Fn(Job) -> F,
        F: Future,
        F::Output: Into<Outcome>,
    {
        let revoked = Flag::default();
        let job = Job::new(delivery, revoked.clone());
        // The handler is called inside, so that what it does before its first await is caught, too.
        let work = AssertUnwindSafe(async { (self.handler)(job).await.into() }).catch_unwind();
        let mut work = pin!(work);
        match select(work.as_mut(), pin!(delivery.revoked())).await {
            Either::Left((ran, _)) => Some(ran),
            Either::Right(((), _)) => {
                revoked.raise();
                let until = self.clock.now().saturating_add(self.grace);
                // Whatever it says is too late.
                drop(deadline(&*self.clock, until, work).await);
                None
            }
        }
    }

    async fn settle(&self, delivery: Delivery, verdict: Verdict) -> End {
        match verdict {
            Verdict::Ack => settled(delivery.ack(), End::Acked),
            Verdict::Discard => settled(delivery.discard(), End::Discarded),
            Verdict::Retry { after } => self.retry(delivery, after),
            Verdict::DeadLetter { reason } => self.give_up(delivery, reason).await,
        }
    }

    fn retry(&self, delivery: Delivery, after: Duration) -> End {
        let attempt = delivery.note().attempt;
        if self.limit.is_some_and(|limit| attempt >= limit) {
            // Core makes a dead letter of it.
            return settled(delivery.retry(after), End::DeadLettered);
        }
        if delivery.view().key().is_some() {
            return again(delivery, after);
        }
        match delivery.retry(after) {
            Ok(()) => End::HandedBack,
            Err(refused) => match refused.into_parts() {
                (_, Error::LeaseLost) => End::Revoked,
                // The source cannot wait as long, or not at all: we can.
                (delivery, _) => again(delivery, after),
            },
        }
    }

    /// Sends the dead letter, then acknowledges.
    async fn give_up(&self, delivery: Delivery, reason: Box<str>) -> End {
        let failed = match &self.letters {
            Some(letters) => {
                letters.give_up(delivery, &reason).await.map_err(crate::NotGivenUp::into_parts)
            }
            None => delivery.dead_letter(reason.clone()).map_err(SettleError::into_parts),
        };
        match failed {
            Ok(()) => End::DeadLettered,
            Err((_, Error::LeaseLost)) => End::Revoked,
            Err((delivery, error)) => {
                tracing::warn!(%error, "a dead letter could not be sent; its delivery is kept");
                End::Again { held: Held { delivery, letter: Some(reason) }, after: LETTER_AGAIN }
            }
        }
    }
}

/// The next attempt is made here, and counted here.
fn again(mut delivery: Delivery, after: Duration) -> End {
    delivery.set_attempt(delivery.note().attempt.saturating_add(1));
    End::Again { held: Held::new(delivery), after }
}

fn settled(told: Result<(), SettleError>, end: End) -> End {
    // Dropping a delivery whose lease is lost gives no verdict.
    told.map_or(End::Revoked, |()| end)
}

fn text_of(panic: &(dyn Any + Send)) -> Box<str> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message")).into()
}
