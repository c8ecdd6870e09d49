//! A received datagram, and the duty to settle it.

use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::board::Board;
use crate::deliveries::{FIRST, Note};
use crate::event::add;
use crate::shared::used_up;
use crate::{Datagram, Error, Peer, View};

/// How a delivery is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Ack,
    /// Again, not before `after`.
    Retry {
        /// The least delay.
        after: Duration,
    },
    /// Given up: to the dead-letter endpoint.
    DeadLetter {
        /// Why; travels with the dead letter.
        reason: Box<str>,
    },
    /// Done, without having been processed.
    Discard,
}

/// A received datagram with the duty to settle it. Owned: any task may keep and settle it.
///
/// Dropping it without a verdict means that it comes again; that is counted, and never an ack.
#[must_use = "a delivery that is dropped without a verdict comes again"]
pub struct Delivery {
    datagram: Datagram,
    note: Option<Box<Note>>,
    duty: Duty,
}

impl Delivery {
    pub(crate) fn new(
        datagram: Datagram,
        board: Arc<Board>,
        index: u32,
        note: Option<Box<Note>>,
    ) -> Self {
        let attempt = note.as_ref().map_or(1, |note| note.attempt);
        Self { datagram, note, duty: Duty { board: Some(board), index, attempt } }
    }

    /// The datagram.
    #[must_use]
    pub fn datagram(&self) -> &Datagram {
        &self.datagram
    }

