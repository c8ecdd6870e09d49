//! The proxy, before somebody who does all that it is asked.

use std::net::Ipv4Addr;

use integration_tests::proxy::{Became, Call, End, Partial, Plan, Proxy};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::PATIENCE;

/// One that ends with its test, and a proxy before it.
struct Line {
    proxy: Proxy,
    server: JoinHandle<()>,
}

impl Line {
    async fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap(), 7).await.unwrap();
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(obey(stream));
            }
        });
        Self { proxy, server }
    }

    async fn dial(&self) -> BufReader<TcpStream> {
        BufReader::new(TcpStream::connect(self.proxy.address()).await.unwrap())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Answers one call: every entry was done, and one message is there.
async fn obey(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let asked = read(&mut stream).await.unwrap();
    let done: Vec<_> = list(&asked, "Entries").iter().map(|entry| entry["Id"].clone()).collect();
    let done: Vec<_> = done.into_iter().map(|id| json!({ "Id": id })).collect();
    let said = json!({ "Successful": done, "Messages": [{ "ReceiptHandle": "handle" }] });
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", said.to_string().len());
    stream.write_all((head + &said.to_string()).as_bytes()).await.unwrap();
}

/// Asks, and reads the answer; none where the connection ends.
async fn ask(stream: &mut BufReader<TcpStream>, operation: &str, body: &Value) -> Option<Value> {
    let body = body.to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.{operation}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    timeout(PATIENCE, read(stream)).await.unwrap()
}

/// The body of what comes next.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            None if line.trim().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(serde_json::from_slice(&body).unwrap())
}

fn list<'a>(body: &'a Value, name: &str) -> &'a [Value] {
    body[name].as_array().map_or(&[], Vec::as_slice)
}

/// A batch of a hundred deletes.
fn batch() -> Value {
    let entry = |at: u32| json!({ "Id": at.to_string(), "ReceiptHandle": format!("h{at}") });
    json!({ "Entries": (0..100).map(entry).collect::<Vec<_>>() })
}

#[tokio::test]
async fn it_passes_calls_on_and_counts_them() {
    let line = Line::new().await;
    let mut stream = line.dial().await;
    let said = ask(&mut stream, "DeleteMessageBatch", &batch()).await.unwrap();
    assert_eq!(list(&said, "Successful").len(), 100);
    ask(&mut stream, "ReceiveMessage", &json!({})).await.unwrap();
    let [call] = &line.proxy.calls("DeleteMessageBatch")[..] else { panic!("one call") };
    assert!(call.entries.iter().all(|entry| entry.became == Became::Done));
    assert_eq!((call.entries.len(), call.entries[7].about.as_str()), (100, "h7"));
    let [call] = &line.proxy.calls("ReceiveMessage")[..] else { panic!("one call") };
    assert_eq!(call.brought, ["handle"]);
    assert!(matches!(call.end, Some((_, End::Answered(200)))));
}

#[tokio::test]
async fn what_is_to_fail_is_not_passed_on_and_listed() {
    let line = Line::new().await;
    let partial = Partial { operation: "DeleteMessageBatch", fails: 30, by_sender: 50 };
    line.proxy.plan(Plan { partial: vec![partial], ..Plan::default() });
    let mut stream = line.dial().await;
    let said = ask(&mut stream, "DeleteMessageBatch", &batch()).await.unwrap();
    let (done, failed) = (list(&said, "Successful"), list(&said, "Failed"));
    assert!(done.len() + failed.len() == 100 && (15..45).contains(&failed.len()), "{said}");
    let by_sender = failed.iter().filter(|entry| entry["SenderFault"] == true).count();
    assert!((1..failed.len()).contains(&by_sender), "{said}");
    let [call] = &line.proxy.calls("DeleteMessageBatch")[..] else { panic!("one call") };
    let noted =
        |is: fn(Became) -> bool| call.entries.iter().filter(|entry| is(entry.became)).count();
    assert_eq!(noted(|became| became == Became::Done), done.len());
    assert_eq!(noted(|became| became == Became::Failed { by_sender: true }), by_sender);
    ask(&mut stream, "SendMessageBatch", &batch()).await.unwrap();
    assert!(
        line.proxy.calls("SendMessageBatch")[0].entries.iter().all(|e| e.became == Became::Done)
    );
}

#[tokio::test]
async fn a_silent_call_waits_until_it_is_abandoned() {
    let line = Line::new().await;
    line.proxy.plan(Plan { silent: vec!["ReceiveMessage"], ..Plan::default() });
    let mut stream = line.dial().await;
    assert!(ask(&mut stream, "SendMessageBatch", &batch()).await.is_some());
    stream.write_all(b"POST / HTTP/1.1\r\nX-Amz-Target: A.ReceiveMessage\r\n\r\n").await.unwrap();
    let came = |calls: &[Call]| calls.len() == 2;
    line.proxy.until(PATIENCE, came).await.unwrap();
    assert_eq!(line.proxy.calls("ReceiveMessage")[0].end, None);
    drop(stream);
    let ended = |calls: &[Call]| matches!(calls[1].end, Some((_, End::Abandoned)));
    line.proxy.until(PATIENCE, ended).await.unwrap();
}

#[tokio::test]
async fn a_connection_is_closed_when_it_is_used_again() {
    let line = Line::new().await;
    line.proxy.plan(Plan { closes: 100, ..Plan::default() });
    let mut stream = line.dial().await;
    assert!(ask(&mut stream, "SendMessageBatch", &batch()).await.is_some());
    assert!(ask(&mut stream, "SendMessageBatch", &batch()).await.is_none());
    let calls = line.proxy.calls("SendMessageBatch");
    assert!(matches!(calls[1].end, Some((_, End::Closed))), "{calls:?}");
    assert!(calls[1].entries.iter().all(|entry| entry.became == Became::Unknown));
}
