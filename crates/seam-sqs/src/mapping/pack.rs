//! Many datagrams in one message.

use bytes::Bytes;
use seam_core::{Datagram, View, binary};

use super::name;
use super::write::NO_BODY;
use super::{Attribute, Attributes, Written};

/// A datagram as it lies in a pack, beside what it is.
pub(crate) type Packed = (Bytes, Datagram);

/// What a pack takes beside its datagrams, in bytes.
pub(crate) const PACK_BYTES: usize = NO_BODY.len() + name::PACK.len() + "Binary".len();

/// What the datagrams of a pack may take, in bytes: with the rest they are what AWS bills as one call.
pub(crate) const MOST_PACKED: usize = (64 << 10) - PACK_BYTES;

/// What a datagram takes in a pack beside payload and envelope, in bytes: two lengths, a head and a checksum.
pub(crate) const PACKED_BYTES: usize = 11;

/// A datagram as it lies in a pack.
pub(crate) fn packed(view: View<'_>) -> Bytes {
    let mut part = Vec::new();
    binary::encode_next(view, &mut part);
    part.into()
}

/// The message of a pack.
pub(crate) fn pack<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Written {
    let sequence: Vec<u8> = parts.flatten().copied().collect();
    Written::of(NO_BODY.to_owned(), vec![(name::PACK.to_owned(), Attribute::Binary(sequence))])
}

/// The datagrams of a pack; `None` where it is none of ours.
pub(crate) fn unpack(attributes: &mut Attributes) -> Option<Vec<Packed>> {
    let Some(Attribute::Binary(sequence)) = attributes.get_mut(name::PACK) else { return None };
    let sequence = Bytes::from(std::mem::take(sequence));
    let read = |part: seam_core::Result<&[u8]>| {
        let part = part.ok()?;
        Some((sequence.slice_ref(part), binary::decode(part).ok()?))
    };
    let parts: Option<Vec<_>> = binary::sequence(&sequence).map(read).collect();
    let parts = parts.filter(|parts| !parts.is_empty());
    if parts.is_none() {
        // It stays what it was: an attribute of somebody else.
        attributes.insert(name::PACK.to_owned(), Attribute::Binary(sequence.into()));
    }
    parts
}

#[cfg(test)]
mod tests;
