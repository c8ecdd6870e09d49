//! What is wrong with bytes that came, and what the peer is told of it.

use std::borrow::Cow;

/// Why a connection must close. Act on the variant, never on the text.
///
/// No text holds bytes of the peer's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The peer speaks another protocol.
    #[error("the peer does not speak this protocol: its first bytes look like {what}")]
    Foreign {
        /// What it looks like.
        what: &'static str,
    },

    /// The frame is larger than what is agreed. Nothing was allocated for it.
    #[error("a frame of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// Bytes that its header claims to follow.
        size: u64,
        /// The most that is read here.
        limit: u64,
    },

    /// No version in common.
    #[error("version {version} of the wire is unknown; known are 1 and 2")]
    Version {
        /// What the peer's frame says.
        version: u16,
    },

    /// The bytes are no frame.
    #[error("malformed {frame}: {reason}")]
    Malformed {
        /// The frame that they should have been.
        frame: &'static str,
        /// One line.
        reason: Cow<'static, str>,
    },

    /// The frame is well formed, and against the rules here and now.
    #[error("the peer broke a rule: {rule}")]
    Protocol {
        /// The rule that it broke.
        rule: &'static str,
    },

    /// A number is missing.
    #[error("number {received} came where {expected} is next")]
    Gap {
        /// The next number.
        expected: u64,
        /// The number that came.
        received: u64,
    },

    /// The peer sent more than it had credit for.
    #[error("number {number} is over the credit given")]
    Credit {
        /// The first number over it.
        number: u64,
    },

    /// Its own OPEN came back: the peer is an echo server.
    #[error("the peer sent our own bytes back; a peer of version 1 needs `?wire=connect`")]
    Echo,

    /// The proof of the shared token is wrong or missing.
    #[error("the peer did not prove that it knows the token")]
    Unproven,
}

impl WireError {
    pub(crate) fn malformed(frame: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed { frame, reason: reason.into() }
    }

    /// What a FAULT tells the peer.
    #[must_use]
    pub fn fault(&self) -> FaultCode {
        match self {
            Self::Foreign { .. } | Self::Malformed { .. } | Self::Protocol { .. } | Self::Echo => {
                FaultCode::Protocol
            }
            Self::TooLarge { .. } => FaultCode::TooLarge,
            Self::Version { .. } => FaultCode::Version,
            Self::Gap { .. } => FaultCode::Gap,
            Self::Credit { .. } => FaultCode::Credit,
            Self::Unproven => FaultCode::Unproven,
        }
    }
}

/// Why an end closes the connection: the code of a FAULT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultCode {
    /// Bytes that are no frame, or a frame against the rules.
    Protocol,
    /// A number is missing.
    Gap,
    /// More than the credit.
    Credit,
    /// A newer connection carries the session. Terminal: no reconnect.
    TakenOver,
    /// No version in common. Terminal.
    Version,
    /// The token was not proved. Terminal.
    Unproven,
    /// The peer may not do here what it asked for. Terminal.
    Denied,
    /// The address is not served here.
    Address,
    /// The ends do not fit: both only send, or both only receive. Terminal.
    Mismatch,
    /// A frame over the limit.
    TooLarge,
    /// The peer was too slow.
    Timeout,
    /// This end goes away.
    Closing,
    /// Too many connections; try later.
    Busy,
    /// One that this version does not know.
    Other(u8),
}

impl FaultCode {
    /// Whether dialling again is of no use.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::TakenOver | Self::Version | Self::Unproven | Self::Denied | Self::Mismatch => {
                true
            }
            Self::Protocol
            | Self::Gap
            | Self::Credit
            | Self::Address
            | Self::TooLarge
            | Self::Timeout
            | Self::Closing
            | Self::Busy
            | Self::Other(_) => false,
        }
    }

    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Other(byte) => byte,
            known => CODES.iter().find(|(code, _)| *code == known).map_or(0, |(_, byte)| *byte),
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Self {
        CODES.iter().find(|(_, code)| *code == byte).map_or(Self::Other(byte), |(code, _)| *code)
    }
}

const CODES: [(FaultCode, u8); 13] = [
    (FaultCode::Protocol, 1),
    (FaultCode::Gap, 2),
    (FaultCode::Credit, 3),
    (FaultCode::TakenOver, 4),
    (FaultCode::Version, 5),
    (FaultCode::Unproven, 6),
    (FaultCode::Denied, 7),
    (FaultCode::Address, 8),
    (FaultCode::Mismatch, 9),
    (FaultCode::TooLarge, 10),
    (FaultCode::Timeout, 11),
    (FaultCode::Closing, 12),
    (FaultCode::Busy, 13),
];
