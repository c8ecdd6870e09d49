//! What `send` sends: datagrams made of the lines of an input, or of one whole file.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use futures_util::FutureExt;
use seam_core::{Datagram, Limits, json};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use tokio::io::AsyncRead;

use crate::failure::Outcome;
use crate::input::Lines;

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A payload.
    Payload,
    /// A payload, a JSON object of which this field is the key.
    Keyed(String),
    /// A whole envelope, as [`json`] writes it.
    Envelope,
}

impl Form {
    /// The longest line that can stand for a datagram within `limits`.
    pub(crate) fn longest_line(&self, limits: &Limits) -> usize {
        match self {
            Self::Payload | Self::Keyed(_) => limits.payload,
            Self::Envelope => {
                let held =
                    limits.payload.saturating_add(limits.header_bytes).saturating_add(limits.key);
                held.saturating_mul(ESCAPED).saturating_add(ROOM)
            }
        }
    }
}

/// Bytes that one byte takes at most in JSON: `\u0000`.
const ESCAPED: usize = 6;
/// Bytes for names and punctuation of an envelope's fields.
const ROOM: usize = 64 << 10;

/// Where `send` takes its datagrams from.
pub(crate) struct Source<R> {
    origin: Origin<R>,
    template: Datagram,
    /// The largest payload.
    limit: usize,
    /// Datagrams that may still be taken.
    left: u64,
}

enum Origin<R> {
    Lines(Lines<R>, Form),
    One(Option<Vec<u8>>),
}

impl<R: AsyncRead + Unpin> Source<R> {
    /// One datagram.
    pub(crate) fn one(payload: Vec<u8>, template: Datagram) -> Self {
        Self { origin: Origin::One(Some(payload)), template, limit: usize::MAX, left: 1 }
    }

    /// A datagram of each line, `count` at most; none with more than `limit` bytes of payload.
    pub(crate) fn lines(
        lines: Lines<R>,
        form: Form,
        template: Datagram,
        limit: usize,
        count: Option<u64>,
    ) -> Self {
        let left = count.unwrap_or(u64::MAX);
        Self { origin: Origin::Lines(lines, form), template, limit, left }
    }

    /// The next datagram; `None` at the end. Dropping the call loses nothing.
    pub(crate) async fn next(&mut self) -> Outcome<Option<Datagram>> {
        if self.left == 0 {
            return Ok(None);
        }
        let next = match &mut self.origin {
            Origin::One(payload) => {
                payload.take().map(|payload| self.template.clone().with_payload(payload))
            }
            Origin::Lines(lines, form) => {
                next_of_lines(lines, form, &self.template, self.limit).await?
            }
        };
        self.left -= 1;
        Ok(next)
    }

    /// The next datagram if it can be had without waiting.
    pub(crate) fn ready(&mut self) -> Option<Outcome<Option<Datagram>>> {
        self.next().now_or_never()
    }

    /// Where it stands, for whoever goes on later.
    pub(crate) fn place(&self) -> String {
        match &self.origin {
            Origin::Lines(lines, _) => format!("after line {}", lines.number()),
            Origin::One(_) => "after the file".to_owned(),
        }
    }
}

async fn next_of_lines<R: AsyncRead + Unpin>(
    lines: &mut Lines<R>,
    form: &Form,
    template: &Datagram,
    limit: usize,
) -> Outcome<Option<Datagram>> {
    loop {
        let Some(line) = lines.next().await? else { return Ok(None) };
        let made = match form {
            Form::Payload => Ok(filled(template, line)),
            Form::Keyed(field) => {
                key_of(line, field).map(|key| filled(template, line).with_key(Bytes::from(key)))
            }
            Form::Envelope if line.iter().all(u8::is_ascii_whitespace) => continue,
            Form::Envelope => envelope(line, limit),
        };
        return made.map(Some).map_err(|reason| lines.refuse(&reason));
    }
}

fn filled(template: &Datagram, line: &[u8]) -> Datagram {
    if template.view().is_plain() {
        return Datagram::copy_from(template.tag(), line);
    }
    template.clone().with_payload(Bytes::copy_from_slice(line))
}

