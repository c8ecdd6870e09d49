//! The message that everything here carries.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::envelope::EMPTY;
use crate::{Envelope, Id, Timestamp, Value, View};

/// A message: a payload, a tag, and the rare fields of an [`Envelope`].
///
/// It is 88 bytes. Payloads up to [`Datagram::INLINE`] bytes live inside it; longer ones and the
/// envelope are shared, so that a clone never copies them. How it is laid out may change; read it
/// through [`Datagram::view`].
///
/// ```
/// use seam_core::Datagram;
///
/// let order = Datagram::new("12 apples").with_key("customer-7").with_header("source", "web");
/// assert_eq!(order.payload(), Some(&b"12 apples"[..]));
/// assert_eq!(order.view().header("source").and_then(|v| v.as_text()), Some("web"));
/// ```
#[derive(Clone, Default)]
pub struct Datagram {
    inline: Inline,
    shared: Option<Arc<Bytes>>,
    envelope: Option<Arc<Envelope>>,
    form: Form,
    tag: u16,
}

/// Aligned, so that a copy is eight moves and no call.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Inline([u8; Datagram::INLINE]);

impl Default for Inline {
    fn default() -> Self {
        Self([0; Datagram::INLINE])
    }
}

/// Where the payload is.
#[derive(Clone, Copy, Default)]
enum Form {
    #[default]
    None,
    Inline(u8),
    Shared,
}

impl Datagram {
    /// The longest payload that needs no memory of its own, in bytes.
    pub const INLINE: usize = 64;

