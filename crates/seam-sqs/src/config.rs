//! The parameters of `sqs://`, `sqs+http://` and `sqs+https://`, and what an endpoint asks for.

use std::time::Duration;

use seam_core::{
    Endpoint, Error, Kind, Limits, Parameter, Result, Scheme, Shape, Side, parameters,
};

pub(crate) static SCHEMES: [Scheme; 3] = [
    Scheme::new("sqs", Shape::Scope, &AWS).with_about(
        "Amazon SQS by its region: queues with leases; competing receivers, delays, FIFO by `.fifo`",
    ),
    Scheme::new("sqs+http", Shape::Scope, &EMULATOR)
        .with_default_port(80)
        .with_about("SQS of an emulator, at a host of its own"),
    Scheme::new("sqs+https", Shape::Scope, &EMULATOR)
        .with_default_port(443)
        .with_about("SQS at a host of its own, over TLS"),
];

macro_rules! with_common {
    ($($more:expr),* $(,)?) => {
        [
            parameters::GROUP,
            parameters::PRIVATE,
            parameters::DECLARE,
            VISIBILITY,
            THROUGHPUT,
            PACK,
            POLLS,
            parameters::CONFIRM.with_kind(Kind::Choice(&["stored"])).with_default("stored"),
            parameters::CREDIT,
            parameters::CREDIT_BYTES,
            parameters::SEND_TIMEOUT,
            parameters::CONNECT_TIMEOUT,
            parameters::RETRY,
            parameters::DEAD_LETTER,
            parameters::MAX_MESSAGE.with_about(MAX_MESSAGE_ABOUT),
            parameters::CA,
            $($more,)*
        ]
    };
}

static AWS: [Parameter; 16] = with_common!();
static EMULATOR: [Parameter; 19] =
    with_common!(REGION, parameters::PASSWORD_FILE, parameters::PASSWORD_ENV);

const REGION: Parameter = Parameter::new("region", Kind::Text)
    .with_default("us-east-1")
    .with_about("the region that requests are signed for");

const VISIBILITY: Parameter = Parameter::new("visibility", Kind::Duration)
    .with_default("30s")
    .with_about("how long a delivery is ours before its lease is extended; in whole seconds");

const THROUGHPUT: Parameter = Parameter::new("throughput", Kind::Choice(&["high"]))
    .with_about("FIFO only: a queue that is created limits and removes duplicates per key");

const PACK: Parameter = Parameter::new("pack", Kind::Flag)
    .with_side(Side::Client)
    .with_about("small datagrams share a message, which only receivers of this library read");

const POLLS: Parameter = Parameter::new("polls", Kind::Count { min: 1 })
    .with_default("10")
    .with_about("most polls that a receiver has under way at once, of ten messages each");

const MAX_MESSAGE_ABOUT: &str = "largest message, with its attributes; without it what the queue takes, and no less than 256KiB";

/// What an endpoint asks for. No secret is in it.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The name of the queue, `.fifo` and all.
    pub(crate) queue: String,
    pub(crate) is_fifo: bool,
    /// The account that owns it, if it is not the caller's.
    pub(crate) account: Option<String>,
    pub(crate) region: String,
    /// Where to call, if not where the region is.
    pub(crate) url: Option<String>,
    pub(crate) declare: bool,
    /// In whole seconds.
    pub(crate) visibility: Duration,
    /// Whether the queue must have it too.
    pub(crate) is_visibility_given: bool,
    pub(crate) is_throughput_high: bool,
    /// Whether small datagrams share a message.
    pub(crate) packs: bool,
    /// Polls of a receiver at once.
    pub(crate) polls: usize,
    pub(crate) credit: usize,
    pub(crate) credit_bytes: usize,
    pub(crate) connect_timeout: Duration,
    /// Attempts after which it is dead-lettered here.
    pub(crate) attempts: Option<u32>,
    /// The largest message, where it is given.
    pub(crate) max_message: Option<usize>,
}

impl Config {
    /// Reads and checks all of an endpoint but its secrets.
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self> {
        let queue = endpoint.address().to_owned();
        let is_fifo = check_name(&queue)?;
        let is_throughput_high = endpoint.text("throughput").is_some();
        if is_throughput_high && !is_fifo {
            return Err(Error::invalid_endpoint(
                "`throughput` is for FIFO queues, whose names end in `.fifo`; leave it out",
            ));
        }
        let packs = endpoint.flag("pack");
        if packs && is_fifo {
            return Err(Error::invalid_endpoint(
                "`pack` is for standard queues: a FIFO queue orders and removes duplicates by message; leave it out",
            ));
        }
        let account = endpoint.account().map(str::to_owned);
        check_account(account.as_deref())?;
        let (region, url) = place(endpoint)?;
        Ok(Self {
            queue,
            is_fifo,
            account,
            region,
            url,
            declare: endpoint.text("declare") != Some("no"),
            visibility: visibility(endpoint)?,
            is_visibility_given: endpoint.is_given("visibility"),
            is_throughput_high,
            packs,
            polls: endpoint.count("polls").unwrap_or(10),
            credit: endpoint.count("credit").unwrap_or(4096),
            credit_bytes: endpoint.bytes("credit_bytes").unwrap_or(1 << 20),
            connect_timeout: endpoint.connect_timeout(),
            attempts: endpoint.attempts(),
            max_message: max_message(endpoint)?,
        })
    }