fn envelope(line: &[u8], limit: usize) -> Result<Datagram, String> {
    let text = std::str::from_utf8(line).map_err(|_| "is no UTF-8, so no JSON".to_owned())?;
    let datagram = json::decode(text).map_err(|error| error.to_string())?;
    match datagram.payload().map_or(0, <[u8]>::len) {
        size if size > limit => {
            Err(format!("a payload of {size} bytes is over the limit of {limit}"))
        }
        _ => Ok(datagram),
    }
}

/// The value of a field of a JSON object, as a key.
fn key_of(line: &[u8], field: &str) -> Result<String, String> {
    let mut reader = serde_json::Deserializer::from_slice(line);
    let value = FieldOf(field).deserialize(&mut reader).and_then(|value| {
        reader.end()?;
        Ok(value)
    });
    match value.map_err(|error| format!("is no JSON object: {error}"))? {
        Some(Value::String(text)) => Ok(text),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        Some(_) => Err(format!("its field {field:?} is neither text nor a number, so no key")),
        None => Err(format!("it has no field {field:?} to take the key from")),
    }
}

/// Reads one field of an object, and passes over the others.
struct FieldOf<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for FieldOf<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldOf<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = members.next_key::<Cow<'_, str>>()? {
            if name == self.0 {
                found = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(form: Form, input: &str, count: Option<u64>) -> Result<Vec<Datagram>, String> {
        let lines = Lines::new(input.as_bytes(), "the input".to_owned(), 200);
        let mut source = Source::lines(lines, form, Datagram::empty().with_tag(7), 5, count);
        let mut read = Vec::new();
        while let Some(datagram) = source.next().await.map_err(|failure| failure.to_string())? {
            read.push(datagram);
        }
        Ok(read)
    }

    #[tokio::test]
    async fn a_line_is_a_payload_with_the_fields_of_the_options() {
        let read = read(Form::Payload, "a\n\n", None).await.unwrap();
        assert_eq!(read, [Datagram::new("a").with_tag(7), Datagram::new("").with_tag(7)]);
    }

    #[tokio::test]
    async fn no_more_are_taken_than_were_asked_for() {
        assert_eq!(read(Form::Payload, "a\nb\nc\n", Some(2)).await.unwrap().len(), 2);
        assert_eq!(read(Form::Payload, "a\n", Some(2)).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_key_is_the_text_of_a_field() {
        let keyed = || Form::Keyed("net".to_owned());
        for (line, key) in [
            (r#"{"a":{"net":1},"net":"us"}"#, "us"),
            (r#"{"net":17}"#, "17"),
            (r#"{"net":true}"#, "true"),
            (r#"{"n\u0065t":"\u00fc"}"#, "ü"),
        ] {
            let read = read(keyed(), line, None).await.unwrap();
            assert_eq!(read[0].view().key(), Some(key.as_bytes()));
            assert_eq!(read[0].payload(), Some(line.as_bytes()));
        }
        for (line, complaint) in [
            ("{}", r#"line 1: it has no field "net" to take the key from"#),
            (
                r#"{"net":null}"#,
                r#"line 1: its field "net" is neither text nor a number, so no key"#,
            ),
            ("x", "line 1: is no JSON object: expected value at line 1 column 1"),
            ("[]", "line 1: is no JSON object: invalid type: sequence, expected an object at"),
            (r#"{"net":"us"} x"#, "line 1: is no JSON object: trailing characters at"),
        ] {
            let complaints = read(keyed(), line, None).await.unwrap_err();
            assert!(complaints.contains(complaint), "{complaints}");
        }
    }

    #[tokio::test]
    async fn an_envelope_is_read_as_it_was_written_and_blank_lines_are_passed_over() {
        let input = "{\"payload\":\"a\",\"key\":\"k\"}\n\n \r\n{}\n";
        let read = read(Form::Envelope, input, None).await.unwrap();
        assert_eq!(read, [Datagram::new("a").with_key("k"), Datagram::empty()]);
    }

    #[tokio::test]
    async fn what_is_no_envelope_is_told_with_its_line() {
        for (input, complaint) in [
            ("{}\n{", "the input, line 2: invalid JSON datagram: is no JSON: EOF"),
            ("{\"payload\":\"123456\"}", "line 1: a payload of 6 bytes is over the limit of 5"),
        ] {
            let complaints = read(Form::Envelope, input, None).await.unwrap_err();
            assert!(complaints.contains(complaint), "{complaints}");
        }
    }
}
