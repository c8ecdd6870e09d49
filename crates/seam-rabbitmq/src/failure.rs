//! RabbitMQ's errors in the words of the contract: one line each, the right variant, no secret.

use std::io;
use std::sync::Arc;

use lapin::ErrorKind;
use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};
use rustls::CertificateError;
use seam_core::Error;

/// What went wrong while a connection was made or stood.
pub(crate) fn error(endpoint: &str, error: &lapin::Error) -> Error {
    match error.kind() {
        ErrorKind::ProtocolError(error) => of_broker(endpoint, error),
        ErrorKind::IOError(error) => of_socket(endpoint, error),
        ErrorKind::MissingHeartbeatError => {
            Error::disconnected(endpoint, "the broker gives no sign of life; see `keep_alive`")
        }
        ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_) => Error::Protocol {
            endpoint: endpoint.to_owned(),
            reason: "what came is no AMQP 0-9-1; is the port right, and does it want TLS (`rabbitmq+tls://`)?"
                .to_owned(),
        },
        ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannelState(..) => {
            Error::disconnected(endpoint, "the connection ended")
        }
        _ => native(endpoint, true, error.clone()),
    }
}

/// As [`error`], while a connection is made. A broker that does not trust our certificate, where we show one, may end the
/// connection so early that what it says of it is lost.
pub(crate) fn of_dialling(endpoint: &str, cause: &lapin::Error, has_certificate: bool) -> Error {
    let is_cut = match cause.kind() {
        ErrorKind::IOError(error) => CUT.contains(&error.kind()) && find_tls(error).is_none(),
        ErrorKind::InvalidConnectionState(_) => true,
        _ => false,
    };
    if has_certificate && is_cut {
        let reason =
            "the broker hung up during the handshake; does it want another certificate (`cert=`)?";
        return Error::disconnected(endpoint, reason);
    }
    error(endpoint, cause)
}

/// How a connection ends that the other side has ended.
const CUT: [io::ErrorKind; 4] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

/// As [`error`], for datagrams that were under way with one that the broker refuses: they were lost with their channel.
pub(crate) fn of_neighbours(endpoint: &str, cause: &lapin::Error) -> Error {
    match error(endpoint, cause) {
        Error::Rejected { reason, .. } => {
            let reason = format!("the broker ended the channel for another datagram: {reason}");
            Error::disconnected(endpoint, reason)
        }
        other => other,
    }
}

/// The most that the broker takes in one body, where it ended the channel for more.
pub(crate) fn largest(cause: &lapin::Error) -> Option<usize> {
    let ErrorKind::ProtocolError(error) = cause.kind() else { return None };
    let (_, limit) = error.get_message().as_str().split_once("larger than configured max size ")?;
    limit.trim().parse().ok()
}

/// The broker does not answer in time.
pub(crate) fn silent(endpoint: &str, what: &str) -> Error {
    Error::disconnected(
        endpoint,
        format!(
            "no answer to {what}; is the broker alive, and does the port speak what the scheme says?"
        ),
    )
}

/// A datagram that the broker did not keep.
pub(crate) fn refused(endpoint: &str) -> Error {
    let cause = io::Error::other(
        "the broker did not keep it (basic.nack): a queue is full or has no leader; send it again later",
    );
    Error::Native { endpoint: endpoint.to_owned(), retryable: true, source: Arc::new(cause) }
}

fn of_broker(endpoint: &str, error: &AMQPError) -> Error {
    let said = error.get_message().as_str();
    let text = || endpoint.to_owned();
    let denied = |reason: String| Error::Denied { endpoint: text(), reason };
    match error.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => denied(access(said)),
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Error::NotFound {
            what: missing(said).unwrap_or_else(|| format!("what {endpoint} names")),
            remedy: "create it, or leave out `declare=no`".to_owned(),
        },
        AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED) => {
            denied(format!("it belongs to another connection alone; {}", told(said)))
        }
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => of_precondition(endpoint, said),
        AMQPErrorKind::Soft(AMQPSoftError::CONTENTTOOLARGE) => rejected(endpoint, said),
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if said.contains("not found") => {
            Error::NotFound {
                what: quoted(said).map_or("the virtual host".to_owned(), |name| {
                    format!("the virtual host `{name}`")
                }),
                remedy: "create it, or name another".to_owned(),
            }
        }
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => denied(access(said)),
        AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED) => {
            Error::disconnected(endpoint, format!("the broker closed it: {}", told(said)))
        }
        AMQPErrorKind::Hard(AMQPHardError::INTERNALERROR | AMQPHardError::RESOURCEERROR) => {
            native(endpoint, true, error.clone())
        }
        _ => native(endpoint, false, error.clone()),
    }
}

/// Which right is missing, or that there is none to come in.
fn access(said: &str) -> String {
    if said.contains("Login was refused") {
        return "the user or the password is wrong, or the broker does not take this `sasl`"
            .to_owned();
    }
    let right = ["configure", "write", "read"]
        .into_iter()
        .find(|right| said.contains(&format!("{right} access")));
    match (right, quoted(said)) {
        (Some(right), Some(what)) => {
            format!("the user may not {right} `{what}`; see `rabbitmqctl set_permissions`")
        }
        _ => format!("{}; see `rabbitmqctl set_permissions`", told(said)),
    }
}

