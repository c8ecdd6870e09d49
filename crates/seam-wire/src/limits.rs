//! How large things may be.

use seam_core::{Limits, Value, View};

use crate::WireError;

/// The largest body of any frame but DATA, and of any frame before the peer is authenticated, in bytes.
pub const CONTROL_LIMIT: usize = 4096;

/// The smallest `max_frame` that an end may ask for, in bytes.
pub const MIN_MAX_FRAME: usize = CONTROL_LIMIT;

/// The default of `max_frame`, in bytes: a payload of 1 MiB and small headers travel whole.
pub const DEFAULT_MAX_FRAME: usize = (1 << 20) + 1024;

/// A DATA of many small entries has about this many bytes at most, so that acknowledging and resuming stay cheap.
pub(crate) const DATA_TARGET: usize = 64 << 10;

/// What a DATA with a single entry has beside its content, at most: two numbers, flags, attempt and length.
pub(crate) const DATA_OVERHEAD: usize = 32;

/// The least content of a fragment that is not the last: it bounds the numbers one datagram can take.
pub(crate) const MIN_FRAGMENT: usize = 1024;

/// How large the envelope of a datagram may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeLimits {
    /// The longest envelope as it is written, in bytes.
    pub slot: usize,
    /// The longest key, in bytes.
    pub key: usize,
    /// The most headers.
    pub headers: usize,
    /// The longest name of a header, in bytes.
    pub header_name: usize,
    /// All names and values of headers together, in bytes.
    pub header_bytes: usize,
    /// How deep lists and maps in headers may nest.
    pub header_depth: usize,
}

impl Default for EnvelopeLimits {
    /// As the default of [`Limits`], and 64 KiB as it is written.
    fn default() -> Self {
        Self::from(&Limits::default())
    }
}

impl From<&Limits> for EnvelopeLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            slot: 64 << 10,
            key: limits.key,
            headers: limits.headers,
            header_name: limits.header_name,
            header_bytes: limits.header_bytes,
            header_depth: limits.header_depth,
        }
    }
}

impl EnvelopeLimits {
    /// Refuses a datagram whose envelope is too large.
    ///
    /// Ask it with the peer's limits *before* a datagram is admitted: the peer closes the connection on one that is
    /// over them, and a session would send it again for ever.
    ///
    /// # Errors
    ///
    /// [`WireError::Malformed`], which names the limit.
    pub fn check(&self, view: View<'_>) -> Result<(), WireError> {
        if view.is_plain() {
            return Ok(());
        }
        // Texts and names at their largest as they are written, and what every field takes besides.
        let envelope = view.envelope();
        let written = envelope.size() + 32 * envelope.headers.len() + 512;
        self.check_fields(view)?;
        if written > self.slot {
            let mut slot = Vec::new();
            seam_core::binary::encode_envelope(view, &mut slot);
            within("envelope", slot.len(), self.slot)?;
        }
        Ok(())
    }

    pub(crate) fn check_fields(&self, view: View<'_>) -> Result<(), WireError> {
        let headers = &view.envelope().headers;
        within("key", view.key().map_or(0, <[u8]>::len), self.key)?;
        within("count of headers", headers.len(), self.headers)?;
        within("sum of headers", view.envelope().header_bytes(), self.header_bytes)?;
        for (name, value) in headers {
            within("name of a header", name.len(), self.header_name)?;
            within("depth of a header", depth(value), self.header_depth)?;
        }
        Ok(())
    }
}

pub(crate) fn within(what: &'static str, size: usize, limit: usize) -> Result<(), WireError> {
    if size <= limit {
        return Ok(());
    }
    Err(WireError::malformed(
        "datagram",
        format!("its {what} is {size}, over the limit of {limit}"),
    ))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::List(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Map(pairs) => 1 + pairs.iter().map(|(_, value)| depth(value)).max().unwrap_or(0),
        _ => 0,
    }
}
