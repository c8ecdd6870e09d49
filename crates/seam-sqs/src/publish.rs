//! The task that sends: it packs what was admitted into calls, keeps several under way, and decides what became of each
//! message.
//!
//! On a standard queue nothing is sent twice once it may have arrived. A FIFO queue removes duplicates for five minutes,
//! so there a call in doubt is repeated until shortly before that.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, MessageAttributeValue, SendMessageBatchRequestEntry,
};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use seam_broker::pause;
use seam_core::{Error, Fate};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::failure::{self, Failure, Proof};
use crate::mapping::{self, Attribute, Written};
use crate::packing::{Entry, Form, Packing, messages};
use crate::publisher::{Answer, Publisher};
use crate::queue::Queue;
use crate::standing::Standing;

/// Sends for `publisher` until `stop`.
pub(crate) async fn publish(
    publisher: Publisher,
    queue: Arc<Queue>,
    standing: Arc<Standing>,
    stop: CancellationToken,
) {
    let (packing, calls) = (Packing::default(), FuturesUnordered::new());
    let (failures, until) = (0, None);
    let mut sending = Sending { publisher, queue, standing, packing, calls, failures, until };
    tokio::select! {
        () = sending.run() => {}
        () = stop.cancelled() => {}
    }
    sending.publisher.outgoing.close();
}

struct Sending {
    publisher: Publisher,
    queue: Arc<Queue>,
    standing: Arc<Standing>,
    packing: Packing,
    calls: FuturesUnordered<BoxFuture<'static, Sent>>,
    /// Calls that came to nothing, one after the other.
    failures: u32,
    /// Nothing is sent before.
    until: Option<Instant>,
}

/// A call that has ended.
struct Sent {
    batch: Vec<Entry>,
    /// Those that nobody had taken back before it.
    left: Vec<Entry>,
    /// Which of those went in which message.
    messages: Vec<Range<usize>>,
    began: Instant,
    answer: Result<SendMessageBatchOutput, Failure>,
}

/// What becomes of the messages of a call.
#[derive(Default)]
struct Outcome {
    answers: Vec<Answer>,
    /// To be sent once more.
    again: Vec<Entry>,
}

impl Sending {
    async fn run(&mut self) {
        loop {
            for entry in self.publisher.take_fresh() {
                self.packing.push(entry);
            }
            self.start();
            let until = self.until;
            tokio::select! {
                Some(sent) = self.calls.next(), if !self.calls.is_empty() => self.ended(sent),
                () = self.publisher.outgoing.work().notified() => {}
                () = at(until) => self.until = None,
            }
        }
    }

    /// Makes the calls that are due.
    fn start(&mut self) {
        if self.until.is_some() {
            return;
        }
        while let Some(mut batch) = self.packing.take() {
            let left = self.publisher.leaving(&batch);
            if left.is_empty() {
                self.packing.ended(&batch, Vec::new());
                continue;
            }
            // What is left of it is which groups are under way.
            batch.retain(|entry| entry.order.is_some());
            self.calls.push(Box::pin(send(self.queue.clone(), batch, left)));
        }
    }

    fn ended(&mut self, sent: Sent) {
        let Sent { batch, left, messages, began, answer } = sent;
        let outcome = match answer {
            Ok(answer) => {
                (self.failures, self.until) = (0, None);
                self.standing.back();
                self.answered(&left, &messages, &answer)
            }
            Err(failure) => self.failed(left, began, &failure),
        };
        self.publisher.came_back(outcome.again.iter().filter(|entry| entry.doubt.is_none()));
        self.packing.ended(&batch, outcome.again);
        self.publisher.answer(outcome.answers);
    }

    /// What SQS says of each message.
    fn answered(
        &mut self,
        left: &[Entry],
        messages: &[Range<usize>],
        answer: &SendMessageBatchOutput,
    ) -> Outcome {
        let stored: HashSet<_> = answer.successful().iter().map(|entry| entry.id()).collect();
        let failed: HashMap<_, _> =
            answer.failed().iter().map(|entry| (entry.id(), entry)).collect();
        let mut outcome = Outcome::default();
        let is_stored = |at: usize| stored.contains(&*at.to_string());
        for (at, range) in messages.iter().enumerate() {
            let entries = &left[range.clone()];
            let Some(failed) = failed.get(&*at.to_string()) else {
                let became = match is_stored(at) {
                    true => Ok(()),
                    false => Err((Fate::MaybeSent, self.silent())),
                };
                outcome.answers.extend(entries.iter().map(|entry| (entry.number, became.clone())));
                continue;
            };
            for entry in entries {
                let mut later = messages.iter().enumerate().skip(at + 1);
                let is_overtaken =
                    later.any(|(at, other)| same_group(entry, &left[other.start]) && is_stored(at));
                if entry.order.is_some() && !failed.sender_fault() && !is_overtaken {
                    outcome.again.push(entry.clone());
                } else {
                    let error = (fate(entry, Proof::Refused), self.refused(entry, failed));
                    outcome.answers.push((entry.number, Err(error)));
                }
            }
        }
        if !outcome.again.is_empty() {
            self.wait();
        }
        outcome
    }

