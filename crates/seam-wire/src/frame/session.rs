//! The frames that begin and resume a session.

use std::fmt;
use std::time::Duration;

use super::Ack;
use crate::number::{Read, Rest, put, put_millis, wide};
use crate::{MIN_MAX_FRAME, ResumeToken};

/// Begins a session, or resumes it on another connection. The end that sends in it writes it, whoever dialled.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// Names the session; random.
    pub sid: [u8; 16],
    /// The end that the session belongs to: its `instance`.
    pub owner: [u8; 16],
    /// Counts the connections that the session was tried on.
    pub attempt: u64,
    /// Whether the session was welcomed before.
    pub resume: bool,
    /// Every outcome up to here is processed.
    pub acked: u64,
    /// The next number.
    pub next: u64,
    /// Bytes of all numbers below `next`.
    pub next_bytes: u64,
    /// How long the session is to be kept without a connection.
    pub expiry: Duration,
    /// That the session is its own; made and checked by [`crate::ResumeProof`].
    pub proof: Option<[u8; 32]>,
}

impl Hello {
    pub(super) fn read(rest: &mut Rest<'_>) -> Read<Self> {
        let (sid, owner, attempt) = (rest.array()?, rest.array()?, rest.number()?);
        let flags = rest.flags(RESUME | PROOF)?;
        Ok(Self {
            sid,
            owner,
            attempt,
            resume: flags & RESUME != 0,
            acked: rest.number()?,
            next: rest.number()?,
            next_bytes: rest.number()?,
            expiry: rest.duration()?,
            proof: if flags & PROOF == 0 { None } else { Some(rest.array()?) },
        })
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.sid);
        into.extend_from_slice(&self.owner);
        put(into, self.attempt);
        let proof = if self.proof.is_some() { PROOF } else { 0 };
        into.push(proof | if self.resume { RESUME } else { 0 });
        put(into, self.acked);
        put(into, self.next);
        put(into, self.next_bytes);
        put_millis(into, self.expiry);
        into.extend_from_slice(self.proof.as_ref().map_or(&[], |proof| &proof[..]));
    }
}

/// Shows no secret: neither the proof nor the `sid`, which alone takes over an insecure session.
impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("attempt", &self.attempt)
            .field("resume", &self.resume)
            .field("acked", &self.acked)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// The receiving end agrees to a HELLO. Sent once somebody receives there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The `attempt` that is agreed to.
    pub epoch: u64,
    /// The next number that is wanted.
    pub next: u64,
    /// The largest body of a DATA, in bytes; the same for the life of the session.
    pub max_frame: u64,
    /// How long the session is kept without a connection.
    pub expiry: Duration,
    /// What a resume has to prove; in the first WELCOME only, and only where nobody else can read it.
    pub token: Option<ResumeToken>,
    /// Outcomes and credit.
    pub ack: Ack,
}

impl Welcome {
    pub(super) fn read(rest: &mut Rest<'_>) -> Read<Self> {
        let (epoch, next, max_frame, expiry) =
            (rest.number()?, rest.number()?, rest.number()?, rest.duration()?);
        if max_frame < wide(MIN_MAX_FRAME) {
            return Err(format!("a max_frame of {max_frame}; the least is {MIN_MAX_FRAME}").into());
        }
        let token = match rest.flags(TOKEN)? {
            0 => None,
            _ => Some(ResumeToken::issued(rest.array()?)),
        };
        let ack = Ack::read(rest)?;
        if next.checked_sub(1) != Some(ack.progress.received) {
            return Err("what is next does not follow what is received".into());
        }
        Ok(Self { epoch, next, max_frame, expiry, token, ack })
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        put(into, self.epoch);
        put(into, self.next);
        put(into, self.max_frame);
        put_millis(into, self.expiry);
        into.push(if self.token.is_some() { TOKEN } else { 0 });
        into.extend_from_slice(self.token.as_ref().map_or(&[], |token| &token.expose()[..]));
        self.ack.write(into);
    }
}

/// The receiving end refuses a HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reject {
    /// No such session, or not this peer's: one answer for all.
    Unknown,
    /// The attempt is not newer than what was agreed to.
    Stale,
    /// The session has another owner.
    Fenced,
    /// Not now.
    Busy {
        /// When to try again.
        after: Duration,
    },
    /// No version in common.
    Version,
    /// What the HELLO says does not fit what was received.
    Gap,
}

impl Reject {
    pub(super) fn read(rest: &mut Rest<'_>) -> Read<Self> {
        match rest.byte()? {
            1 => Ok(Self::Unknown),
            2 => Ok(Self::Stale),
            3 => Ok(Self::Fenced),
            4 => Ok(Self::Busy { after: rest.duration()? }),
            5 => Ok(Self::Version),
            6 => Ok(Self::Gap),
            code => Err(format!("unknown code {code}").into()),
        }
    }

    pub(super) fn write(self, into: &mut Vec<u8>) {
        match self {
            Self::Unknown => into.push(1),
            Self::Stale => into.push(2),
            Self::Fenced => into.push(3),
            Self::Busy { after } => {
                into.push(4);
                put_millis(into, after);
            }
            Self::Version => into.push(5),
            Self::Gap => into.push(6),
        }
    }
}

// 2 and 4 are reserved, for taking a session over and for holding keys.
const RESUME: u8 = 1;
const PROOF: u8 = 8;

// 2 is reserved, for a digest of what was received.
const TOKEN: u8 = 1;
