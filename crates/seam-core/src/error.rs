//! What can go wrong, told so that a caller can act on it.

use std::sync::Arc;
use std::time::Duration;

use crate::{Capability, Datagram};

/// Any error of a native client, kept as the cause. Shared, since one cause may fail many datagrams.
pub type Cause = Arc<dyn std::error::Error + Send + Sync + 'static>;

/// The result of most operations of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed. Act on the variant, never on the text.
///
/// `Display` is one line: what is wrong, then what to do about it. It never shows a secret;
/// [`source`](std::error::Error::source) leads to the native cause.
///
/// ```
/// use seam_core::{Error, Registry, Memory};
///
/// let registry = Registry::new().with(Memory::new());
/// let error = registry.endpoint("memroy://orders").unwrap_err();
/// assert!(matches!(error, Error::UnknownScheme { .. }));
/// assert!(!error.is_retryable());
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URI, or a value in it, is malformed.
    #[error("invalid endpoint: {reason}")]
    InvalidEndpoint {
        /// What is wrong and what would be right, in one line without secrets.
        reason: String,
    },

    /// No transport of this registry answers to the scheme, and it is none of ours.
    #[error("no transport for `{scheme}://`; this registry has {known}")]
    UnknownScheme {
        /// The scheme of the URI.
        scheme: String,
        /// The schemes that are registered, and the nearest one if there is one.
        known: String,
    },

    /// The scheme is one of ours, but its transport is not part of this program.
    #[error(
        "`{scheme}://` is not compiled in or not registered; build with feature `{feature}` of seam-channel"
    )]
    NotCompiledIn {
        /// The scheme of the URI.
        scheme: String,
        /// The feature of the facade that brings it.
        feature: &'static str,
    },

    /// The endpoint does not promise what was asked of it.
    #[error("{endpoint} does not support {capability}; {remedy}")]
    Unsupported {
        /// The endpoint, without secrets.
        endpoint: String,
        /// What is missing.
        capability: Capability,
        /// What would provide it.
        remedy: String,
    },

    /// An argument cannot be carried as it stands. Nothing was sent.
    #[error("invalid {what}: {reason}")]
    Invalid {
        /// The field or argument.
        what: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },

    /// A datagram or one of its fields is over a limit of the endpoint. Nothing was sent.
    #[error("{what} of {size} is over the limit of {limit}; split it, or send a reference to it")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// The size that was given.
        size: usize,
        /// The most that this endpoint accepts.
        limit: usize,
    },

    /// The datagram expired before it was admitted. Nothing was sent.
    #[error("expired before it was sent; give `expiry` more room or send earlier")]
    Expired,

    /// What the endpoint names does not exist, and may not or cannot be created.
    #[error("{what} does not exist; {remedy}")]
    NotFound {
        /// What is missing, without secrets.
        what: String,
        /// How to get it.
        remedy: String,
    },

    /// What exists differs from what the endpoint asks for.
    #[error("{what} has {found}, but the endpoint asks for {wanted}; change one of them")]
    Mismatch {
        /// The queue, topic or setting.
        what: String,
        /// The value found.
        found: String,
        /// The value asked for.
        wanted: String,
    },

    /// Authentication or authorisation failed.
    #[error("access to {endpoint} denied: {reason}")]
    Denied {
        /// The endpoint, without secrets.
        endpoint: String,
        /// Who refused what.
        reason: String,
    },

    /// The peer or broker cannot be reached, or went away.
    #[error("lost connection to {endpoint}: {source}")]
    Disconnected {
        /// The endpoint, without secrets.
        endpoint: String,
        /// What the native client reported.
        source: Cause,
    },

    /// The other side does not speak the protocol, or broke it.
    #[error("protocol error with {endpoint}: {reason}")]
    Protocol {
        /// The endpoint, without secrets.
        endpoint: String,
        /// What was seen, and what was expected.
        reason: String,
    },

    /// The operation did not finish in its time.
    #[error("{operation} did not finish within {after:?}; {remedy}")]
    TimedOut {
        /// What was waited for.
        operation: &'static str,
        /// How long it was waited for.
        after: Duration,
        /// The parameter that allows more, or what to look at.
        remedy: &'static str,
    },

    /// The caller gave up before the receipt came.
    #[error("given up before its receipt came; send it again if it is still wanted")]
    Withdrawn,

    /// There is no room now, and the call was asked not to wait.
    #[error("no credit now; wait with `send`, or try again later")]
    Full,

    /// The broker has nowhere to put the datagram.
    #[error("{endpoint} routes it nowhere: {reason}")]
    Unroutable {
        /// The endpoint, without secrets.
        endpoint: String,
        /// What the broker said.
        reason: String,
    },

    /// The broker or peer refused this datagram, and would refuse it again.
    #[error("{endpoint} refused it: {reason}")]
    Rejected {
        /// The endpoint, without secrets.
        endpoint: String,
        /// What the other side said.
        reason: String,
    },

    /// The connection was drained, closed or dropped.
    #[error("the connection to {endpoint} is closed; open a new one")]
    Closed {
        /// The endpoint, without secrets.
        endpoint: String,
    },

    /// The session ended abnormally; what it carried is redelivered or given back.
    #[error("the session with {endpoint} was lost: {settled} settled, {unsettled} not")]
    SessionLost {
        /// The endpoint, without secrets.
        endpoint: String,
        /// Datagrams whose outcome is known.
        settled: u64,
        /// Datagrams whose outcome is not known.
        unsettled: u64,
    },

    /// The delivery is no longer ours to settle; it goes, or went, to somebody else.
    #[error("the lease on this delivery was lost; it is delivered again")]
    LeaseLost,

    /// Whoever asked is gone; the reply went nowhere.
    #[error("the requester is gone; its request was acknowledged and the reply dropped")]
    RequesterGone,

    /// The calls made so far exclude this one.
    #[error("{what}; {remedy}")]
    Misuse {
        /// What was done.
        what: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },

    /// Anything that only the native client can explain.
    #[error("{endpoint}: {source}")]
    Native {
        /// The endpoint, without secrets.
        endpoint: String,
        /// Whether the native client calls it passing.
        retryable: bool,
        /// What the native client reported.
        source: Cause,
    },
}

