//! The names of attributes, and who may write them.

/// Holds what has no attribute of its own.
pub(super) const SLOT: &str = "seam-envelope";
/// How the body is to be read, where it is not the payload.
pub(super) const BODY: &str = "seam-body";
/// Holds a sequence of whole datagrams; there is nothing else then.
pub(super) const PACK: &str = "seam-pack";
/// The tag, where it is not 0.
pub(super) const TAG: &str = "seam-tag";

pub(super) const ID: &str = "id";
pub(super) const KEY: &str = "key";
pub(super) const KIND: &str = "kind";
pub(super) const CONTENT_TYPE: &str = "content-type";
pub(super) const CONTENT_ENCODING: &str = "content-encoding";
pub(super) const TIME: &str = "time";
pub(super) const EXPIRY: &str = "expiry";
pub(super) const DELIVER_AT: &str = "deliver-at";
pub(super) const PRIORITY: &str = "priority";
pub(super) const CORRELATION_ID: &str = "correlation-id";
pub(super) const REPLY_TO: &str = "reply-to";

/// Values of [`BODY`].
pub(super) mod body {
    pub(in super::super) const BASE64: &str = "base64";
    pub(in super::super) const EMPTY: &str = "empty";
    pub(in super::super) const NONE: &str = "none";
}

/// Names that begin so are this library's own.
pub(super) const OURS: &str = "seam-";

const TAKEN: [&str; 11] = [
    ID,
    KEY,
    KIND,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    TIME,
    EXPIRY,
    DELIVER_AT,
    PRIORITY,
    CORRELATION_ID,
    REPLY_TO,
];

/// Whether a header of this name may be an attribute beside the fields.
pub(super) fn is_free(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let begins = |with: &str| name.get(..with.len()).is_some_and(|n| n.eq_ignore_ascii_case(with));
    (1..=LONGEST).contains(&name.len())
        && name.bytes().all(is_plain)
        && !(name.starts_with('.') || name.ends_with('.') || name.contains(".."))
        && !["AWS.", "Amazon."].into_iter().any(begins)
        && !begins(OURS)
        && !TAKEN.contains(&name)
}

/// AWS says 256 and emulators one less.
const LONGEST: usize = 255;
