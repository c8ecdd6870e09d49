//! What a load costs in calls. AWS bills each call, and each begun 64 KiB of one.
//!
//! Calls are fuller the more comes while one is under way. A sender has two calls that are not full, a receiver one poll
//! at a time while those are not full, and settlements are gathered for [`GATHER`].

use seam_core::{Calls, Cost, Load};

use crate::config::Config;
use crate::desk::GATHER;
use crate::mapping::{MOST_PACKED, PACKED_BYTES};
use crate::packing::{MOST_ENTRIES, MOST_PARTIAL};

/// How long a call is taken to last, in seconds: within a region of AWS.
const CALL: f64 = 0.01;

/// What AWS bills as one call, in bytes.
const BILLED: f64 = 65_536.0;

/// US dollars for a million calls: the public price of us-east-1 on <https://aws.amazon.com/sqs/pricing/>, without what is free.
const STANDARD: f64 = 0.40;
const FIFO: f64 = 0.50;

/// What `load` costs.
pub(crate) fn cost(config: &Config, load: Load) -> Cost {
    let most = float(MOST_ENTRIES);
    let size = float(load.size.max(1));
    let (packed_size, room) = (size + float(PACKED_BYTES), float(MOST_PACKED));
    // Datagrams that a message has at most, and each takes then.
    let (full, size) = match (room / packed_size).floor() {
        packed if config.packs && packed > 1.0 => (packed, packed_size),
        _ => (1.0, size),
    };
    // Datagrams of a call, and of a message.
    let sent = (load.rate * CALL / float(MOST_PARTIAL)).clamp(1.0, most * full);
    let message = sent.min(full);
    let messages = load.rate / message;
    let received = (messages * CALL).clamp(1.0, most) * message;
    let deleted = (messages * GATHER.as_secs_f64()).clamp(1.0, most) * message;
    let with_bodies = |what, count: f64| {
        let made = count.recip();
        Calls { what, made, billed: made.max(size / BILLED) }
    };
    let price = if config.is_fifo { FIFO } else { STANDARD };
    Cost {
        calls: vec![
            with_bodies("send", sent),
            with_bodies("receive", received),
            Calls { what: "delete", made: deleted.recip(), billed: deleted.recip() },
        ],
        idle: 60.0 / crate::client::WAIT.as_secs_f64(),
        price,
        assumed: format!(
            "calls of {:.0} ms, one sender, one receiver, nothing held for long; {price:.2} dollars a million calls",
            CALL * 1e3
        ),
    }
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use seam_core::Endpoint;

    use super::*;
    use crate::config::SCHEMES;

    fn at(uri: &str, rate: f64, size: usize) -> Cost {
        let endpoint = Endpoint::resolve(&uri.parse().unwrap(), &SCHEMES[0]).unwrap();
        cost(&Config::new(&endpoint).unwrap(), Load { rate, size })
    }

    #[track_caller]
    fn check(cost: &Cost, made: f64, billed: f64) {
        let found = (cost.made(), cost.billed());
        let is_near = |found: f64, wanted: f64| (found - wanted).abs() < wanted / 1e3;
        assert!(is_near(found.0, made) && is_near(found.1, billed), "{found:?}: {cost:?}");
    }

    #[test]
    fn one_at_a_time_costs_three_calls_and_a_load_a_tenth_of_that() {
        check(&at("sqs://r/q", 0.1, 1024), 3.0, 3.0);
        check(&at("sqs://r/q", f64::INFINITY, 1024), 0.3, 0.3);
        let between = at("sqs://r/q", 500.0, 1024);
        check(&between, 1.0 / 2.5 + 1.0 / 5.0 + 1.0 / 5.0, 0.8);
        assert_eq!((between.idle, between.price), (3.0, 0.4));
        assert_eq!(at("sqs://r/q.fifo", 1.0, 1).price, 0.5);
    }

    #[test]
    fn large_messages_are_billed_by_their_bytes() {
        check(&at("sqs://r/q", f64::INFINITY, 64 << 10), 0.3, 2.1);
        check(&at("sqs://r/q", f64::INFINITY, 256 << 10), 0.3, 8.1);
    }

    #[test]
    fn packs_cost_next_to_nothing_under_load_and_no_less_than_others_without() {
        check(&at("sqs://r/q?pack=true", 0.1, 64), 3.0, 3.0);
        let (small, count) = (at("sqs://r/q?pack=true", f64::INFINITY, 64), 65_520.0_f64 / 75.0);
        let count = count.floor();
        check(&small, 0.3 / count, 0.1 / count + 2.0 * 75.0 / 65_536.0);
        let larger = at("sqs://r/q?pack=true", f64::INFINITY, 1024);
        assert!(larger.made() <= 0.02 && larger.billed() <= 0.04, "{larger:?}");
        check(&at("sqs://r/q?pack=true", f64::INFINITY, 100 << 10), 0.3, 3.225);
    }
}
