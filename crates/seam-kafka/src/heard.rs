//! Why no broker answers, as far as the client tells: it says many things, and the last is rarely the one that helps.

use std::sync::Mutex;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use seam_core::Error;

use crate::background::lock;
use crate::failure;

/// Keeps what tells most of all that a client says is wrong, and prints none of it.
pub(crate) struct Heard {
    endpoint: String,
    clue: Mutex<Option<Clue>>,
}

/// What was heard.
#[derive(Clone, Copy, Debug)]
enum Clue {
    /// A connection that stood was lost, or nothing says why all are: so brokers are reached, and hang up.
    HangsUp,
    /// Another loss of a connection.
    Lost,
    /// Nobody listens on the port.
    NobodyListens,
    /// The host has no address.
    UnknownHost,
    /// The port answers TLS with something else.
    NoTls,
    /// The TLS handshake failed otherwise.
    Tls,
    /// The certificate of the broker is of no authority that is trusted.
    Authority,
    /// What no client gets over by trying again.
    Refusal(Code),
    /// The port asks for no password at all.
    NoPassword,
}

impl Clue {
    fn new(code: Code, reason: &str) -> Self {
        match code {
            Code::Authentication if reason.contains("not valid in current SASL state") => {
                Self::NoPassword
            }
            _ if reason.contains("certificate verify failed") => Self::Authority,
            _ if reason.contains("connecting to a PLAINTEXT") => Self::NoTls,
            Code::SSL => Self::Tls,
            Code::Resolve => Self::UnknownHost,
            _ if reason.contains("Connection refused") => Self::NobodyListens,
            Code::AllBrokersDown => Self::HangsUp,
            Code::BrokerTransportFailure if was_connected(reason) => Self::HangsUp,
            _ if failure::is_passing(code) => Self::Lost,
            _ => Self::Refusal(code),
        }
    }

    /// Of two, the one with more of it tells more.
    fn weight(self) -> u8 {
        match self {
            Self::HangsUp => 0,
            Self::Lost => 1,
            Self::NobodyListens => 2,
            Self::UnknownHost => 3,
            Self::NoTls => 4,
            Self::Tls => 5,
            Self::Authority => 6,
            Self::Refusal(_) | Self::NoPassword => 7,
        }
    }

    fn error(self, endpoint: &str) -> Error {
        let lost = |reason: &str| Error::disconnected(endpoint, reason);
        match self {
            Self::HangsUp => lost(
                "a broker hangs up; does its port want TLS (`kafka+tls://`), or user and password?",
            ),
            Self::Lost => failure::of_code(endpoint, Code::BrokerTransportFailure),
            Self::NobodyListens => {
                lost("nobody listens there; is the broker started, and is the port right?")
            }
            Self::UnknownHost => failure::of_code(endpoint, Code::Resolve),
            Self::NoTls => {
                lost("the port does not answer in TLS; for one without TLS write `kafka://`")
            }
            Self::Tls => failure::of_code(endpoint, Code::SSL),
            Self::Authority => lost(
                "the broker's certificate is of no authority that is trusted here; give its own by `ca=`",
            ),
            Self::Refusal(code) => failure::of_code(endpoint, code),
            Self::NoPassword => Error::Denied {
                endpoint: endpoint.to_owned(),
                reason:
                    "this port takes no user and password; leave them out, or take another port"
                        .to_owned(),
            },
        }
    }
}

/// Whether a connection stood before it was lost.
fn was_connected(reason: &str) -> bool {
    !reason.contains("in state CONNECT") && !reason.contains("timed out")
}

impl Heard {
    pub(crate) fn new(endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), clue: Mutex::new(None) }
    }

    /// What tells most so far, and whether it is of no use to go on.
    pub(crate) fn error(&self) -> Option<(Error, bool)> {
        let clue = (*lock(&self.clue))?;
        Some((clue.error(&self.endpoint), clue.weight() == Clue::NoPassword.weight()))
    }
}

impl ClientContext for Heard {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let heard = Clue::new(code, reason);
        let mut clue = lock(&self.clue);
        if clue.is_none_or(|clue| clue.weight() < heard.weight()) {
            *clue = Some(heard);
        }
    }
}

impl ProducerContext for Heard {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(heard: &[(Code, &str)], complaint: &str, is_final: bool) {
        let context = Heard::new("kafka://b/t");
        for (code, reason) in heard {
            ClientContext::error(&context, KafkaError::Global(*code), reason);
        }
        let (error, found) = context.error().unwrap();
        assert!(error.to_string().contains(complaint), "{error}");
        assert_eq!((found, error.is_retryable()), (is_final, !is_final));
    }

    #[test]
    fn what_tells_most_is_kept_whatever_follows() {
        let down = (Code::AllBrokersDown, "1/1 brokers are down");
        let lost = (Code::BrokerTransportFailure, "Disconnected");
        let tls = (Code::SSL, "SSL handshake failed: certificate verify failed: see this and that");
        let plain = (Code::BrokerTransportFailure, "connecting to a PLAINTEXT broker listener?");
        let none = (Code::BrokerTransportFailure, "Connect to :1 failed: Connection refused");
        check(&[down], "hangs up", false);
        let broken = "Send failed: Broken pipe (after 0ms in state UP)";
        check(&[down, (Code::BrokerTransportFailure, broken), down], "hangs up", false);
        let slow = "Connection setup timed out in state CONNECT";
        check(&[down, (Code::BrokerTransportFailure, slow)], "no broker answers", false);
        check(&[none, down], "nobody listens", false);
        check(&[down, (Code::Resolve, "Failed to resolve"), down], "spelt right", false);
        check(&[lost, plain, down], "not answer in TLS", false);
        check(&[tls, down, plain], "no authority", false);
        check(&[(Code::Authentication, "Invalid username"), down, lost], "password is wrong", true);
        check(&[down, (Code::UnsupportedFeature, "too old")], "UnsupportedFeature", true);
    }
}