    /// A datagram with this payload, tag 0 and an empty envelope. `""` is an empty payload, not none.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self::empty().with_payload(payload)
    }

    /// A datagram without payload, as a Kafka tombstone has none.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// A datagram with a copy of `payload`; without any allocation up to [`Datagram::INLINE`] bytes.
    #[must_use]
    #[inline]
    pub fn copy_from(tag: u16, payload: &[u8]) -> Self {
        let (inline, form) = match (<&[u8; Self::INLINE]>::try_from(payload), payload.len()) {
            (Ok(full), _) => (Inline(*full), Form::Inline(64)),
            (Err(_), length @ 0..=63) => {
                let mut inline = Inline::default();
                inline.0[..length].copy_from_slice(payload);
                (inline, Form::Inline(u8::try_from(length).unwrap_or(0)))
            }
            _ => return Self::new(Bytes::copy_from_slice(payload)).with_tag(tag),
        };
        Self { inline, shared: None, envelope: None, form, tag }
    }

    /// Replaces the payload.
    #[must_use]
    pub fn with_payload(mut self, payload: impl Into<Bytes>) -> Self {
        let payload = payload.into();
        self.shared = None;
        match u8::try_from(payload.len()) {
            Ok(length) if payload.len() <= Self::INLINE => {
                self.inline.0[..payload.len()].copy_from_slice(&payload);
                self.form = Form::Inline(length);
            }
            _ => {
                self.shared = Some(Arc::new(payload));
                self.form = Form::Shared;
            }
        }
        self
    }

    /// Sets the tag, the label that version 1 of the wire carries; free elsewhere.
    #[must_use]
    pub fn with_tag(mut self, tag: u16) -> Self {
        self.tag = tag;
        self
    }

    /// Replaces the whole envelope.
    #[must_use]
    pub fn with_envelope(mut self, envelope: Envelope) -> Self {
        self.envelope = (envelope != EMPTY).then(|| Arc::new(envelope));
        self
    }

    /// Sets the id.
    #[must_use]
    pub fn with_id(mut self, id: Id) -> Self {
        self.envelope_mut().id = Some(id);
        self
    }

    /// Sets the key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.envelope_mut().key = Some(key.into());
        self
    }

    /// Sets the name of the payload's type.
    #[must_use]
    pub fn with_kind(mut self, kind: impl Into<Box<str>>) -> Self {
        self.envelope_mut().kind = Some(kind.into());
        self
    }

    /// Sets the media type of the payload.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<Box<str>>) -> Self {
        self.envelope_mut().content_type = Some(content_type.into());
        self
    }

    /// Sets the time that its maker gives it.
    #[must_use]
    pub fn with_time(mut self, time: Timestamp) -> Self {
        self.envelope_mut().time = Some(time);
        self
    }

    /// Sets the point after which it is never delivered.
    #[must_use]
    pub fn with_expiry(mut self, expiry: Timestamp) -> Self {
        self.envelope_mut().expiry = Some(expiry);
        self
    }

    /// Sets the point before which it is not delivered.
    #[must_use]
    pub fn with_deliver_at(mut self, deliver_at: Timestamp) -> Self {
        self.envelope_mut().deliver_at = Some(deliver_at);
        self
    }

    /// Sets the priority.
    #[must_use]
    pub fn with_priority(mut self, priority: u8) -> Self {
        self.envelope_mut().priority = Some(priority);
        self
    }

    /// Appends a header; one of the same name stays.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<Box<str>>, value: impl Into<Value>) -> Self {
        self.envelope_mut().headers.push((name.into(), value.into()));
        self
    }

    /// The envelope, to change it in place. Copies it if a clone of this datagram shares it.
    pub fn envelope_mut(&mut self) -> &mut Envelope {
        Arc::make_mut(self.envelope.get_or_insert_default())
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// The payload; `None` differs from empty.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> Option<&[u8]> {
        match self.form {
            Form::None => None,
            Form::Inline(length) => self.inline.0.get(..usize::from(length)),
            Form::Shared => self.shared.as_deref().map(|bytes| &bytes[..]),
        }
    }

    /// The payload as shared bytes: without a copy above [`Datagram::INLINE`] bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> Option<Bytes> {
        match &self.shared {
            Some(bytes) => Some(Bytes::clone(bytes)),
            None => self.payload().map(Bytes::copy_from_slice),
        }
    }

    /// The envelope; all empty where nothing is set.
    #[must_use]
    #[inline]
    pub fn envelope(&self) -> &Envelope {
        self.envelope.as_deref().unwrap_or(&EMPTY)
    }

    /// Everything in it, as users and transports read it.
    #[must_use]
    #[inline]
    pub fn view(&self) -> View<'_> {
        View {
            tag: self.tag,
            payload: self.payload(),
            shared: self.shared.as_deref(),
            envelope: self.envelope.as_deref(),
        }
    }

    pub(crate) fn has_envelope(&self) -> bool {
        self.envelope.is_some()
    }
}

impl PartialEq for Datagram {
    fn eq(&self, other: &Self) -> bool {
        self.tag == other.tag
            && self.payload() == other.payload()
            && self.envelope() == other.envelope()
    }
}

impl Eq for Datagram {}

/// Shows sizes, names, id and kind; never the payload, the key or a header's value: it may end in a log.
impl fmt::Debug for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.view(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_designed() {
        assert!(size_of::<Datagram>() <= 96, "{}", size_of::<Datagram>());
        assert_eq!(size_of::<crate::SendError>(), size_of::<usize>());
    }

    #[test]
    fn empty_payload_differs_from_none() {
        assert_ne!(Datagram::new(""), Datagram::empty());
        assert_eq!(Datagram::new("").payload(), Some(&[][..]));
    }

    #[test]
    fn payload_of_every_length_around_the_inline_limit_is_kept() {
        for length in 0..=130 {
            let bytes: Vec<u8> = (0..length).collect();
            assert_eq!(Datagram::copy_from(3, &bytes).payload(), Some(&bytes[..]));
            let datagram = Datagram::new(bytes.clone());
            assert_eq!(datagram.payload(), Some(&bytes[..]));
            assert_eq!(datagram.view().to_datagram(), datagram);
        }
    }

    #[test]
    fn debug_shows_neither_payload_nor_values() {
        let secret = Datagram::new("hunter2").with_key("hunter2").with_header("token", "hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert!(!format!("{:?}", secret.envelope()).contains("hunter2"));
    }
}