fn of_precondition(endpoint: &str, said: &str) -> Error {
    if let Some(difference) = Difference::read(said) {
        return difference.error();
    }
    if said.contains("acknowledgement on channel") {
        return Error::disconnected(
            endpoint,
            "a delivery was open for longer than the broker's `consumer_timeout`",
        );
    }
    rejected(endpoint, said)
}

/// How a queue or an exchange that exists differs from what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The name of the argument.
    pub(crate) argument: String,
    what: String,
    /// The value asked for and the value found, `none` where there is none.
    wanted: String,
    pub(crate) found: String,
    /// The type of the value found, as AMQP names it.
    pub(crate) found_type: Option<String>,
}

impl Difference {
    /// Reads `inequivalent arg 'NAME' for KIND 'NAME' in vhost 'NAME': received A but current is B`, or as much of it
    /// as AMQP has room for: 255 bytes, and the rest is cut.
    pub(crate) fn read(said: &str) -> Option<Self> {
        let (_, rest) = said.split_once("inequivalent arg '")?;
        let (argument, rest) = rest.split_once("' for ")?;
        Self::read_values(argument, rest).or_else(|| {
            let unknown = "what the broker has no room to tell";
            Some(Self {
                argument: argument.to_owned(),
                what: "what is there".to_owned(),
                wanted: unknown.to_owned(),
                found: unknown.to_owned(),
                found_type: Some("unknown".to_owned()),
            })
        })
    }

    fn read_values(argument: &str, rest: &str) -> Option<Self> {
        let (what, rest) = rest.split_once(" in vhost ")?;
        let (_, rest) = rest.split_once(": received ")?;
        let (wanted, found) = rest.split_once(" but current is ")?;
        let (found, found_type) = value(found);
        Some(Self {
            argument: argument.to_owned(),
            what: what.replace('\'', "`"),
            wanted: value(wanted).0,
            found,
            found_type,
        })
    }

    pub(crate) fn error(self) -> Error {
        let named = |value: &str| format!("{}={value}", self.argument);
        Error::Mismatch { wanted: named(&self.wanted), found: named(&self.found), what: self.what }
    }
}

/// A value as the broker's text has it, `the value 'V' of type 'T'`, `'V'` or `none`, and its type.
fn value(text: &str) -> (String, Option<String>) {
    let mut parts = text.split('\'');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (_, Some(value), Some(of_type), Some(kind)) if of_type.contains("type") => {
            (value.to_owned(), Some(kind.to_owned()))
        }
        (_, Some(value), ..) => (value.to_owned(), None),
        _ => (text.trim().to_owned(), None),
    }
}

fn of_socket(endpoint: &str, error: &Arc<io::Error>) -> Error {
    let lost = |reason: &str| Error::disconnected(endpoint, reason);
    if let Some(tls) = find_tls(error) {
        return lost(of_tls(tls));
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            lost("nobody listens there; is the broker started, and is the port right?")
        }
        io::ErrorKind::TimedOut => {
            lost("no answer in time; is the host up, and is the port right?")
        }
        io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof => lost(
            "the port hangs up; does it speak AMQP 0-9-1, and does it want TLS (`rabbitmq+tls://`)?",
        ),
        _ => Error::Disconnected { endpoint: endpoint.to_owned(), source: error.clone() },
    }
}

/// What rustls says, somewhere within an error of a socket.
fn find_tls(error: &io::Error) -> Option<&rustls::Error> {
    type Inner<'a> = Option<&'a (dyn std::error::Error + 'static)>;
    fn within(error: &io::Error) -> Inner<'_> {
        Some(error.get_ref()?)
    }
    let mut inner = within(error);
    while let Some(error) = inner {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        inner = match error.downcast_ref() {
            Some(nested) => within(nested),
            None => error.source(),
        };
    }
    None
}

fn of_tls(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the broker's certificate is of no authority that is trusted here; give its own by `ca=`"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the broker's certificate is for another name; see `server_name=`",
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "the broker's certificate has expired",
        rustls::Error::InvalidCertificate(_) => "the broker's certificate is not valid",
        rustls::Error::AlertReceived(_) => {
            "the broker refused the TLS handshake; does it want another certificate (`cert=`)?"
        }
        rustls::Error::InvalidMessage(_) => {
            "the port does not answer in TLS; for one without TLS write `rabbitmq://`"
        }
        _ => "the TLS handshake failed; see `ca=`, and whether the port speaks TLS",
    }
}

fn rejected(endpoint: &str, said: &str) -> Error {
    Error::Rejected { endpoint: endpoint.to_owned(), reason: told(said).to_owned() }
}

fn native(
    endpoint: &str,
    retryable: bool,
    cause: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::Native { endpoint: endpoint.to_owned(), retryable, source: Arc::new(cause) }
}

/// What the broker says, without the name of the code in front.
fn told(said: &str) -> &str {
    said.split_once(" - ").map_or(said, |(_, rest)| rest)
}

/// `no queue 'NAME' in vhost '/'` as the queue of that name.
fn missing(said: &str) -> Option<String> {
    let (_, rest) = said.split_once("no ")?;
    let (kind, _) = rest.split_once(" '")?;
    Some(format!("the {kind} `{}`", quoted(rest)?))
}

/// The first that stands in quotes, or between the words that RabbitMQ has around the name of a virtual host.
fn quoted(said: &str) -> Option<&str> {
    match said.split('\'').nth(1) {
        Some(quoted) => Some(quoted),
        None => said.split_once("vhost ")?.1.split(' ').next(),
    }
}

#[cfg(test)]
mod tests;
