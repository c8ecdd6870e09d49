//! What an endpoint promises, and how large things may be: values, readable before anything is sent.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// One promise that an endpoint may make. A promise made must hold; one not made fails with
/// [`Error::Unsupported`], never as a silent no-op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Capability {
    /// Every field of a datagram arrives, and an empty payload differs from none.
    Envelope,
    /// What is unsettled, dropped or retried comes again.
    Redelivery,
    /// `retry(after)` waits, up to [`Limits::delay`].
    Delay,
    /// The count of attempts survives a crash of the receiver.
    Attempts,
    /// First deliveries of a key keep their order, also with several receivers in the group.
    Order,
    /// Once a datagram of a key fails, none of that key admitted before the failure was known succeeds.
    OrderedFailure,
    /// Several groups; each gets every datagram.
    Groups,
    /// A throw-away group that sees everything while it lives.
    Private,
    /// `from=` reaches back to what was sent before the group began.
    Replay,
    /// Datagrams are kept while no receiver is there.
    Store,
    /// `request` and `reply`.
    Reply,
    /// `accept`, identity and departure of each peer.
    Peers,
    /// `deliver_at` is kept, up to [`Limits::schedule`].
    Schedule,
}

impl Capability {
    /// All of them, in the order in which they are printed.
    pub const ALL: [Self; 13] = [
        Self::Envelope,
        Self::Redelivery,
        Self::Delay,
        Self::Attempts,
        Self::Order,
        Self::OrderedFailure,
        Self::Groups,
        Self::Private,
        Self::Replay,
        Self::Store,
        Self::Reply,
        Self::Peers,
        Self::Schedule,
    ];

    fn index(self) -> usize {
        match self {
            Self::Envelope => 0,
            Self::Redelivery => 1,
            Self::Delay => 2,
            Self::Attempts => 3,
            Self::Order => 4,
            Self::OrderedFailure => 5,
            Self::Groups => 6,
            Self::Private => 7,
            Self::Replay => 8,
            Self::Store => 9,
            Self::Reply => 10,
            Self::Peers => 11,
            Self::Schedule => 12,
        }
    }

    /// What a program whose endpoint lacks it can do; the end of an [`Error::Unsupported`] line.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Envelope => "send tag and payload only, or use a transport with envelopes",
            Self::Redelivery => "settle with `ack`, or use a transport that redelivers",
            Self::Delay => "retry without delay, or use seam-layers' retry",
            Self::Attempts => "count attempts in the handler",
            Self::Order => {
                "use one receiver, `?order=key` on RabbitMQ, or a transport with order per key"
            }
            Self::OrderedFailure => "wait for each receipt of a key before sending the next",
            Self::Groups => "give each service an address of its own",
            Self::Private => "use an address of its own for this receiver",
            Self::Replay => "leave out `from=`, or use a log such as Kafka",
            Self::Store => "start the receiver first, or use a broker",
            Self::Reply => "use a transport that correlates replies, or a dialog with one peer",
            Self::Peers => "use a link or memory; brokers hide who sent",
            Self::Schedule => "send it when it is due, or use a transport with schedules",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How a [`Capability`] is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// By the carrier itself.
    Native,
    /// By this library, from this endpoint's own resources.
    Emulated,
    /// Not at all.
    #[default]
    No,
    /// Known only once the endpoint is open.
    AtOpen,
}

/// How far a datagram had come when its receipt was given. Later ones include the earlier ones.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Confirmation {
    /// The operating system has it.
    #[default]
    Written,
    /// Each group's receiving side has it.
    Received,
    /// The broker keeps it.
    Stored,
    /// Each group has settled it.
    Settled,
}

/// The sizes an endpoint accepts. Fields are in bytes unless their type says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limits {
    /// The largest payload.
    pub payload: usize,
    /// The longest key.
    pub key: usize,
    /// The most headers.
    pub headers: usize,
    /// The longest name of a header.
    pub header_name: usize,
    /// All names and values of headers together.
    pub header_bytes: usize,
    /// How deep lists and maps in header values may nest.
    pub header_depth: usize,
    /// The longest delay of a retry.
    pub delay: Duration,
    /// How far ahead `deliver_at` may lie.
    pub schedule: Duration,
}

impl Default for Limits {
    /// What memory and every session accept: payloads of 64 MiB, keys of 1 KiB, 64 headers of 16 KiB
    /// in all, a day of delay.
    fn default() -> Self {
        Self {
            payload: 64 << 20,
            key: 1 << 10,
            headers: 64,
            header_name: 256,
            header_bytes: 16 << 10,
            header_depth: 8,
            delay: Duration::from_secs(24 * 60 * 60),
            schedule: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// What an endpoint promises.
///
/// ```
/// use seam_core::{Capabilities, Capability, Support};
///
/// let capabilities = Capabilities::none().with(Capability::Envelope, Support::Native);
/// assert!(capabilities.has(Capability::Envelope));
/// assert!(!capabilities.has(Capability::Order));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    support: [Support; 13],
    confirmation: Confirmation,
    limits: Limits,
}

impl Capabilities {
    /// Promises nothing but [`Confirmation::Written`], with the default [`Limits`].
    #[must_use]
    pub fn none() -> Self {
        Self {
            support: [Support::No; 13],
            confirmation: Confirmation::Written,
            limits: Limits::default(),
        }
    }

    /// Sets one promise.
    #[must_use]
    pub fn with(mut self, capability: Capability, support: Support) -> Self {
        self.support[capability.index()] = support;
        self
    }

    /// Sets the confirmation that a receipt stands for.
    #[must_use]
    pub fn with_confirmation(mut self, confirmation: Confirmation) -> Self {
        self.confirmation = confirmation;
        self
    }

    /// Sets the sizes.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How `capability` is kept.
    #[must_use]
    pub fn support(&self, capability: Capability) -> Support {
        self.support[capability.index()]
    }

    /// Whether `capability` is promised; [`Support::AtOpen`] is not yet a promise.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        matches!(self.support(capability), Support::Native | Support::Emulated)
    }

    /// The confirmation that a receipt stands for.
    #[must_use]
    pub fn confirmation(&self) -> Confirmation {
        self.confirmation
    }

    /// The sizes that are accepted.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Fails with one line that names each of `wanted` that is not promised, and what would provide it.
    ///
    /// What is [`Support::AtOpen`] passes here and is decided once the endpoint is open.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`]; its `capability` is the first one missing.
    pub fn require(&self, endpoint: &str, wanted: &[Capability]) -> Result<()> {
        let mut missing = wanted.iter().filter(|c| self.support(**c) == Support::No);
        let Some(&first) = missing.next() else { return Ok(()) };
        let mut remedy = first.remedy().to_owned();
        for other in missing {
            remedy.push_str(&format!("; nor {other}: {}", other.remedy()));
        }
        Err(Error::Unsupported { endpoint: endpoint.to_owned(), capability: first, remedy })
    }

    /// Each capability with how it is kept, in the order of [`Capability::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Capability, Support)> + '_ {
        Capability::ALL.into_iter().map(|c| (c, self.support(c)))
    }
}
