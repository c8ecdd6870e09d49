//! How a datagram becomes a Kafka record, and a record a datagram.
//!
//! Native first: the key, the value (none is a tombstone), the timestamp, and a header for each field and for each
//! header of the datagram. What a record cannot say, such as the type of a number, goes into one more header,
//! [`SLOT`], which the [`binary`] form of core fills. Pure functions: no client, no socket, no clock.
//!
//! Where a header of the datagram is of a kind that Kafka has not, it is written natively as text, for foreign
//! readers, and the slot says what it was, with its place; so a foreign program may add headers between.

use std::borrow::Cow;

use bytes::Bytes;
use seam_core::{Datagram, Envelope, Id, Result, Timestamp, Value, View, binary};

use crate::replies::CALLER;

/// The header that holds what has no native form.
pub(crate) const SLOT: &str = "seam-envelope";

/// The names of fields, as headers have them.
mod name {
    pub(super) const TAG: &str = "seam-tag";
    pub(super) const ID: &str = "id";
    pub(super) const KIND: &str = "kind";
    pub(super) const CONTENT_TYPE: &str = "content-type";
    pub(super) const CONTENT_ENCODING: &str = "content-encoding";
    pub(super) const TIME: &str = "time";
    pub(super) const EXPIRY: &str = "expiry";
    pub(super) const DELIVER_AT: &str = "deliver-at";
    pub(super) const PRIORITY: &str = "priority";
    pub(super) const CORRELATION_ID: &str = "correlation-id";
    pub(super) const REPLY_TO: &str = "reply-to";

    /// Those that no header of a datagram may have natively.
    pub(super) const TAKEN: [&str; 10] = [
        ID,
        KIND,
        CONTENT_TYPE,
        CONTENT_ENCODING,
        TIME,
        EXPIRY,
        DELIVER_AT,
        PRIORITY,
        CORRELATION_ID,
        REPLY_TO,
    ];
    /// Names that begin so are this library's own.
    pub(super) const OURS: &str = "seam-";
}

/// A header as Kafka has it.
pub(crate) type Header<'a> = (Cow<'a, str>, Option<Cow<'a, [u8]>>);

/// The headers of `view`, in the order in which they are written. Most datagrams have none.
pub(crate) fn headers(view: View<'_>) -> Vec<Header<'_>> {
    let mut headers = Vec::new();
    if view.tag() != 0 {
        headers.push(text(name::TAG, view.tag().to_string()));
    }
    if view.is_plain() {
        return headers;
    }
    let envelope = view.envelope();
    fields(envelope, &mut headers);
    let mut slot = Vec::new();
    for (place, (name, value)) in (0_u64..).zip(&envelope.headers) {
        let native = native(value).filter(|_| is_free(name));
        if native.is_none() || !survives(value) {
            let entry = Value::List(vec![Value::U64(place), value.clone()]);
            slot.push((name.clone(), entry));
        }
        if let Some(native) = native {
            headers.push((Cow::Borrowed(&**name), native));
        }
    }
    let id = envelope.id.clone().filter(|id| id.as_text().is_none());
    if id.is_some() || !slot.is_empty() {
        headers.push((Cow::Borrowed(SLOT), Some(Cow::Owned(packed(id, slot)))));
    }
    headers
}

/// The datagram of a record. Whatever a foreign program wrote has one.
pub(crate) fn datagram<'a>(
    key: Option<&[u8]>,
    payload: Option<&[u8]>,
    headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
) -> Datagram {
    let mut headers = headers.peekable();
    if headers.peek().is_none() {
        let datagram = plain(0, payload);
        return match key {
            None => datagram,
            Some(key) => datagram.with_key(Bytes::copy_from_slice(key)),
        };
    }
    let mut reading = Reading::default();
    headers.for_each(|(name, value)| reading.header(name, value));
    let tag = reading.tag.unwrap_or(0);
    let mut datagram = plain(tag, payload);
    reading.envelope.key = key.map(Bytes::copy_from_slice);
    reading.unpack();
    if reading.envelope != Envelope::default() {
        datagram = datagram.with_envelope(reading.envelope);
    }
    datagram
}