    /// The least that the queue must take in one message.
    pub(crate) fn least_message(&self) -> usize {
        self.max_message.unwrap_or(LEAST_MESSAGE)
    }

    /// What is accepted where messages may have so many bytes.
    pub(crate) fn limits(&self, largest: usize) -> Limits {
        let mut limits = Limits::default();
        // As base64, beside the attribute that says so.
        limits.payload = largest.saturating_sub(MARK_BYTES) / 4 * 3;
        limits.delay = LONGEST_LEASE;
        limits.schedule = if self.is_fifo { Duration::ZERO } else { LONGEST_DELAY };
        limits
    }
}

/// What SQS holds a message back before its first delivery, at most.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(900);

/// From when a message was received, the longest it can stay invisible.
pub(crate) const LONGEST_LEASE: Duration = Duration::from_secs(43_200);

/// What every queue takes that nobody has restricted.
const LEAST_MESSAGE: usize = 256 << 10;

/// What no queue takes more than.
const MOST_MESSAGE: usize = 1 << 20;

/// Room for the attribute that says how the body is to be read.
const MARK_BYTES: usize = 64;

/// Whether a name that SQS takes is that of a FIFO queue.
fn check_name(name: &str) -> Result<bool> {
    let stem = name.strip_suffix(FIFO);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let text = stem.unwrap_or(name);
    if text.is_empty() || name.len() > LONGEST_NAME || !text.chars().all(is_plain) {
        return Err(Error::invalid_endpoint(format!(
            "`{name}` is no name of a queue; SQS takes 1 to {LONGEST_NAME} of A-Z a-z 0-9 - _, and `.fifo` at the end"
        )));
    }
    Ok(stem.is_some())
}

/// What the name of a FIFO queue ends in.
pub(crate) const FIFO: &str = ".fifo";

/// In characters, `.fifo` included.
pub(crate) const LONGEST_NAME: usize = 80;

fn check_account(account: Option<&str>) -> Result<()> {
    let is_number = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    match account {
        Some(account) if !is_number(account) => Err(Error::invalid_endpoint(format!(
            "`{account}` is no account; AWS has numbers of twelve digits. The path is `[account/]queue`"
        ))),
        _ => Ok(()),
    }
}

/// The region, and the URL of an endpoint that is not the region's own.
fn place(endpoint: &Endpoint) -> Result<(String, Option<String>)> {
    let refuse = |reason: &str| Err(Error::invalid_endpoint(reason));
    let (protocol, is_tls) = match endpoint.scheme() {
        "sqs+http" => ("http", false),
        "sqs+https" => ("https", true),
        _ => return aws(endpoint),
    };
    let [host] = endpoint.hosts() else {
        return refuse("SQS is called at one host; keep one of those before the path");
    };
    if endpoint.is_given("ca") && !is_tls {
        return refuse("`ca` needs TLS; write `sqs+https://`, or leave it out");
    }
    let has_secret = ["password_file", "password_env"].into_iter().any(|n| endpoint.is_given(n))
        || endpoint.password().is_some();
    if has_secret != endpoint.user().is_some() {
        return refuse("an access key and its secret need each other; write `key:secret@host`");
    }
    let region = endpoint.text("region").unwrap_or("us-east-1").to_owned();
    Ok((region, Some(format!("{protocol}://{host}"))))
}

fn aws(endpoint: &Endpoint) -> Result<(String, Option<String>)> {
    let refuse = |reason: &str| Err(Error::invalid_endpoint(reason));
    if endpoint.user().is_some() || endpoint.password().is_some() {
        return refuse(
            "`sqs` takes no key in its URI; set AWS_ACCESS_KEY_ID, a profile or a role, or write `sqs+http://` for an emulator",
        );
    }
    match endpoint.region() {
        Some(region) => Ok((region.to_owned(), None)),
        None => refuse(
            "`sqs` takes a region before the path; for a host of its own write `sqs+http://` or `sqs+https://`",
        ),
    }
}

/// In the seconds that SQS counts leases in.
fn visibility(endpoint: &Endpoint) -> Result<Duration> {
    let asked = endpoint.duration("visibility").unwrap_or(Duration::from_secs(30));
    if asked.subsec_nanos() != 0 || !(LEAST_LEASE..=LONGEST_LEASE).contains(&asked) {
        return Err(Error::invalid_endpoint("`visibility` must be whole seconds, from 3s to 12h"));
    }
    Ok(asked)
}

/// Shorter ones would be over before they can be extended.
const LEAST_LEASE: Duration = Duration::from_secs(3);

fn max_message(endpoint: &Endpoint) -> Result<Option<usize>> {
    let Some(asked) = endpoint.bytes("max_message") else { return Ok(None) };
    if !(1024..=MOST_MESSAGE).contains(&asked) {
        return Err(Error::invalid_endpoint("`max_message` must be from 1KiB to 1MiB"));
    }
    Ok(Some(asked))
}

#[cfg(test)]
mod tests;
