//! Every frame of version 2 but DATA.

mod open;
mod progress;
mod session;

pub use open::{Group, Offers, Open, Prove};
pub use progress::{Ack, Ping, Pong, Progress, Released};
pub use session::{Hello, Reject, Welcome};

use crate::number::{Rest, put_text, wide};
use crate::{CONTROL_LIMIT, FaultCode, Header, WireError};

/// The version of the wire that this module writes.
pub(crate) const VERSION: u16 = 2;

/// The byte of the header that tells what a frame is.
pub(crate) mod kind {
    pub(crate) const OPEN: u8 = 1;
    pub(crate) const PROVE: u8 = 2;
    pub(crate) const HELLO: u8 = 3;
    pub(crate) const WELCOME: u8 = 4;
    pub(crate) const REJECT: u8 = 5;
    pub(crate) const DATA: u8 = 6;
    pub(crate) const ACK: u8 = 7;
    pub(crate) const PING: u8 = 8;
    pub(crate) const PONG: u8 = 9;
    pub(crate) const FIN: u8 = 10;
    pub(crate) const FIN_ACK: u8 = 11;
    pub(crate) const LEAVE: u8 = 12;
    pub(crate) const FAULT: u8 = 13;
}

/// A frame. DATA is read by [`Receiving::on_data`](crate::Receiving::on_data) and written by
/// [`Sending::transmit`](crate::Sending::transmit), without any form between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first frame of each end.
    Open(Box<Open>),
    /// An end proves that it knows the shared token.
    Prove(Prove),
    /// The end that sends begins or resumes a session.
    Hello(Hello),
    /// The receiving end agrees.
    Welcome(Welcome),
    /// The receiving end refuses.
    Reject(Reject),
    /// Outcomes and credit.
    Ack(Ack),
    /// Asks for a sign of life, and tells which outcomes are processed.
    Ping(Ping),
    /// Answers it.
    Pong(Pong),
    /// The session ends; `last` is its last number.
    Fin {
        /// The last number, 0 if there was none.
        last: u64,
    },
    /// The session has ended.
    FinAck,
    /// The receiving end takes no new datagram.
    Leave,
    /// The connection ends.
    Fault(Fault),
}

/// Why the connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What to act on.
    pub code: FaultCode,
    /// For a person: one line, at most 256 bytes. What a peer wrote is to be escaped before it is printed.
    pub text: String,
}

impl Frame {
    /// The type of DATA, in [`Header::kind`].
    pub const DATA: u8 = kind::DATA;

    /// Reads a frame of this type.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLarge`] above [`CONTROL_LIMIT`]; [`WireError::Malformed`]: an unknown type, cut short, with
    /// bytes left, or not in the one form that it has.
    pub fn decode(kind: u8, body: &[u8]) -> Result<Self, WireError> {
        let name = name(kind)
            .ok_or_else(|| WireError::malformed("frame", format!("unknown type {kind}")))?;
        if body.len() > CONTROL_LIMIT {
            return Err(WireError::TooLarge { size: wide(body.len()), limit: wide(CONTROL_LIMIT) });
        }
        Self::read(kind, &mut Rest(body)).map_err(|reason| WireError::malformed(name, reason))
    }

    fn read(kind: u8, rest: &mut Rest<'_>) -> crate::number::Read<Self> {
        let frame = match kind {
            kind::OPEN => Self::Open(Box::new(Open::read(rest)?)),
            kind::PROVE => Self::Prove(Prove { proof: rest.array()? }),
            kind::HELLO => Self::Hello(Hello::read(rest)?),
            kind::WELCOME => Self::Welcome(Welcome::read(rest)?),
            kind::REJECT => Self::Reject(Reject::read(rest)?),
            kind::ACK => Self::Ack(Ack::read(rest)?),
            kind::PING => Self::Ping(Ping { opaque: rest.number()?, seen: rest.number()? }),
            kind::PONG => Self::Pong(Pong::read(rest)?),
            kind::FIN => Self::Fin { last: rest.number()? },
            kind::FIN_ACK => Self::FinAck,
            kind::LEAVE => Self::Leave,
            kind::FAULT => {
                let code = FaultCode::from_byte(rest.byte()?);
                Self::Fault(Fault { code, text: rest.text(MAX_FAULT_TEXT)?.to_owned() })
            }
            _ => return Err("it is read elsewhere".into()),
        };
        rest.end()?;
        Ok(frame)
    }

    /// Appends the frame, header included.
    pub fn encode(&self, channel: u8, into: &mut Vec<u8>) {
        framed(self.kind(), channel, into, |into| self.write(into));
    }

    fn write(&self, into: &mut Vec<u8>) {
        match self {
            Self::Open(open) => open.write(into),
            Self::Prove(prove) => into.extend_from_slice(&prove.proof),
            Self::Hello(hello) => hello.write(into),
            Self::Welcome(welcome) => welcome.write(into),
            Self::Reject(reject) => reject.write(into),
            Self::Ack(ack) => ack.write(into),
            Self::Ping(ping) => ping.write(into),
            Self::Pong(pong) => pong.write(into),
            Self::Fin { last } => crate::number::put(into, *last),
            Self::FinAck | Self::Leave => {}
            Self::Fault(fault) => {
                into.push(fault.code.to_byte());
                put_text(into, cut(&fault.text, MAX_FAULT_TEXT));
            }
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Open(_) => kind::OPEN,
            Self::Prove(_) => kind::PROVE,
            Self::Hello(_) => kind::HELLO,
            Self::Welcome(_) => kind::WELCOME,
            Self::Reject(_) => kind::REJECT,
            Self::Ack(_) => kind::ACK,
            Self::Ping(_) => kind::PING,
            Self::Pong(_) => kind::PONG,
            Self::Fin { .. } => kind::FIN,
            Self::FinAck => kind::FIN_ACK,
            Self::Leave => kind::LEAVE,
            Self::Fault(_) => kind::FAULT,
        }
    }
}

impl From<&WireError> for Fault {
    /// What the peer is told of what it did. The text names rules and sizes, nothing that the peer sent.
    fn from(error: &WireError) -> Self {
        Self { code: error.fault(), text: error.to_string() }
    }
}

/// Appends a header and what `write` appends, then tells the header how much that was.
pub(crate) fn framed(kind: u8, channel: u8, into: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = into.len();
    let mut header = Header { version: VERSION, kind, channel, body: 0 };
    into.extend_from_slice(&header.to_bytes());
    write(into);
    header.body = into.len() - start - Header::SIZE;
    into[start..start + Header::SIZE].copy_from_slice(&header.to_bytes());
}

/// The longest part of `text` of at most `limit` bytes that ends between two characters.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

fn name(kind: u8) -> Option<&'static str> {
    NAMES.get(usize::from(kind).checked_sub(1)?).copied()
}

const NAMES: [&str; 13] = [
    "OPEN", "PROVE", "HELLO", "WELCOME", "REJECT", "DATA", "ACK", "PING", "PONG", "FIN", "FIN_ACK",
    "LEAVE", "FAULT",
];

/// The longest text of a FAULT, in bytes.
const MAX_FAULT_TEXT: usize = 256;
