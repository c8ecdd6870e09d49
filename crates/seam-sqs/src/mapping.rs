//! How a datagram becomes an SQS message, a body of text with at most ten attributes, and that a datagram.
//!
//! Native first: the payload, unaltered, is the body where it is text that SQS takes, else base64 of it, which
//! [`BODY`](name::BODY) says. Fields and headers are attributes while there is room: eight of the ten, since whoever
//! traces messages needs some. All else goes into one attribute, [`SLOT`](name::SLOT), which the
//! [`binary`](seam_core::binary) form of core fills. Pure functions: no client, no socket, no clock.
//!
//! A sender that packs writes many datagrams into one message, a sequence in core's binary form: one attribute,
//! [`PACK`](name::PACK), beside a body that says nothing.
//!
//! The slot lists *all* headers of the datagram, or none where the attributes alone tell them exactly: in the order of
//! their names, each once, as text or bytes. Each is a list with its value, or an empty one where the attribute stands.
//! So what a foreign program adds disturbs nothing, and what it takes away stays away.

mod group;
mod name;
mod pack;
mod read;
mod text;
mod write;

pub(crate) use group::{deduplication, group};
pub(crate) use pack::{MOST_PACKED, PACK_BYTES, PACKED_BYTES, Packed, pack, packed, unpack};
pub(crate) use read::{Attributes, decode};
pub(crate) use write::{Written, encode};

/// The value of an attribute, by the three types that SQS has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    Text(String),
    /// In decimal digits.
    Number(String),
    Binary(Vec<u8>),
}

impl Attribute {
    /// The name of its type.
    pub(crate) fn data_type(&self) -> &'static str {
        match self {
            Self::Text(_) => "String",
            Self::Number(_) => "Number",
            Self::Binary(_) => "Binary",
        }
    }

    /// What it counts for, without its name.
    fn size(&self) -> usize {
        let value = match self {
            Self::Text(text) | Self::Number(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        };
        self.data_type().len() + value
    }
}

/// How many attributes a message of ours has at most.
pub(crate) const MOST_ATTRIBUTES: usize = 8;

#[cfg(test)]
mod tests;
