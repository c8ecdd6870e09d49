//! What a transport declares: its schemes, and the parameters that each takes.

use std::fmt;

use crate::{Capability, parameters};

/// Which end of the conversation a program opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Sends and calls; dials, where somebody must.
    Client,
    /// Receives and serves; listens, where somebody must.
    Server,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// What the authority and the path of a scheme mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Shape {
    /// `host[:port][,host[:port]...]`, then one segment: the address.
    #[default]
    Hosts,
    /// No host: authority and path together are the address, which may hold `/`.
    Address,
    /// No host: the path is an absolute path in the file system, the address is `?address=`.
    File,
    /// A region, or `host:port` of an emulator, then `[account/]address`.
    Scope,
    /// Hosts as in [`Shape::Hosts`]; the path is the virtual host, the address is `?address=`.
    Vhost,
}

/// A scheme of a transport: what its URIs look like, and every parameter they may have.
///
/// ```
/// use seam_core::{Parameter, Scheme, Shape, parameters};
///
/// static PIGEON: Scheme = Scheme::new("pigeon", Shape::Hosts, PARAMETERS)
///     .with_default_port(2549)
///     .with_about("Carrier pigeons, at most one per host.");
/// const PARAMETERS: &[Parameter] = &[parameters::CREDIT.with_default("1"), parameters::GROUP];
///
/// assert_eq!(PIGEON.form(), "pigeon://host[:port]/address");
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Scheme {
    /// The name, in lower case.
    pub name: &'static str,
    /// What authority and path mean.
    pub shape: Shape,
    /// The port of a host that has none. Default: none, so that a port must be given.
    pub default_port: Option<u16>,
    /// One line for `seam transports`. Default: empty.
    pub about: &'static str,
    /// Every parameter it takes; [`Shape::File`] and [`Shape::Vhost`] need
    /// [`parameters::ADDRESS`] among them.
    pub parameters: &'static [Parameter],
    /// The parameter and its value with which a URI may have no address. Default: none.
    pub without_address: Option<(&'static str, &'static str)>,
    /// What the names of settings begin with that go to the native client as they are, such as `librdkafka.`.
    /// Their values are never printed. Default: none.
    pub native: Option<&'static str>,
}

impl Scheme {
    /// A scheme without default port and description.
    #[must_use]
    pub const fn new(name: &'static str, shape: Shape, parameters: &'static [Parameter]) -> Self {
        Self {
            name,
            shape,
            default_port: None,
            about: "",
            parameters,
            without_address: None,
            native: None,
        }
    }

    /// Sets the port of a host that has none.
    #[must_use]
    pub const fn with_default_port(mut self, port: u16) -> Self {
        self.default_port = Some(port);
        self
    }

    /// Sets the line that describes it.
    #[must_use]
    pub const fn with_about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// Lets the address be absent where this parameter is given this value, as `wire=connect` does.
    #[must_use]
    pub const fn with_optional_address(mut self, name: &'static str, value: &'static str) -> Self {
        self.without_address = Some((name, value));
        self
    }

    /// Lets settings of the native client pass whose names begin so. Whoever opens the endpoint finds them with
    /// [`Endpoint::native`](crate::Endpoint::native), and refuses those that would break a promise.
    #[must_use]
    pub const fn with_native(mut self, prefix: &'static str) -> Self {
        self.native = Some(prefix);
        self
    }

    /// The parameter of this name, if the scheme takes it.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'static Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// How a URI of this scheme is written, for help and errors.
    #[must_use]
    pub fn form(&self) -> String {
        let name = self.name;
        let host = if self.default_port.is_some() { "host[:port]" } else { "host:port" };
        match self.shape {
            Shape::Hosts => format!("{name}://{host}/address"),
            Shape::Address => format!("{name}://address"),
            Shape::File => format!("{name}:///path?address=name"),
            Shape::Scope if self.default_port.is_some() => {
                format!("{name}://{host}/[account/]address")
            }
            Shape::Scope => format!("{name}://region/[account/]address"),
            Shape::Vhost => format!("{name}://{host}/vhost?address=name"),
        }
    }
}

/// One parameter of a scheme: its name, what values it takes, and what it needs.
///
/// The ones common to all stand in [`parameters`]; a transport takes them as they are or with
/// another default, and adds its own.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Parameter {
    /// The name, as a URI has it.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The side that it concerns; `None` for both. The other side takes it and ignores it.
    pub side: Option<Side>,
    /// The value where it is absent, in the form of the URI. Default: none.
    pub default: Option<&'static str>,
    /// One line for `seam transports`. Default: empty.
    pub about: &'static str,
    /// The capability without which it is refused. Default: none.
    pub requires: Option<Capability>,
    /// Whether its value is printed as `***`. Default: no.
    pub secret: bool,
}

impl Parameter {
    /// A parameter for both sides without a default.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, side: None, default: None, about: "", requires: None, secret: false }
    }

    /// Sets what values it takes, for a transport that takes fewer than are common.
    #[must_use]
    pub const fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the side that it concerns.
    #[must_use]
    pub const fn with_side(mut self, side: Side) -> Self {
        self.side = Some(side);
        self
    }

    /// Sets the value where it is absent, in the form of the URI.
    #[must_use]
    pub const fn with_default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// Sets the line that describes it.
    #[must_use]
    pub const fn with_about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// Sets the capability without which it is refused.
    #[must_use]
    pub const fn with_capability(mut self, capability: Capability) -> Self {
        self.requires = Some(capability);
        self
    }

    /// Has its value printed as `***`.
    #[must_use]
    pub const fn with_secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(crate) fn is_flag(&self) -> bool {
        matches!(self.kind, Kind::Flag)
    }

    /// Whether its value may be a URI, with secrets of its own.
    pub(crate) fn may_hold_uri(&self) -> bool {
        matches!(self.kind, Kind::Uri) || self.name == parameters::REPLY.name
    }
}

/// What values a [`Parameter`] takes. Its `Display` says how they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Given or not: `name`, or `name=true`.
    Flag,
    /// A whole number.
    Count {
        /// The least it may be.
        min: usize,
    },
    /// A size of at least one byte: `4096`, `4096B`, `64KiB`, `1MiB`, `1GiB`.
    Bytes,
    /// A time span: `250ms`, `30s`, `5m`, `1h`, `2d`; at most 36500 days.
    Duration,
    /// Any text but an empty one.
    Text,
    /// A path in the file system.
    Path,
    /// A whole URI, percent-encoded.
    Uri,
    /// Where to begin: `earliest`, `latest`, or a time of RFC 3339.
    Start,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Count { min } => write!(f, "number from {min}"),
            Self::Bytes => f.write_str("size, as 64KiB"),
            Self::Duration => f.write_str("duration, as 30s"),
            Self::Text => f.write_str("text"),
            Self::Path => f.write_str("path"),
            Self::Uri => f.write_str("URI, percent-encoded"),
            Self::Start => f.write_str("earliest|latest|RFC 3339 time"),
            Self::Choice(words) => f.write_str(&words.join("|")),
        }
    }
}
