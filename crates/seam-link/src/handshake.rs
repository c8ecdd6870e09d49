//! The first frames of a connection: who is there, and that it may be.
//!
//! Everything here has a deadline that single bytes do not extend, and reads no frame over 4 KiB.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use seam_core::{Clock, Error, Peer, Result};
use seam_wire::{
    CONTROL_LIMIT, Fault, FaultCode, Frame, Header, Open, Proof, Role, WireError, header,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::carrier::{Link, Stream, told};
use crate::config::Token;

/// How long an end may take for each of its first frames.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How long the last words of an end that has closed are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where both versions are welcome, whoever says nothing for so long is of version 1.
const SILENCE: Duration = Duration::from_secs(2);

/// A connection on which both ends said what they are.
pub(crate) struct Established {
    pub(crate) stream: Box<dyn Stream>,
    /// What was read beyond the first frames.
    pub(crate) buffer: BytesMut,
    /// Whether nobody but the two ends can read it.
    pub(crate) is_private: bool,
    pub(crate) peer: Arc<Peer>,
    pub(crate) speaks: Speaks,
}

impl Established {
    /// A connection of version 1, on which nothing was said.
    pub(crate) fn plain(link: Link) -> Self {
        Self {
            peer: Arc::new(link.peer(&*link.address)),
            stream: link.stream,
            buffer: BytesMut::new(),
            is_private: link.is_private,
            speaks: Speaks::Plain,
        }
    }
}

/// What is spoken on a connection.
pub(crate) enum Speaks {
    /// Version 1.
    Plain,
    /// The session; the other end's OPEN, and what proofs of this connection are bound to.
    Session { open: Box<Open>, binding: Vec<u8> },
}

/// What a connection that was accepted begins with.
pub(crate) enum First {
    Plain,
    Session { open: Box<Open>, body: Vec<u8> },
}

/// One end of a connection whose first frames are under way.
pub(crate) struct Greeting<'a> {
    link: Link,
    buffer: BytesMut,
    clock: &'a dyn Clock,
    /// When the frame that is awaited must be whole.
    until: Duration,
    endpoint: &'a str,
}

impl<'a> Greeting<'a> {
    pub(crate) fn new(link: Link, clock: &'a dyn Clock, endpoint: &'a str) -> Self {
        Self { link, buffer: BytesMut::new(), clock, until: Duration::ZERO, endpoint }
    }

    /// Says who we are, as the one who dialled, and learns who answers.
    pub(crate) async fn dial(mut self, ours: &Open, token: Option<&Token>) -> Result<Established> {
        let body = self.open(ours).await?;
        let (open, theirs) = match self.first().await? {
            First::Session { open, body } => (open, body),
            First::Plain => {
                return Err(self.protocol("the listener speaks version 1; say `?wire=connect`"));
            }
        };
        ours.check_echo(&open).map_err(|error| self.wrong(&error))?;
        if let Some((what, found, wanted)) = below(&open, ours) {
            return Err(mismatch(what, found, wanted));
        }
        let binding = self.binding(&ours.nonce, &open.nonce);
        match (token, open.token) {
            (Some(token), true) => {
                let frame = self.frame().await?;
                let proof = Proof {
                    token: token.bytes(),
                    dialler: &body,
                    acceptor: &theirs,
                    exporter: &self.link.exporter,
                };
                let (ours, verified) = match &frame {
                    Frame::Prove(prove) => {
                        (proof.prove(Role::Dialler), proof.verify(Role::Acceptor, prove))
                    }
                    _ => return Err(self.protocol("a proof of the token was to come")),
                };
                if let Err(error) = verified {
                    return Err(self.refuse(&error).await);
                }
                self.write(&Frame::Prove(ours)).await?;
            }
            (None, true) => {
                return Err(self.denied("it wants a proof of a token; give `?token_file=`"));
            }
            (Some(_), false) => {
                let reason = "it does not prove to know the token; give it the same `?token_file=`";
                return Err(self.denied(reason));
            }
            (None, false) => {}
        }
        Ok(self.established(Speaks::Session { open, binding }, token.is_some()))
    }

    /// Whether the one who dialled says nothing at first: a session begins by speaking, version 1 need not.
    pub(crate) async fn is_silent(&mut self) -> Result<bool> {
        let until = self.clock.now().saturating_add(SILENCE);
        let reading = self.link.stream.read_buf(&mut self.buffer);
        match seam_core::clock::deadline(self.clock, until, reading).await {
            Some(Ok(0)) => Err(self.gone(std::io::ErrorKind::UnexpectedEof.into())),
            Some(Ok(_)) => Ok(false),
            Some(Err(error)) => Err(self.gone(error)),
            None => Ok(true),
        }
    }