    /// What becomes of messages whose call failed.
    fn failed(&mut self, left: Vec<Entry>, began: Instant, failure: &Failure) -> Outcome {
        let is_lost = failure.error.is_retryable() && failure.proof != Proof::Refused;
        if is_lost {
            self.standing.lost(&failure.error);
        }
        let mut outcome = Outcome::default();
        for mut entry in left {
            if failure.proof == Proof::Doubt {
                entry.doubt.get_or_insert(began);
            }
            // A standard queue would have it twice.
            let may_repeat = entry.order.is_some() || failure.proof == Proof::NeverLeft;
            let is_known = entry.doubt.is_none_or(|since| since.elapsed() < DUPLICATES);
            if failure.error.is_retryable() && may_repeat && is_known {
                outcome.again.push(entry);
            } else {
                let error = (fate(&entry, failure.proof), failure.error.clone());
                outcome.answers.push((entry.number, Err(error)));
            }
        }
        if !outcome.again.is_empty() || is_lost {
            self.wait();
        }
        outcome
    }

    /// Sends nothing for a while.
    fn wait(&mut self) {
        self.failures += 1;
        self.until = Some(Instant::now() + pause(self.failures));
    }

    fn refused(&self, entry: &Entry, failed: &BatchResultErrorEntry) -> Error {
        let status = if failed.sender_fault() { 400 } else { 500 };
        let said = failed.message().unwrap_or_default();
        let error = failure::of_code(self.publisher.outgoing.name(), failed.code(), said, status);
        match error {
            Error::NotFound { .. } if entry.target.is_reply => Error::RequesterGone,
            error => error,
        }
    }

    fn silent(&self) -> Error {
        Error::Protocol {
            endpoint: self.publisher.outgoing.name().to_owned(),
            reason: "SQS says nothing of one message of a batch".to_owned(),
        }
    }
}

/// What is known of a message after a call that came to nothing.
fn fate(entry: &Entry, proof: Proof) -> Fate {
    match (entry.doubt, proof) {
        (None, Proof::NeverLeft | Proof::Refused) => Fate::NotSent,
        _ => Fate::MaybeSent,
    }
}

fn same_group(one: &Entry, other: &Entry) -> bool {
    match (&one.order, &other.order) {
        (Some(one), Some(other)) => one.group == other.group,
        _ => false,
    }
}

/// Ready at that time, if there is one.
async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn send(queue: Arc<Queue>, batch: Vec<Entry>, left: Vec<Entry>) -> Sent {
    let began = Instant::now();
    let target = left[0].target.clone();
    let messages = messages(&left);
    let of =
        |(at, range): (usize, &Range<usize>)| request(at, &left[range.clone()], left.len() == 1);
    let entries: Result<Vec<_>, _> = messages.iter().enumerate().map(of).collect();
    let asked = queue.clients.calls.send_message_batch().queue_url(&target.url);
    let answer = match entries {
        Ok(entries) => asked.set_entries(Some(entries)).send().await,
        Err(error) => Err(aws_sdk_sqs::error::SdkError::construction_failure(error)),
    };
    let answer = match answer.map_err(|error| failure::of_call(&queue.name, &error)) {
        Err(failure) if failure.is_missing() && target.is_reply => {
            Err(Failure { error: Error::RequesterGone, ..failure })
        }
        Err(failure) if failure.is_missing() => Err(match queue.again(failure.clone()).await {
            // It is there again, and what was refused can leave.
            Ok(()) => Failure {
                error: Error::disconnected(&*queue.name, "the queue was gone, and was made again"),
                proof: Proof::NeverLeft,
            },
            Err(failure) => failure,
        }),
        answer => answer,
    };
    Sent { batch, left, messages, began, answer }
}

/// The message at `at` of a call, which is of these datagrams; `is_all` where the call has no other.
fn request(
    at: usize,
    entries: &[Entry],
    is_all: bool,
) -> Result<SendMessageBatchRequestEntry, aws_sdk_sqs::error::BuildError> {
    let (entry, message) = (&entries[0], message(entries, is_all));
    let mut request = SendMessageBatchRequestEntry::builder()
        .id(at.to_string())
        .message_body(&message.body)
        .set_delay_seconds(entry.delay);
    for (name, value) in &message.attributes {
        request = request.message_attributes(name, native(value)?);
    }
    if let Some(order) = &entry.order {
        request =
            request.message_group_id(&*order.group).message_deduplication_id(&order.duplicate);
    }
    request.build()
}

fn message(entries: &[Entry], is_all: bool) -> Arc<Written> {
    let alone = match &entries[0].form {
        Form::Alone(message) => return message.clone(),
        // Whoever is no receiver of ours reads it, too.
        Form::Packed(_, datagram) if is_all => {
            mapping::encode(datagram.view(), false, entries[0].target.largest).ok()
        }
        Form::Packed(..) => None,
    };
    let parts = entries.iter().filter_map(|entry| match &entry.form {
        Form::Packed(part, _) => Some(&part[..]),
        Form::Alone(_) => None,
    });
    Arc::new(alone.unwrap_or_else(|| mapping::pack(parts)))
}

fn native(value: &Attribute) -> Result<MessageAttributeValue, aws_sdk_sqs::error::BuildError> {
    let native = MessageAttributeValue::builder().data_type(value.data_type());
    match value {
        Attribute::Text(text) | Attribute::Number(text) => native.string_value(text),
        Attribute::Binary(bytes) => native.binary_value(Blob::new(bytes.clone())),
    }
    .build()
}

/// For how long a FIFO queue surely removes duplicates: five minutes, less the time that a call takes.
const DUPLICATES: Duration = Duration::from_secs(270);
