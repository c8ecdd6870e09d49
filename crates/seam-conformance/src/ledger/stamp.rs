//! What a message carries so that the ledger knows it again.

use seam_core::{Datagram, Value, View};
use serde::{Deserialize, Serialize};

/// Names one message: who sent it, under which key, its number, which attempt of the sender, and a hash of
/// its body.
///
/// It travels in front of the body ([`Stamp::datagram`]: any transport carries that) or in a header
/// ([`Stamp::put`]: for datagrams whose payload is somebody else's).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct Stamp {
    /// Who sent it.
    pub producer: String,
    /// What keeps its order: numbers rise within a key of a producer.
    pub key: String,
    /// Its number, unique for its producer.
    pub number: u64,
    /// How often the producer sent it, from 1. A repeat with a higher attempt is an announced one.
    pub attempt: u32,
    /// Of the body; set with the body.
    pub hash: u64,
}

/// As it is written: an array, to be short.
#[derive(Serialize, Deserialize)]
struct Wire(String, String, u64, u32, u64);

impl Stamp {
    /// The header of [`Stamp::put`].
    pub const HEADER: &str = "ledger";

    /// The stamp of a first attempt, not yet of any body.
    pub fn new(producer: impl Into<String>, key: impl Into<String>, number: u64) -> Self {
        Self { producer: producer.into(), key: key.into(), number, attempt: 1, hash: 0 }
    }

    /// Sets which attempt of the sender it is.
    #[must_use]
    pub fn with_attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// A datagram whose payload is this stamp in one line and then `body`, and the stamp it got.
    #[must_use]
    pub fn datagram(mut self, body: &[u8]) -> (Self, Datagram) {
        self.hash = hash(body);
        let mut payload = self.text().into_bytes();
        payload.push(b'\n');
        payload.extend_from_slice(body);
        (self, Datagram::new(payload))
    }

    /// `datagram` with this stamp in a header, and the stamp it got.
    #[must_use]
    pub fn put(mut self, datagram: Datagram) -> (Self, Datagram) {
        self.hash = hash(datagram.payload().unwrap_or_default());
        let text = self.text();
        (self, datagram.with_header(Self::HEADER, text))
    }

    /// The stamp that a datagram carries.
    #[must_use]
    pub fn of(view: View<'_>) -> Option<Self> {
        match view.header(Self::HEADER).and_then(Value::as_text) {
            Some(text) => serde_json::from_str(text).ok(),
            None => serde_json::from_slice(split(view)?.0).ok(),
        }
    }

    /// The body that a datagram carries behind its stamp.
    #[must_use]
    pub fn body<'a>(view: View<'a>) -> &'a [u8] {
        match view.header(Self::HEADER) {
            Some(_) => view.payload().unwrap_or_default(),
            None => split(view).map_or(&[], |(_, body)| body),
        }
    }

    /// Whether the body is the one it was stamped for, and the key too where the datagram has one.
    pub(super) fn fits(&self, view: View<'_>) -> bool {
        self.hash == hash(Self::body(view))
            && view.key().is_none_or(|key| key == self.key.as_bytes())
    }

    fn text(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are always written")
    }
}

impl From<Wire> for Stamp {
    fn from(Wire(producer, key, number, attempt, hash): Wire) -> Self {
        Self { producer, key, number, attempt, hash }
    }
}

impl From<Stamp> for Wire {
    fn from(Stamp { producer, key, number, attempt, hash }: Stamp) -> Self {
        Self(producer, key, number, attempt, hash)
    }
}

fn split(view: View<'_>) -> Option<(&[u8], &[u8])> {
    let payload = view.payload()?;
    let end = payload.iter().position(|byte| *byte == b'\n')?;
    Some((&payload[..end], &payload[end + 1..]))
}

/// FNV-1a: short, and the same in every process and version.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