fn plain(tag: u16, payload: Option<&[u8]>) -> Datagram {
    match payload {
        Some(payload) => Datagram::copy_from(tag, payload),
        None => Datagram::empty().with_tag(tag),
    }
}

/// What has been read of a record so far.
#[derive(Default)]
struct Reading {
    tag: Option<u16>,
    envelope: Envelope,
    slot: Option<Datagram>,
}

impl Reading {
    /// Takes a header for a field where it can be one, else as it is.
    fn header(&mut self, name: &str, value: Option<&[u8]>) {
        if value.is_none_or(|value| !self.field(name, value)) {
            let value = match value.map(std::str::from_utf8) {
                None => Value::Null,
                Some(Ok(text)) => Value::Text(text.into()),
                Some(Err(_)) => Value::Bytes(Bytes::copy_from_slice(value.unwrap_or_default())),
            };
            self.envelope.headers.push((name.into(), value));
        }
    }

    /// Whether `value` was taken for the field of this name; the first one counts.
    fn field(&mut self, name: &str, value: &[u8]) -> bool {
        let envelope = &mut self.envelope;
        let bytes = || Some(Bytes::copy_from_slice(value));
        match name {
            name::TAG => set(&mut self.tag, || number(value).filter(|tag| *tag != 0)),
            name::ID => set(&mut envelope.id, || Id::text(read_text(value)?).ok()),
            name::KIND => set(&mut envelope.kind, || read_text(value)),
            name::CONTENT_TYPE => set(&mut envelope.content_type, || read_text(value)),
            name::CONTENT_ENCODING => set(&mut envelope.content_encoding, || read_text(value)),
            name::TIME => set(&mut envelope.time, || time(value)),
            name::EXPIRY => set(&mut envelope.expiry, || time(value)),
            name::DELIVER_AT => set(&mut envelope.deliver_at, || time(value)),
            name::PRIORITY => set(&mut envelope.priority, || number(value)),
            name::CORRELATION_ID => set(&mut envelope.correlation_id, bytes),
            name::REPLY_TO => set(&mut envelope.reply_to, bytes),
            SLOT => set(&mut self.slot, || slot(value)),
            // Whose reply it is: read before, and no header of it.
            CALLER => true,
            _ => false,
        }
    }

    /// Puts what the slot holds where it belongs.
    fn unpack(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let envelope = &mut self.envelope;
        if let Some(id) = &slot.envelope().id {
            envelope.id = Some(id.clone());
        }
        for (name, entry) in &slot.envelope().headers {
            let Some((place, value)) = placed(entry) else { continue };
            let place = place.min(envelope.headers.len());
            let stands = native(value).filter(|_| is_free(name)).map(|native| read_native(&native));
            let stands = stands.and_then(|native| {
                let mut rest = envelope.headers[place..].iter();
                rest.position(|(other, value)| *other == *name && *value == native)
            });
            match stands {
                Some(behind) => envelope.headers[place + behind].1 = value.clone(),
                None => envelope.headers.insert(place, (name.clone(), value.clone())),
            }
        }
    }
}

/// Sets a field that has no value yet; whether it was set.
fn set<T>(field: &mut Option<T>, read: impl FnOnce() -> Option<T>) -> bool {
    if field.is_some() {
        return false;
    }
    *field = read();
    field.is_some()
}

