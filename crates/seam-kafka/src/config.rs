//! The parameters of `kafka://` and `kafka+tls://`, and what an endpoint asks for.

use std::time::Duration;

use rdkafka::ClientConfig;
use seam_core::{
    Endpoint, Error, Kind, Limits, Parameter, Result, Scheme, Shape, Start, parameters,
};

use crate::topic::Topic;

pub(crate) use native::{FILES, native};
use native::{check_native, check_tls, default};

pub(crate) static SCHEMES: [Scheme; 2] = [
    Scheme::new("kafka", Shape::Hosts, &PARAMETERS)
        .with_default_port(9092)
        .with_native(NATIVE)
        .with_about("Kafka: a log, kept by a broker; groups, replay, order per key"),
    Scheme::new("kafka+tls", Shape::Hosts, &PARAMETERS)
        .with_default_port(9093)
        .with_native(NATIVE)
        .with_about("Kafka over TLS; needs feature `tls` of seam-kafka"),
];

/// What the names of settings begin with that librdkafka gets as they are.
pub(crate) const NATIVE: &str = "librdkafka.";

static PARAMETERS: [Parameter; 25] = [
    parameters::GROUP,
    parameters::PRIVATE,
    parameters::FROM,
    parameters::DECLARE,
    PARTITIONS,
    REPLICATION,
    parameters::CONFIRM.with_kind(Kind::Choice(&["stored"])).with_default("stored"),
    parameters::CREDIT,
    parameters::CREDIT_BYTES,
    parameters::SEND_TIMEOUT,
    parameters::CONNECT_TIMEOUT,
    parameters::RETRY,
    parameters::DEAD_LETTER,
    REPLY,
    parameters::REPLY_ANY,
    parameters::MAX_MESSAGE.with_default("960KiB"),
    parameters::SASL.with_kind(Kind::Choice(&["plain", "scram-sha-256", "scram-sha-512"])),
    parameters::PASSWORD_FILE,
    parameters::PASSWORD_ENV,
    parameters::CA,
    parameters::CERT,
    parameters::KEY,
    REVOKE_WAIT,
    UNKEYED,
    CLIENT_ID,
];

const PARTITIONS: Parameter = Parameter::new("partitions", Kind::Count { min: 1 })
    .with_about("partitions of a topic that is created; one that exists must have as many");

const REPLICATION: Parameter = Parameter::new("replication", Kind::Count { min: 1 })
    .with_about("replicas of a topic that is created; one that exists must have as many");

const REPLY: Parameter = parameters::REPLY.with_about(
    "the topic of replies, the same for requesters and servers; without it <topic>.replies",
);

const REVOKE_WAIT: Parameter = Parameter::new("revoke_wait", Kind::Duration)
    .with_side(seam_core::Side::Server)
    .with_default("1s")
    .with_about("how long a partition that goes to another member waits for what is in hand");

const UNKEYED: Parameter = Parameter::new("unkeyed", Kind::Choice(&["order", "spread"]))
    .with_side(seam_core::Side::Client)
    .with_default("order")
    .with_about("what has no key keeps its order in one partition, or is spread over all");

const CLIENT_ID: Parameter = Parameter::new("client_id", Kind::Text)
    .with_default("seam")
    .with_about("the name under which brokers log this client");

/// Where receivers of an endpoint stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Members of the consumer group of this id.
    Named(String),
    /// Of no group: reads everything, commits nothing.
    Private,
}

/// What an endpoint asks for. Its `Debug` shows no secret: it has no value of a native setting.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) topic: String,
    pub(crate) group: Group,
    pub(crate) from: Start,
    pub(crate) declare: bool,
    pub(crate) partitions: Option<i32>,
    pub(crate) replication: Option<i32>,
    /// Settings of a topic that is created, beside the broker's.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// The topic of replies, and whether the endpoint names it.
    pub(crate) replies: String,
    pub(crate) replies_given: bool,
    pub(crate) reply_any: bool,
    pub(crate) credit: usize,
    pub(crate) credit_bytes: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) send_timeout: Duration,
    pub(crate) revoke_wait: Duration,
    pub(crate) spread: bool,
    pub(crate) limits: Limits,
    /// Room for a datagram of these limits with all that goes beside its payload, in bytes.
    largest_batch: usize,
}

impl Config {
    /// Reads and checks all of an endpoint but its secrets.
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self> {
        let topic = topic(endpoint.address())?;
        endpoint.native().try_for_each(|(name, _)| check_native(name))?;
        check_tls(endpoint)?;
        let group = match endpoint.text("group") {
            _ if endpoint.flag("private") => Group::Private,
            Some(group) if group.len() > LONGEST_GROUP => {
                let reason = format!("`group` is longer than {LONGEST_GROUP} bytes");
                return Err(Error::invalid_endpoint(reason));
            }
            Some(group) => Group::Named(group.to_owned()),
            None => Group::Named(format!("seam.{topic}")),
        };
        let from = endpoint.start("from").unwrap_or(match group {
            Group::Private => Start::Latest,
            Group::Named(_) => Start::Earliest,
        });
        let replies = match endpoint.text("reply") {
            Some(replies) => self::topic(replies)?,
            None => format!("{topic}.replies"),
        };
        let mut limits = Limits::default();
        limits.delay = Duration::from_secs(5 * 60);
        limits.payload = endpoint.bytes("max_message").unwrap_or(960 << 10);
        if limits.payload > MOST {
            let reason = format!("`max_message` is more than the {MOST} bytes that Kafka takes");
            return Err(Error::invalid_endpoint(reason));
        }
        Ok(Self {
            topic,
            group,
            from,
            declare: endpoint.text("declare") != Some("no"),
            partitions: at_most(endpoint, "partitions", 100_000)?,
            replication: at_most(endpoint, "replication", 10_000)?,
            settings: &[],
            replies,
            replies_given: endpoint.is_given("reply"),
            reply_any: endpoint.flag("reply_any"),
            credit: endpoint.count("credit").unwrap_or(4096),
            credit_bytes: endpoint.bytes("credit_bytes").unwrap_or(1 << 20),
            connect_timeout: endpoint.connect_timeout(),
            send_timeout: endpoint.send_timeout(),
            revoke_wait: endpoint.duration("revoke_wait").unwrap_or(Duration::from_secs(1)),
            spread: endpoint.text("unkeyed") == Some("spread"),
            largest_batch: limits.payload.saturating_add(BESIDE).max(1_000_000),
            limits,
        })
    }

