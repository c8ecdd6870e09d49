//! The eight bytes that begin each frame, of both versions.

use crate::number::{narrow, wide};
use crate::{WireError, plain};

/// What the first eight bytes of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1 or 2.
    pub version: u16,
    /// The frame's type; of version 1 the higher byte of the tag.
    pub kind: u8,
    /// 0 the address, else replies to that caller; of version 1 the lower byte of the tag.
    pub channel: u8,
    /// Bytes that follow.
    pub body: usize,
}

impl Header {
    /// Bytes of a header.
    pub const SIZE: usize = 8;

    /// The tag of a datagram of version 1.
    #[must_use]
    pub fn tag(&self) -> u16 {
        u16::from_be_bytes([self.kind, self.channel])
    }

    /// The eight bytes; `body` is at most what the peer accepts, which is far below 4 GiB.
    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let [s0, s1, s2, s3] = u32::try_from(self.body + REST).unwrap_or(u32::MAX).to_be_bytes();
        let [v0, v1] = self.version.to_be_bytes();
        [s0, s1, s2, s3, v0, v1, self.kind, self.channel]
    }
}

/// Reads the header at the front of `bytes`; `None` until eight bytes are there.
///
/// `limit` is the largest body that is read here. It is held against the claimed size before anybody
/// allocates for it.
///
/// # Errors
///
/// [`WireError::Foreign`] where the bytes are of another protocol, [`WireError::Version`],
/// [`WireError::TooLarge`], and [`WireError::Malformed`] for a size that no frame has.
pub fn header(bytes: &[u8], limit: usize) -> Result<Option<Header>, WireError> {
    let Some(&[s0, s1, s2, s3, v0, v1, kind, channel]) = bytes.first_chunk() else {
        return Ok(None);
    };
    let size = u64::from(u32::from_be_bytes([s0, s1, s2, s3]));
    let version = u16::from_be_bytes([v0, v1]);
    let refuse = |error| Err(foreign(bytes).map_or(error, |what| WireError::Foreign { what }));
    let (least, limit) = match version {
        1 => (REST + 1, limit.min(plain::MAX_PAYLOAD)),
        2 => (REST, limit),
        _ => return refuse(WireError::Version { version }),
    };
    if size < wide(least) {
        return refuse(WireError::malformed(
            "header",
            format!("a size of {size}; the least is {least}"),
        ));
    }
    let body = size - wide(REST);
    if body > wide(limit) {
        return refuse(WireError::TooLarge { size: body, limit: wide(limit) });
    }
    Ok(Some(Header { version, kind, channel, body: narrow(body) }))
}

/// What else begins with these bytes. Asked only once they are known to be no frame.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    FOREIGN.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, what)| *what)
}

const FOREIGN: [(&[u8], &str); 20] = [
    (b"GET ", "an HTTP request"),
    (b"POST", "an HTTP request"),
    (b"PUT ", "an HTTP request"),
    (b"HEAD", "an HTTP request"),
    (b"DELE", "an HTTP request"),
    (b"OPTI", "an HTTP request"),
    (b"PATC", "an HTTP request"),
    (b"CONN", "an HTTP request, or NATS"),
    (b"HTTP", "an HTTP answer"),
    (b"PRI ", "HTTP/2"),
    (b"\x16\x03", "a TLS ClientHello; use a TLS scheme here, or a plain one there"),
    (b"\x15\x03", "a TLS alert; the peer expects TLS"),
    (b"SSH-", "SSH"),
    (b"AMQP", "AMQP"),
    (b"INFO", "NATS"),
    (b"  V1", "NSQ"),
    (b"  V2", "NSQ"),
    (b"EHLO", "SMTP"),
    (b"220 ", "SMTP or FTP"),
    (b"PROX", "the PROXY protocol"),
];

/// Version, type and channel, or version and tag: counted by the size.
const REST: usize = 4;
