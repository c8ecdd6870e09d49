//! Where replies go: a queue of its own for each requester, beside the queue that it asks.

use seam_core::{Error, Result};

use crate::config::LONGEST_NAME;
use crate::queue::{Found, stem};

/// What the names of queues for replies begin with, for requests to `queue`.
pub(crate) fn prefix(queue: &str) -> String {
    let room = LONGEST_NAME - MIDDLE.len() - INSTANCE;
    let stem = stem(queue);
    format!("{}{MIDDLE}", &stem[..stem.len().min(room)])
}

/// The name of a queue for replies of one requester.
pub(crate) fn name(queue: &str, instance: &str) -> String {
    format!("{}{instance}", prefix(queue))
}

const MIDDLE: &str = "-replies-";

/// Digits of an instance.
const INSTANCE: usize = 16;

/// An instance that nobody else has.
pub(crate) fn instance() -> String {
    let mut bytes = [0; INSTANCE / 2];
    // Without a source of randomness the time of day must do.
    if getrandom::fill(&mut bytes).is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let nanos = now.map_or(0, |now| now.subsec_nanos());
        bytes[..4].copy_from_slice(&nanos.to_be_bytes());
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a request says of where its replies go: the ARN of the queue, which is `found`'s with another name.
///
/// # Errors
///
/// [`Error::Denied`] where the ARN of the queue may not be asked for.
pub(crate) fn reply_to(endpoint: &str, found: &Found, name: &str) -> Result<String> {
    let arn = found.arn.as_deref().and_then(|arn| arn.rsplit_once(':'));
    let (owner, _) = arn.ok_or_else(|| Error::Denied {
        endpoint: endpoint.to_owned(),
        reason: "requests need the queue's ARN; allow `sqs:GetQueueAttributes`".to_owned(),
    })?;
    Ok(format!("{owner}:{name}"))
}

/// The URL of the queue that a request names, if this library made it for requests to `queue`, of the same account,
/// region and endpoint as `found`.
pub(crate) fn url(reply_to: &[u8], queue: &str, found: &Found) -> Option<String> {
    let (owner, name) = std::str::from_utf8(reply_to).ok()?.rsplit_once(':')?;
    let (ours, _) = found.arn.as_deref()?.rsplit_once(':')?;
    let (place, _) = found.url.rsplit_once('/')?;
    (owner == ours && is_ours(name, queue)).then(|| format!("{place}/{name}"))
}

/// Whether this library made the queue `name` for replies to requests to `queue`.
pub(crate) fn is_ours(name: &str, queue: &str) -> bool {
    let instance = name.strip_prefix(&prefix(queue)).unwrap_or_default();
    instance.len() == INSTANCE && instance.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        Found {
            url: "http://localhost:4566/queue/us-east-1/000000000000/orders.fifo".to_owned(),
            largest: 1 << 20,
            arn: Some("arn:aws:sqs:us-east-1:000000000000:orders.fifo".to_owned()),
        }
    }

    #[test]
    fn an_address_leads_back_to_the_queue_it_was_made_for() {
        let name = name("orders.fifo", &instance());
        let address = reply_to("e", &found(), &name).unwrap();
        let url = url(address.as_bytes(), "orders.fifo", &found()).unwrap();
        assert_eq!(url, format!("http://localhost:4566/queue/us-east-1/000000000000/{name}"));
        assert!(name.starts_with("orders-replies-"), "{name}");
    }

    #[test]
    fn an_address_of_anybody_else_leads_nowhere() {
        let good = reply_to("e", &found(), &name("orders", "0123456789abcdef")).unwrap();
        assert!(url(good.as_bytes(), "orders", &found()).is_some());
        for other in [
            "",
            "orders",
            "/etc/passwd",
            "arn:aws:sqs:us-east-1:000000000000:orders",
            "arn:aws:sqs:us-east-1:000000000000:orders-replies-",
            "arn:aws:sqs:us-east-1:000000000000:orders-replies-0123456789abcde/",
            "arn:aws:sqs:us-east-1:000000000001:orders-replies-0123456789abcdef",
            "arn:aws:sqs:eu-west-1:000000000000:orders-replies-0123456789abcdef",
            "arn:aws:sqs:us-east-1:000000000000:others-replies-0123456789abcdef",
        ] {
            assert!(url(other.as_bytes(), "orders", &found()).is_none(), "{other}");
        }
    }

    #[test]
    fn a_queue_of_somebody_else_with_such_a_name_is_not_ours() {
        assert!(is_ours(&name("orders", &instance()), "orders"));
        for other in
            ["orders", "orders-replies-", "orders-replies-archive", "orders-replies-of-2026-summer"]
        {
            assert!(!is_ours(other, "orders"), "{other}");
        }
    }

    #[test]
    fn a_long_name_still_has_room_for_replies() {
        let name = name(&"q".repeat(80), &instance());
        assert_eq!(name.len(), LONGEST_NAME);
    }
}
