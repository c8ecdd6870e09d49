//! Why a handshake failed, in one line that says what to do.

use std::io;

use rustls::{AlertDescription as Alert, CertificateError as Flaw};
use seam_core::{Error, Result};

/// Which end a failure is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Whoever dialled.
    Dialler,
    /// Whoever listens.
    Listener,
}

impl End {
    fn other(self) -> &'static str {
        match self {
            Self::Dialler => "listener",
            Self::Listener => "client",
        }
    }
}

/// What a failed handshake means at this end.
#[must_use]
pub fn refused(endpoint: &str, end: End, error: &rustls::Error) -> Error {
    let denied = |reason: String| Error::Denied { endpoint: endpoint.to_owned(), reason };
    let protocol =
        |reason: &str| Error::Protocol { endpoint: endpoint.to_owned(), reason: reason.to_owned() };
    match error {
        rustls::Error::InvalidCertificate(flaw) => {
            denied(format!("the certificate of the {} {}", end.other(), flawed(end, flaw)))
        }
        rustls::Error::NoCertificatesPresented => {
            denied("the client showed no certificate; it needs `cert=` and `key=`".to_owned())
        }
        rustls::Error::AlertReceived(alert) => match unwanted(*alert) {
            Some(why) => denied(format!("the {} refused: {why}", end.other())),
            None => alerted(endpoint, *alert)
                .unwrap_or_else(|| Error::disconnected(endpoint, error.clone())),
        },
        rustls::Error::NoApplicationProtocol => protocol(OTHER_PROTOCOL),
        rustls::Error::PeerIncompatible(_) => protocol(NO_VERSION),
        rustls::Error::InvalidMessage(_) => protocol(match end {
            End::Dialler => {
                "what answers does not speak TLS; for a listener without it write `tcp://`"
            }
            End::Listener => "the client does not speak TLS; it has to write `tls://`",
        }),
        other => Error::disconnected(endpoint, other.clone()),
    }
}

/// What an alert of either end means where it is about no certificate, but about what is spoken.
fn alerted(endpoint: &str, alert: Alert) -> Option<Error> {
    let reason = match alert {
        Alert::NoApplicationProtocol => OTHER_PROTOCOL,
        Alert::ProtocolVersion | Alert::HandshakeFailure => NO_VERSION,
        _ => return None,
    };
    Some(Error::Protocol { endpoint: endpoint.to_owned(), reason: reason.to_owned() })
}

/// What a failed handshake means at this end where only an alert is known of it, its number and who sent it, with `said` in
/// the words of rustls where that was us; `None` where it is no refusal.
#[must_use]
pub fn of_alert(endpoint: &str, end: End, alert: u8, said: Option<&str>) -> Option<Error> {
    let alert = Alert::from(alert);
    let Some(said) = said else {
        let received = rustls::Error::AlertReceived(alert);
        return unwanted(alert)
            .map(|_| refused(endpoint, end, &received))
            .or_else(|| alerted(endpoint, alert));
    };
    let flaw = match alert {
        Alert::CertificateRequired => {
            return Some(refused(endpoint, end, &rustls::Error::NoCertificatesPresented));
        }
        Alert::UnknownCA if said.contains("UnknownRevocationStatus") => {
            Flaw::UnknownRevocationStatus
        }
        Alert::UnknownCA if said.contains("revocation list") || said.contains("RevocationList") => {
            Flaw::ExpiredRevocationList
        }
        Alert::UnknownCA => Flaw::UnknownIssuer,
        Alert::CertificateExpired
            if said.contains("not valid yet") || said.contains("NotValidYet") =>
        {
            Flaw::NotValidYet
        }
        Alert::CertificateExpired => Flaw::Expired,
        Alert::CertificateRevoked => Flaw::Revoked,
        Alert::UnsupportedCertificate => Flaw::InvalidPurpose,
        Alert::BadCertificate if said.contains("for name") || said.contains("NotValidForName") => {
            Flaw::NotValidForName
        }
        Alert::BadCertificate => Flaw::BadEncoding,
        other => return alerted(endpoint, other),
    };
    Some(refused(endpoint, end, &rustls::Error::InvalidCertificate(flaw)))
}

/// What an end that had let us in at first said when it closed, where it said that we are not wanted: with TLS 1.3 whoever
/// dialled believes to be in before its certificate was looked at.
///
/// # Errors
///
/// The error that it was, where it says nothing of the kind.
pub fn last_words(endpoint: &str, end: End, error: io::Error) -> Result<Error, io::Error> {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(tls @ rustls::Error::AlertReceived(alert)) if unwanted(*alert).is_some() => {
            Ok(refused(endpoint, end, tls))
        }
        _ => Err(error),
    }
}

const OTHER_PROTOCOL: &str =
    "the ends speak different protocols (ALPN); a session is `seam/2`, and `wire=connect` has none";
const NO_VERSION: &str =
    "the ends have no version of TLS in common; see `tls=`, which is 1.3 unless it says 1.2";

fn flawed(end: End, flaw: &Flaw) -> String {
    let trusted = match end {
        End::Dialler => "`ca=`",
        End::Listener => "`client_ca=`",
    };
    match flaw {
        Flaw::UnknownIssuer => {
            format!("is of no authority that is trusted here; give its own by {trusted}")
        }
        Flaw::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            let names: Vec<&str> = presented.iter().take(4).map(String::as_str).collect();
            format!("is for another name ({}); see `server_name=`", names.join(", "))
        }
        Flaw::NotValidForName | Flaw::NotValidForNameContext { .. } => {
            "is for another name; see `server_name=`".to_owned()
        }
        Flaw::Expired | Flaw::ExpiredContext { .. } => "has expired".to_owned(),
        Flaw::NotValidYet | Flaw::NotValidYetContext { .. } => {
            "is not valid yet; are the clocks right?".to_owned()
        }
        Flaw::Revoked => "is revoked".to_owned(),
        Flaw::UnknownRevocationStatus => {
            "is of an authority whose list is not in the file of `crl=`".to_owned()
        }
        Flaw::ExpiredRevocationList | Flaw::ExpiredRevocationListContext { .. } => {
            "cannot be checked: the list of `crl=` has expired".to_owned()
        }
        Flaw::InvalidPurpose | Flaw::InvalidPurposeContext { .. } => {
            format!("is not made for a {}", end.other())
        }
        Flaw::BadSignature => "is not signed by whom it names".to_owned(),
        other => format!("is not valid: {other}"),
    }
}

/// Why the other end does not want us, where an alert says so.
fn unwanted(alert: Alert) -> Option<&'static str> {
    Some(match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            "it wants a certificate; give `cert=` and `key=`"
        }
        Alert::UnknownCA => "our certificate is of no authority that it trusts",
        Alert::CertificateExpired => "our certificate has expired, or is not valid yet",
        Alert::CertificateRevoked => "our certificate is revoked",
        Alert::UnsupportedCertificate => "our certificate is not made for this",
        Alert::BadCertificate | Alert::CertificateUnknown => "it does not accept our certificate",
        Alert::UnrecognisedName => "it has no certificate for that name",
        Alert::AccessDenied => "access is denied",
        _ => return None,
    })
}
