//! A pretence of SQS that answers as a test says, and notes what it was asked: for what no emulator does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How one call is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Ok(Value),
    /// A status and a code.
    Error(u16, &'static str),
    /// Nothing comes, and the connection ends.
    HangUp,
    /// A poll that finds nothing for as long as it may wait.
    Nothing,
}

/// One that listens until it is dropped.
pub(crate) struct Stub {
    host: String,
    state: Arc<Mutex<State>>,
    listening: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// Answers to come, by operation; without any, it is as if all went well.
    answers: Vec<(&'static str, VecDeque<Answer>)>,
    asked: Vec<(String, Value)>,
}

impl Stub {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let (seen, at) = (state.clone(), host.clone());
        let listening = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                serving.spawn(serve(stream, seen.clone(), at.clone()));
            }
        });
        Self { host, state, listening }
    }

    pub(crate) fn uri(&self, rest: &str) -> String {
        format!("sqs+http://AKIDEXAMPLE:hunter2@{}/{rest}", self.host)
    }

    /// Has the next calls of `operation` answered so, one after the other.
    pub(crate) fn answer(
        &self,
        operation: &'static str,
        answers: impl IntoIterator<Item = Answer>,
    ) {
        let answers = answers.into_iter().collect();
        self.state.lock().unwrap().answers.push((operation, answers));
    }

    /// What was asked of `operation` so far.
    pub(crate) fn asked(&self, operation: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        let asked = state.asked.iter().filter(|(name, _)| name == operation);
        asked.map(|(_, body)| body.clone()).collect()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl State {
    fn next(&mut self, operation: &str) -> Option<Answer> {
        let of = |(name, answers): &&mut (&str, VecDeque<Answer>)| {
            *name == operation && !answers.is_empty()
        };
        self.answers.iter_mut().find(of).and_then(|(_, answers)| answers.pop_front())
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>, host: String) {
    let mut stream = BufReader::new(stream);
    while let Some((operation, body)) = request(&mut stream).await {
        let answer = {
            let mut state = state.lock().unwrap();
            state.asked.push((operation.clone(), body.clone()));
            state.next(&operation)
        };
        let is_poll = operation == "ReceiveMessage";
        let wait = match answer {
            Some(Answer::Nothing) => {
                Duration::from_secs(body["WaitTimeSeconds"].as_u64().unwrap_or(0))
            }
            // No poll of a test may be an idle loop.
            _ if is_poll => Duration::from_millis(20),
            _ => Duration::ZERO,
        };
        let (status, text) = match answer {
            None | Some(Answer::Nothing) => (200, well(&operation, &body, &host)),
            Some(Answer::Ok(value)) => (200, value),
            Some(Answer::Error(status, code)) => {
                (status, json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": "no" }))
            }
            Some(Answer::HangUp) => return,
        };
        if is_poll {
            tokio::time::sleep(wait).await;
        }
        let text = text.to_string();
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        if stream.write_all((head + &text).as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The operation that is asked for, and its arguments.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let (mut operation, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.trim().split_once(": ") else {
            if line.trim().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "x-amz-target" => operation = value.rsplit('.').next()?.to_owned(),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((operation, serde_json::from_slice(&body).ok()?))
}

/// The answer where all goes well.
fn well(operation: &str, body: &Value, host: &str) -> Value {
    let name = body["QueueName"].as_str().unwrap_or("q");
    match operation {
        "GetQueueUrl" | "CreateQueue" => json!({ "QueueUrl": format!("http://{host}/1/{name}") }),
        "GetQueueAttributes" => json!({ "Attributes": {
            "MaximumMessageSize": "262144",
            "QueueArn": "arn:aws:sqs:us-east-1:000000000001:q",
        } }),
        "SendMessageBatch" => stored(body),
        "DeleteMessageBatch" | "ChangeMessageVisibilityBatch" => {
            json!({ "Successful": ids(body).map(|id| json!({ "Id": id })).collect::<Vec<_>>(), "Failed": [] })
        }
        _ => json!({}),
    }
}

fn ids(body: &Value) -> impl Iterator<Item = String> + '_ {
    let entries = body["Entries"].as_array().into_iter().flatten();
    entries.map(|entry| entry["Id"].as_str().unwrap_or_default().to_owned())
}

fn stored(body: &Value) -> Value {
    let stored = |id| json!({ "Id": id, "MessageId": id, "MD5OfMessageBody": "" });
    json!({ "Successful": ids(body).map(stored).collect::<Vec<_>>(), "Failed": [] })
}

/// An answer of `SendMessageBatch` for three entries, of which the one at `place` failed.
pub(crate) fn all_but(place: usize, is_our_fault: bool) -> Answer {
    let others = (0..3).filter(|at| *at != place);
    let stored =
        |at: usize| json!({ "Id": at.to_string(), "MessageId": "m", "MD5OfMessageBody": "" });
    Answer::Ok(json!({
        "Successful": others.map(stored).collect::<Vec<_>>(),
        "Failed": [{ "Id": place.to_string(), "SenderFault": is_our_fault, "Code": "InternalError", "Message": "no" }],
    }))
}
