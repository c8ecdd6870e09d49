//! The parameters that every link takes, and what an endpoint asks for with them.

use std::sync::Arc;
use std::time::Duration;

use seam_core::{
    Capabilities, Capability, Confirmation, Endpoint, Error, Kind, Limits, Parameter, Result,
    Secret, Side, Support, parameters,
};
use seam_wire::{Group, plain};

/// The parameters of every link, for the [`Scheme`](seam_core::Scheme) of a carrier to repeat with its own:
/// see [`parameters_with`].
pub const PARAMETERS: [Parameter; 19] = [
    parameters::GROUP,
    parameters::PRIVATE,
    parameters::ROLE,
    parameters::WIRE,
    parameters::CONFIRM.with_kind(Kind::Choice(&["written", "received", "settled"])),
    parameters::LOST,
    parameters::CREDIT,
    parameters::CREDIT_BYTES,
    parameters::SEND_TIMEOUT,
    parameters::CONNECT_TIMEOUT,
    parameters::RETRY,
    parameters::DEAD_LETTER,
    parameters::TOKEN_FILE,
    parameters::INSECURE,
    parameters::SESSION_EXPIRY,
    parameters::KEEP_ALIVE.with_default("5s"),
    parameters::MAX_MESSAGE.with_default("64MiB"),
    CONNECTIONS,
    SOURCE_CONNECTIONS,
];

/// `connections`: how many a listener keeps.
const CONNECTIONS: Parameter =
    Parameter::new("connections", Kind::Count { min: 1 }).with_default("10000").with_about(
        "most connections that a listener keeps; the oldest that has not proved itself gives way",
    );

/// `source_connections`: how many of them one source may have.
const SOURCE_CONNECTIONS: Parameter = Parameter::new("source_connections", Kind::Count { min: 1 })
    .with_default("1000")
    .with_about("most connections of one source, and peers remembered of it: who it proved to be, else its IPv4 address or its /64 of IPv6");

/// The parameters of every link and `more` behind them, for a constant table.
///
/// # Panics
///
/// While it is compiled, where `ALL` is not the length of both.
#[must_use]
pub const fn parameters_with<const MORE: usize, const ALL: usize>(
    more: [Parameter; MORE],
) -> [Parameter; ALL] {
    parameters::join(PARAMETERS, more)
}

/// What is spoken on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Session,
    /// Version 1 alone.
    Connect,
    /// Whatever the peer speaks; promises what version 1 does.
    Any,
}

/// What an endpoint asks for.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) wire: Wire,
    pub(crate) side: Side,
    pub(crate) listens: bool,
    pub(crate) group: Group,
    pub(crate) credit: usize,
    pub(crate) credit_bytes: usize,
    pub(crate) confirm: Confirmation,
    pub(crate) reports_lost: bool,
    pub(crate) session_expiry: Duration,
    pub(crate) keep_alive: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) insecure: bool,
    pub(crate) connections: usize,
    pub(crate) source_connections: usize,
    pub(crate) limits: Limits,
    /// The largest payload that is taken in version 1.
    pub(crate) plain_payload: usize,
    token_file: Option<Arc<std::path::Path>>,
}

