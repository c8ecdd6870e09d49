//! A way to the broker that counts calls, each a request of HTTP that names its operation.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// One that listens until it is dropped.
pub(crate) struct Counter {
    /// Where it listens.
    pub(crate) host: String,
    calls: Arc<Mutex<BTreeMap<String, usize>>>,
    listening: tokio::task::JoinHandle<()>,
}

impl Counter {
    /// One before `broker`, which is `host:port`.
    pub(crate) async fn start(broker: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let calls = Arc::<Mutex<BTreeMap<_, _>>>::default();
        let seen = calls.clone();
        let listening = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                serving.spawn(forward(client, broker.clone(), seen.clone()));
            }
        });
        Self { host, calls, listening }
    }

    /// How often `operation` was called.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.calls.lock().unwrap().get(operation).copied().unwrap_or(0)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

type Calls = Arc<Mutex<BTreeMap<String, usize>>>;

async fn forward(client: TcpStream, broker: String, calls: Calls) -> io::Result<()> {
    let (mut answers, requests) = TcpStream::connect(broker).await?.into_split();
    let (from, mut to) = client.into_split();
    let counting = tokio::spawn(count(from, requests, calls));
    copy(&mut answers, &mut to).await?;
    counting.abort();
    Ok(())
}

async fn count(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, calls: Calls) -> io::Result<()> {
    let (mut read, mut rest) = (vec![0; 64 << 10], Vec::new());
    loop {
        let length = from.read(&mut read).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        rest.extend_from_slice(&read[..length]);
        while let Some((operation, end)) = next(&rest) {
            *calls.lock().unwrap().entry(operation).or_default() += 1;
            rest.drain(..end);
        }
        // What may be the beginning of one.
        rest.drain(..rest.len().saturating_sub(LONGEST));
        to.write_all(&read[..length]).await?;
    }
}

/// The next operation that is named in these bytes, and where its name ends.
fn next(bytes: &[u8]) -> Option<(String, usize)> {
    let at = bytes.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME))?;
    let name = &bytes[at + NAME.len()..];
    let length = name.iter().position(|byte| *byte == b'\r')?;
    let operation = String::from_utf8_lossy(&name[..length]).into_owned();
    Some((operation, at + NAME.len() + length))
}

const NAME: &[u8] = b"x-amz-target: AmazonSQS.";

/// More than a name with its operation.
const LONGEST: usize = 128;