    /// The datagram, as transports and users read it.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        self.datagram.view()
    }

    /// Which attempt this is, whether it may be a duplicate, its position, and what the broker added.
    #[must_use]
    pub fn note(&self) -> &Note {
        self.note.as_deref().unwrap_or(&FIRST)
    }

    /// Who sent it, where the carrier knows.
    #[must_use]
    pub fn peer(&self) -> Option<&Arc<Peer>> {
        self.duty.board.as_ref().and_then(|board| board.peer())
    }

    /// Parts the datagram from the duty, to work on one and settle the other later.
    pub fn split(self) -> (Datagram, Duty) {
        (self.datagram, self.duty)
    }

    /// Whether it is still ours to settle.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.duty.is_current()
    }

    /// Ready once it is no longer ours: see [`Duty::revoked`].
    pub async fn revoked(&self) {
        self.duty.revoked().await;
    }

    /// Counts an attempt that was made here, without giving the delivery back in between: `?retry=` and a
    /// dead letter go by this number from now on. What comes again after a crash goes by the source's.
    pub fn set_attempt(&mut self, attempt: u32) {
        self.note.get_or_insert_default().attempt = attempt;
        self.duty.attempt = attempt;
    }

    /// Marks the datagram as done. Does not wait;
    /// [`Receiver::settled`](crate::Receiver::settled) does.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`], with the delivery given back.
    #[inline]
    pub fn ack(mut self) -> Result<(), SettleError> {
        self.duty.done().map_err(|error| SettleError::new(self, error))
    }

    /// Asks for it again, not before `after`.
    ///
    /// # Errors
    ///
    /// With the delivery given back: [`Error::LeaseLost`]; [`Error::Unsupported`] without capability
    /// `Redelivery`, or `Delay` where `after` is not zero; [`Error::Invalid`] beyond
    /// [`Limits::delay`](crate::Limits).
    pub fn retry(self, after: Duration) -> Result<(), SettleError> {
        self.settle(Verdict::Retry { after })
    }

    /// Hands it to the dead-letter endpoint with this reason, then acknowledges it: a crash between the
    /// two duplicates it, and never loses it. Both happen inside `receive`, `settled` and `drain`.
    ///
    /// # Errors
    ///
    /// With the delivery given back: [`Error::LeaseLost`]; [`Error::Misuse`] where the endpoint has no
    /// `?dead_letter=`.
    pub fn dead_letter(self, reason: impl Into<Box<str>>) -> Result<(), SettleError> {
        self.settle(Verdict::DeadLetter { reason: reason.into() })
    }

    /// Marks it as done without having been processed; counted apart.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`], with the delivery given back.
    pub fn discard(self) -> Result<(), SettleError> {
        self.settle(Verdict::Discard)
    }

    /// Settles it by a value.
    ///
    /// # Errors
    ///
    /// Those of the verdict's own method.
    pub fn settle(self, verdict: Verdict) -> Result<(), SettleError> {
        let verdict = match self.judge(verdict) {
            Ok(verdict) => verdict,
            Err(error) => return Err(SettleError::new(self, error)),
        };
        if let Verdict::DeadLetter { reason } = verdict {
            let attempts = self.note().attempt;
            return self.hand_over(&reason, attempts);
        }
        let Self { datagram, note, duty } = self;
        duty.settle(&verdict).map_err(|refused| {
            let (duty, error) = refused.into_parts();
            SettleError::new(Self { datagram, note, duty }, error)
        })
    }

    /// Sends `reply` to whoever asked, then acknowledges the request: a crash between the two repeats the
    /// request, and never loses it. The reply takes the request's correlation id.
    ///
    /// Cancel safety: dropping it leaves the request unsettled; the reply may have been sent.
    ///
    /// # Errors
    ///
    /// [`Error::RequesterGone`], with the request acknowledged: nobody waits for it any more. With the
    /// request unsettled, so that it comes again: [`Error::Invalid`] where it is no request,
    /// [`Error::Denied`] where its `reply_to` was not made by this library, and those of
    /// [`Sender::send`](crate::Sender::send).
    pub async fn reply(self, reply: Datagram) -> Result<(), Error> {
        let Some(shared) = self.duty.board.as_ref().and_then(|board| board.shared().cloned())
        else {
            return Err(Error::LeaseLost);
        };
        let outcome = shared.reply(self.view(), reply).await;
        match outcome {
            Ok(()) => self.ack().map_err(Error::from),
            Err(Error::RequesterGone) => {
                shared.events.emit(crate::Event::RequesterGone);
                self.ack().map_err(Error::from)?;
                Err(Error::RequesterGone)
            }
            Err(error) => Err(error),
        }
    }

    fn judge(&self, verdict: Verdict) -> Result<Verdict, Error> {
        if !self.is_current() {
            return Err(Error::LeaseLost);
        }
        match (&self.duty.board, verdict) {
            (Some(board), Verdict::Retry { after }) => match board.shared() {
                Some(shared) => shared.judge_retry(after, self.note().attempt),
                None => Ok(Verdict::Retry { after }),
            },
            (_, verdict) => Ok(verdict),
        }
    }

    /// Gives it up before anybody sees it, since its attempts are used up: that in hand is none.
    pub(crate) fn give_up(self) -> Result<(), SettleError> {
        if !self.is_current() {
            return Err(SettleError::new(self, Error::LeaseLost));
        }
        let attempts = self.note().attempt.saturating_sub(1);
        self.hand_over(&used_up(attempts), attempts)
    }

    fn hand_over(self, reason: &str, attempts: u32) -> Result<(), SettleError> {
        let shared = self.duty.board.as_ref().and_then(|board| board.shared());
        match shared.and_then(|shared| shared.dead_letters.get().cloned()) {
            Some(route) => {
                route.push(self, reason, attempts);
                Ok(())
            }
            None => Err(SettleError::new(
                self,
                Error::Misuse {
                    what: "this endpoint has nowhere to dead-letter to",
                    remedy: "open it with `registry.server` and `?dead_letter=<percent-encoded uri>`",
                },
            )),
        }
    }
}

/// Reads like its datagram.
impl Deref for Delivery {
    type Target = Datagram;

    fn deref(&self) -> &Datagram {
        &self.datagram
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("datagram", &self.datagram)
            .field("note", self.note())
            .finish()
    }
}

/// The duty to settle one delivery. Dropping it without a verdict means that the delivery comes again.
#[must_use = "a duty that is dropped without a verdict brings the delivery again"]
pub struct Duty {
    board: Option<Arc<Board>>,
    index: u32,
    attempt: u32,
}

