//! The binary form of a datagram: compact, versioned and checked, for what a broker has no place for.
//!
//! A transport writes native fields first and packs the rest into one overflow slot in this form.
//! There the payload usually travels natively: [`encode_envelope`] leaves its bytes out but still
//! says whether there is one, and [`decode_with`] puts the two together again.
//!
//! ```
//! use seam_core::{Datagram, binary};
//!
//! let order = Datagram::new("12 apples").with_tag(7).with_key("c-7").with_header("try", 2_u64);
//! let mut whole = Vec::new();
//! binary::encode(order.view(), &mut whole);
//! assert_eq!(binary::decode(&whole).unwrap(), order);
//!
//! let mut slot = Vec::new();
//! binary::encode_envelope(order.view(), &mut slot);
//! assert_eq!(binary::decode_with(&slot, "12 apples").unwrap(), order);
//! ```
//!
//! # Layout
//!
//! | bytes | meaning |
//! | --- | --- |
//! | 1 | version, 1 |
//! | 1 | payload: 0 none, 1 empty, 2 follows here, 3 travels apart and is not empty |
//! | 2 | tag, big-endian |
//! | *bytes* | the payload, only where it follows here; at least one byte |
//! | any | the fields that are set, by ascending number, each its number in one byte, then its value |
//! | 4 | CRC-32 (ISO-HDLC, as zlib and PNG have it) of everything before, big-endian |
//!
//! | number | field | value |
//! | --- | --- | --- |
//! | 1 | `id` of text | *text* of 1 to 128 bytes; excludes field 2 |
//! | 2 | `id` of bytes | 16 bytes |
//! | 3 | `key` | *bytes* |
//! | 4 | `kind` | *text* |
//! | 5 | `content_type` | *text* |
//! | 6 | `content_encoding` | *text* |
//! | 7 | `time` | *signed*: milliseconds since 1970-01-01T00:00:00Z |
//! | 8 | `expiry` | as `time` |
//! | 9 | `deliver_at` | as `time` |
//! | 10 | `priority` | 1 byte |
//! | 11 | `correlation_id` | *bytes* |
//! | 12 | `reply_to` | *bytes* |
//! | 13 | `headers` | *number* of headers, at least one; each is its name, *text*, and a *value* |
//!
//! | form | layout |
//! | --- | --- |
//! | *number* | LEB128: seven bits a byte, lowest first, the top bit set on all but the last; at most 64 bits, and no byte more than needed |
//! | *signed* | the *number* `(n << 1) ^ (n >> 63)`: 0, -1, 1, -2 ... become 0, 1, 2, 3 ... |
//! | *bytes* | their *number*, then as many bytes |
//! | *text* | *bytes* of UTF-8 |
//! | *value* | 1 byte, its kind, then its content |
//!
//! | kind | value | content |
//! | --- | --- | --- |
//! | 0, 1, 2 | null, false, true | |
//! | 3 | signed whole number | *signed* |
//! | 4 | unsigned whole number | *number* |
//! | 5 | floating-point number | the 8 bytes of its IEEE 754 bits, big-endian |
//! | 6 | text | *text* |
//! | 7 | bytes | *bytes* |
//! | 8 | time | *signed*, as `time` |
//! | 9 | list | *number* of values, then each *value* |
//! | 10 | map | *number* of pairs, then each pair's name, *text*, and *value* |
//!
//! Whole or with its payload apart, each datagram has exactly one form; nothing may follow it.
//! A *sequence* of datagrams is each whole one as *bytes*, one after the other: see [`sequence`].
//! Lists and maps nest at most [`MAX_DEPTH`] deep: what nests deeper is written, but refused on the
//! way in.
//!
//! # Test vector
//!
//! The datagram above, whole and with its payload apart:
//!
//! ```
//! # use seam_core::{Datagram, binary};
//! # let order = Datagram::new("12 apples").with_tag(7).with_key("c-7").with_header("try", 2_u64);
//! # let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
//! let whole = concat!(
//!     "01020007",             // version 1, payload follows, tag 7
//!     "093132206170706c6573", // 9 bytes: "12 apples"
//!     "0303632d37",           // key, 3 bytes: "c-7"
//!     "0d01",                 // headers, one
//!     "03747279", "0402",     // "try", unsigned 2
//!     "e30deba6",             // CRC-32
//! );
//! let slot = concat!("01030007", "0303632d37", "0d01", "03747279", "0402", "561dfa94");
//! # let mut bytes = Vec::new();
//! # binary::encode(order.view(), &mut bytes);
//! # assert_eq!(hex(&bytes), whole);
//! # bytes.clear();
//! # binary::encode_envelope(order.view(), &mut bytes);
//! # assert_eq!(hex(&bytes), slot);
//! ```

