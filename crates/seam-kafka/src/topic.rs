//! What a topic is found to be: its partitions, and those of its settings that datagrams have to fit.

use std::time::Duration;

use rdkafka::admin::ConfigResource;
use seam_core::{Timestamp, View};

/// A topic that is there.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    /// The cluster that has it, by the id that it gave itself.
    pub(crate) cluster: String,
    pub(crate) rules: Rules,
}

/// What a topic takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The largest batch of records, in bytes; `None` where the broker does not tell.
    pub(crate) largest: Option<usize>,
    /// How far the timestamp of a record may lie back.
    behind: Duration,
    /// How far it may lie ahead.
    ahead: Duration,
}

impl Default for Rules {
    /// What a broker does that was not told anything else.
    fn default() -> Self {
        Self { largest: None, behind: Duration::from_secs(7 * DAY) / 2, ahead: HOUR / 2 }
    }
}

impl Rules {
    /// As the topic's settings say; what they do not say stays.
    pub(crate) fn of(settings: &ConfigResource) -> Self {
        Self::read(|name| settings.get(name)?.value.clone())
    }

    fn read(setting: impl Fn(&str) -> Option<String>) -> Self {
        let mut rules = Self::default();
        let number = |name: &str| setting(name)?.parse::<i64>().ok();
        let span = |name: &str| Some(u64::try_from(number(name)?).map_or(ENDLESS, millis));
        rules.largest = number("max.message.bytes").and_then(|most| usize::try_from(most).ok());
        let deletes = setting("cleanup.policy").is_none_or(|policy| policy.contains("delete"));
        let retention = if deletes { span("retention.ms") } else { Some(ENDLESS) };
        // Half of it, so that a record is kept as long again as it was on its way.
        rules.behind = retention.map_or(rules.behind, |kept| kept / 2);
        if let Some(before) = span("message.timestamp.before.max.ms") {
            rules.behind = rules.behind.min(before / 2);
        }
        // Half of it, since clocks differ.
        rules.ahead = span("message.timestamp.after.max.ms").map_or(rules.ahead, |after| after / 2);
        rules
    }

    /// The timestamp of the record: that of the datagram, unless the broker would refuse it, or delete it before its
    /// time, since retention goes by it. The header says it in any case.
    pub(crate) fn timestamp(&self, view: View<'_>, now: Timestamp) -> Option<i64> {
        let time = view.envelope().time?;
        let fits =
            time.saturating_since(now) <= self.ahead && now.saturating_since(time) <= self.behind;
        Some(time.as_millis()).filter(|millis| *millis > 0 && fits)
    }
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const DAY: u64 = 24 * 60 * 60;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// What Kafka says by -1, and by more than any clock can tell.
const ENDLESS: Duration = Duration::MAX;

#[cfg(test)]
mod tests {
    use seam_core::Datagram;

    use super::*;

    fn rules(settings: &[(&str, &str)]) -> Rules {
        Rules::read(|asked| {
            let found = settings.iter().find(|(name, _)| *name == asked);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[track_caller]
    fn check(settings: &[(&str, &str)], time: &str, native: bool) {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let time: Timestamp = time.parse().unwrap();
        let mut datagram = Datagram::new("x");
        datagram.envelope_mut().time = Some(time);
        let found = rules(settings).timestamp(datagram.view(), now);
        assert_eq!(found, native.then(|| time.as_millis()));
    }

    #[test]
    fn a_timestamp_never_costs_a_record_its_life() {
        check(&[], "2026-01-30T12:00:00Z", true);
        check(&[], "2026-01-20T12:00:00Z", false);
        check(&[("retention.ms", "-1")], "1999-01-20T12:00:00Z", true);
        check(&[("retention.ms", "60000")], "2026-01-31T11:59:40Z", true);
        check(&[("retention.ms", "60000")], "2026-01-31T11:59:20Z", false);
        let compacted = [("retention.ms", "60000"), ("cleanup.policy", "compact")];
        check(&compacted, "1999-01-20T12:00:00Z", true);
    }

    #[test]
    fn a_timestamp_that_a_broker_would_refuse_is_left_to_the_header() {
        check(&[], "2026-01-31T12:20:00Z", true);
        check(&[], "2026-01-31T12:40:00Z", false);
        check(&[("message.timestamp.after.max.ms", "60000")], "2026-01-31T12:20:00Z", false);
        let strict = [("retention.ms", "-1"), ("message.timestamp.before.max.ms", "60000")];
        check(&strict, "2026-01-31T11:59:00Z", false);
        check(&[("retention.ms", "-1")], "1969-01-20T12:00:00Z", false);
    }

    #[test]
    fn a_topic_tells_its_largest_batch() {
        assert_eq!(rules(&[("max.message.bytes", "4096")]).largest, Some(4096));
        assert_eq!(rules(&[]).largest, None);
    }
}
