//! What becomes of deliveries that were given up.
//!
//! Written once for all transports: the datagram goes to the endpoint of `?dead_letter=`, and only its
//! receipt settles the delivery. Core has no task of its own, so both happen inside `receive`, `settled`
//! and `drain` of the connection.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::sync::Mutex;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::clock::lock;
use crate::delivery::Verdict;
use crate::shared::RESERVED;
use crate::{
    Batch, Datagram, Delivery, Duty, Error, Event, Events, Receipt, SendError, Sender, Ticket,
    Value,
};

/// The header of a dead letter that says why it was given up: text.
pub const REASON: &str = "seam-dead-letter-reason";
/// The header of a dead letter that says how many attempts were made: a whole number. That in which it was given up
/// counts; one for which `?retry=` left nothing does not.
pub const ATTEMPTS: &str = "seam-dead-letter-attempts";
/// The header of a dead letter that names the endpoint it comes from, without secrets: text.
pub const ORIGIN: &str = "seam-dead-letter-origin";

/// `delivery` as its dead letter: the same datagram, with three headers that say what happened.
///
/// [`Delivery::dead_letter`] sends this by itself; layers that send dead letters of their own use it so that
/// all of them look alike.
#[must_use]
pub fn dead_letter(datagram: &Datagram, reason: &str, attempts: u32, origin: &str) -> Datagram {
    let mut letter = datagram.clone();
    let headers = &mut letter.envelope_mut().headers;
    headers.push((REASON.into(), Value::from(reason)));
    headers.push((ATTEMPTS.into(), Value::from(attempts)));
    headers.push((ORIGIN.into(), Value::from(origin)));
    // It has waited long enough: it is due now, and must outlive what it was meant for.
    let envelope = letter.envelope_mut();
    (envelope.expiry, envelope.deliver_at) = (None, None);
    letter
}

/// Sends what [`dead_letter`] made. The headers it added may go beyond the limits of the endpoint: room for
/// them is reserved there.
///
/// Cancel safety: that of [`Sender::send`].
///
/// # Errors
///
/// Those of [`Sender::send`], with the letter.
pub async fn send(sender: &Sender, letter: Datagram) -> Result<Receipt, SendError> {
    sender.send_within(letter, RESERVED).await
}

/// The way to the dead-letter endpoint, and what waits to go there. Bounded by the credit of the receivers:
/// each entry holds an unsettled delivery.
pub(crate) struct DeadLetters {
    sender: Sender,
    events: Events,
    origin: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Datagram, Duty)>,
    /// What is being sent; `None` while a pump has it.
    round: Option<Round>,
    pumping: bool,
    wakers: Vec<Waker>,
}

/// Letters that are sent together. Kept over a dropped call, so that it goes on where it was.
#[derive(Default)]
struct Round {
    batch: Batch,
    ticket: Option<Ticket>,
    duties: Vec<Duty>,
}

/// How long a delivery waits whose letter could not be sent.
const PAUSE: Duration = Duration::from_secs(1);
/// Letters of one round at most.
const ROUND: usize = 64;

impl DeadLetters {
    pub(crate) fn new(sender: Sender, events: Events, origin: String) -> Self {
        Self { sender, events, origin, state: Mutex::default() }
    }

    /// Takes a delivery over, after so many attempts.
    pub(crate) fn push(&self, delivery: Delivery, reason: &str, attempts: u32) {
        let letter = dead_letter(delivery.datagram(), reason, attempts, &self.origin);
        let (_, duty) = delivery.split();
        let mut state = lock(&self.state);
        state.waiting.push_back((letter, duty));
        wake(state);
    }

    /// Sends whatever comes; never ends. Dropping it loses nothing: the next pump goes on.
    pub(crate) async fn pump(&self) {
        loop {
            let mut turn = self.turn().await;
            turn.run().await;
        }
    }

    /// Waits until nothing waits to be sent.
    pub(crate) async fn idle(&self) {
        poll_fn(|cx| {
            let mut state = lock(&self.state);
            if state.waiting.is_empty() && state.round.is_none() && !state.pumping {
                return Poll::Ready(());
            }
            enlist(&mut state.wakers, cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Brings a delivery again whose letter could not be sent, after a pause, or it would be given up and fail
    /// as fast as the program can.
    fn failed(&self, duty: Duty, error: &Error) {
        duty.again_after(PAUSE);
        self.events.emit(Event::DeadLetterFailed { reason: error.to_string() });
    }

    async fn turn(&self) -> Turn<'_> {
        poll_fn(|cx| {
            let mut state = lock(&self.state);
            let work = state.round.is_some() || !state.waiting.is_empty();
            if state.pumping || !work {
                enlist(&mut state.wakers, cx.waker());
                return Poll::Pending;
            }
            state.pumping = true;
            let round = state.round.take().unwrap_or_else(|| {
                let count = state.waiting.len().min(ROUND);
                let (letters, duties): (Batch, Vec<Duty>) = state.waiting.drain(..count).unzip();
                Round { batch: letters, ticket: None, duties }
            });
            Poll::Ready(Turn { route: self, round: Some(round) })
        })
        .await
    }
}

/// One pump's hold on the round; gives an unfinished one back when it is dropped.
struct Turn<'a> {
    route: &'a DeadLetters,
    round: Option<Round>,
}

impl Turn<'_> {
    async fn run(&mut self) {
        let Some(round) = &mut self.round else { return pending().await };
        let outlet = self.route.sender.outlet();
        if round.ticket.is_none() {
            match outlet.admit(&mut round.batch, RESERVED).await {
                Ok(ticket) => round.ticket = Some(ticket),
                Err(error) => {
                    let round = self.round.take().unwrap_or_default();
                    round.duties.into_iter().for_each(|duty| self.route.failed(duty, &error));
                    return;
                }
            }
        }
        let Some(ticket) = &mut round.ticket else { return };
        let receipts = ticket.receipts().await;
        let duties = std::mem::take(&mut round.duties);
        self.round = None;
        for (duty, outcome) in duties.into_iter().zip(receipts.iter()) {
            match outcome {
                Ok(_) => {
                    let reason = Verdict::DeadLetter { reason: "".into() };
                    // Too late is too late: the letter is sent, and the delivery comes again elsewhere.
                    if let Err(late) = duty.settle(&reason) {
                        tracing::debug!(error = %late, "dead letter sent, lease lost");
                    }
                }
                Err(error) => self.route.failed(duty, error.error()),
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.route.state);
        state.pumping = false;
        state.round = self.round.take();
        wake(state);
    }
}

fn wake(mut state: std::sync::MutexGuard<'_, State>) {
    let wakers = std::mem::take(&mut state.wakers);
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
}

fn enlist(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|known| known.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}
