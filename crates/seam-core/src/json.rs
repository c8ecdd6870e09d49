//! The JSON form of a datagram: lossless, one line, for files, pipes and the command line.
//!
//! What JSON has a type for is written plainly; the rest is an object of one member that names its
//! form. What [`encode`] writes, [`decode`] reads back equal.
//!
//! ```
//! use seam_core::{Datagram, json};
//!
//! let order = Datagram::new("12 apples").with_key("c-7").with_header("try", 2_u64);
//! let line = json::encode(order.view());
//! assert_eq!(line, r#"{"payload":"12 apples","key":"c-7","headers":[["try",{"u64":"2"}]]}"#);
//! assert_eq!(json::decode(&line).unwrap(), order);
//! ```
//!
//! # Fields
//!
//! A datagram is one object. Each field comes at most once, in any order. One that is not set is
//! left out; on the way in, `null` says the same.
//!
//! | field | form |
//! | --- | --- |
//! | `tag` | a whole number from 0 to 65535; left out where it is 0 |
//! | `payload` | *bytes*; `null` where there is none, which differs from `""` |
//! | `id` | a string of 1 to 128 bytes of UTF-8, or `{"bytes":"<32 hexadecimal digits>"}` |
//! | `key`, `correlation_id`, `reply_to` | *bytes* |
//! | `kind`, `content_type`, `content_encoding` | a string |
//! | `time`, `expiry`, `deliver_at` | a string, RFC 3339, to the millisecond |
//! | `priority` | a whole number from 0 to 255 |
//! | `headers` | an array of `[name, value]`, in order; a name may come twice |
//! | `fate`, `error` | written by [`encode_failed`]; ignored on the way in |
//!
//! *Bytes* are a string where they are UTF-8, else `{"base64":"<RFC 4648, with padding>"}`.
//!
//! # Values of headers
//!
//! | value | form |
//! | --- | --- |
//! | null, boolean, text | as JSON has them |
//! | signed whole number | a number without fraction and exponent |
//! | unsigned whole number | `{"u64":"<decimal digits>"}` |
//! | finite floating-point number | a number with a fraction or an exponent |
//! | infinity, not a number | `{"f64":"<16 hexadecimal digits of its IEEE 754 bits>"}` |
//! | bytes | `{"bytes":"<base64, with padding>"}` |
//! | time | `{"time":"<RFC 3339>"}` |
//! | list | an array of values |
//! | map | `{"map":[[name, value], ...]}`, in order; a name may come twice |
//!
//! A foreign writer's plain whole number over 2^63 - 1 is read as unsigned, and one that fits no
//! 64 bits (and `-0`) as the nearest floating-point number. Lists and maps nest at most
//! [`MAX_DEPTH`] deep: what nests deeper is written, but refused on the way in.

mod read;
mod tree;
mod write;

use crate::{Datagram, Fate, Result, SendError, View};

use tree::Tree;

/// How deep lists and maps in a header may nest in what [`decode`] accepts.
pub const MAX_DEPTH: usize = 32;

/// The JSON form of a datagram, in one line without its end.
#[must_use]
pub fn encode(view: View<'_>) -> String {
    Tree::Object(write::fields(view)).to_string()
}

/// The JSON form of what was not sent: beside the datagram's own fields, `fate` is `"not_sent"` or
/// `"maybe_sent"`, and `error` the reason in one line.
#[must_use]
pub fn encode_failed(failed: &SendError) -> String {
    let fate = match failed.fate() {
        Fate::NotSent => "not_sent",
        Fate::MaybeSent => "maybe_sent",
    };
    let mut fields = write::fields(failed.datagram().view());
    fields.push(("fate".into(), Tree::Text(fate.into())));
    fields.push(("error".into(), Tree::Text(failed.error().to_string().into())));
    Tree::Object(fields).to_string()
}

