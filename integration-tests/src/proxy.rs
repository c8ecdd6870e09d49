//! A proxy before SQS that counts calls and spoils them on command: it has entries of batches fail, answers
//! nothing, or closes a connection just when a call comes.
//!
//! ```
//! use integration_tests::proxy::{Plan, Proxy};
//!
//! # async fn example(sqs: std::net::SocketAddr) -> std::io::Result<()> {
//! let proxy = Proxy::start(sqs, 7).await?;
//! proxy.plan(Plan { silent: vec!["ReceiveMessage"], ..Plan::default() });
//! println!("sqs+http://test:test@{}/orders", proxy.address());
//! # Ok(()) }
//! ```
//!
//! It speaks SQS's JSON protocol over HTTP/1.1, without TLS. Needs a Tokio runtime; dropped, it ends all
//! connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::http::{self, Request, Response};

/// What becomes of calls from now on; without anything, all go through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Which entries of batches fail.
    pub partial: Vec<Partial>,
    /// Operations whose calls are taken and never answered.
    pub silent: Vec<&'static str>,
    /// Of a hundred calls on a connection that had one before, so many find it closed, as where SQS closes one
    /// that was idle just when it is used again.
    pub closes: u32,
}

/// How entries of a batch fail: those are not passed on, and listed as `Failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The operation.
    pub operation: &'static str,
    /// Of a hundred entries, so many fail.
    pub fails: u32,
    /// Of a hundred that fail, so many are said to be the sender's fault.
    pub by_sender: u32,
}

/// A call that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was asked for, such as `SendMessageBatch`.
    pub operation: String,
    /// Entries of a batch.
    pub entries: Vec<Entry>,
    /// Receipt handles of what a `ReceiveMessage` brought.
    pub brought: Vec<String>,
    /// When it came.
    pub at: Instant,
    /// How it ended, if it has.
    pub end: Option<(Instant, End)>,
}

/// An entry of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is about: a receipt handle, else a deduplication id, else a body.
    pub about: String,
    /// The body of a message.
    pub body: String,
    /// What became of it.
    pub became: Became,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// Nobody has said.
    Unknown,
    /// SQS has done it.
    Done,
    /// SQS has refused it.
    Refused,
    /// The proxy had it fail.
    Failed {
        /// Whether it was said to be the sender's fault.
        by_sender: bool,
    },
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this status.
    Answered(u16),
    /// The proxy closed the connection.
    Closed,
    /// Who called closed the connection.
    Abandoned,
}

/// A proxy that listens on a port of its own.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    plan: Mutex<Plan>,
    calls: watch::Sender<Vec<Call>>,
    random: Mutex<StdRng>,
}

