//! The task of a receiver: it polls, extends leases, and tells SQS what was settled.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, Message, MessageAttributeValue,
    MessageSystemAttributeName as System,
};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use seam_broker::pause;
use seam_core::{Note, Position, Value};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::WAIT;
use crate::desk::{Desk, Renewed};
use crate::failure::{self, Failure};
use crate::inbox::{Arrival, Content, Kind, Renewal, Write};
use crate::mapping::{self, Attribute, Attributes};
use crate::polling::{Polling, Stock};
use crate::publisher::seconds;
use crate::queue::Queue;
use crate::standing::Standing;

/// Serves `desk` until `stop`, or until its receiver is gone and nothing of it is open.
pub(crate) async fn serve(
    desk: Arc<Desk>,
    queue: Arc<Queue>,
    standing: Arc<Standing>,
    stop: CancellationToken,
) {
    let config = &desk.config;
    let polling = Polling::new(config.polls, config.credit, config.credit_bytes);
    let (calls, failures, until) = (FuturesUnordered::new(), 0, None);
    let mut serving = Serving { desk, queue, standing, polling, calls, failures, until };
    tokio::select! {
        () = serving.run() => {}
        () = stop.cancelled() => {}
    }
    serving.desk.end();
    // What was held goes back, if SQS answers.
    drop(timeout(GOODBYE, serving.say_goodbye()).await);
}

/// How long giving back what was held may take.
pub(crate) const GOODBYE: Duration = Duration::from_secs(3);

/// How long a poll may go on. What was given back may go to it, and would be lost for a whole lease if nobody took it.
const LAST_POLL: Duration = Duration::from_secs(1);

/// Calls to settle and to extend, under way at once.
const MOST_CALLS: usize = 32;

struct Serving {
    desk: Arc<Desk>,
    queue: Arc<Queue>,
    standing: Arc<Standing>,
    polling: Polling,
    calls: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// Polls that failed, one after the other.
    failures: u32,
    /// Nobody polls before.
    until: Option<Instant>,
}

/// A call that has ended.
enum Ended {
    Poll { asked: usize, began: Instant, came: Result<Vec<Message>, Failure> },
    Write { kind: Kind, writes: Vec<Write>, answer: Answer },
    Renewal { renewals: Vec<Renewal>, began: Instant, answer: Answer },
}

/// What SQS says of each entry that failed.
type Answer = Result<Vec<BatchResultErrorEntry>, Failure>;

impl Serving {
    async fn run(&mut self) {
        loop {
            self.start();
            if self.desk.is_over() && self.polling.is_idle() {
                return;
            }
            let due = self.next_due();
            let until = self.until;
            tokio::select! {
                Some(ended) = self.calls.next(), if !self.calls.is_empty() => self.ended(ended),
                () = self.desk.work.notified() => {}
                () = at(due) => {}
                () = at(until) => self.until = None,
            }
        }
    }