    /// What the one who dialled begins with.
    pub(crate) async fn first(&mut self) -> Result<First> {
        let header = self.header(CONTROL_LIMIT).await?;
        if header.version == 1 {
            return Ok(First::Plain);
        }
        let body = self.body(header).await?;
        match Frame::decode(header.kind, &body).map_err(|error| self.wrong(&error))? {
            Frame::Open(open) => Ok(First::Session { open, body }),
            Frame::Fault(fault) => Err(self.fault(&fault)),
            _ => Err(self.protocol("the first frame is no OPEN")),
        }
    }

    /// Answers the one who dialled.
    pub(crate) async fn answer(
        mut self,
        ours: &Open,
        theirs: (Box<Open>, Vec<u8>),
        token: Option<&Token>,
    ) -> Result<Established> {
        let (open, dialler) = theirs;
        if let Some((what, found, wanted)) = below(&open, ours) {
            let error = mismatch(what, found, wanted);
            let text =
                format!("its {what} is {found}, and here it is {wanted}; give both the same");
            self.turn_away(FaultCode::Mismatch, &text).await;
            return Err(error);
        }
        let acceptor = self.open(ours).await?;
        let binding = self.binding(&open.nonce, &ours.nonce);
        if let Some(token) = token {
            let proof = Proof {
                token: token.bytes(),
                dialler: &dialler,
                acceptor: &acceptor,
                exporter: &self.link.exporter,
            };
            let ours = proof.prove(Role::Acceptor);
            self.write(&Frame::Prove(ours)).await?;
            if !open.token {
                return Err(self.refuse(&WireError::Unproven).await);
            }
            let Frame::Prove(theirs) = self.frame().await? else {
                return Err(self.protocol("a proof of the token was to come"));
            };
            let proof = Proof {
                token: token.bytes(),
                dialler: &dialler,
                acceptor: &acceptor,
                exporter: &self.link.exporter,
            };
            if proof.verify(Role::Dialler, &theirs).is_err() {
                return Err(self.refuse(&WireError::Unproven).await);
            }
        }
        Ok(self.established(Speaks::Session { open, binding }, token.is_some()))
    }

    /// Goes on in version 1.
    pub(crate) fn plain(self) -> Established {
        self.established(Speaks::Plain, false)
    }

    /// Tells the other end why it is not wanted, and closes.
    pub(crate) async fn turn_away(mut self, code: FaultCode, text: &str) {
        let fault = Frame::Fault(Fault { code, text: text.to_owned() });
        if self.write(&fault).await.is_ok() {
            // It may have closed already, and then needs no word.
            let _ = self.link.stream.shutdown().await;
        }
    }

    /// What proofs of this connection are bound to.
    fn binding(&self, dialler: &[u8], acceptor: &[u8]) -> Vec<u8> {
        match &*self.link.exporter {
            [] => [dialler, acceptor].concat(),
            exporter => exporter.to_vec(),
        }
    }

    fn established(self, speaks: Speaks, proved: bool) -> Established {
        let id = match &speaks {
            Speaks::Plain => self.link.address.clone(),
            Speaks::Session { open, .. } => {
                open.instance.iter().map(|byte| format!("{byte:02x}")).collect()
            }
        };
        let mut peer = self.link.peer(id);
        peer.identity = peer.identity.or_else(|| proved.then(|| "token".to_owned()));
        if let Speaks::Session { open, .. } = &speaks
            && let seam_wire::Group::Named(group) = &open.group
        {
            peer.group = Some(group.to_string());
        }
        Established {
            stream: self.link.stream,
            buffer: self.buffer,
            is_private: self.link.is_private,
            peer: Arc::new(peer),
            speaks,
        }
    }