impl Proxy {
    /// Listens on a free port of this machine and calls `target`. What is drawn at random follows from `seed`.
    ///
    /// # Errors
    ///
    /// Those of listening.
    pub async fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            plan: Mutex::default(),
            calls: watch::Sender::default(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
        });
        let listening = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, listening })
    }

    /// Where to call it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says what becomes of calls from now on.
    pub fn plan(&self, plan: Plan) {
        *self.shared.plan.lock().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    /// All calls of `operation` so far.
    #[must_use]
    pub fn calls(&self, operation: &str) -> Vec<Call> {
        let calls = self.shared.calls.borrow();
        calls.iter().filter(|call| call.operation == operation).cloned().collect()
    }

    /// Waits until `reached` says so of all calls.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] after `within`, with the last calls.
    pub async fn until(
        &self,
        within: Duration,
        mut reached: impl FnMut(&[Call]) -> bool,
    ) -> io::Result<()> {
        let mut calls = self.shared.calls.subscribe();
        let found = timeout(within, calls.wait_for(|calls| reached(calls))).await;
        match found {
            Ok(found) => found.map(drop).map_err(io::Error::other),
            Err(_) => {
                let calls = self.shared.calls.borrow();
                let last = &calls[calls.len().saturating_sub(5)..];
                let complaint = format!("the last of {} calls are {last:?}", calls.len());
                Err(io::Error::new(io::ErrorKind::TimedOut, complaint))
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It owns the connections, so they end with it.
        self.listening.abort();
    }
}

impl Shared {
    fn plan(&self) -> Plan {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it happens that is to happen so many times of a hundred.
    fn draw(&self, of_a_hundred: u32) -> bool {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.random_range(0..100) < of_a_hundred
    }

    /// Writes down a call; its place.
    fn note(&self, request: &Request) -> usize {
        let mut at = 0;
        self.calls.send_modify(|calls| {
            at = calls.len();
            calls.push(Call {
                operation: request.operation.clone(),
                entries: entries(&request.body).iter().map(Entry::of).collect(),
                brought: Vec::new(),
                at: Instant::now(),
                end: None,
            });
        });
        at
    }

    fn ended(&self, at: usize, end: End, change: impl FnOnce(&mut Call)) {
        self.calls.send_modify(|calls| {
            if let Some(call) = calls.get_mut(at) {
                call.end = Some((Instant::now(), end));
                change(call);
            }
        });
    }
}

impl Entry {
    fn of(entry: &Value) -> Self {
        let text = |name: &str| entry[name].as_str().map(str::to_owned);
        let body = text("MessageBody").unwrap_or_default();
        let about = text("ReceiptHandle").or_else(|| text("MessageDeduplicationId"));
        Self { about: about.unwrap_or_else(|| body.clone()), body, became: Became::Unknown }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        // Out of descriptors, most likely; whoever called sees that nobody answers.
        let Ok((near, _)) = listener.accept().await else { return };
        connections.spawn(serve(near, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Serves the calls of one connection, one after the other.
async fn serve(near: TcpStream, shared: Arc<Shared>) {
    let mut near = BufReader::new(near);
    let mut is_first = true;
    while let Ok(Some(request)) = Request::read(&mut near).await {
        let (plan, at) = (shared.plan(), shared.note(&request));
        if !is_first && shared.draw(plan.closes) {
            shared.ended(at, End::Closed, |_| {});
            return;
        }
        is_first = false;
        if plan.silent.contains(&&*request.operation) {
            http::closed(&mut near).await;
            shared.ended(at, End::Abandoned, |_| {});
            return;
        }
        let answered = tokio::select! {
            answered = answer(&shared, &plan, request) => answered,
            () = http::closed(&mut near) => {
                shared.ended(at, End::Abandoned, |_| {});
                return;
            }
        };
        let Ok((response, became)) = answered else {
            shared.ended(at, End::Closed, |_| {});
            return;
        };
        // Written down first: whoever has the answer may ask.
        shared.ended(at, End::Answered(response.status), |call| {
            for (entry, became) in call.entries.iter_mut().zip(became) {
                entry.became = became;
            }
            let messages = response.body["Messages"].as_array().into_iter().flatten();
            let handles = messages.filter_map(|message| message["ReceiptHandle"].as_str());
            call.brought = handles.map(str::to_owned).collect();
        });
        if response.write(&mut near).await.is_err() {
            return;
        }
    }
}

/// What comes back, and what became of each entry.
async fn answer(
    shared: &Shared,
    plan: &Plan,
    mut request: Request,
) -> io::Result<(Response, Vec<Became>)> {
    let partial = plan.partial.iter().find(|partial| partial.operation == request.operation);
    let all = entries(&request.body).to_vec();
    let spoilt: Vec<_> = all.iter().map(|_| partial.and_then(|one| one.draw(shared))).collect();
    let passed: Vec<_> = all.iter().zip(&spoilt).filter(|(_, spoilt)| spoilt.is_none()).collect();
    let mut response = if !all.is_empty() && passed.is_empty() {
        Response::new(json!({ "Successful": [], "Failed": [] }))
    } else {
        if !all.is_empty() {
            request.body["Entries"] = passed.into_iter().map(|(entry, _)| entry.clone()).collect();
        }
        request.call(shared.target).await?
    };
    let mut became = Vec::new();
    for (entry, spoilt) in all.iter().zip(spoilt) {
        let id = &entry["Id"];
        match spoilt {
            Some(by_sender) => {
                let failed = json!({
                    "Id": id, "SenderFault": by_sender, "Code": code(by_sender), "Message": "by plan",
                });
                response.list("Failed").push(failed);
                became.push(Became::Failed { by_sender });
            }
            None if response.list("Failed").iter().any(|failed| failed["Id"] == *id) => {
                became.push(Became::Refused);
            }
            None if response.status == 200 => became.push(Became::Done),
            None => became.push(Became::Refused),
        }
    }
    Ok((response, became))
}

impl Partial {
    /// Whether an entry fails, and then whether by the sender's fault.
    fn draw(&self, shared: &Shared) -> Option<bool> {
        shared.draw(self.fails).then(|| shared.draw(self.by_sender))
    }
}

fn code(by_sender: bool) -> &'static str {
    if by_sender { "InvalidMessageContents" } else { "InternalError" }
}

fn entries(body: &Value) -> &[Value] {
    body["Entries"].as_array().map_or(&[], Vec::as_slice)
}