    /// What a caller asks for, to read its replies.
    pub(crate) fn for_replies(&self) -> Result<Self> {
        Ok(Self {
            topic: topic(&self.replies)?,
            group: Group::Private,
            from: Start::Latest,
            partitions: None,
            settings: &SHORT_LIVED,
            ..self.clone()
        })
    }

    /// As little as `topic` takes, where that is less.
    pub(crate) fn fit(&mut self, topic: &Topic) {
        if let Some(largest) = topic.rules.largest {
            self.largest_batch = self.largest_batch.min(largest).max(LEAST_BATCH);
            self.limits.payload = self.limits.payload.min(largest.saturating_sub(FRAMING));
        }
    }

    /// Settings of an idempotent producer that keeps order.
    pub(crate) fn producer(&self, mut native: ClientConfig) -> ClientConfig {
        // A little before core gives up, so that what never left says so itself; librdkafka looks once a second.
        let patience = self.send_timeout.saturating_sub(Duration::from_millis(1500));
        let patience = patience.max(self.send_timeout / 2).max(Duration::from_millis(10));
        let kilobytes = self.credit_bytes.saturating_add(self.largest_batch).div_ceil(1 << 10);
        default(&mut native, "linger.ms", &"0");
        default(
            &mut native,
            "queue.buffering.max.kbytes",
            &kilobytes.clamp(1 << 16, 2_147_483_647),
        );
        default(
            &mut native,
            "queue.buffering.max.messages",
            &self.credit.saturating_add(1).clamp(1_000, 10_000_000),
        );
        native
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("statistics.interval.ms", "100")
            .set("message.max.bytes", self.largest_batch.to_string())
            .set("message.timeout.ms", patience.as_millis().min(2_147_483_647).to_string());
        native
    }

    /// Settings of a consumer that commits what was settled and nothing else.
    pub(crate) fn consumer(&self, mut native: ClientConfig, private_id: &str) -> ClientConfig {
        let kilobytes = self.credit_bytes.max(self.largest_batch).div_ceil(1 << 10);
        default(&mut native, "partition.assignment.strategy", &"cooperative-sticky");
        default(&mut native, "heartbeat.interval.ms", &"1000");
        default(&mut native, "fetch.queue.backoff.ms", &"20");
        default(&mut native, "queued.max.messages.kbytes", &kilobytes.clamp(1, 2_097_151));
        native
            .set(
                "group.id",
                match &self.group {
                    Group::Named(group) => group,
                    Group::Private => private_id,
                },
            )
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "false")
            .set(
                "auto.offset.reset",
                match self.from {
                    Start::Latest => "latest",
                    _ => "earliest",
                },
            );
        native
    }
}

/// The largest payload: what librdkafka takes, with room for the rest.
const MOST: usize = 1_000_000_000 - BESIDE;

/// The least that librdkafka takes for a batch, in bytes.
const LEAST_BATCH: usize = 1000;

/// What a batch of one record has beside key, value and headers: 61 bytes for the batch, and lengths.
const FRAMING: usize = 128;

/// Replies are read as they come, so nobody misses them after an hour.
const SHORT_LIVED: [(&str, &str); 2] = [("cleanup.policy", "delete"), ("retention.ms", "3600000")];

/// Key, headers in both forms, fields and framing.
const BESIDE: usize = 64 << 10;

/// A number that the client takes up to `most`.
fn at_most(endpoint: &Endpoint, name: &str, most: i32) -> Result<Option<i32>> {
    let Some(count) = endpoint.count(name) else { return Ok(None) };
    let fits = i32::try_from(count).ok().filter(|count| *count <= most);
    let refused =
        || Error::invalid_endpoint(format!("`{name}` is more than {most}, the most that is taken"));
    fits.map(Some).ok_or_else(refused)
}

/// What the protocol has room for.
const LONGEST_GROUP: usize = 32_767;

/// The name of a topic, if Kafka takes it.
pub(crate) fn topic(address: &str) -> Result<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let refused = if address.len() > 249 {
        "is longer than 249 characters"
    } else if !address.chars().all(legal) {
        "holds more than letters, digits, `.`, `_` and `-`"
    } else if address == "." || address == ".." {
        "is `.` or `..`"
    } else {
        return Ok(address.to_owned());
    };
    Err(Error::invalid_endpoint(format!("Kafka takes no topic whose name {refused}")))
}

mod native;
#[cfg(test)]
mod tests;
