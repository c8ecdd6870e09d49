//! The parameters of `rabbitmq://`, `amqp://` and their TLS forms, and what an endpoint asks for.

use std::time::Duration;

use lapin::types::ShortString;
use seam_core::{
    Capability, Endpoint, Error, Kind, Limits, Parameter, Result, Scheme, Shape, Side, parameters,
};

pub(crate) static SCHEMES: [Scheme; 4] = [
    Scheme::new("rabbitmq", Shape::Hosts, &NATIVE).with_default_port(5672).with_about(
        "RabbitMQ: queues, kept by a broker; competing receivers, delays, groups by exchange",
    ),
    Scheme::new("rabbitmq+tls", Shape::Hosts, &NATIVE)
        .with_default_port(5671)
        .with_about("RabbitMQ over TLS"),
    Scheme::new("amqp", Shape::Vhost, &AMQP)
        .with_default_port(5672)
        .with_about("RabbitMQ by AMQP's own URI: the path is the virtual host"),
    Scheme::new("amqps", Shape::Vhost, &AMQP)
        .with_default_port(5671)
        .with_about("RabbitMQ by AMQP's own URI, over TLS"),
];

macro_rules! with_common {
    ($first:expr) => {
        [
            $first,
            parameters::GROUP,
            parameters::PRIVATE,
            parameters::DECLARE,
            EXCHANGE,
            EXCHANGE_TYPE,
            ROUTING_KEY,
            QUEUE_TYPE,
            ORDER,
            parameters::CONFIRM.with_kind(Kind::Choice(&["stored"])).with_default("stored"),
            parameters::CREDIT,
            parameters::CREDIT_BYTES,
            parameters::SEND_TIMEOUT,
            parameters::CONNECT_TIMEOUT,
            parameters::RETRY,
            parameters::DEAD_LETTER,
            parameters::REPLY_ANY,
            parameters::KEEP_ALIVE.with_default("5s"),
            parameters::MAX_MESSAGE.with_default("16MiB"),
            parameters::SASL.with_kind(Kind::Choice(&["plain", "external"])),
            parameters::PASSWORD_FILE,
            parameters::PASSWORD_ENV,
            parameters::CA,
            parameters::CERT,
            parameters::KEY,
            parameters::SERVER_NAME,
            CLIENT_ID,
        ]
    };
}

static NATIVE: [Parameter; 27] = with_common!(VHOST);
static AMQP: [Parameter; 27] = with_common!(parameters::ADDRESS);

const VHOST: Parameter =
    Parameter::new("vhost", Kind::Text).with_default("/").with_about("the virtual host");

const EXCHANGE: Parameter = Parameter::new("exchange", Kind::Text).with_about(
    "the exchange to publish to and to bind queues to; without it the address is one queue",
);

const EXCHANGE_TYPE: Parameter =
    Parameter::new("exchange_type", Kind::Choice(&["topic", "direct", "fanout"]))
        .with_default("topic")
        .with_about("the type of the exchange; one that exists must have it");

const ROUTING_KEY: Parameter = Parameter::new("routing_key", Kind::Choice(&["kind", "key"]))
    .with_side(Side::Client)
    .with_about("what of each datagram is its routing key; without it the address");

const QUEUE_TYPE: Parameter = Parameter::new("queue_type", Kind::Choice(&["quorum", "classic"]))
    .with_default("quorum")
    .with_about("the type of the queue; one that exists must have it");

const ORDER: Parameter = Parameter::new("order", Kind::Choice(&["key"]))
    .with_about("one receiver of a group at a time gets all (single active consumer), so that keys keep their order");

const CLIENT_ID: Parameter = Parameter::new("client_id", Kind::Text)
    .with_default("seam")
    .with_about("the name under which the broker lists this client's connections");

/// Where receivers of an endpoint stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// They share the queue of this name.
    Queue(ShortString),
    /// Each connection has a queue of its own, which goes with it. Its name begins so.
    Private(String),
}

/// What an endpoint asks for. No secret is in it.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) address: ShortString,
    pub(crate) virtual_host: String,
    pub(crate) group: Group,
    /// The exchange and its type, where it is not the default one.
    pub(crate) exchange: Option<(ShortString, lapin::ExchangeKind)>,
    pub(crate) routing_key: Option<Field>,
    pub(crate) declare: bool,
    pub(crate) is_quorum: bool,
    /// Whether one receiver gets all.
    pub(crate) keeps_order: bool,
    /// How often a datagram is tried, where that is limited.
    pub(crate) attempts: Option<u32>,
    pub(crate) reply_any: bool,
    pub(crate) is_external: bool,
    pub(crate) is_tls: bool,
    pub(crate) credit: usize,
    pub(crate) credit_bytes: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) keep_alive: u16,
    pub(crate) limits: Limits,
}

/// A field of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Kind,
    Key,
}

