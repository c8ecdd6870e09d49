//! The frames before any session: what each end is, and that it may be here.

use std::fmt;

use crate::number::{Read, Rest, put, put_text, wide};
use crate::{EnvelopeLimits, MIN_MAX_FRAME, WireError};

/// The first frame of each end, the dialler's first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The highest version that it speaks; at least 2.
    pub highest: u16,
    /// Random, for this connection alone.
    pub nonce: [u8; 32],
    /// Random, for the life of this end: the `owner` of its sessions.
    pub instance: [u8; 16],
    /// What it does at the address.
    pub offers: Offers,
    /// Whether it wants a proof of the shared token.
    pub token: bool,
    /// What both ends meet at.
    pub address: Box<str>,
    /// The group of a receiving end.
    pub group: Group,
    /// The longest payload that it takes, in bytes.
    pub max_message: u64,
    /// The largest body of a frame that it reads, in bytes.
    pub max_frame: u64,
    /// The largest envelope that it takes.
    pub envelope: EnvelopeLimits,
}

/// What an end does at its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// It sends datagrams.
    pub sends: bool,
    /// It receives datagrams.
    pub receives: bool,
    /// It sends requests, and takes replies.
    pub calls: bool,
    /// It hands out each peer by itself.
    pub accepts: bool,
}

/// The group that a receiver belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// The one without a name.
    #[default]
    Default,
    /// The one of this name.
    Named(Box<str>),
    /// One of its own, which ends with it.
    Private,
}

impl Open {
    /// The longest address, and the longest name of a group, in bytes.
    pub const MAX_TEXT: usize = 1024;

    /// The version that both ends speak.
    #[must_use]
    pub fn version(&self, peer: &Self) -> u16 {
        self.highest.min(peer.highest)
    }

    /// Refuses the OPEN that this end itself wrote.
    ///
    /// # Errors
    ///
    /// [`WireError::Echo`].
    pub fn check_echo(&self, peer: &Self) -> Result<(), WireError> {
        if peer.nonce == self.nonce { Err(WireError::Echo) } else { Ok(()) }
    }

    pub(super) fn read(rest: &mut Rest<'_>) -> Read<Self> {
        let highest = rest.number()?;
        let known = u16::try_from(highest).ok().filter(|highest| *highest >= super::VERSION);
        let highest = known.ok_or_else(|| format!("a highest version of {highest}"))?;
        let (nonce, instance) = (rest.array()?, rest.array()?);
        let flags = rest.flags(SENDS | RECEIVES | CALLS | ACCEPTS | TOKEN)?;
        let offers = Offers {
            sends: flags & SENDS != 0,
            receives: flags & RECEIVES != 0,
            calls: flags & CALLS != 0,
            accepts: flags & ACCEPTS != 0,
        };
        let open = Self {
            highest,
            nonce,
            instance,
            offers,
            token: flags & TOKEN != 0,
            address: rest.text(Self::MAX_TEXT)?.into(),
            group: Group::read(rest)?,
            max_message: rest.number()?,
            max_frame: rest.number()?,
            envelope: EnvelopeLimits::read(rest)?,
        };
        if open.max_frame < wide(MIN_MAX_FRAME) {
            return Err(
                format!("a max_frame of {}; the least is {MIN_MAX_FRAME}", open.max_frame).into()
            );
        }
        Ok(open)
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        put(into, self.highest.into());
        into.extend_from_slice(&self.nonce);
        into.extend_from_slice(&self.instance);
        let flags = [
            (self.offers.sends, SENDS),
            (self.offers.receives, RECEIVES),
            (self.offers.calls, CALLS),
            (self.offers.accepts, ACCEPTS),
            (self.token, TOKEN),
        ];
        into.push(flags.iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag));
        put_text(into, &self.address);
        self.group.write(into);
        put(into, self.max_message);
        put(into, self.max_frame);
        self.envelope.write(into);
    }
}

impl Group {
    fn read(rest: &mut Rest<'_>) -> Read<Self> {
        match rest.byte()? {
            DEFAULT => Ok(Self::Default),
            NAMED => Ok(Self::Named(rest.text(Open::MAX_TEXT)?.into())),
            PRIVATE => Ok(Self::Private),
            form => Err(format!("unknown form of group {form}").into()),
        }
    }

    fn write(&self, into: &mut Vec<u8>) {
        match self {
            Self::Default => into.push(DEFAULT),
            Self::Named(name) => {
                into.push(NAMED);
                put_text(into, name);
            }
            Self::Private => into.push(PRIVATE),
        }
    }
}

impl EnvelopeLimits {
    fn read(rest: &mut Rest<'_>) -> Read<Self> {
        Ok(Self {
            slot: rest.length()?,
            key: rest.length()?,
            headers: rest.length()?,
            header_name: rest.length()?,
            header_bytes: rest.length()?,
            header_depth: rest.length()?,
        })
    }

    fn write(&self, into: &mut Vec<u8>) {
        let lengths = [
            self.slot,
            self.key,
            self.headers,
            self.header_name,
            self.header_bytes,
            self.header_depth,
        ];
        lengths.into_iter().for_each(|length| put(into, wide(length)));
    }
}

/// That an end knows the shared token; made and checked by [`crate::Proof`].
#[derive(Clone, PartialEq, Eq)]
pub struct Prove {
    /// 32 bytes.
    pub proof: [u8; 32],
}

impl fmt::Debug for Prove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prove(***)")
    }
}

const SENDS: u8 = 1;
const RECEIVES: u8 = 2;
const CALLS: u8 = 4;
const ACCEPTS: u8 = 8;
const TOKEN: u8 = 16;

const DEFAULT: u8 = 0;
const NAMED: u8 = 1;
const PRIVATE: u8 = 2;