impl Duty {
    /// Whether the delivery is still ours to settle.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.board.as_ref().is_some_and(|board| !board.is_lost(self.index))
    }

    /// Ready once the delivery is no longer ours: a lost lease, a rebalance, a lost session, a drain that
    /// did not wait. Never ready otherwise. Dropping it does nothing.
    pub async fn revoked(&self) {
        let Some(board) = &self.board else { return };
        poll_fn(|cx| board.poll_lost(self.index, cx)).await;
    }

    /// Marks the datagram as done.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`], with the duty given back.
    pub fn ack(mut self) -> Result<(), SettleError<Self>> {
        self.done().map_err(|error| SettleError::new(self, error))
    }

    /// Acknowledges it; it is over then, unless that was refused.
    #[inline]
    fn done(&mut self) -> Result<(), Error> {
        let board = self.board.as_ref().ok_or(Error::LeaseLost)?;
        board.done(self.index)?;
        if let Some(shared) = board.shared() {
            add(&shared.events.counters().acked, 1u64);
        }
        self.board = None;
        Ok(())
    }

    /// Asks for the datagram again, not before `after`.
    ///
    /// # Errors
    ///
    /// Those of [`Delivery::retry`], with the duty given back; [`Error::Misuse`] where the endpoint's
    /// `?retry=` is used up, since a dead letter needs the datagram.
    pub fn retry(self, after: Duration) -> Result<(), SettleError<Self>> {
        let shared = self.board.as_ref().and_then(|board| board.shared());
        let verdict = shared.map(|shared| shared.judge_retry(after, self.attempt));
        match verdict {
            Some(Err(error)) => Err(SettleError::new(self, error)),
            Some(Ok(Verdict::DeadLetter { .. })) => Err(SettleError::new(
                self,
                Error::Misuse {
                    what: "its attempts are used up, and a dead letter needs the datagram",
                    remedy: "settle the whole delivery, before `split`",
                },
            )),
            _ => self.settle(&Verdict::Retry { after }),
        }
    }

    /// Marks it as done without having been processed; counted apart.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`], with the duty given back.
    pub fn discard(self) -> Result<(), SettleError<Self>> {
        self.settle(&Verdict::Discard)
    }

    /// Brings the delivery again after `pause`, or at once where the source has no delays.
    pub(crate) fn again_after(self, pause: Duration) {
        let shared = self.board.as_ref().and_then(|board| board.shared());
        let delays = shared.is_some_and(|s| s.capabilities.has(crate::Capability::Delay));
        if delays && let Err(lost) = self.settle(&Verdict::Retry { after: pause }) {
            tracing::debug!(error = %lost, "it comes again by itself");
        }
    }

    pub(crate) fn settle(mut self, verdict: &Verdict) -> Result<(), SettleError<Self>> {
        let Some(board) = self.board.take() else {
            return Err(SettleError::new(self, Error::LeaseLost));
        };
        let told = match verdict {
            Verdict::Retry { after } => board.retry(self.index, *after),
            Verdict::Ack | Verdict::Discard | Verdict::DeadLetter { .. } => board.done(self.index),
        };
        if let Err(error) = told {
            self.board = Some(board);
            return Err(SettleError::new(self, error));
        }
        if let Some(shared) = board.shared() {
            let counters = shared.events.counters();
            match verdict {
                Verdict::Ack => add(&counters.acked, 1u64),
                Verdict::Retry { .. } => add(&counters.retried, 1u64),
                Verdict::Discard => add(&counters.discarded, 1u64),
                Verdict::DeadLetter { .. } => add(&counters.dead_lettered, 1u64),
            }
        }
        Ok(())
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if let Some(board) = self.board.take()
            && !board.is_lost(self.index)
        {
            if let Some(shared) = board.shared() {
                add(&shared.events.counters().dropped, 1u64);
            }
            board.dropped(self.index);
        }
    }
}

impl fmt::Debug for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Duty").field("current", &self.is_current()).finish_non_exhaustive()
    }
}

/// A verdict that was refused, with what was to be settled given back. One pointer wide.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.1)]
pub struct SettleError<T = Delivery>(Box<(T, Error)>);

impl<T> SettleError<T> {
    pub(crate) fn new(unsettled: T, error: Error) -> Self {
        Self(Box::new((unsettled, error)))
    }

    /// Why the verdict was refused.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.1
    }

    /// What is still to be settled, and the cause.
    #[must_use]
    pub fn into_parts(self) -> (T, Error) {
        *self.0
    }
}

impl<T> From<SettleError<T>> for Error {
    fn from(error: SettleError<T>) -> Self {
        error.0.1
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_refused_verdict_is_one_pointer() {
        assert_eq!(size_of::<super::SettleError>(), size_of::<usize>());
    }
}
