//! The parameters that are common to all transports, each with its type, default and meaning.
//!
//! A transport lists those it takes in its [`Scheme`], as they are or with another default:
//! `parameters::CREDIT.with_default("100")`. A name of this page that a scheme does not take is
//! refused there; it never means anything else.

use crate::{Capability, Error, Kind, Parameter, Result, Scheme, Side};

/// Two lists in one, for a constant table of a transport.
///
/// # Panics
///
/// While it is compiled, where `ALL` is not the length of both.
#[must_use]
pub const fn join<const ONE: usize, const OTHER: usize, const ALL: usize>(
    one: [Parameter; ONE],
    other: [Parameter; OTHER],
) -> [Parameter; ALL] {
    assert!(ONE + OTHER == ALL, "the table has another length");
    let mut all = [GROUP; ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < ONE { one[at] } else { other[at - ONE] };
        at += 1;
    }
    all
}

/// `group`: receivers of a group compete; each group gets every datagram.
pub const GROUP: Parameter = Parameter::new("group", Kind::Text)
    .with_side(Side::Server)
    .with_capability(Capability::Groups)
    .with_about("name of the group to join; without it, all receivers of an address are one group");

/// `private`: a throw-away group of its own.
pub const PRIVATE: Parameter = Parameter::new("private", Kind::Flag)
    .with_side(Side::Server)
    .with_capability(Capability::Private)
    .with_about("a throw-away group: sees everything while it lives, leaves nothing behind");

/// `from`: where a new group begins.
pub const FROM: Parameter = Parameter::new("from", Kind::Start)
    .with_side(Side::Server)
    .with_capability(Capability::Replay)
    .with_about("where a new group begins; without it earliest, and latest with `private`");

/// `declare`: whether to create what is absent.
pub const DECLARE: Parameter = Parameter::new("declare", Kind::Choice(&["missing", "no"]))
    .with_default("missing")
    .with_about("create what is absent, durable, and never alter what exists; or create nothing");

/// `role`: who dials.
pub const ROLE: Parameter = Parameter::new("role", Kind::Choice(&["listen", "dial"]))
    .with_about("who dials; without it the client dials and the server listens");

/// `wire`: the protocol on a link.
pub const WIRE: Parameter = Parameter::new("wire", Kind::Choice(&["session", "connect", "any"]))
    .with_default("session")
    .with_about("the protocol: a session, the plain one of crate `connect`, or listen for both");

/// `confirm`: what a receipt stands for.
pub const CONFIRM: Parameter =
    Parameter::new("confirm", Kind::Choice(&["written", "received", "stored", "settled"]))
        .with_side(Side::Client)
        .with_about("what a receipt stands for; without it, what the transport gives by itself");

/// `lost`: what becomes of datagrams whose session was lost.
pub const LOST: Parameter = Parameter::new("lost", Kind::Choice(&["redeliver", "report"]))
    .with_side(Side::Client)
    .with_default("redeliver")
    .with_about("what a lost session left unsettled: sent again, or given back by `returned`");

/// `credit`: how many datagrams may be under way.
pub const CREDIT: Parameter = Parameter::new("credit", Kind::Count { min: 1 })
    .with_default("4096")
    .with_about("most datagrams under way and not settled");

/// `credit_bytes`: how many bytes may be under way.
pub const CREDIT_BYTES: Parameter = Parameter::new("credit_bytes", Kind::Bytes)
    .with_default("1MiB")
    .with_about("most bytes under way and not settled; never less than one largest datagram");

/// `send_timeout`: when an unsent datagram comes back.
pub const SEND_TIMEOUT: Parameter = Parameter::new("send_timeout", Kind::Duration)
    .with_side(Side::Client)
    .with_default("30s")
    .with_about("after this a datagram without receipt comes back with its fate");

/// `connect_timeout`: when opening fails.
pub const CONNECT_TIMEOUT: Parameter = Parameter::new("connect_timeout", Kind::Duration)
    .with_default("10s")
    .with_about("after this `open` fails; once open, it reconnects for ever");

/// `retry`: how many attempts a datagram has.
pub const RETRY: Parameter = Parameter::new("retry", Kind::Count { min: 1 })
    .with_side(Side::Server)
    .with_capability(Capability::Redelivery)
    .with_about("attempts after which a datagram is dead-lettered");

/// `dead_letter`: where dead letters go.
pub const DEAD_LETTER: Parameter = Parameter::new("dead_letter", Kind::Uri)
    .with_side(Side::Server)
    .with_capability(Capability::Redelivery)
    .with_about("where dead letters go: a URI of its own, percent-encoded");

/// `reply`: where replies are read.
pub const REPLY: Parameter = Parameter::new("reply", Kind::Text)
    .with_side(Side::Client)
    .with_capability(Capability::Reply)
    .with_about("where replies to requests are read, if not at the transport's own choice");

/// `token_file`: a secret that both ends prove to know.
pub const TOKEN_FILE: Parameter = Parameter::new("token_file", Kind::Path)
    .with_about("file with a token that both ends prove to know; neither sends it");

/// `insecure`: lets anybody in.
pub const INSECURE: Parameter = Parameter::new("insecure", Kind::Flag)
    .with_about("listen without certificates or token, on more than loopback");

/// `ca`: whom to trust.
pub const CA: Parameter = Parameter::new("ca", Kind::Path)
    .with_about("PEM file of the authorities to trust; without it the platform's");