mod read;
mod write;

use std::borrow::Cow;

use bytes::Bytes;

use crate::{Datagram, Error, Result, View};

/// The version that is written, and the only one that is read.
pub const VERSION: u8 = 1;

/// How deep lists and maps in a header may nest in what is read.
pub const MAX_DEPTH: usize = 32;

/// Appends the whole datagram to `into`.
pub fn encode(view: View<'_>, into: &mut Vec<u8>) {
    write::datagram(view, true, into);
}

/// Appends the datagram to `into` without the bytes of its payload: only whether it has none, an
/// empty one, or one that travels apart and is to be handed to [`decode_with`].
pub fn encode_envelope(view: View<'_>, into: &mut Vec<u8>) {
    write::datagram(view, false, into);
}

/// Reads what [`encode`] wrote.
///
/// Allocates no more than what was received can fill, whatever lengths it claims.
///
/// # Errors
///
/// [`Error::Invalid`] with one line: cut short, damaged, of another version,
/// not in the one form that a datagram has, or without the payload's bytes.
pub fn decode(bytes: &[u8]) -> Result<Datagram> {
    read::datagram(bytes, None, Most::ANY).map_err(refused)
}

/// Reads what [`encode_envelope`] wrote, and joins it with the payload that travelled apart.
///
/// Where the datagram has no payload, or an empty one, `apart` is what a carrier without such
/// payloads had in its place, and is dropped.
///
/// # Errors
///
/// As [`decode`]; and where the bytes of a payload are in `bytes` already.
pub fn decode_with(bytes: &[u8], apart: impl Into<Bytes>) -> Result<Datagram> {
    decode_within(bytes, apart, Most::ANY)
}

/// As [`decode_with`], and refuses more headers than `most` before it makes room for them.
///
/// # Errors
///
/// As [`decode_with`]; and where there is more than `most`.
pub fn decode_within(bytes: &[u8], apart: impl Into<Bytes>, most: Most) -> Result<Datagram> {
    read::datagram(bytes, Some(apart.into()), most).map_err(refused)
}

/// Appends the whole datagram to a sequence of datagrams: its length, then what [`encode`] writes.
pub fn encode_next(view: View<'_>, sequence: &mut Vec<u8>) {
    let mut whole = Vec::new();
    encode(view, &mut whole);
    write::bytes(&whole, sequence);
}

/// The datagrams of what [`encode_next`] wrote, each as [`decode`] takes it; an error ends it.
///
/// ```
/// use seam_core::{Datagram, binary};
///
/// let orders = ["12 apples", "7 pears"].map(Datagram::new);
/// let mut packed = Vec::new();
/// orders.iter().for_each(|order| binary::encode_next(order.view(), &mut packed));
/// let read = binary::sequence(&packed).map(|part| binary::decode(part?));
/// assert_eq!(read.collect::<Result<Vec<_>, _>>()?, orders);
/// # Ok::<(), seam_core::Error>(())
/// ```
///
/// # Errors
///
/// An item is [`Error::Invalid`] where the sequence is cut short.
#[must_use]
pub fn sequence(bytes: &[u8]) -> Sequence<'_> {
    Sequence { bytes }
}

/// See [`sequence`].
#[derive(Clone, Debug)]
pub struct Sequence<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Sequence<'a> {
    type Item = Result<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let next = read::part(&mut self.bytes);
        if next.is_err() {
            self.bytes = &[];
        }
        Some(next.map_err(refused))
    }
}

/// What [`decode_within`] reads at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Headers.
    pub headers: usize,
    /// Their names and values together, in bytes: see [`Value::size`](crate::Value::size).
    pub header_bytes: usize,
}

impl Most {
    const ANY: Self = Self { headers: usize::MAX, header_bytes: usize::MAX };
}

fn refused(reason: Cow<'static, str>) -> Error {
    Error::invalid("binary datagram", reason)
}

/// The bytes of the layout above that name something.
mod code {
    // Where the payload is.
    pub(super) const NONE: u8 = 0;
    pub(super) const EMPTY: u8 = 1;
    pub(super) const HERE: u8 = 2;
    pub(super) const APART: u8 = 3;

