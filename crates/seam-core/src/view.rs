//! A datagram as it is read.

use std::fmt;

use bytes::Bytes;

use crate::envelope::EMPTY;
use crate::{Datagram, Envelope, Value};

/// A datagram as it is read: borrowed from an owned one, or from the batch that lends it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) tag: u16,
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) shared: Option<&'a Bytes>,
    pub(crate) envelope: Option<&'a Envelope>,
}

impl<'a> View<'a> {
    /// The tag.
    #[must_use]
    #[inline]
    pub fn tag(self) -> u16 {
        self.tag
    }

    /// The payload; `None` differs from empty.
    #[must_use]
    #[inline]
    pub fn payload(self) -> Option<&'a [u8]> {
        self.payload
    }

    /// The payload where it is already shared, so that a transport can send it by reference.
    #[must_use]
    #[inline]
    pub fn payload_shared(self) -> Option<&'a Bytes> {
        self.shared
    }

    /// The envelope; all empty where nothing is set.
    #[must_use]
    pub fn envelope(self) -> &'a Envelope {
        self.envelope.unwrap_or(&EMPTY)
    }

    /// Whether no field of the envelope is set; cheap.
    #[must_use]
    #[inline]
    pub fn is_plain(self) -> bool {
        self.envelope.is_none_or(Envelope::is_empty)
    }

    /// The key.
    #[must_use]
    pub fn key(self) -> Option<&'a [u8]> {
        self.envelope.and_then(|envelope| envelope.key.as_deref())
    }

    /// The first header of that name.
    #[must_use]
    pub fn header(self, name: &str) -> Option<&'a Value> {
        self.headers(name).next()
    }

    /// Every header of that name, in order.
    pub fn headers(self, name: &str) -> impl Iterator<Item = &'a Value> {
        let all = &self.envelope().headers;
        all.iter().filter(move |(n, _)| **n == *name).map(|(_, value)| value)
    }

    /// A copy that owns what it holds; shares the payload where it is shared already.
    #[must_use]
    pub fn to_datagram(self) -> Datagram {
        let mut datagram = match (self.shared, self.payload) {
            (Some(bytes), _) => Datagram::new(bytes.clone()).with_tag(self.tag),
            (None, Some(payload)) => Datagram::copy_from(self.tag, payload),
            (None, None) => Datagram::empty().with_tag(self.tag),
        };
        if let Some(envelope) = self.envelope {
            datagram = datagram.with_envelope(envelope.clone());
        }
        datagram
    }

    /// Bytes of payload, key and headers: what credit in bytes counts.
    #[must_use]
    #[inline]
    pub fn size(self) -> usize {
        let payload = self.payload.map_or(0, <[u8]>::len);
        payload + self.envelope.map_or(0, Envelope::size)
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Datagram");
        out.field("tag", &self.tag).field("payload_bytes", &self.payload.map(<[u8]>::len));
        if let Some(envelope) = self.envelope {
            out.field("envelope", envelope);
        }
        out.finish()
    }
}
