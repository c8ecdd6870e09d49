//! Properties and a body, as a datagram.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};
use seam_core::{Datagram, Envelope, Id, Natives, Timestamp, Value, binary};

use super::{entry, name, value};

/// What a delivery is.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) datagram: Datagram,
    /// What the broker and foreign programs say beside it, by their own names.
    pub(crate) natives: Natives,
    /// How often a quorum queue has delivered it in vain.
    pub(crate) delivery_count: Option<u64>,
    /// How many attempts were made before it was published once more.
    pub(crate) attempts: u32,
}

/// What a delivery is. Whatever a foreign program wrote has a datagram.
pub(crate) fn decode(
    properties: &BasicProperties,
    body: Bytes,
    exchange: &str,
    routing_key: &str,
) -> Received {
    let mut reading = Reading { is_empty: body.is_empty(), ..Reading::default() };
    for (name, value) in properties.headers().iter().flatten() {
        reading.header(name.as_str(), value);
    }
    reading.properties(properties);
    reading.unpack();
    if !exchange.is_empty() {
        reading.native("exchange", exchange.into());
        reading.native("routing_key", routing_key.into());
    }
    let datagram = if reading.is_none { Datagram::empty() } else { Datagram::new(body) };
    Received {
        datagram: datagram.with_tag(reading.tag).with_envelope(reading.envelope),
        natives: reading.natives,
        delivery_count: reading.delivery_count,
        attempts: reading.attempts,
    }
}

/// What has been read of a delivery so far.
#[derive(Default)]
struct Reading {
    /// Whether the body is.
    is_empty: bool,
    /// Whether it has no payload.
    is_none: bool,
    tag: u16,
    envelope: Envelope,
    slot: Option<Datagram>,
    natives: Natives,
    delivery_count: Option<u64>,
    attempts: u32,
}

impl Reading {
    /// Takes a header for what it says in the one form that we write, else as it is.
    fn header(&mut self, name: &str, value: &AMQPValue) {
        if self.field(name, value).is_some() {
            return;
        }
        if name == name::DELIVERY_COUNT {
            self.delivery_count = value::whole(value);
        }
        match name::of_broker(name) {
            Some(name) => self.natives.push((name, value::read(value))),
            None => self.envelope.headers.push((name.into(), value::read(value))),
        }
    }

    /// Takes a header for a field, if it can be one.
    fn field(&mut self, name: &str, value: &AMQPValue) -> Option<()> {
        let envelope = &mut self.envelope;
        match name {
            name::SLOT => self.slot = Some(slot(value)?),
            name::TAG => self.tag = value::whole(value).filter(|tag| *tag != 0)?,
            name::NONE => self.is_none = value.as_bool().filter(|none| *none && self.is_empty)?,
            name::ATTEMPT => self.attempts = value::whole(value)?,
            name::PUBLISH => drop(value.as_long_long_int()?),
            name::KEY => envelope.key = Some(bytes(value)?),
            name::TIME => envelope.time = Some(time(value)?),
            name::EXPIRY => envelope.expiry = Some(time(value)?),
            name::DELIVER_AT => envelope.deliver_at = Some(time(value)?),
            _ => return None,
        }
        Some(())
    }

    /// Takes the properties, after all headers: these know some fields better.
    fn properties(&mut self, properties: &BasicProperties) {
        let envelope = &mut self.envelope;
        envelope.kind = text(properties.kind());
        envelope.content_type = text(properties.content_type());
        envelope.content_encoding = text(properties.content_encoding());
        envelope.correlation_id = text(properties.correlation_id()).map(into_bytes);
        envelope.reply_to = text(properties.reply_to()).map(into_bytes);
        envelope.priority = *properties.priority();
        self.id(properties);
        self.times(properties);
        let others = [
            ("user_id", properties.user_id()),
            ("app_id", properties.app_id()),
            ("cluster_id", properties.cluster_id()),
        ];
        for (name, value) in others {
            if let Some(value) = value {
                self.native(name, value.as_str().into());
            }
        }
    }

    fn id(&mut self, properties: &BasicProperties) {
        let Some(id) = properties.message_id() else { return };
        match Id::text(id.as_str()) {
            Ok(id) => self.envelope.id = Some(id),
            Err(_) => self.native("message_id", id.as_str().into()),
        }
    }

    fn times(&mut self, properties: &BasicProperties) {
        if let Some(seconds) = *properties.timestamp() {
            match value::time(seconds) {
                Some(time) => drop(self.envelope.time.get_or_insert(time)),
                None => self.native("timestamp", seconds.into()),
            }
        }
        if let (Some(expiration), None) = (properties.expiration(), self.envelope.expiry) {
            self.native("expiration", expiration.as_str().into());
        }
    }

    fn native(&mut self, name: &'static str, value: Value) {
        self.natives.push((Cow::Borrowed(name), value));
    }

    /// Puts what the slot holds where it belongs.
    fn unpack(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let (slot, envelope) = (slot.envelope(), &mut self.envelope);
        fill(&mut envelope.id, &slot.id);
        fill(&mut envelope.kind, &slot.kind);
        fill(&mut envelope.content_type, &slot.content_type);
        fill(&mut envelope.content_encoding, &slot.content_encoding);
        fill(&mut envelope.correlation_id, &slot.correlation_id);
        fill(&mut envelope.reply_to, &slot.reply_to);
        if slot.headers.is_empty() {
            return;
        }
        let mut table: BTreeMap<_, _> = mem::take(&mut envelope.headers).into_iter().collect();
        for (name, entry) in &slot.headers {
            let value = entry::value(entry, || table.remove(name));
            envelope.headers.extend(value.map(|value| (name.clone(), value)));
        }
        let listed: BTreeSet<_> = slot.headers.iter().map(|(name, _)| name).collect();
        let added = table.into_iter().filter(|(name, _)| !listed.contains(name));
        envelope.headers.extend(added);
    }
}

fn fill<T: Clone>(field: &mut Option<T>, from: &Option<T>) {
    if from.is_some() {
        field.clone_from(from);
    }
}

fn text(property: &Option<ShortString>) -> Option<Box<str>> {
    property.as_ref().map(|text| text.as_str().into())
}

fn into_bytes(text: Box<str>) -> Bytes {
    Bytes::from(text.into_boxed_bytes())
}

fn slot(value: &AMQPValue) -> Option<Datagram> {
    binary::decode_with(&bytes(value)?, Bytes::new()).ok()
}

/// Bytes in either form: a stream makes one of the other.
fn bytes(value: &AMQPValue) -> Option<Bytes> {
    match value {
        AMQPValue::LongString(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
        AMQPValue::ByteArray(bytes) => Some(Bytes::copy_from_slice(bytes.as_slice())),
        _ => None,
    }
}

/// A time in the one form in which it is written.
fn time(value: &AMQPValue) -> Option<Timestamp> {
    let text = std::str::from_utf8(value.as_long_string()?.as_bytes()).ok()?;
    let time: Timestamp = text.parse().ok()?;
    (time.to_string() == text).then_some(time)
}
