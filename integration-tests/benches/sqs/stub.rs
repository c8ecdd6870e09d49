//! A queue of standard SQS in the memory of a process of its own, which counts calls. It knows what the benchmark asks
//! for, and nothing else; a lease lasts for ever.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use integration_tests::http::{Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::Notify;

use crate::paired::say;

/// How often each operation was called.
pub(crate) type Calls = BTreeMap<String, u32>;

/// Says where it listens; says for each line that it is told how often it was called since the last one.
pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    Ok(runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let host = listener.local_addr()?.to_string();
        say(&host)?;
        let queue = Mutex::new(Queue { host, ..Queue::default() });
        let stub = Arc::new(Stub { queue, sent: Notify::new() });
        let served = stub.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, served.clone()));
            }
        });
        let mut lines = BufReader::new(stdin()).lines();
        while lines.next_line().await?.is_some() {
            let calls = std::mem::take(&mut stub.lock().calls);
            say(&serde_json::to_string(&calls)?)?;
        }
        Ok::<_, io::Error>(())
    })?)
}

/// What all connections share.
struct Stub {
    queue: Mutex<Queue>,
    /// Rings whenever something was sent.
    sent: Notify,
}

impl Stub {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a call is answered, once there is something to answer.
    async fn answer(&self, request: &Request) -> io::Result<Value> {
        loop {
            // Before it looks, so that nothing is sent in between unnoticed.
            let sent = self.sent.notified();
            let answer = self.lock().answer(request)?;
            match answer {
                Some(answer) => {
                    if request.operation == "SendMessageBatch" {
                        self.sent.notify_waiters();
                    }
                    return Ok(answer);
                }
                None => sent.await,
            }
        }
    }
}

#[derive(Default)]
struct Queue {
    host: String,
    calls: Calls,
    messages: VecDeque<Stored>,
    receipts: u64,
}

struct Stored {
    body: Value,
    attributes: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sent {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    id: String,
    message_body: Option<Value>,
    message_attributes: Option<Value>,
}

async fn serve(stream: TcpStream, stub: Arc<Stub>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    while let Some(request) = Request::read(&mut stream).await? {
        *stub.lock().calls.entry(request.operation.clone()).or_default() += 1;
        let answer = stub.answer(&request).await?;
        Response::new(answer).write(&mut stream).await?;
    }
    Ok(())
}

impl Queue {
    /// `None` where a poll finds nothing yet.
    fn answer(&mut self, request: &Request) -> io::Result<Option<Value>> {
        Ok(Some(match &*request.operation {
            "ReceiveMessage" => return Ok(self.receive(&request.body)),
            "SendMessageBatch" | "DeleteMessageBatch" | "ChangeMessageVisibilityBatch" => {
                let sent = Sent::deserialize(&request.body)?;
                let successful: Vec<_> = sent.entries.iter().map(successful).collect();
                let stored = sent.entries.into_iter().filter_map(|entry| {
                    Some(Stored { body: entry.message_body?, attributes: entry.message_attributes })
                });
                self.messages.extend(stored);
                json!({ "Successful": successful, "Failed": [] })
            }
            "GetQueueUrl" => json!({ "QueueUrl": format!("http://{}/1/bench", self.host) }),
            _ => json!({ "Attributes": { "MaximumMessageSize": "1048576" } }),
        }))
    }

    fn receive(&mut self, asked: &Value) -> Option<Value> {
        if self.messages.is_empty() {
            return None;
        }
        let most =
            asked["MaxNumberOfMessages"].as_u64().and_then(|most| usize::try_from(most).ok());
        let count = most.unwrap_or(1).min(self.messages.len());
        let mut messages = Vec::with_capacity(count);
        for Stored { body, attributes } in self.messages.drain(..count) {
            self.receipts += 1;
            let receipt = self.receipts;
            messages.push(json!({
                "MessageId": receipt.to_string(),
                "ReceiptHandle": receipt.to_string(),
                "Body": body,
                "MessageAttributes": attributes,
                "Attributes": { "ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000" },
            }));
        }
        Some(json!({ "Messages": messages }))
    }
}

fn successful(entry: &Entry) -> Value {
    json!({ "Id": entry.id, "MessageId": entry.id, "MD5OfMessageBody": "" })
}