    // Fields.
    pub(super) const ID_TEXT: u8 = 1;
    pub(super) const ID_BYTES: u8 = 2;
    pub(super) const KEY: u8 = 3;
    pub(super) const KIND: u8 = 4;
    pub(super) const CONTENT_TYPE: u8 = 5;
    pub(super) const CONTENT_ENCODING: u8 = 6;
    pub(super) const TIME: u8 = 7;
    pub(super) const EXPIRY: u8 = 8;
    pub(super) const DELIVER_AT: u8 = 9;
    pub(super) const PRIORITY: u8 = 10;
    pub(super) const CORRELATION_ID: u8 = 11;
    pub(super) const REPLY_TO: u8 = 12;
    pub(super) const HEADERS: u8 = 13;

    // Kinds of values.
    pub(super) const NULL: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    pub(super) const I64: u8 = 3;
    pub(super) const U64: u8 = 4;
    pub(super) const F64: u8 = 5;
    pub(super) const TEXT: u8 = 6;
    pub(super) const BYTES: u8 = 7;
    pub(super) const MOMENT: u8 = 8;
    pub(super) const LIST: u8 = 9;
    pub(super) const MAP: u8 = 10;
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Id, Timestamp, Value};

    #[test]
    fn payload_that_travels_apart_is_joined_and_none_and_empty_are_kept() {
        for (payload, placeholder) in [(None, "x"), (Some(""), "x"), (Some("body"), "body")] {
            let datagram = payload.map_or_else(Datagram::empty, Datagram::new).with_key("k");
            let mut slot = Vec::new();
            encode_envelope(datagram.view(), &mut slot);
            assert_eq!(decode_with(&slot, placeholder).unwrap(), datagram);
        }
    }

    #[test]
    fn payload_must_be_in_one_place() {
        let datagram = Datagram::new("body");
        let mut slot = Vec::new();
        encode_envelope(datagram.view(), &mut slot);
        check_told(decode(&slot), "its payload travels apart; read it with `decode_with`");
        let complaint = "its payload travels apart and is not empty, but an empty one came";
        check_told(decode_with(&slot, ""), complaint);
        let mut whole = Vec::new();
        encode(datagram.view(), &mut whole);
        check_told(decode_with(&whole, "body"), "its payload is in it, and came apart too");
    }

    #[test]
    fn encode_appends_behind_what_is_there() {
        let mut into = vec![9, 9];
        encode(Datagram::new("x").view(), &mut into);
        assert_eq!(into[..2], [9, 9]);
        assert_eq!(decode(&into[2..]).unwrap(), Datagram::new("x"));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_refused() {
        let datagram = Datagram::new("body")
            .with_id(Id::bytes([7; 16]))
            .with_time(Timestamp::MIN)
            .with_header("h", Value::List(vec![Value::F64(f64::NAN), "text".into()]));
        let mut whole = Vec::new();
        encode(datagram.view(), &mut whole);
        for length in 0..whole.len() {
            decode(&whole[..length]).unwrap_err();
        }
        for bit in 0..8 * whole.len() {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            decode(&damaged).unwrap_err();
        }
    }

    #[test]
    fn more_headers_than_asked_for_are_refused() {
        let headers = [("a", Value::from("123")), ("b", Value::List(vec![Value::U64(1); 2]))];
        let datagram = headers
            .into_iter()
            .fold(Datagram::new("x"), |datagram, (name, value)| datagram.with_header(name, value));
        let mut slot = Vec::new();
        encode_envelope(datagram.view(), &mut slot);
        let read = |headers, header_bytes| {
            decode_within(&slot, "x", Most { headers, header_bytes }).map(drop)
        };
        read(2, 21).unwrap();
        check_told(read(1, 21), "its count of headers is 2, over the limit of 1");
        check_told(read(2, 20), "its headers are over the limit of 20 bytes");
    }

    #[test]
    fn lists_and_maps_nest_to_the_limit_and_no_deeper() {
        let nest = |depth| (0..depth).fold(Value::Null, |value, _| Value::List(vec![value]));
        let read = |depth| {
            let datagram = Datagram::empty().with_header("h", nest(depth));
            let mut whole = Vec::new();
            encode(datagram.view(), &mut whole);
            decode(&whole).map(|read| assert_eq!(read, datagram))
        };
        read(MAX_DEPTH).unwrap();
        check_told(read(MAX_DEPTH + 1), "a header nests deeper than 32 lists and maps");
        let deep = [&[1, 0, 0, 0, 13, 1, 0][..], &[9, 1].repeat(100_000)].concat();
        check_refused(&deep, "a header nests deeper than 32 lists and maps");
    }

    #[test]
    fn what_is_not_the_one_form_is_refused_with_its_reason() {
        check_told(decode(&[]), "it is cut short");
        check_told(decode(&[2, 0, 0]), "version 2 is unknown; this one reads 1");
        check_told(
            decode(&[1, 0, 0, 0, 0, 0, 0, 0]),
            "its checksum is wrong: it is damaged or cut short",
        );
        for (content, complaint) in [
            (&[1, 4, 0, 0][..], "unknown payload form 4"),
            (&[1, 0, 0], "it is cut short"),
            (&[1, 2, 0, 0, 0], "an empty payload is not marked as empty"),
            (&[1, 0, 0, 0, 14], "unknown field 14"),
            (&[1, 0, 0, 0, 10, 1, 10, 1], "field 10 comes after field 10"),
            (&[1, 0, 0, 0, 4, 0, 3, 0], "field 3 comes after field 4"),
            (&[1, 0, 0, 0, 1, 1, b'x', 2], "field 2 comes after field 2"),
            (&[1, 0, 0, 0, 1, 0], "an id of 0 bytes; it takes 1 to 128"),
            (&[1, 0, 0, 0, 3, 5, 0], "a length of 5, over the rest of 1"),
            (&[1, 0, 0, 0, 3, 0x80, 0], "a number with needless bytes"),
            (
                &[1, 0, 0, 0, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
                "a number of over 64 bits",
            ),
            (
                &[1, 0, 0, 0, 13, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
                "a length of 18446744073709551615, over the rest of 0",
            ),
            (&[1, 0, 0, 0, 4, 1, 0xff], "a text is not UTF-8"),
            (&[1, 0, 0, 0, 13, 0], "field 13 has no headers"),
            (&[1, 0, 0, 0, 13, 1], "a length of 1, over the rest of 0"),
            (&[1, 0, 0, 0, 13, 1, 0], "it is cut short"),
            (&[1, 0, 0, 0, 13, 1, 0, 11], "unknown kind of value 11"),
            (
                &[1, 0, 0, 0, 7, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
                "a time of -9223372036854775808 ms is outside the years 0000 to 9999",
            ),
        ] {
            check_refused(content, complaint);
        }
    }

    #[track_caller] // the one place that knows how the checksum is put on
    fn check_refused(content: &[u8], complaint: &str) {
        let checksum = crc32fast::hash(content).to_be_bytes();
        check_told(decode(&[content, &checksum].concat()), complaint);
    }

    #[track_caller]
    fn check_told<T: std::fmt::Debug>(result: Result<T>, complaint: &str) {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("invalid binary datagram: {complaint}"));
    }

    #[test]
    fn a_sequence_that_is_cut_says_so_once_and_ends() {
        let mut packed = Vec::new();
        for text in ["12 apples", "", "7 pears"] {
            encode_next(Datagram::new(text).view(), &mut packed);
        }
        let lengths = |bytes| sequence(bytes).map(|part| part.map(<[u8]>::len)).collect::<Vec<_>>();
        assert!(lengths(&[]).is_empty());
        assert!(matches!(lengths(&packed)[..], [Ok(18), Ok(8), Ok(16)]), "{:?}", lengths(&packed));
        for length in 1..packed.len() {
            let parts = lengths(&packed[..length]);
            let wrong = parts.iter().filter(|part| part.is_err()).count();
            assert_eq!(wrong, usize::from(![19, 28].contains(&length)), "{length}: {parts:?}");
        }
    }

    #[test]
    fn numbers_at_the_edges_are_kept() {
        let values = [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN].map(Value::I64);
        let unsigned = [0, 127, 128, 16_383, 16_384, u64::MAX >> 1, u64::MAX].map(Value::U64);
        for value in values.into_iter().chain(unsigned) {
            let datagram = Datagram::empty().with_header("n", value);
            let mut whole = Vec::new();
            encode(datagram.view(), &mut whole);
            assert_eq!(decode(&whole).unwrap(), datagram);
        }
    }

    #[test]
    fn binary_key_needs_no_text() {
        let datagram = Datagram::empty().with_key(Bytes::from_static(&[0xff]));
        let mut whole = Vec::new();
        encode(datagram.view(), &mut whole);
        assert_eq!(decode(&whole).unwrap(), datagram);
    }
}
