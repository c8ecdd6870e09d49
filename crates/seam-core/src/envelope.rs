//! The fields of a datagram that are rarely set.

use std::fmt;

use bytes::Bytes;

use crate::{Timestamp, Value};

/// The fields that are rarely set. A field left empty arrives empty: nothing is stamped.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// Names this datagram; brokers that remove duplicates compare it.
    pub id: Option<Id>,
    /// What keeps its order: datagrams of one key are delivered in the order they were admitted.
    pub key: Option<Bytes>,
    /// The stable name of the type of the payload.
    pub kind: Option<Box<str>>,
    /// The media type of the payload.
    pub content_type: Option<Box<str>>,
    /// How the payload is compressed.
    pub content_encoding: Option<Box<str>>,
    /// When it was made, or what its maker says of its time.
    pub time: Option<Timestamp>,
    /// It is never delivered after this point.
    pub expiry: Option<Timestamp>,
    /// It is not delivered before this point; needs [`Capability::Schedule`](crate::Capability).
    pub deliver_at: Option<Timestamp>,
    /// A hint; higher is more urgent. Always carried, obeyed where the broker can.
    pub priority: Option<u8>,
    /// Ties a reply to its request.
    pub correlation_id: Option<Bytes>,
    /// Where replies go; opaque, made by [`Connection::request`](crate::Connection::request).
    pub reply_to: Option<Bytes>,
    /// In order, duplicates kept. Names that start with `seam-` are this library's own.
    pub headers: Vec<(Box<str>, Value)>,
}

pub(crate) static EMPTY: Envelope = Envelope {
    id: None,
    key: None,
    kind: None,
    content_type: None,
    content_encoding: None,
    time: None,
    expiry: None,
    deliver_at: None,
    priority: None,
    correlation_id: None,
    reply_to: None,
    headers: Vec::new(),
};

/// What names a datagram: text of 1 to 128 bytes, or exactly 16 bytes. The two stay apart.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Id(IdForm);

#[derive(Clone, PartialEq, Eq, Hash)]
enum IdForm {
    Text(Box<str>),
    Bytes([u8; 16]),
}

impl Id {
    /// The longest text, in bytes.
    pub const MAX_TEXT: usize = 128;

    /// An id of text.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`](crate::Error::Invalid) if it is empty or longer than 128 bytes.
    pub fn text(text: impl Into<Box<str>>) -> crate::Result<Self> {
        let text = text.into();
        if text.is_empty() || text.len() > Self::MAX_TEXT {
            let reason = format!("{} bytes; it takes 1 to 128", text.len());
            return Err(crate::Error::invalid("id", reason));
        }
        Ok(Self(IdForm::Text(text)))
    }

    /// An id of 16 bytes, such as a UUID.
    #[must_use]
    pub fn bytes(bytes: [u8; 16]) -> Self {
        Self(IdForm::Bytes(bytes))
    }

    /// The text, if it is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.0 {
            IdForm::Text(text) => Some(text),
            IdForm::Bytes(_) => None,
        }
    }

    /// The 16 bytes, if it is bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8; 16]> {
        match &self.0 {
            IdForm::Text(_) => None,
            IdForm::Bytes(bytes) => Some(bytes),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            IdForm::Text(text) => f.write_str(text),
            IdForm::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

impl Envelope {
    /// Whether no field is set.
    pub(crate) fn is_empty(&self) -> bool {
        // Those of requests and replies first, which so cost no more.
        self.reply_to.is_none() && self.correlation_id.is_none() && *self == EMPTY
    }

    /// Bytes of key, texts and headers: what credit in bytes counts beside the payload.
    #[must_use]
    pub fn size(&self) -> usize {
        let bytes = [&self.key, &self.correlation_id, &self.reply_to];
        let texts = [&self.kind, &self.content_type, &self.content_encoding];
        bytes.into_iter().flatten().map(Bytes::len).sum::<usize>()
            + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
            + self.header_bytes()
    }

    /// Bytes of all names and values of headers.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        self.headers.iter().map(|(name, value)| name.len() + value.size()).sum()
    }
}

/// Shows which fields are set, and the names of headers; of values only id and kind: it may end in a log.
impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Envelope")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("key_bytes", &self.key.as_ref().map(Bytes::len))
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}