/// Reads the JSON form of a datagram.
///
/// # Errors
///
/// [`Error::Invalid`](crate::Error::Invalid) with one line that says what is wrong and where: text
/// that is no JSON, an unknown or repeated field, a value of the wrong form. It shows no value.
pub fn decode(text: &str) -> Result<Datagram> {
    read::datagram(text).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Error, Id, Timestamp, Value};

    fn all_fields() -> Datagram {
        let time = Timestamp::from_millis(1_517_363_399_650).unwrap();
        let mut datagram = Datagram::new(vec![0xff, 0x00])
            .with_tag(7)
            .with_id(Id::bytes([0xab; 16]))
            .with_key("k")
            .with_kind("order.placed")
            .with_content_type("text/plain")
            .with_time(time)
            .with_expiry(time)
            .with_deliver_at(time)
            .with_priority(9)
            .with_header("n", Value::Null)
            .with_header("n", Value::Map(vec![("x".into(), Value::I64(-1))]))
            .with_header("b", Value::Bytes(Bytes::from_static(b"\xff")))
            .with_header("l", Value::List(vec![true.into(), 1.0.into(), f64::INFINITY.into()]))
            .with_header("t", time);
        let envelope = datagram.envelope_mut();
        envelope.content_encoding = Some("gzip".into());
        envelope.correlation_id = Some(Bytes::from_static(b"\xfe"));
        envelope.reply_to = Some(Bytes::from_static(b"a\nb"));
        datagram
    }

    #[test]
    fn each_field_has_the_documented_form() {
        let line = concat!(
            r#"{"tag":7,"payload":{"base64":"/wA="},"#,
            r#""id":{"bytes":"abababababababababababababababab"},"key":"k","#,
            r#""kind":"order.placed","content_type":"text/plain","content_encoding":"gzip","#,
            r#""time":"2018-01-31T01:49:59.65Z","expiry":"2018-01-31T01:49:59.65Z","#,
            r#""deliver_at":"2018-01-31T01:49:59.65Z","priority":9,"#,
            r#""correlation_id":{"base64":"/g=="},"reply_to":"a\nb","#,
            r#""headers":[["n",null],["n",{"map":[["x",-1]]}],["b",{"bytes":"/w=="}],"#,
            r#"["l",[true,1.0,{"f64":"7ff0000000000000"}]],"#,
            r#"["t",{"time":"2018-01-31T01:49:59.65Z"}]]}"#,
        );
        assert_eq!(encode(all_fields().view()), line);
        assert_eq!(decode(line).unwrap(), all_fields());
    }

    #[test]
    fn no_payload_is_null_and_differs_from_an_empty_one() {
        assert_eq!(encode(Datagram::empty().view()), r#"{"payload":null}"#);
        assert_eq!(encode(Datagram::new("").view()), r#"{"payload":""}"#);
        assert_eq!(decode("{}").unwrap(), Datagram::empty());
        assert_eq!(decode(r#"{"payload":""}"#).unwrap(), Datagram::new(""));
    }

    #[test]
    fn fate_and_error_are_written_and_ignored_on_the_way_in() {
        let failed = SendError::new(Datagram::new("x"), Fate::MaybeSent, Error::LeaseLost);
        let line = encode_failed(&failed);
        assert!(line.contains(r#""fate":"maybe_sent","error":"the lease on"#), "{line}");
        assert_eq!(decode(&line).unwrap(), *failed.datagram());
        assert_eq!(decode(r#"{"fate":[1],"error":{}}"#).unwrap(), Datagram::empty());
    }

    #[test]
    fn foreign_numbers_keep_as_much_as_64_bits_hold() {
        let line = r#"{"headers":[["a",18446744073709551615],["b",18446744073709551616]]}"#;
        let datagram = decode(line).unwrap();
        assert_eq!(datagram.view().header("a"), Some(&Value::U64(u64::MAX)));
        assert_eq!(datagram.view().header("b"), Some(&Value::F64(18_446_744_073_709_551_616.0)));
    }

    #[test]
    fn lists_and_maps_nest_to_the_limit_and_no_deeper() {
        for wrap in [wrap_in_list, wrap_in_map] {
            let nest = |depth| (0..depth).fold(Value::U64(1), |value, _| wrap(value));
            let deepest = Datagram::empty().with_header("h", nest(MAX_DEPTH));
            assert_eq!(decode(&encode(deepest.view())).unwrap(), deepest);
            let deeper = Datagram::empty().with_header("h", nest(MAX_DEPTH + 1));
            let error = decode(&encode(deeper.view())).unwrap_err().to_string();
            assert!(error.ends_with("nests deeper than 32 lists and maps"), "{error}");
        }
        let deep = format!(r#"{{"headers":{}"#, "[".repeat(100_000));
        check_refused(&deep, "is no JSON: recursion limit exceeded at line 1 column 138");
    }

    fn wrap_in_list(value: Value) -> Value {
        Value::List(vec![value])
    }

    fn wrap_in_map(value: Value) -> Value {
        Value::Map(vec![("m".into(), value)])
    }

    #[test]
    fn what_is_wrong_is_told_in_one_line_with_its_place() {
        let long = format!(r#"{{"{}":1}}"#, "x\\n".repeat(100));
        for (text, complaint) in [
            ("", "is no JSON: EOF while parsing a value at line 1 column 0"),
            ("{\n\"key\":}", "is no JSON: expected value at line 2 column 7"),
            ("{} x", "is no JSON: trailing characters at line 1 column 4"),
            (r#"{"priority":1e999}"#, "is no JSON: number out of range at line 1 column 17"),
            ("[]", r#"is no object; a datagram is {"payload": "..", ..}"#),
            (r#"{"ky":1}"#, "has the unknown field \"ky\"; the nearest is `key`"),
            (
                &long,
                r#"has the unknown field "x\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\n"..."#,
            ),
            (r#"{"key":"a","key":"a"}"#, "`key` comes twice"),
            (r#"{"tag":65536}"#, "`tag` is no whole number from 0 to 65535"),
            (r#"{"tag":-1}"#, "`tag` is no whole number from 0 to 65535"),
            (r#"{"priority":1.0}"#, "`priority` is no whole number from 0 to 255"),
            (r#"{"payload":[1]}"#, r#"`payload` is neither a string nor {"base64": ".."}"#),
            (
                r#"{"key":{"base64":"a"}}"#,
                "`key` holds base64 that is damaged or without its padding",
            ),
            (r#"{"kind":1}"#, "`kind` is no string"),
            (r#"{"id":""}"#, "`id` has 0 bytes; it takes 1 to 128"),
            (r#"{"id":{"bytes":"+1"}}"#, "`id` is not of 32 hexadecimal digits"),
            (r#"{"time":"today"}"#, "`time` is no time of RFC 3339 such as 2026-01-31T12:00:00Z"),
            (r#"{"headers":{"a":1}}"#, "`headers` is no array of [name, value]"),
            (r#"{"headers":[["a",1],["b"]]}"#, "`headers[1]` is no [name, value]"),
            (r#"{"headers":[[1,1]]}"#, "`headers[0]` is no [name, value]"),
            (
                r#"{"headers":[["a",{"u":"1"}]]}"#,
                "`headers[0][1]` is of no known form; an object is",
            ),
            (
                r#"{"headers":[["a",[0,{"u64":"+1"}]]]}"#,
                "`headers[0][1][1]` is not of decimal digits",
            ),
            (
                r#"{"headers":[["a",{"map":[["x",{"f64":"0"}]]}]]}"#,
                "`headers[0][1].map[0][1]` is not of 16 hexadecimal digits",
            ),
        ] {
            check_refused(text, complaint);
        }
    }

    #[track_caller]
    fn check_refused(text: &str, complaint: &str) {
        let error = decode(text).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        let line = error.to_string();
        let told = line.strip_prefix("invalid JSON datagram: ").unwrap();
        assert!(told.starts_with(complaint), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.len() < 200, "{line}");
    }
}