impl Error {
    /// Whether the same call, unchanged, may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        // No `_` arm: a new variant must take a side.
        match self {
            Self::Disconnected { .. }
            | Self::TimedOut { .. }
            | Self::Withdrawn
            | Self::Full
            | Self::Unroutable { .. }
            | Self::SessionLost { .. } => true,
            Self::Native { retryable, .. } => *retryable,
            Self::InvalidEndpoint { .. }
            | Self::UnknownScheme { .. }
            | Self::NotCompiledIn { .. }
            | Self::Unsupported { .. }
            | Self::Invalid { .. }
            | Self::TooLarge { .. }
            | Self::Expired
            | Self::NotFound { .. }
            | Self::Mismatch { .. }
            | Self::Denied { .. }
            | Self::Protocol { .. }
            | Self::Rejected { .. }
            | Self::Closed { .. }
            | Self::LeaseLost
            | Self::RequesterGone
            | Self::Misuse { .. } => false,
        }
    }

    /// An [`Error::InvalidEndpoint`] with this reason, which must not hold a secret.
    pub fn invalid_endpoint(reason: impl Into<String>) -> Self {
        Self::InvalidEndpoint { reason: reason.into() }
    }

    /// An [`Error::Disconnected`] from `endpoint`, for this cause.
    pub fn disconnected(
        endpoint: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Disconnected { endpoint: endpoint.into(), source: Arc::from(cause.into()) }
    }

    /// An [`Error::Invalid`] about the field or argument `what`.
    pub fn invalid(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { what, reason: reason.into() }
    }
}

/// How far a datagram that failed had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// A proof: nobody else has seen, or will see, a byte of it.
    NotSent,
    /// Any doubt: it may have arrived, and may still arrive.
    MaybeSent,
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotSent => "not sent",
            Self::MaybeSent => "maybe sent",
        })
    }
}

/// A datagram that was not receipted, given back with its [`Fate`] and the cause.
///
/// One pointer wide, so that a result costs nothing while all goes well. Made into an [`Error`], as `?` does
/// in a function that returns one, it keeps the cause alone: the datagram and its fate are lost.
#[derive(Debug)]
pub struct SendError(Box<Unsent>);

#[derive(Debug)]
struct Unsent {
    datagram: Datagram,
    fate: Fate,
    error: Error,
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0.fate, self.0.error)
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0.error)
    }
}

impl SendError {
    /// Gives `datagram` back with what is known of it.
    #[must_use]
    pub fn new(datagram: Datagram, fate: Fate, error: Error) -> Self {
        Self(Box::new(Unsent { datagram, fate, error }))
    }

    /// How far it had come.
    #[must_use]
    pub fn fate(&self) -> Fate {
        self.0.fate
    }

    /// Why it failed.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.error
    }

    /// The same, for another reason.
    pub(crate) fn because(mut self, error: Error) -> Self {
        self.0.error = error;
        self
    }

    /// The datagram, as it was handed over.
    #[must_use]
    pub fn datagram(&self) -> &Datagram {
        &self.0.datagram
    }

    /// Takes it apart, to send the datagram again or to keep it.
    #[must_use]
    pub fn into_parts(self) -> (Datagram, Fate, Error) {
        let Unsent { datagram, fate, error } = *self.0;
        (datagram, fate, error)
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        error.0.error
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_datagram_given_back_says_its_cause_once() {
        let error = SendError::new(Datagram::new("x"), Fate::NotSent, Error::Full);
        let cause = error.source().unwrap();
        assert!(matches!(cause.downcast_ref(), Some(Error::Full)));
        assert_eq!(error.to_string(), format!("not sent: {cause}"));
        assert!(cause.source().is_none());
        assert_eq!(size_of::<SendError>(), size_of::<usize>());
    }
}