impl Config {
    /// Reads and checks all of an endpoint but its secrets.
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self> {
        let is_tls = matches!(endpoint.scheme(), "rabbitmq+tls" | "amqps");
        check_tls(endpoint, is_tls)?;
        let address = name("the address", endpoint.address())?;
        let exchange = exchange(endpoint)?;
        let routing_key = match endpoint.text("routing_key") {
            Some(_) if exchange.is_none() => {
                return Err(Error::invalid_endpoint("`routing_key` needs an `exchange`"));
            }
            Some("kind") => Some(Field::Kind),
            Some(_) => Some(Field::Key),
            None => None,
        };
        let mut limits = Limits::default();
        limits.delay = LONGEST_DELAY;
        limits.payload = endpoint.bytes("max_message").unwrap_or(16 << 20);
        if limits.payload > MOST {
            let reason = format!("`max_message` is more than the {MOST} bytes that RabbitMQ takes");
            return Err(Error::invalid_endpoint(reason));
        }
        Ok(Self {
            virtual_host: match endpoint.virtual_host() {
                Some(named) => named.to_owned(),
                None => endpoint.text("vhost").unwrap_or("/").to_owned(),
            },
            group: group(endpoint, &address, exchange.is_some())?,
            address,
            exchange,
            routing_key,
            declare: endpoint.text("declare") != Some("no"),
            is_quorum: endpoint.text("queue_type") != Some("classic"),
            keeps_order: endpoint.text("order").is_some(),
            attempts: endpoint.attempts(),
            reply_any: endpoint.flag("reply_any"),
            is_external: endpoint.text("sasl") == Some("external"),
            is_tls,
            credit: endpoint.count("credit").unwrap_or(4096),
            credit_bytes: endpoint.bytes("credit_bytes").unwrap_or(1 << 20),
            connect_timeout: endpoint.connect_timeout(),
            keep_alive: keep_alive(endpoint)?,
            limits,
        })
    }

    /// Whether the queue of receivers counts attempts: only a quorum queue does, and that of a private receiver is none.
    pub(crate) fn counts_attempts(&self) -> bool {
        self.is_quorum && matches!(self.group, Group::Queue(_))
    }

    /// How many attempts were made of what is on its last one and travels alone, where attempts are limited and the queue
    /// counts as one whatever was fetched. With an order kept, neither the consumer nor a message can give way.
    pub(crate) fn last_attempt(&self) -> Option<u32> {
        let limit = self.attempts.filter(|_| self.counts_attempts() && !self.keeps_order);
        limit.map(|limit| limit.saturating_sub(1))
    }
}

/// The longest step of a delayed retry.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(60 * 60);

/// `MAX_MSG_SIZE` of rabbit.hrl.
const MOST: usize = 536_870_912;

/// What AMQP allows a short string, less what names of queues for delays have behind them.
const LONGEST_NAME: usize = 255 - 16;

/// A name of a queue, exchange or key, if RabbitMQ takes it from us.
fn name(what: &str, text: &str) -> Result<ShortString> {
    let refused = if text.len() > LONGEST_NAME {
        format!("is longer than {LONGEST_NAME} bytes")
    } else if text.starts_with("amq.") {
        "begins with `amq.`, which RabbitMQ keeps for itself".to_owned()
    } else {
        return Ok(text.into());
    };
    Err(Error::invalid_endpoint(format!("{what} {refused}")))
}

fn exchange(endpoint: &Endpoint) -> Result<Option<(ShortString, lapin::ExchangeKind)>> {
    let Some(text) = endpoint.text("exchange") else {
        return match endpoint.is_given("exchange_type") {
            true => Err(Error::invalid_endpoint("`exchange_type` needs an `exchange`")),
            false => Ok(None),
        };
    };
    let kind = match endpoint.text("exchange_type") {
        Some("direct") => lapin::ExchangeKind::Direct,
        Some("fanout") => lapin::ExchangeKind::Fanout,
        _ => lapin::ExchangeKind::Topic,
    };
    // Those that every broker has are named `amq.` and may be used.
    let known = ["amq.topic", "amq.direct", "amq.fanout"];
    match known.contains(&text) {
        true => Ok(Some((text.into(), kind))),
        false => Ok(Some((name("`exchange`", text)?, kind))),
    }
}

fn group(endpoint: &Endpoint, address: &ShortString, has_exchange: bool) -> Result<Group> {
    let named = endpoint.text("group");
    let is_private = endpoint.flag("private");
    if (named.is_some() || is_private) && !has_exchange {
        return Err(Error::Unsupported {
            endpoint: endpoint.to_string(),
            capability: if is_private { Capability::Private } else { Capability::Groups },
            remedy: "a queue is one group; name an `exchange` here and at the sender".to_owned(),
        });
    }
    Ok(match named {
        Some(group) => Group::Queue(name("the queue of the group", &format!("{address}.{group}"))?),
        None if is_private => Group::Private(format!("{address}.private")),
        None => Group::Queue(address.clone()),
    })
}

fn check_tls(endpoint: &Endpoint, is_tls: bool) -> Result<()> {
    let given =
        ["ca", "cert", "key", "server_name"].into_iter().find(|name| endpoint.is_given(name));
    if let Some(name) = given.filter(|_| !is_tls) {
        let scheme = if endpoint.scheme() == "amqp" { "amqps" } else { "rabbitmq+tls" };
        let reason = format!("`{name}` needs TLS; write `{scheme}://`, or leave it out");
        return Err(Error::invalid_endpoint(reason));
    }
    if endpoint.is_given("cert") != endpoint.is_given("key") {
        return Err(Error::invalid_endpoint("`cert` and `key` need each other"));
    }
    if endpoint.text("sasl") == Some("external") && !endpoint.is_given("cert") {
        let reason = "`sasl=external` shows a certificate; give `cert` and `key`, over TLS";
        return Err(Error::invalid_endpoint(reason));
    }
    Ok(())
}

/// In the seconds that AMQP counts heartbeats in.
fn keep_alive(endpoint: &Endpoint) -> Result<u16> {
    let asked = endpoint.duration("keep_alive").unwrap_or(Duration::from_secs(5));
    let seconds = u16::try_from(asked.as_secs()).ok().filter(|seconds| *seconds > 0);
    seconds.filter(|_| asked.subsec_nanos() == 0).ok_or_else(|| {
        Error::invalid_endpoint("`keep_alive` must be whole seconds, from 1s to 65535s")
    })
}

#[cfg(test)]
mod tests;
