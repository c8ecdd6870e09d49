//! A datagram, as a message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use seam_core::{Datagram, Envelope, Error, Result, Timestamp, Value, View, binary};

use super::group::native_key;
use super::name::{self, body};
use super::{Attribute, MOST_ATTRIBUTES, text};

/// A message as SQS takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) body: String,
    pub(crate) attributes: Vec<(String, Attribute)>,
    /// What SQS counts: the body, and names, types and values of attributes.
    pub(crate) size: usize,
}

impl Written {
    pub(super) fn of(body: String, attributes: Vec<(String, Attribute)>) -> Self {
        let size = attributes.iter().map(|(name, value)| name.len() + value.size()).sum::<usize>();
        Self { size: body.len() + size, body, attributes }
    }
}

/// The message of `view`, for a FIFO queue or not.
///
/// # Errors
///
/// [`Error::TooLarge`] if it is over `limit`.
pub(crate) fn encode(view: View<'_>, is_fifo: bool, limit: usize) -> Result<Written> {
    let (body, mark) = body_of(view.payload());
    let mut writing = Writing::default();
    writing.fixed.extend(mark.map(|mark| (name::BODY, Attribute::Text(mark.to_owned()))));
    if view.tag() != 0 {
        writing.fixed.push((name::TAG, Attribute::Number(view.tag().to_string())));
    }
    if !view.is_plain() {
        writing.fields(view.envelope(), is_fifo);
        writing.headers(&view.envelope().headers);
    }
    let written = Written::of(body, writing.finish());
    let size = written.size;
    if size > limit {
        return Err(Error::TooLarge { what: "message with its attributes (bytes)", size, limit });
    }
    Ok(written)
}

/// A body that says nothing: SQS takes no empty one.
pub(super) const NO_BODY: &str = "-";

/// The body of a payload, and how it is to be read if it is not the payload.
fn body_of(payload: Option<&[u8]>) -> (String, Option<&'static str>) {
    let stand_in = || NO_BODY.to_owned();
    match payload {
        None => (stand_in(), Some(body::NONE)),
        Some([]) => (stand_in(), Some(body::EMPTY)),
        Some(payload) => match text::legal(payload) {
            Some(text) => (text.to_owned(), None),
            None => (STANDARD.encode(payload), Some(body::BASE64)),
        },
    }
}