    async fn open(&mut self, ours: &Open) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Frame::Open(Box::new(ours.clone())).encode(0, &mut bytes);
        self.write_bytes(&bytes).await?;
        Ok(bytes.split_off(Header::SIZE))
    }

    async fn frame(&mut self) -> Result<Frame> {
        let header = self.header(CONTROL_LIMIT).await?;
        let body = self.body(header).await?;
        match Frame::decode(header.kind, &body).map_err(|error| self.wrong(&error))? {
            Frame::Fault(fault) => Err(self.fault(&fault)),
            frame => Ok(frame),
        }
    }

    async fn header(&mut self, limit: usize) -> Result<Header> {
        self.until = self.clock.now().saturating_add(PATIENCE);
        self.fill(Header::SIZE).await?;
        match header(&self.buffer, limit) {
            Ok(Some(header)) => Ok(header),
            // Of version 1 any length may follow.
            Err(WireError::TooLarge { .. }) if self.buffer[4..6] == [0, 1] => {
                Ok(Header { version: 1, kind: 0, channel: 0, body: 0 })
            }
            Ok(None) => Err(self.protocol("it closed within its first frame")),
            Err(error) => Err(self.refuse(&error).await),
        }
    }

    async fn body(&mut self, header: Header) -> Result<Vec<u8>> {
        self.fill(Header::SIZE + header.body).await?;
        self.buffer.advance(Header::SIZE);
        Ok(self.buffer.split_to(header.body).to_vec())
    }

    /// Reads until there are `wanted` bytes, within the deadline of their frame.
    async fn fill(&mut self, wanted: usize) -> Result<()> {
        let until = self.until;
        let (buffer, stream) = (&mut self.buffer, &mut self.link.stream);
        let reading = async {
            while buffer.len() < wanted {
                if stream.read_buf(buffer).await? == 0 {
                    return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
                }
            }
            Ok(())
        };
        match seam_core::clock::deadline(self.clock, until, reading).await {
            Some(read) => read.map_err(|error| self.gone(error)),
            None => Err(self.lost("it did not say in 5 s who it is; does it speak this protocol?")),
        }
    }

    async fn write(&mut self, frame: &Frame) -> Result<()> {
        let mut bytes = Vec::new();
        frame.encode(0, &mut bytes);
        self.write_bytes(&bytes).await
    }

    async fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let until = self.clock.now().saturating_add(PATIENCE);
        let stream = &mut self.link.stream;
        let writing = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        match seam_core::clock::deadline(self.clock, until, writing).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.why(error).await),
            None => Err(self.lost("it reads nothing")),
        }
    }

    /// Why nothing more can be written: what the other end said before it closed counts for more than that it did.
    async fn why(&mut self, error: std::io::Error) -> Error {
        let until = self.clock.now().saturating_add(LAST_WORDS);
        let reading = self.link.stream.read_buf(&mut self.buffer);
        match seam_core::clock::deadline(self.clock, until, reading).await {
            Some(Err(last)) if told(&last).is_some() => self.gone(last),
            _ => told(&error).unwrap_or_else(|| self.lost(error)),
        }
    }

    /// Tells the other end what is wrong with it, and what to return.
    async fn refuse(&mut self, error: &WireError) -> Error {
        let fault = Frame::Fault(Fault { code: error.fault(), text: error.to_string() });
        // It may have closed already, and then needs no word.
        let _ = self.write(&fault).await;
        self.wrong(error)
    }

    fn wrong(&self, error: &WireError) -> Error {
        match error {
            WireError::Unproven => self.denied(
                "it did not prove to know the token; give both ends the same `?token_file=`",
            ),
            other => self.protocol(&other.to_string()),
        }
    }

    fn fault(&self, fault: &Fault) -> Error {
        fault_error(self.endpoint, fault)
    }

    fn denied(&self, reason: &str) -> Error {
        Error::Denied { endpoint: self.endpoint.to_owned(), reason: reason.to_owned() }
    }

    fn protocol(&self, reason: &str) -> Error {
        Error::Protocol { endpoint: self.endpoint.to_owned(), reason: reason.to_owned() }
    }

    /// What it means that nothing more can be read.
    fn gone(&self, error: std::io::Error) -> Error {
        use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
        if let Some(told) = told(&error) {
            return told;
        }
        match error.kind() {
            UnexpectedEof | ConnectionReset => self.lost(
                "it closed before it said who it is; does it speak this protocol? \
                 (version 1 needs `?wire=connect`)",
            ),
            _ => self.lost(error),
        }
    }

    fn lost(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::disconnected(self.endpoint, cause)
    }
}

/// The first limit of a peer that is below ours: what we may send it must not be more than it takes.
fn below(peer: &Open, ours: &Open) -> Option<(&'static str, u64, u64)> {
    let wide = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    let (theirs, own) = (&peer.envelope, &ours.envelope);
    let limits = [
        ("`max_message` (bytes)", peer.max_message, ours.max_message),
        ("largest key (bytes)", wide(theirs.key), wide(own.key)),
        ("most headers", wide(theirs.headers), wide(own.headers)),
        ("largest header name (bytes)", wide(theirs.header_name), wide(own.header_name)),
        ("largest headers (bytes)", wide(theirs.header_bytes), wide(own.header_bytes)),
        ("deepest header", wide(theirs.header_depth), wide(own.header_depth)),
    ];
    limits.into_iter().find(|(_, theirs, ours)| theirs < ours)
}

fn mismatch(what: &str, found: u64, wanted: u64) -> Error {
    Error::Mismatch {
        what: format!("{what} of the peer"),
        found: found.to_string(),
        wanted: wanted.to_string(),
    }
}

/// What a FAULT of the other end means here.
pub(crate) fn fault_error(endpoint: &str, fault: &Fault) -> Error {
    let endpoint = endpoint.to_owned();
    let text = fault.text.escape_debug().to_string();
    match fault.code {
        FaultCode::Unproven => {
            let reason = "it wants a proof of the token; give both ends the same `?token_file=`";
            Error::Denied { endpoint, reason: reason.to_owned() }
        }
        FaultCode::Denied => Error::Denied { endpoint, reason: text },
        FaultCode::Address | FaultCode::Closing | FaultCode::Busy | FaultCode::Timeout => {
            Error::disconnected(endpoint, text)
        }
        _ => Error::Protocol { endpoint, reason: format!("it closed: {text}") },
    }
}
