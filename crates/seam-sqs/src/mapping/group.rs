//! What FIFO queues need of each message: the group that keeps its order, and what duplicates are known by.

use seam_core::{Id, View};
use sha2::{Digest, Sha256};

use super::name;

/// The message group of a datagram: its key, or what stands for it; without a key, `sender`.
pub(crate) fn group(view: View<'_>, sender: &str) -> String {
    match view.key() {
        None => format!("{}{sender}", name::OURS),
        Some(key) => match native_key(key) {
            Some(text) => text.to_owned(),
            None => format!("{}key-{}", name::OURS, hash(key)),
        },
    }
}

/// The key, where it can be the group as it is.
pub(super) fn native_key(key: &[u8]) -> Option<&str> {
    fits(key).filter(|text| !text.starts_with(name::OURS))
}

/// What SQS knows duplicates of a datagram of this id by.
pub(crate) fn deduplication(id: &Id) -> String {
    match id.as_text() {
        Some(text) => match fits(text.as_bytes()) {
            Some(text) => text.to_owned(),
            None => hash(text.as_bytes()),
        },
        None => id.to_string(),
    }
}

/// The bytes as text that SQS takes for a group or against duplicates.
fn fits(bytes: &[u8]) -> Option<&str> {
    let is_legal = (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(bytes).ok().filter(|_| is_legal)
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

const LONGEST: usize = 128;
