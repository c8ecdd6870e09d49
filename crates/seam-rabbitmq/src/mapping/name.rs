//! The names of headers, and who may write them.

use std::borrow::Cow;

use lapin::types::MAX_SHORT_STRING_LENGTH;

/// Holds what has no native form.
pub(super) const SLOT: &str = "seam-envelope";
/// The tag, where it is not 0.
pub(super) const TAG: &str = "seam-tag";
/// Tells no payload from an empty one.
pub(super) const NONE: &str = "seam-none";
/// How many attempts were made before it was published once more.
pub(super) const ATTEMPT: &str = "seam-attempt";
/// By which its publisher knows it again.
pub(super) const PUBLISH: &str = "seam-publish";

pub(super) const KEY: &str = "key";
pub(super) const TIME: &str = "time";
pub(super) const EXPIRY: &str = "expiry";
pub(super) const DELIVER_AT: &str = "deliver-at";

/// Further routing keys, which RabbitMQ obeys.
pub(super) const CC: &str = "CC";
/// As [`CC`], and taken away before delivery.
pub(super) const BCC: &str = "BCC";

/// How often a quorum queue has delivered it in vain.
pub(super) const DELIVERY_COUNT: &str = "x-delivery-count";

/// Names that begin so are this library's own.
const OURS: &str = "seam-";

/// Those that no header of a datagram may have natively, beside ours and the broker's.
pub(super) const TAKEN: [&str; 6] = [KEY, TIME, EXPIRY, DELIVER_AT, CC, BCC];

/// What the broker or its plugins write: what they tell, no header of a datagram.
pub(super) const OF_BROKER: [&str; 12] = [
    DELIVERY_COUNT,
    "x-acquired-count",
    "x-death",
    "x-delay",
    "x-exchange",
    "x-received-from",
    "x-routed-by",
    "x-routing-key",
    "x-shovelled",
    "x-shovelled-timestamp",
    "x-stream-offset",
    "timestamp_in_ms",
];

/// As [`OF_BROKER`], for names that begin so.
pub(super) const OF_BROKER_FROM: [&str; 5] =
    ["x-amqp-1.0-", "x-basic-", "x-first-death-", "x-last-death-", "x-opt-"];

/// Whether a header of this name may stand in the table beside the fields.
pub(super) fn is_free(name: &str) -> bool {
    name.len() <= MAX_SHORT_STRING_LENGTH
        && !name.starts_with(OURS)
        && !TAKEN.contains(&name)
        && !is_of_broker(name)
}

/// Whether the broker writes headers of this name.
pub(super) fn is_of_broker(name: &str) -> bool {
    of_broker(name).is_some()
}

/// The name, if it is one that the broker writes.
pub(super) fn of_broker(name: &str) -> Option<Cow<'static, str>> {
    if let Some(known) = OF_BROKER.into_iter().find(|known| *known == name) {
        return Some(Cow::Borrowed(known));
    }
    let begins = OF_BROKER_FROM.into_iter().any(|begin| name.starts_with(begin));
    begins.then(|| Cow::Owned(name.to_owned()))
}