/// What has been written so far.
#[derive(Default)]
struct Writing {
    /// What stands as an attribute whatever else there is.
    fixed: Vec<(&'static str, Attribute)>,
    /// Fields that may be attributes, the more useful ones first.
    fields: Vec<(&'static str, Attribute, Pack)>,
    /// Headers that may be attributes.
    natives: Vec<(usize, Attribute)>,
    headers: Vec<(Box<str>, Value)>,
    /// Whether attributes alone tell the headers.
    is_exact: bool,
    /// What cannot be an attribute.
    slot: Envelope,
}

/// Puts a field into the slot.
type Pack = Box<dyn FnOnce(&mut Envelope)>;

impl Writing {
    fn fields(&mut self, envelope: &Envelope, is_fifo: bool) {
        self.bytes(name::REPLY_TO, &envelope.reply_to, |slot| &mut slot.reply_to);
        self.bytes(name::CORRELATION_ID, &envelope.correlation_id, |slot| &mut slot.correlation_id);
        self.text(name::CONTENT_TYPE, &envelope.content_type, |slot| &mut slot.content_type);
        self.text(name::CONTENT_ENCODING, &envelope.content_encoding, |slot| {
            &mut slot.content_encoding
        });
        self.text(name::KIND, &envelope.kind, |slot| &mut slot.kind);
        if let Some(id) = &envelope.id {
            let kept = id.clone();
            let native = id.as_text().filter(|text| text::is_legal(text));
            self.field(name::ID, native, move |slot| slot.id = Some(kept));
        }
        match &envelope.key {
            Some(key) if is_fifo && native_key(key).is_none() => self.slot.key = Some(key.clone()),
            _ if is_fifo => {}
            key => self.bytes(name::KEY, key, |slot| &mut slot.key),
        }
        self.time(name::TIME, envelope.time, |slot| &mut slot.time);
        self.time(name::EXPIRY, envelope.expiry, |slot| &mut slot.expiry);
        self.time(name::DELIVER_AT, envelope.deliver_at, |slot| &mut slot.deliver_at);
        if let Some(priority) = envelope.priority {
            let text = priority.to_string();
            self.field(name::PRIORITY, Some(&text), move |slot| slot.priority = Some(priority));
        }
    }

    fn text(
        &mut self,
        name: &'static str,
        value: &Option<Box<str>>,
        place: fn(&mut Envelope) -> &mut Option<Box<str>>,
    ) {
        let Some(value) = value.clone() else { return };
        let native = Some(value.to_string()).filter(|text| text::is_legal(text));
        self.field(name, native.as_deref(), move |slot| *place(slot) = Some(value));
    }

    fn bytes(
        &mut self,
        name: &'static str,
        value: &Option<bytes::Bytes>,
        place: fn(&mut Envelope) -> &mut Option<bytes::Bytes>,
    ) {
        let Some(value) = value.clone() else { return };
        let native = text::legal(&value).map(str::to_owned);
        self.field(name, native.as_deref(), move |slot| *place(slot) = Some(value));
    }

    fn time(
        &mut self,
        name: &'static str,
        value: Option<Timestamp>,
        place: fn(&mut Envelope) -> &mut Option<Timestamp>,
    ) {
        let Some(value) = value else { return };
        let native = value.to_string();
        self.field(name, Some(&native), move |slot| *place(slot) = Some(value));
    }

    /// A field with the text that it is as an attribute, if there is one.
    fn field(
        &mut self,
        name: &'static str,
        native: Option<&str>,
        pack: impl FnOnce(&mut Envelope) + 'static,
    ) {
        match native {
            Some(text) => {
                self.fields.push((name, Attribute::Text(text.to_owned()), Box::new(pack)));
            }
            None => pack(&mut self.slot),
        }
    }

    fn headers(&mut self, headers: &[(Box<str>, Value)]) {
        self.is_exact = headers.is_sorted_by(|(one, _), (next, _)| one < next)
            && headers.iter().all(|(name, value)| name::is_free(name) && is_exact(value));
        for (at, (name, value)) in headers.iter().enumerate() {
            let is_first = headers[..at].iter().all(|(before, _)| before != name);
            if let Some(native) = native(value).filter(|_| is_first && name::is_free(name)) {
                self.natives.push((at, native));
            }
        }
        self.headers = headers.to_vec();
    }

    fn finish(mut self) -> Vec<(String, Attribute)> {
        let all = self.fixed.len() + self.fields.len() + self.natives.len();
        let tells_headers = self.headers.is_empty() || self.is_exact;
        let needs_slot =
            all > MOST_ATTRIBUTES || !tells_headers || self.slot != Envelope::default();
        let mut room = MOST_ATTRIBUTES - usize::from(needs_slot) - self.fixed.len();
        let mut attributes: Vec<_> =
            self.fixed.drain(..).map(|(name, value)| (name.to_owned(), value)).collect();
        for (name, value, pack) in self.fields {
            match room.checked_sub(1) {
                Some(left) => {
                    room = left;
                    attributes.push((name.to_owned(), value));
                }
                None => pack(&mut self.slot),
            }
        }
        let is_listed = !tells_headers || self.natives.len() > room;
        self.natives.truncate(room);
        if is_listed {
            self.slot.headers = entries(&self.headers, &self.natives);
        }
        for (at, value) in self.natives {
            attributes.push((self.headers[at].0.to_string(), value));
        }
        if self.slot != Envelope::default() {
            let mut slot = Vec::new();
            let packed = Datagram::empty().with_envelope(self.slot);
            binary::encode_envelope(packed.view(), &mut slot);
            attributes.push((name::SLOT.to_owned(), Attribute::Binary(slot)));
        }
        attributes
    }
}

/// What the slot has for each header: an empty list where its attribute tells it.
fn entries(
    headers: &[(Box<str>, Value)],
    natives: &[(usize, Attribute)],
) -> Vec<(Box<str>, Value)> {
    let entry = |(at, (name, value)): (usize, &(Box<str>, Value))| {
        let is_native = natives.iter().any(|(native, _)| *native == at) && is_exact(value);
        let entry = if is_native { Vec::new() } else { vec![value.clone()] };
        (name.clone(), Value::List(entry))
    };
    headers.iter().enumerate().map(entry).collect()
}

/// How a foreign program reads a header; `None` where SQS has no such value.
fn native(value: &Value) -> Option<Attribute> {
    match value {
        Value::Text(text) => text::is_legal(text).then(|| Attribute::Text(text.to_string())),
        Value::Bytes(bytes) => (!bytes.is_empty()).then(|| Attribute::Binary(bytes.to_vec())),
        Value::I64(number) => Some(Attribute::Number(number.to_string())),
        Value::U64(number) => Some(Attribute::Number(number.to_string())),
        _ => None,
    }
}

/// Whether the attribute alone tells what it was. SQS rewrites numbers.
fn is_exact(value: &Value) -> bool {
    matches!(value, Value::Text(_) | Value::Bytes(_)) && native(value).is_some()
}
