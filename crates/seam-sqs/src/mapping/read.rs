//! A message, as a datagram.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use seam_core::{Datagram, Envelope, Id, Value, binary};

use super::Attribute;
use super::name::{self, body};

/// The attributes of a message, by name.
pub(crate) type Attributes = BTreeMap<String, Attribute>;

/// What a message is. Whatever a foreign program wrote has a datagram.
pub(crate) fn decode(body: String, attributes: Attributes, group: Option<&str>) -> Datagram {
    let mut reading = Reading::default();
    for (name, value) in attributes {
        if let Some(value) = reading.field(&name, value) {
            reading.envelope.headers.push((name.into(), header(value)));
        }
    }
    reading.unpack();
    if reading.envelope.key.is_none()
        && let Some(group) = group.filter(|group| !group.starts_with(name::OURS))
    {
        reading.envelope.key = Some(Bytes::copy_from_slice(group.as_bytes()));
    }
    let datagram = match reading.payload {
        Payload::Body => Datagram::new(body),
        Payload::None => Datagram::empty(),
        Payload::Empty => Datagram::new(""),
        Payload::Base64 => match STANDARD.decode(&body) {
            Ok(bytes) => Datagram::new(bytes),
            // Nobody of ours wrote it so.
            Err(_) => Datagram::new(body),
        },
    };
    datagram.with_tag(reading.tag).with_envelope(reading.envelope)
}

/// What has been read of a message so far.
#[derive(Default)]
struct Reading {
    payload: Payload,
    tag: u16,
    envelope: Envelope,
    slot: Option<Datagram>,
}

/// Where the payload is.
#[derive(Default)]
enum Payload {
    #[default]
    Body,
    Base64,
    Empty,
    None,
}

impl Reading {
    /// Takes an attribute for what it says in the one form that we write; gives it back if it is none of ours.
    fn field(&mut self, name: &str, value: Attribute) -> Option<Attribute> {
        let taken = match &value {
            Attribute::Binary(bytes) if name == name::SLOT => {
                self.slot = binary::decode_with(bytes, Bytes::new()).ok();
                self.slot.as_ref().map(drop)
            }
            Attribute::Number(text) if name == name::TAG => {
                text.parse().ok().map(|tag| self.tag = tag)
            }
            Attribute::Text(text) => self.text(name, text),
            _ => None,
        };
        if taken.is_some() { None } else { Some(value) }
    }

    fn text(&mut self, name: &str, text: &str) -> Option<()> {
        let envelope = &mut self.envelope;
        match name {
            name::BODY => {
                self.payload = match text {
                    body::BASE64 => Payload::Base64,
                    body::EMPTY => Payload::Empty,
                    body::NONE => Payload::None,
                    _ => return None,
                }
            }
            name::ID => envelope.id = Some(Id::text(text).ok()?),
            name::KEY => envelope.key = Some(bytes(text)),
            name::KIND => envelope.kind = Some(text.into()),
            name::CONTENT_TYPE => envelope.content_type = Some(text.into()),
            name::CONTENT_ENCODING => envelope.content_encoding = Some(text.into()),
            name::TIME => envelope.time = Some(text.parse().ok()?),
            name::EXPIRY => envelope.expiry = Some(text.parse().ok()?),
            name::DELIVER_AT => envelope.deliver_at = Some(text.parse().ok()?),
            name::PRIORITY => envelope.priority = Some(text.parse().ok()?),
            name::CORRELATION_ID => envelope.correlation_id = Some(bytes(text)),
            name::REPLY_TO => envelope.reply_to = Some(bytes(text)),
            _ => return None,
        }
        Some(())
    }

    /// Puts what the slot holds where it belongs.
    fn unpack(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let (slot, envelope) = (slot.envelope(), &mut self.envelope);
        fill(&mut envelope.id, &slot.id);
        fill(&mut envelope.key, &slot.key);
        fill(&mut envelope.kind, &slot.kind);
        fill(&mut envelope.content_type, &slot.content_type);
        fill(&mut envelope.content_encoding, &slot.content_encoding);
        fill(&mut envelope.time, &slot.time);
        fill(&mut envelope.expiry, &slot.expiry);
        fill(&mut envelope.deliver_at, &slot.deliver_at);
        fill(&mut envelope.priority, &slot.priority);
        fill(&mut envelope.correlation_id, &slot.correlation_id);
        fill(&mut envelope.reply_to, &slot.reply_to);
        if slot.headers.is_empty() {
            return;
        }
        let mut natives: BTreeMap<_, _> = mem::take(&mut envelope.headers).into_iter().collect();
        for (name, entry) in &slot.headers {
            let Value::List(entry) = entry else { continue };
            let value = match entry.first() {
                Some(value) => Some(value.clone()),
                None => natives.remove(name),
            };
            envelope.headers.extend(value.map(|value| (name.clone(), value)));
        }
        let listed: BTreeSet<_> = slot.headers.iter().map(|(name, _)| name).collect();
        let added = natives.into_iter().filter(|(name, _)| !listed.contains(name));
        envelope.headers.extend(added);
    }
}

/// The value of a header. SQS has numbers of 38 digits: what is none of ours is text.
fn header(value: Attribute) -> Value {
    match value {
        Attribute::Text(text) => Value::from(text),
        Attribute::Binary(bytes) => Value::Bytes(bytes.into()),
        Attribute::Number(text) => match (text.parse(), text.parse()) {
            (Ok(number), _) => Value::I64(number),
            (_, Ok(number)) => Value::U64(number),
            _ => Value::from(text),
        },
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn fill<T: Clone>(field: &mut Option<T>, from: &Option<T>) {
    if from.is_some() {
        field.clone_from(from);
    }
}
