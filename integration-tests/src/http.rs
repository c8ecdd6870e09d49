//! As much of HTTP/1.1 as a client of SQS speaks.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A call, as it came or goes.
#[derive(Debug)]
pub struct Request {
    /// What is asked for, such as `SendMessageBatch`.
    pub operation: String,
    /// With what.
    pub body: Value,
    /// Names and values of those that are passed on.
    headers: Vec<(String, String)>,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// The status of HTTP.
    pub status: u16,
    /// What it says.
    pub body: Value,
}

impl Request {
    /// A call of `operation`, signed by nobody: an emulator takes it.
    #[must_use]
    pub fn new(operation: &str, body: Value) -> Self {
        let credential = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request";
        let headers = [
            ("content-type", "application/x-amz-json-1.0".to_owned()),
            ("x-amz-target", format!("AmazonSQS.{operation}")),
            ("authorization", credential.to_owned()),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        Self { operation: operation.to_owned(), body, headers }
    }

    /// The next call of a connection; none once it is closed.
    ///
    /// # Errors
    ///
    /// Those of reading; [`ErrorKind::InvalidData`] for what is no such call.
    pub async fn read(near: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
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
    ///
    /// # Errors
    ///
    /// Those of connecting, writing and reading; [`ErrorKind::InvalidData`] for what is no such answer.
    pub async fn call(&self, target: SocketAddr) -> io::Result<Response> {
        let body = self.body.to_string();
        // By HTTP/1.0 nothing comes in chunks, and the end of the connection is the end of the answer.
        let mut head = "POST / HTTP/1.0\r\n".to_owned();
        if !self.headers.iter().any(|(name, _)| name == "host") {
            head.push_str(&format!("host: {target}\r\n"));
        }
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
    /// One that all went well.
    #[must_use]
    pub fn new(body: Value) -> Self {
        Self { status: 200, body }
    }

    /// The list of this name, made where there is none.
    ///
    /// # Panics
    ///
    /// Where the body is no object.
    pub fn list(&mut self, name: &str) -> &mut Vec<Value> {
        let list = &mut self.body[name];
        if !list.is_array() {
            *list = json!([]);
        }
        list.as_array_mut().expect("made above")
    }

    /// Answers a call.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub async fn write(&self, near: &mut BufReader<TcpStream>) -> io::Result<()> {
        let (status, body) = (self.status, self.body.to_string());
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        near.write_all((head + &body).as_bytes()).await
    }
}

/// Resolves once the other end closes the connection; until then it has nothing to say.
pub(crate) async fn closed(near: &mut BufReader<TcpStream>) {
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
