//! A datagram, as properties.

use std::collections::BTreeMap;
use std::mem;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};
use seam_core::{Datagram, Envelope, Error, Result, Timestamp, Value, View, binary};

use super::{PERSISTENT, entry, name, size, value};

/// The properties of `view`, whose payload, or nothing, is the body. `wall` is now.
///
/// A plain datagram has neither table nor property but that it outlives the broker.
///
/// # Errors
///
/// [`Error::TooLarge`] if their [`size()`] is over `limit`, since RabbitMQ ends the connection at what does not fit
/// into one frame.
pub(crate) fn encode(view: View<'_>, wall: Timestamp, limit: usize) -> Result<BasicProperties> {
    let mut writing = Writing::default();
    if view.is_plain() && view.tag() == 0 && view.payload().is_some() {
        return Ok(writing.properties);
    }
    writing.labels(view);
    writing.texts(view.envelope());
    writing.times(view.envelope(), wall);
    writing.headers(&view.envelope().headers);
    let properties = writing.finish();
    let size = size(&properties);
    if size > limit {
        return Err(Error::TooLarge { what: "headers and fields (bytes)", size, limit });
    }
    Ok(properties)
}

/// What has been written so far.
struct Writing {
    properties: BasicProperties,
    table: BTreeMap<ShortString, AMQPValue>,
    slot: Envelope,
}

impl Default for Writing {
    fn default() -> Self {
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        Self { properties, table: BTreeMap::new(), slot: Envelope::default() }
    }
}

/// Sets a property of text.
type Set = fn(BasicProperties, ShortString) -> BasicProperties;

impl Writing {
    fn labels(&mut self, view: View<'_>) {
        if view.tag() != 0 {
            self.header(name::TAG, AMQPValue::LongLongInt(view.tag().into()));
        }
        if view.payload().is_none() {
            self.header(name::NONE, AMQPValue::Boolean(true));
        }
        if let Some(key) = view.key() {
            self.header(name::KEY, AMQPValue::LongString(key.into()));
        }
        if let Some(priority) = view.envelope().priority {
            self.set(|properties| properties.with_priority(priority));
        }
    }

    fn texts(&mut self, envelope: &Envelope) {
        let id = envelope.id.as_ref().filter(|id| {
            let text = id.as_text().map(str::as_bytes);
            !text.is_some_and(|text| self.fits(text, BasicProperties::with_message_id))
        });
        self.slot.id = id.cloned();
        self.slot.kind = self.text(&envelope.kind, BasicProperties::with_type);
        self.slot.content_type =
            self.text(&envelope.content_type, BasicProperties::with_content_type);
        self.slot.content_encoding =
            self.text(&envelope.content_encoding, BasicProperties::with_content_encoding);
        self.slot.correlation_id =
            self.bytes(&envelope.correlation_id, BasicProperties::with_correlation_id);
        self.slot.reply_to = self.bytes(&envelope.reply_to, BasicProperties::with_reply_to);
    }

    fn times(&mut self, envelope: &Envelope, wall: Timestamp) {
        if let Some(time) = envelope.time {
            if let Some(seconds) = value::whole_seconds(time) {
                self.set(|properties| properties.with_timestamp(seconds));
            }
            if !value::is_whole(time) {
                self.header(name::TIME, text(time));
            }
        }
        if let Some(expiry) = envelope.expiry {
            self.header(name::EXPIRY, text(expiry));
            let rest = expiry.saturating_since(wall).as_millis();
            // In the queue where it waits for its time, it would count as the end of the wait.
            let waits = envelope.deliver_at.is_some_and(|time| time > wall);
            if rest <= LONGEST_EXPIRATION && !waits {
                self.set(|properties| properties.with_expiration(rest.to_string().into()));
            }
        }
        if let Some(deliver_at) = envelope.deliver_at {
            self.header(name::DELIVER_AT, text(deliver_at));
        }
    }

    /// Puts headers into the table where it can hold them, and all into the slot where it cannot tell them exactly.
    fn headers(&mut self, headers: &[(Box<str>, Value)]) {
        let exact = headers.is_sorted_by(|(one, _), (next, _)| one < next)
            && headers.iter().all(|(name, value)| name::is_free(name) && value::survives(value));
        for (name, value) in headers {
            let native = self.native(name, value);
            if !exact {
                let entry = entry::of(value, native.is_some());
                self.slot.headers.push((name.clone(), entry));
            }
            if let Some((name, native)) = native {
                self.table.insert(name, native);
            }
        }
    }

    /// A header as the table has it; of those of one name, the first that it can hold.
    fn native(&self, name: &str, value: &Value) -> Option<(ShortString, AMQPValue)> {
        if !name::is_free(name) || self.table.contains_key(name) {
            return None;
        }
        Some((ShortString::try_new(name).ok()?, value::native(value)?))
    }

    fn finish(mut self) -> BasicProperties {
        if self.slot != Envelope::default() {
            let mut slot = Vec::new();
            let packed = Datagram::empty().with_envelope(mem::take(&mut self.slot));
            binary::encode_envelope(packed.view(), &mut slot);
            self.header(name::SLOT, AMQPValue::ByteArray(slot.into()));
        }
        if self.table.is_empty() {
            return self.properties;
        }
        self.properties.with_headers(self.table.into())
    }

    /// What of `value` is left for the slot: all of it, or nothing where the property can hold it.
    fn text(&mut self, value: &Option<Box<str>>, set: Set) -> Option<Box<str>> {
        value.as_ref().filter(|value| !self.fits(value.as_bytes(), set)).cloned()
    }

    /// As [`Writing::text`].
    fn bytes(&mut self, value: &Option<Bytes>, set: Set) -> Option<Bytes> {
        value.as_ref().filter(|value| !self.fits(value, set)).cloned()
    }

    /// Whether the property can hold `value`, and so holds it now.
    fn fits(&mut self, value: &[u8], set: Set) -> bool {
        let text = std::str::from_utf8(value).ok();
        let Some(text) = text.and_then(|text| ShortString::try_new(text).ok()) else {
            return false;
        };
        self.set(|properties| set(properties, text));
        true
    }

    fn set(&mut self, set: impl FnOnce(BasicProperties) -> BasicProperties) {
        self.properties = set(mem::take(&mut self.properties));
    }

    fn header(&mut self, name: &'static str, value: AMQPValue) {
        self.table.insert(name.into(), value);
    }
}

fn text(time: Timestamp) -> AMQPValue {
    AMQPValue::LongString(time.to_string().into())
}

/// In milliseconds. RabbitMQ ends the channel at more, and at less would end the datagram before its time.
const LONGEST_EXPIRATION: u128 = 4_294_967_295;
