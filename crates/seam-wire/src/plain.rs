//! Version 1 of the wire, that of the crate `connect` 0.2: a header and a payload, and nothing else.
//!
//! `u32 size = 4 + payload | u16 version = 1 | u16 tag | payload`, all big-endian. There is no handshake, no
//! acknowledgement and no end. [`crate::header`] reads the header of both versions.

use crate::{Header, WireError};

/// The version in each header.
pub const VERSION: u16 = 1;

/// The longest payload, in bytes. The shortest has one.
pub const MAX_PAYLOAD: usize = 100_000_000;

/// The header of a datagram with a payload of `length` bytes.
///
/// # Errors
///
/// [`WireError::Malformed`] for an empty payload, [`WireError::TooLarge`] above [`MAX_PAYLOAD`].
#[inline]
pub fn header(tag: u16, length: usize) -> Result<[u8; Header::SIZE], WireError> {
    if length == 0 {
        return Err(WireError::malformed(
            "datagram of version 1",
            "an empty payload; the least is 1 byte",
        ));
    }
    if length > MAX_PAYLOAD {
        let (size, limit) = (crate::number::wide(length), crate::number::wide(MAX_PAYLOAD));
        return Err(WireError::TooLarge { size, limit });
    }
    let [kind, channel] = tag.to_be_bytes();
    Ok(Header { version: VERSION, kind, channel, body: length }.to_bytes())
}

/// One datagram, as it lies in what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain<'a> {
    /// Its tag.
    pub tag: u16,
    /// Its payload; never empty.
    pub payload: &'a [u8],
}

impl Plain<'_> {
    /// Bytes that it takes with its header.
    #[must_use]
    pub fn size(&self) -> usize {
        Header::SIZE + self.payload.len()
    }
}

/// Reads one datagram at the front of `bytes`; `None` until it is there whole. Refuses its size, once the header is
/// there, above `limit` and [`MAX_PAYLOAD`].
///
/// # Errors
///
/// As [`crate::header`], and [`WireError::Version`] for a frame of version 2.
pub fn parse(bytes: &[u8], limit: usize) -> Result<Option<Plain<'_>>, WireError> {
    let Some(header) = crate::header(bytes, limit)? else { return Ok(None) };
    if header.version != VERSION {
        return Err(WireError::Version { version: header.version });
    }
    let payload = bytes.get(Header::SIZE..Header::SIZE + header.body);
    Ok(payload.map(|payload| Plain { tag: header.tag(), payload }))
}