impl Config {
    /// What `endpoint` asks for, on `side`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`] for values that do not fit together.
    pub(crate) fn new(endpoint: &Endpoint, side: Side) -> Result<Self> {
        let wire = match endpoint.text("wire") {
            Some("connect") => Wire::Connect,
            Some("any") => Wire::Any,
            _ => Wire::Session,
        };
        let listens = match endpoint.text("role") {
            Some(role) => role == "listen",
            None => side == Side::Server,
        };
        let group = match endpoint.text("group") {
            _ if endpoint.flag("private") => Group::Private,
            Some(name) => Group::Named(name.into()),
            None => Group::Default,
        };
        let mut limits = Limits::default();
        let given = endpoint.bytes("max_message").filter(|_| endpoint.is_given("max_message"));
        let plain_payload = given.unwrap_or(plain::MAX_PAYLOAD).min(plain::MAX_PAYLOAD);
        limits.payload = match wire {
            Wire::Connect => plain_payload,
            // What is sent must fit every peer; what comes may be as large as its own wire allows.
            Wire::Session | Wire::Any => endpoint.bytes("max_message").unwrap_or(limits.payload),
        };
        let config = Self {
            wire,
            side,
            listens,
            group,
            credit: endpoint.count("credit").unwrap_or(usize::MAX),
            credit_bytes: endpoint.bytes("credit_bytes").unwrap_or(usize::MAX),
            confirm: confirmation(endpoint, wire)?,
            reports_lost: endpoint.text("lost") == Some("report"),
            session_expiry: endpoint.duration("session_expiry").unwrap_or(Duration::MAX),
            keep_alive: endpoint.duration("keep_alive").unwrap_or(Duration::from_secs(5)),
            connect_timeout: endpoint.connect_timeout(),
            insecure: endpoint.flag("insecure"),
            connections: endpoint.count("connections").unwrap_or(usize::MAX),
            source_connections: endpoint.count("source_connections").unwrap_or(usize::MAX),
            limits,
            plain_payload,
            token_file: endpoint.path("token_file").map(Arc::from),
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let refuse = |reason: &str| Err(Error::invalid_endpoint(reason));
        if self.wire == Wire::Any && !self.listens {
            return refuse(
                "`wire=any` is for listeners; say `session` or `connect` where you dial",
            );
        }
        if self.wire != Wire::Session && self.token_file.is_some() {
            return refuse(
                "`wire=connect` has no place for a token; leave out `token_file`, or use a session",
            );
        }
        if self.reports_lost && self.wire != Wire::Session {
            return refuse("`lost=report` needs a session; leave it out with `wire=connect`");
        }
        Ok(())
    }

    /// What it promises.
    pub(crate) fn capabilities(&self) -> Capabilities {
        let none =
            Capabilities::none().with_confirmation(self.confirm).with_limits(self.limits.clone());
        let promised: Vec<Capability> = match self.wire {
            Wire::Session => Capability::ALL.to_vec(),
            Wire::Connect | Wire::Any => vec![Capability::Peers],
        };
        let missing = [Capability::Replay, Capability::Store];
        let promised = promised.into_iter().filter(|capability| !missing.contains(capability));
        // Whoever dials as a server knows its peers already: none will come to it.
        let promised = promised.filter(|c| *c != Capability::Peers || !self.dials_as_server());
        promised.fold(none, |set, capability| set.with(capability, Support::Native))
    }

    pub(crate) fn dials_as_server(&self) -> bool {
        self.side == Side::Server && !self.listens
    }

    /// The token that both ends prove to know.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`] where its file cannot be read or is empty.
    pub(crate) fn load_token(&self) -> Result<Option<Token>> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let unreadable = |error: std::io::Error| {
            Error::invalid_endpoint(format!(
                "`token_file` {} cannot be read: {error}",
                path.display()
            ))
        };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            let reason =
                format!("`token_file` {} is empty; put a long random line in it", path.display());
            return Err(Error::invalid_endpoint(reason));
        }
        Ok(Some(Token(Arc::new(Secret::from(text.to_owned())))))
    }

    pub(crate) fn has_token(&self) -> bool {
        self.token_file.is_some()
    }

    pub(crate) fn group_name(&self) -> Option<&str> {
        match &self.group {
            Group::Named(name) => Some(name),
            Group::Default | Group::Private => None,
        }
    }
}

/// What both ends prove to know; never shown.
#[derive(Clone, Debug)]
pub(crate) struct Token(Arc<Secret>);

impl Token {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}

fn confirmation(endpoint: &Endpoint, wire: Wire) -> Result<Confirmation> {
    let (given, plain) = (endpoint.text("confirm"), wire != Wire::Session);
    match given {
        None if plain => Ok(Confirmation::Written),
        Some("written") if plain => Ok(Confirmation::Written),
        _ if plain => Err(Error::invalid_endpoint(
            "`wire=connect` confirms what is written and no more; leave out `confirm`, or use a session",
        )),
        Some("written") => Err(Error::invalid_endpoint(
            "a session confirms more than what is written; `confirm` must be received or settled",
        )),
        Some("settled") => Ok(Confirmation::Settled),
        _ => Ok(Confirmation::Received),
    }
}