/// `client_ca`: whose clients to let in.
pub const CLIENT_CA: Parameter = Parameter::new("client_ca", Kind::Path)
    .with_about("PEM file of the authorities whose clients a listener lets in");

/// `cert`: one's own certificate.
pub const CERT: Parameter =
    Parameter::new("cert", Kind::Path).with_about("PEM file of the certificate chain to show");

/// `key`: the private key of `cert`.
pub const KEY: Parameter =
    Parameter::new("key", Kind::Path).with_about("PEM file of the private key of `cert`");

/// `server_name`: the name a certificate must have.
pub const SERVER_NAME: Parameter = Parameter::new("server_name", Kind::Text)
    .with_about("the name that the server's certificate must have; without it the host");

/// `password_file`: a file that holds the password.
pub const PASSWORD_FILE: Parameter =
    Parameter::new("password_file", Kind::Path).with_about("file that holds the password");

/// `password_env`: a variable that holds the password.
pub const PASSWORD_ENV: Parameter = Parameter::new("password_env", Kind::Text)
    .with_about("environment variable that holds the password");

/// `address`: the address, where the path means something else.
pub const ADDRESS: Parameter = Parameter::new("address", Kind::Text)
    .with_about("the address, where the path of the URI means something else");

/// `overflow`: what a slow group does to its sender.
pub const OVERFLOW: Parameter = Parameter::new("overflow", Kind::Choice(&["wait", "disconnect"]))
    .with_side(Side::Client)
    .with_capability(Capability::Groups)
    .with_default("wait")
    .with_about("a slow or dead group makes the sender wait, or its session is ended");

/// `session_expiry`: when a group without members is forgotten.
pub const SESSION_EXPIRY: Parameter = Parameter::new("session_expiry", Kind::Duration)
    .with_side(Side::Client)
    .with_default("5m")
    .with_about("a group is forgotten this long after its last member left");

/// `reply_any`: trusts every reply address.
pub const REPLY_ANY: Parameter = Parameter::new("reply_any", Kind::Flag)
    .with_side(Side::Server)
    .with_capability(Capability::Reply)
    .with_about("honour reply addresses that this library did not make");

/// `keep_alive`: how often to show a sign of life.
pub const KEEP_ALIVE: Parameter = Parameter::new("keep_alive", Kind::Duration)
    .with_about("how often an idle connection shows a sign of life");

/// `sasl`: how user and password are shown to a broker.
pub const SASL: Parameter =
    Parameter::new("sasl", Kind::Choice(&["plain", "scram-sha-256", "scram-sha-512", "external"]))
        .with_about("how the broker is shown user and password");

/// `max_message`: the largest payload.
pub const MAX_MESSAGE: Parameter =
    Parameter::new("max_message", Kind::Bytes).with_about("largest payload to send or accept");

/// All of them, in the order in which they are printed.
pub const ALL: &[Parameter] = &[
    GROUP,
    PRIVATE,
    FROM,
    DECLARE,
    ROLE,
    WIRE,
    CONFIRM,
    LOST,
    CREDIT,
    CREDIT_BYTES,
    SEND_TIMEOUT,
    CONNECT_TIMEOUT,
    RETRY,
    DEAD_LETTER,
    REPLY,
    TOKEN_FILE,
    INSECURE,
    CA,
    CLIENT_CA,
    CERT,
    KEY,
    SERVER_NAME,
    PASSWORD_FILE,
    PASSWORD_ENV,
    ADDRESS,
    OVERFLOW,
    SESSION_EXPIRY,
    REPLY_ANY,
    KEEP_ALIVE,
    SASL,
    MAX_MESSAGE,
];

/// Names that are kept for later and refused until then.
pub const RESERVED: &[&str] = &["journal", "retry_order"];

/// The common parameter of this name.
pub(crate) fn common(name: &str) -> Option<&'static Parameter> {
    ALL.iter().find(|parameter| parameter.name == name)
}

/// Refuses a name that `scheme` does not take, with the remedy that fits.
pub(crate) fn check_name(name: &str, scheme: &Scheme) -> Result<()> {
    let native = scheme.native.and_then(|prefix| name.strip_prefix(prefix));
    if scheme.parameter(name).is_some() || native.is_some_and(|name| !name.is_empty()) {
        return Ok(());
    }
    let scheme_name = scheme.name;
    let reason = if RESERVED.contains(&name) {
        format!("parameter `{name}` is reserved for a later version; leave it out")
    } else if common(name).is_some() {
        format!("`{scheme_name}` has no use for parameter `{name}`; leave it out")
    } else {
        let names = scheme.parameters.iter().map(|parameter| parameter.name);
        let remedy = match nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => valid_names(scheme),
        };
        format!("unknown parameter `{name}` for `{scheme_name}`; {remedy}")
    };
    Err(Error::invalid_endpoint(reason))
}

/// The one of `candidates` that `name` is most likely a slip for, if one is near enough.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let rated = candidates.into_iter().map(|other| (strsim::jaro_winkler(&name, other), other));
    let near = rated.filter(|(likeness, _)| *likeness > 0.85);
    near.max_by(|(one, _), (two, _)| one.total_cmp(two)).map(|(_, candidate)| candidate)
}

fn valid_names(scheme: &Scheme) -> String {
    let names: Vec<&str> = scheme.parameters.iter().map(|parameter| parameter.name).collect();
    if names.is_empty() {
        "it takes none".to_owned()
    } else {
        format!("it takes {}", names.join(", "))
    }
}