    /// Makes the calls that are due.
    fn start(&mut self) {
        self.write();
        self.desk.unpark();
        loop {
            let renewals = self.desk.take_renewals();
            if renewals.is_empty() {
                break;
            }
            let (queue, url) = (self.queue.clone(), self.desk.url.clone());
            self.calls.push(Box::pin(renew(queue, url, renewals)));
        }
        while self.until.is_none()
            && let Some(asked) = self.begin_poll()
        {
            let poll = poll(self.queue.clone(), self.desk.url.clone(), asked, self.visibility());
            self.calls.push(Box::pin(poll));
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.desk.next_due(self.calls.len() < MOST_CALLS)
    }

    fn visibility(&self) -> i32 {
        seconds(self.desk.config.visibility)
    }

    fn write(&mut self) {
        while self.calls.len() < MOST_CALLS
            && let Some((writes, kind)) = self.desk.take_writes()
        {
            let (queue, url) = (self.queue.clone(), self.desk.url.clone());
            self.calls.push(Box::pin(write(queue, url, kind, writes)));
        }
    }

    fn begin_poll(&mut self) -> Option<usize> {
        let state = self.desk.lock();
        if state.quiet || state.ended {
            return None;
        }
        let (held, held_bytes) = state.inbox.held();
        let (ready, is_awaited) = (state.inbox.ready(), state.inbox.is_awaited());
        drop(state);
        self.polling.begin(Stock { ready, held, held_bytes, is_awaited })
    }

    fn ended(&mut self, ended: Ended) {
        match ended {
            Ended::Poll { asked, began, came } => self.polled(asked, began, came),
            Ended::Write { kind, writes, answer } => self.written(kind, writes, answer),
            Ended::Renewal { renewals, began, answer } => self.renewed(renewals, began, answer),
        }
    }

    fn polled(&mut self, asked: usize, began: Instant, came: Result<Vec<Message>, Failure>) {
        let now = Instant::now();
        match came {
            Ok(messages) => {
                self.failures = 0;
                self.standing.back();
                let arrivals: Vec<_> = messages.into_iter().filter_map(read).collect();
                self.polling.ended(asked, arrivals.iter().map(Arrival::weight));
                // When exactly SQS gave them away is not known: a moment before they came.
                let received = began.max(now.checked_sub(ON_ITS_WAY).unwrap_or(began));
                self.desk.take_in(arrivals, received);
            }
            Err(failure) => {
                self.polling.ended(asked, std::iter::empty());
                if failure.error.is_retryable() {
                    self.standing.lost(&failure.error);
                }
                self.failures += 1;
                self.until = Some(now + pause(self.failures));
                self.desk.fail(failure.error);
            }
        }
    }

    fn written(&mut self, kind: Kind, writes: Vec<Write>, answer: Answer) {
        let (now, count) = (Instant::now(), writes.len());
        let (mut again, mut lost) = (Vec::new(), Vec::new());
        let failed = sort(answer, count);
        for (write, failed) in writes.into_iter().zip(failed) {
            match failed {
                Renewed::Done => {}
                Renewed::Again if now < write.until => again.push(write),
                Renewed::Again | Renewed::Lost => lost.push(write),
            }
        }
        self.desk.written(kind, count, again, &lost);
    }

    fn renewed(&mut self, renewals: Vec<Renewal>, began: Instant, answer: Answer) {
        let became = sort(answer, renewals.len());
        let renewals: Vec<_> = renewals.into_iter().zip(became).collect();
        self.desk.renewed(began, &renewals);
    }

    /// Gives back what was held, and what polls under way bring.
    async fn say_goodbye(&mut self) {
        let polls_until = Instant::now() + LAST_POLL;
        loop {
            self.write();
            let waits_for_polls = !self.polling.is_idle() && Instant::now() < polls_until;
            if self.desk.is_told() && !waits_for_polls {
                return;
            }
            let due = self.next_due();
            tokio::select! {
                Some(ended) = self.calls.next(), if !self.calls.is_empty() => self.ended(ended),
                () = self.desk.work.notified() => {}
                () = at(due) => {}
                () = sleep_until(polls_until), if waits_for_polls => {}
            }
        }
    }
}

/// How long an answer may have been on its way without our leases being too long.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// Ready at that time, if there is one.
async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// What became of each entry of a call.
fn sort(answer: Answer, count: usize) -> Vec<Renewed> {
    let Ok(failed) = answer else {
        let is_missing = answer.is_err_and(|failure| failure.is_missing());
        return vec![if is_missing { Renewed::Lost } else { Renewed::Again }; count];
    };
    let mut became = vec![Renewed::Done; count];
    for entry in failed {
        let place = entry.id().parse::<usize>().ok().and_then(|at| became.get_mut(at));
        if let Some(place) = place {
            *place = if entry.sender_fault() { Renewed::Lost } else { Renewed::Again };
        }
    }
    became
}

async fn poll(queue: Arc<Queue>, url: String, asked: usize, visibility: i32) -> Ended {
    let began = Instant::now();
    let polling = queue
        .clients
        .polls
        .receive_message()
        .queue_url(&url)
        .max_number_of_messages(i32::try_from(asked).unwrap_or(1))
        .wait_time_seconds(seconds(WAIT))
        .visibility_timeout(visibility)
        .message_attribute_names("All");
    let polling = SYSTEM
        .into_iter()
        .fold(polling, |polling, name| polling.message_system_attribute_names(name));
    let came = match polling.send().await.map_err(|error| failure::of_call(&queue.name, &error)) {
        Ok(answer) => Ok(answer.messages.unwrap_or_default()),
        // It may be made again, and then there is nothing in it yet.
        Err(failure) if failure.is_missing() => queue.again(failure).await.map(|()| Vec::new()),
        Err(failure) => Err(failure),
    };
    Ended::Poll { asked, began, came }
}

/// What SQS is to say of each message.
const SYSTEM: [System; 5] = [
    System::ApproximateReceiveCount,
    System::SentTimestamp,
    System::MessageGroupId,
    System::SequenceNumber,
    System::DeadLetterQueueSourceArn,
];

async fn write(queue: Arc<Queue>, url: String, kind: Kind, writes: Vec<Write>) -> Ended {
    let answer = match kind {
        Kind::Delete => delete(&queue, &url, &writes).await,
        Kind::Change => {
            let changes = writes.iter().map(|write| (&write.handle, write.seconds));
            change(&queue, &url, changes).await
        }
    };
    Ended::Write { kind, writes, answer }
}

async fn renew(queue: Arc<Queue>, url: String, renewals: Vec<Renewal>) -> Ended {
    let began = Instant::now();
    let changes = renewals.iter().map(|renewal| (&renewal.handle, renewal.seconds));
    let answer = change(&queue, &url, changes).await;
    Ended::Renewal { renewals, began, answer }
}

async fn delete(queue: &Queue, url: &str, writes: &[Write]) -> Answer {
    let mut asked = queue.clients.calls.delete_message_batch().queue_url(url);
    for (at, write) in writes.iter().enumerate() {
        let entry = DeleteMessageBatchRequestEntry::builder();
        let entry = entry.id(at.to_string()).receipt_handle(&*write.handle).build();
        asked = asked.entries(entry.expect("an id and a handle are all it needs"));
    }
    let answer = asked.send().await.map_err(|error| failure::of_call(&queue.name, &error))?;
    Ok(answer.failed)
}

async fn change(
    queue: &Queue,
    url: &str,
    changes: impl Iterator<Item = (&Arc<str>, i32)>,
) -> Answer {
    let mut asked = queue.clients.calls.change_message_visibility_batch().queue_url(url);
    for (at, (handle, seconds)) in changes.enumerate() {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(at.to_string());
        let entry = entry.receipt_handle(&**handle).visibility_timeout(seconds).build();
        asked = asked.entries(entry.expect("an id and a handle are all it needs"));
    }
    let answer = asked.send().await.map_err(|error| failure::of_call(&queue.name, &error))?;
    Ok(answer.failed)
}

/// A message as one delivery, or as many. Without a handle it could not be settled, so it is left to come again.
fn read(message: Message) -> Option<Arrival> {
    let handle = message.receipt_handle?;
    let mut system = message.attributes.unwrap_or_default();
    let mut attributes: Attributes = message
        .message_attributes
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(name, value)| Some((name, attribute(value)?)))
        .collect();
    let group = system.remove(&System::MessageGroupId);
    let body = message.body.unwrap_or_default();
    let content = match mapping::unpack(&mut attributes) {
        Some(parts) => Content::Pack(parts),
        None => Content::One(mapping::decode(body, attributes, group.as_deref())),
    };
    let count = system.get(&System::ApproximateReceiveCount).and_then(|count| count.parse().ok());
    let mut note = Note::attempt(count.unwrap_or(1).max(1));
    note.possible_duplicate = note.attempt > 1;
    note.position = message.message_id.map(|id| Position::Name(id.into()));
    let sent = system.get(&System::SentTimestamp).and_then(|sent| sent.parse::<i64>().ok());
    note.native.extend(sent.map(|sent| ("SentTimestamp".into(), Value::I64(sent))));
    for name in [System::SequenceNumber, System::DeadLetterQueueSourceArn] {
        let value = system.remove(&name).map(Value::from);
        note.native.extend(value.map(|value| (name.as_str().to_owned().into(), value)));
    }
    Some(Arrival { handle: handle.into(), note, content })
}

fn attribute(value: MessageAttributeValue) -> Option<Attribute> {
    let kind = value.data_type.split('.').next().unwrap_or_default();
    match (kind, value.string_value, value.binary_value) {
        ("Number", Some(text), _) => Some(Attribute::Number(text)),
        (_, Some(text), _) => Some(Attribute::Text(text)),
        (_, None, Some(bytes)) => Some(Attribute::Binary(bytes.into_inner())),
        (_, None, None) => None,
    }
}
