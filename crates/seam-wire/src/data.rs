//! The entries of a DATA.
//!
//! `flags u8 | attempt, where there is one | length | content`. The content of a datagram is its tag, where it has
//! one and no envelope, its envelope with a length before it, where it has one, and its payload.

use seam_core::driver::Framing;
use seam_core::{View, binary};

use crate::number::{put, wide};
use crate::{Outgoing, number};

/// The content goes on in the next number.
pub(crate) const MORE: u8 = 1;
/// The number has its outcome already: a length, and no bytes.
pub(crate) const VOID: u8 = 2;
/// It may have been delivered before, elsewhere.
pub(crate) const DUPLICATE: u8 = 8;
/// It is not the first attempt.
pub(crate) const ATTEMPT: u8 = 16;
/// The content begins with a tag other than 0.
pub(crate) const TAGGED: u8 = Framing::TAGGED;
/// The content begins with an envelope, which says tag and absence too.
pub(crate) const ENVELOPED: u8 = 64;
/// There is no payload, which differs from an empty one.
pub(crate) const ABSENT: u8 = Framing::ABSENT;
/// All that may be set; 4 is reserved for the first of a key that was held.
pub(crate) const KNOWN: u8 = MORE | VOID | DUPLICATE | ATTEMPT | TAGGED | ENVELOPED | ABSENT;

/// Flags that say what the content is.
pub(crate) fn content_flags(view: View<'_>) -> u8 {
    if !view.is_plain() {
        return ENVELOPED;
    }
    let tagged = if view.tag() == 0 { 0 } else { TAGGED };
    tagged | if view.payload().is_none() { ABSENT } else { 0 }
}

/// Flags that say which attempt it is.
pub(crate) fn attempt_flags(attempt: u32, possible_duplicate: bool) -> u8 {
    let again = if attempt == 1 { 0 } else { ATTEMPT };
    again | if possible_duplicate { DUPLICATE } else { 0 }
}

/// Puts what stands before the payload into `into`, which is emptied first.
pub(crate) fn prefix(view: View<'_>, slot: &mut Vec<u8>, into: &mut Vec<u8>) {
    into.clear();
    if !view.is_plain() {
        slot.clear();
        binary::encode_envelope(view, slot);
        put(into, wide(slot.len()));
        into.extend_from_slice(slot);
    } else if view.tag() != 0 {
        into.extend_from_slice(&view.tag().to_be_bytes());
    }
}

/// Bytes of the content of a plain datagram.
pub(crate) fn plain_length(view: View<'_>) -> usize {
    let tag = if view.tag() == 0 { 0 } else { 2 };
    tag + view.payload().map_or(0, <[u8]>::len)
}

/// Bytes of flags, attempt and length.
pub(crate) fn entry_overhead(attempt: u32, length: u64) -> usize {
    let attempt = if attempt == 1 { 0 } else { number::size(attempt.into()) };
    1 + attempt + number::size(length)
}

/// Writes flags, attempt and length.
pub(crate) fn put_entry(flags: u8, attempt: u32, length: u64, into: &mut Vec<u8>) {
    into.push(flags);
    if flags & ATTEMPT != 0 {
        put(into, attempt.into());
    }
    put(into, length);
}

/// Writes a part of the payload; large ones by reference.
pub(crate) fn put_payload(view: View<'_>, part: std::ops::Range<usize>, out: &mut Outgoing) {
    match (view.payload_shared(), view.payload()) {
        (Some(shared), _) if part.len() >= Outgoing::SHARED_FROM => {
            out.push_shared(shared.slice(part));
        }
        (_, Some(payload)) => out.buffer().extend_from_slice(&payload[part]),
        (_, None) => {}
    }
}