fn fields<'a>(envelope: &'a Envelope, headers: &mut Vec<Header<'a>>) {
    let id = envelope.id.as_ref().and_then(Id::as_text);
    let texts = [
        (name::ID, id),
        (name::KIND, envelope.kind.as_deref()),
        (name::CONTENT_TYPE, envelope.content_type.as_deref()),
        (name::CONTENT_ENCODING, envelope.content_encoding.as_deref()),
    ];
    for (name, value) in texts {
        headers.extend(value.map(|value| bytes(name, value.as_bytes())));
    }
    let times = [
        (name::TIME, envelope.time),
        (name::EXPIRY, envelope.expiry),
        (name::DELIVER_AT, envelope.deliver_at),
    ];
    for (name, value) in times {
        headers.extend(value.map(|time| text(name, time.to_string())));
    }
    headers.extend(envelope.priority.map(|value| text(name::PRIORITY, value.to_string())));
    let opaque =
        [(name::CORRELATION_ID, &envelope.correlation_id), (name::REPLY_TO, &envelope.reply_to)];
    for (name, value) in opaque {
        headers.extend(value.as_deref().map(|value| bytes(name, value)));
    }
}

fn text(name: &'static str, value: String) -> Header<'static> {
    (Cow::Borrowed(name), Some(Cow::Owned(value.into_bytes())))
}

fn bytes<'a>(name: &'static str, value: &'a [u8]) -> Header<'a> {
    (Cow::Borrowed(name), Some(Cow::Borrowed(value)))
}

/// Whether a header of this name may stand in a record beside the fields. Kafka's client ends names at a NUL.
fn is_free(name: &str) -> bool {
    !name.starts_with(name::OURS) && !name::TAKEN.contains(&name) && !name.contains('\0')
}

/// Whether the native form alone tells what it was.
fn survives(value: &Value) -> bool {
    match value {
        Value::Null | Value::Text(_) => true,
        Value::Bytes(bytes) => std::str::from_utf8(bytes).is_err(),
        _ => false,
    }
}

/// How a foreign program reads it; `None` for lists and maps.
#[allow(clippy::option_option, reason = "Kafka's null, within no native form at all")]
fn native(value: &Value) -> Option<Option<Cow<'_, [u8]>>> {
    let text = |text: String| Some(Some(Cow::Owned(text.into_bytes())));
    match value {
        Value::Null => Some(None),
        Value::Bool(value) => text(value.to_string()),
        Value::I64(value) => text(value.to_string()),
        Value::U64(value) => text(value.to_string()),
        Value::F64(value) => text(value.to_string()),
        Value::Time(value) => text(value.to_string()),
        Value::Text(value) => Some(Some(Cow::Borrowed(value.as_bytes()))),
        Value::Bytes(value) => Some(Some(Cow::Borrowed(value))),
        _ => None,
    }
}

/// What a native form is read as when nothing says more.
fn read_native(native: &Option<Cow<'_, [u8]>>) -> Value {
    match native.as_deref().map(std::str::from_utf8) {
        None => Value::Null,
        Some(Ok(text)) => Value::Text(text.into()),
        Some(Err(_)) => {
            Value::Bytes(native.as_deref().map_or_else(Bytes::new, Bytes::copy_from_slice))
        }
    }
}

fn packed(id: Option<Id>, headers: Vec<(Box<str>, Value)>) -> Vec<u8> {
    let mut envelope = Envelope::default();
    (envelope.id, envelope.headers) = (id, headers);
    let mut slot = Vec::new();
    binary::encode_envelope(Datagram::empty().with_envelope(envelope).view(), &mut slot);
    slot
}

fn slot(value: &[u8]) -> Option<Datagram> {
    let read: Result<Datagram> = binary::decode_with(value, Bytes::new());
    read.ok()
}

fn placed(entry: &Value) -> Option<(usize, &Value)> {
    match entry {
        Value::List(entry) => match &entry[..] {
            [Value::U64(place), value] => Some((usize::try_from(*place).ok()?, value)),
            _ => None,
        },
        _ => None,
    }
}

fn read_text(value: &[u8]) -> Option<Box<str>> {
    std::str::from_utf8(value).ok().map(Into::into)
}

/// A number in the one form in which it is written.
fn number<T: std::str::FromStr + ToString>(value: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(value).ok()?;
    let number: T = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A time in the one form in which it is written.
fn time(value: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(value).ok()?;
    let time: Timestamp = text.parse().ok()?;
    (time.to_string() == text).then_some(time)
}

#[cfg(test)]
mod tests;
