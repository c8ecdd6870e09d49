//! From the content of an entry to a datagram.

use bytes::Bytes;
use seam_core::{Datagram, binary};

use crate::data::{ABSENT, ENVELOPED, TAGGED};
use crate::limits::within;
use crate::number::{Rest, wide};
use crate::{EnvelopeLimits, WireError};

/// The limits of what is read.
#[derive(Clone, Debug)]
pub(crate) struct ContentLimits {
    pub(crate) payload: usize,
    pub(crate) envelope: EnvelopeLimits,
}

impl ContentLimits {
    /// The longest content that can be within the limits.
    pub(crate) fn content(&self) -> u64 {
        // The length of an envelope takes at most ten bytes; a tag, instead of both, two.
        wide(self.payload).saturating_add(wide(self.envelope.slot)).saturating_add(10)
    }
}

/// The datagram of this content; the payload refers to `content` where it is not small.
pub(crate) fn read(
    flags: u8,
    content: &Bytes,
    limits: &ContentLimits,
) -> Result<Datagram, WireError> {
    if flags & ENVELOPED != 0 {
        return enveloped(content, limits);
    }
    let (tag, payload) = match content.split_first_chunk() {
        Some((tag, _)) if flags & TAGGED != 0 => (u16::from_be_bytes(*tag), content.slice(2..)),
        None if flags & TAGGED != 0 => return Err(malformed("it ends before its tag")),
        _ => (0, content.clone()),
    };
    if flags & TAGGED != 0 && tag == 0 {
        return Err(malformed("a tag of 0 is written"));
    }
    if flags & ABSENT != 0 {
        if !payload.is_empty() {
            return Err(malformed("it has no payload, and bytes of one"));
        }
        return Ok(Datagram::empty().with_tag(tag));
    }
    within("payload", payload.len(), limits.payload)?;
    Ok(owned(payload).with_tag(tag))
}

fn enveloped(content: &Bytes, limits: &ContentLimits) -> Result<Datagram, WireError> {
    let mut rest = Rest(content);
    let length = rest.length().map_err(malformed)?;
    within("envelope", length, limits.envelope.slot)?;
    let slot = rest.bytes(length).map_err(malformed)?;
    within("payload", rest.0.len(), limits.payload)?;
    let payload = content.slice(content.len() - rest.0.len()..);
    let empty = payload.is_empty();
    let payload =
        if payload.len() <= Datagram::INLINE { Bytes::copy_from_slice(&payload) } else { payload };
    let EnvelopeLimits { headers, header_bytes, .. } = limits.envelope;
    let datagram = binary::decode_within(slot, payload, binary::Most { headers, header_bytes });
    let datagram = datagram.map_err(|error| malformed(error.to_string()))?;
    if datagram.view().is_plain() {
        return Err(malformed("an envelope that holds nothing"));
    }
    if datagram.payload().is_none_or(<[u8]>::is_empty) != empty {
        return Err(malformed("its envelope says that it has no payload, and bytes of one came"));
    }
    limits.envelope.check_fields(datagram.view())?;
    Ok(datagram)
}

/// Small ones do not hold on to what they came in.
fn owned(payload: Bytes) -> Datagram {
    if payload.len() <= Datagram::INLINE {
        Datagram::copy_from(0, &payload)
    } else {
        Datagram::new(payload)
    }
}

fn malformed(reason: impl Into<std::borrow::Cow<'static, str>>) -> WireError {
    WireError::malformed("datagram", reason)
}
