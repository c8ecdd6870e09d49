//! Where replies go: a partition of a topic that all callers of an address share, and a name in each record that says
//! whose it is.

use std::hash::{BuildHasher, Hasher, RandomState};

use seam_core::{Error, Result};

use crate::config;

/// The header that names the caller whom a record is for.
pub(crate) const CALLER: &str = "seam-caller";

/// What the address of every caller begins with.
const PREFIX: &str = "seam-kafka:";

/// One caller, as `reply_to` names it: `seam-kafka:<cluster>/<topic>/<partition>/<caller>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) cluster: String,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// Random, so that no two callers of a topic have the same, and nobody guesses it.
    pub(crate) caller: String,
}

impl Address {
    /// A new caller, in some partition of `topic`.
    pub(crate) fn new(cluster: String, topic: String, partitions: i32) -> Self {
        let (high, low) = (random(), random());
        let caller = format!("{high:016x}{low:016x}");
        Self { cluster, topic, partition: any_of(partitions), caller }
    }

    /// Reads an address; `None` where nobody here made it.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.strip_prefix(PREFIX)?;
        let mut parts = text.rsplitn(4, '/');
        let (caller, partition, topic) = (parts.next()?, parts.next()?, parts.next()?);
        let cluster = parts.next()?;
        let read = Self {
            cluster: cluster.to_owned(),
            topic: config::topic(topic).ok()?,
            partition: partition.parse().ok().filter(|partition| *partition >= 0)?,
            caller: caller.to_owned(),
        };
        let hex = caller.len() == 32 && caller.bytes().all(|digit| digit.is_ascii_hexdigit());
        (hex && read.text().strip_prefix(PREFIX) == Some(text)).then_some(read)
    }

    pub(crate) fn text(&self) -> String {
        let Self { cluster, topic, partition, caller } = self;
        format!("{PREFIX}{cluster}/{topic}/{partition}/{caller}")
    }

    /// Whether a server of the replies `topic` in `cluster` may write there.
    pub(crate) fn check(&self, endpoint: &str, cluster: &str, topic: &str) -> Result<()> {
        let reason = if self.cluster != cluster {
            "the reply address is one of another Kafka cluster"
        } else if self.topic != topic {
            "the reply address is another topic; give requesters and servers the same `reply=`"
        } else {
            return Ok(());
        };
        Err(Error::Denied { endpoint: endpoint.to_owned(), reason: reason.to_owned() })
    }
}

/// Some partition, each time another.
pub(crate) fn any_of(partitions: i32) -> i32 {
    let partitions = u64::try_from(partitions.max(1)).unwrap_or(1);
    i32::try_from(random() % partitions).unwrap_or(0)
}

pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_read_as_it_is_written(cluster in "[A-Za-z0-9_/-]{0,22}", partitions in 1..99) {
            let address = Address::new(cluster, "orders.replies".to_owned(), partitions);
            prop_assert_eq!(Address::read(address.text().as_bytes()), Some(address));
        }

        #[test]
        fn whatever_somebody_made_up_is_no_address(text in "(seam-kafka:)?.{0,60}") {
            prop_assert_eq!(Address::read(text.as_bytes()), None);
        }
    }

    #[test]
    fn only_this_cluster_and_this_topic_are_written_to() {
        let address = Address::new("c1".to_owned(), "orders.replies".to_owned(), 1);
        address.check("kafka://b/orders", "c1", "orders.replies").unwrap();
        for (cluster, topic) in [("c2", "orders.replies"), ("c1", "payments.replies")] {
            let error = address.check("kafka://b/orders", cluster, topic).unwrap_err();
            assert!(matches!(error, Error::Denied { .. }), "{error}");
        }
    }
}
