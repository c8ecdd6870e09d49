//! As much of HTTP/1.1 as a client of SQS speaks.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A call, as it came.
pub(super) struct Request {
    pub(super) operation: String,
    pub(super) body: Value,
    /// Names and values of those that are passed on.
    headers: Vec<(String, String)>,
}

/// An answer.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Request {
    /// The next call of a connection; none once it is closed.
    pub(super) async fn read(near: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if near.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let (headers, length) = headers(near).await?;
        let mut body = vec![0; length.unwrap_or(0)];
        near.read_exact(&mut body).await?;
        let target = headers.iter().find(|(name, _)| name == "x-amz-target");
        let operation = target.and_then(|(_, value)| value.rsplit('.').next()).unwrap_or_default();
        Ok(Some(Self { operation: operation.to_owned(), body: parse(&body)?, headers }))
    }

    /// Calls `target`, on a connection of its own.
    pub(super) async fn call(&self, target: SocketAddr) -> io::Result<Response> {
        let body = self.body.to_string();
        // By HTTP/1.0 nothing comes in chunks, and the end of the connection is the end of the answer.
        let mut head = "POST / HTTP/1.0\r\n".to_owned();
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut far = BufReader::new(TcpStream::connect(target).await?);
        far.write_all((head + &body).as_bytes()).await?;
        let mut line = String::new();
        far.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or(ErrorKind::InvalidData)?;
        let (_, length) = self::headers(&mut far).await?;
        let mut body = Vec::new();
        match length {
            Some(length) => {
                body.resize(length, 0);
                far.read_exact(&mut body).await?;
            }
            None => drop(far.read_to_end(&mut body).await?),
        }
        Ok(Response { status, body: parse(&body)? })
    }
}

impl Response {
    pub(super) fn new(body: Value) -> Self {
        Self { status: 200, body }
    }

    /// The list of this name, made where there is none.
    pub(super) fn list(&mut self, name: &str) -> &mut Vec<Value> {
        let list = &mut self.body[name];
        if !list.is_array() {
            *list = json!([]);
        }
        list.as_array_mut().expect("made above")
    }

    pub(super) async fn write(&self, near: &mut BufReader<TcpStream>) -> io::Result<()> {
        let (status, body) = (self.status, self.body.to_string());
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        near.write_all((head + &body).as_bytes()).await
    }
}

/// Resolves once the other end closes the connection; until then it has nothing to say.
pub(super) async fn closed(near: &mut BufReader<TcpStream>) {
    // What it says before its answer is part of its next call, and stays.
    if near.fill_buf().await.is_ok_and(|bytes| !bytes.is_empty()) {
        std::future::pending::<()>().await;
    }
}

/// The headers of a message that are passed on, and the length of what follows.
async fn headers(
    from: &mut BufReader<TcpStream>,
) -> io::Result<(Vec<(String, String)>, Option<usize>)> {
    let (mut headers, mut length) = (Vec::new(), None);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((headers, length));
        }
        let (name, value) = line.split_once(':').ok_or(ErrorKind::InvalidData)?;
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        match &*name {
            "content-length" => length = value.parse().ok(),
            // Its own connection is nobody else's.
            "connection" | "transfer-encoding" => {}
            _ => headers.push((name, value.to_owned())),
        }
    }
}

fn parse(body: &[u8]) -> io::Result<Value> {
    if body.is_empty() {
        return Ok(json!({}));
    }
    Ok(serde_json::from_slice(body)?)
}
