//! What errors of QUIC mean.

use std::io;

use quinn::{ConnectionError, ReadError, WriteError};
use seam_certificates::{End, of_alert};
use seam_core::Error;

/// Why a connection is not made, or was lost.
pub(crate) fn error(endpoint: &str, end: End, error: &ConnectionError) -> Error {
    let refused = match error {
        ConnectionError::TransportError(error) => alert(u64::from(error.code))
            .and_then(|alert| of_alert(endpoint, end, alert, Some(&error.reason))),
        ConnectionError::ConnectionClosed(close) => alert(u64::from(close.error_code))
            .and_then(|alert| of_alert(endpoint, end, alert, None)),
        ConnectionError::VersionMismatch => Some(Error::Protocol {
            endpoint: endpoint.to_owned(),
            reason: "the other end speaks no version of QUIC that is known here".to_owned(),
        }),
        _ => None,
    };
    refused.unwrap_or_else(|| Error::disconnected(endpoint, error.clone()))
}

/// The alert of TLS in a code of QUIC (RFC 9001, 4.8).
fn alert(code: u64) -> Option<u8> {
    u8::try_from(code.checked_sub(0x100)?).ok()
}

/// What a read that failed says, with the reason where it is a refusal: with TLS 1.3 whoever dialled believes to be in before
/// its certificate was looked at.
pub(crate) fn of_read(endpoint: &str, end: End, error: ReadError) -> io::Error {
    match error {
        ReadError::ConnectionLost(lost) => of_loss(endpoint, end, &lost),
        other => other.into(),
    }
}

/// The same of a write.
pub(crate) fn of_write(endpoint: &str, end: End, error: WriteError) -> io::Error {
    match error {
        WriteError::ConnectionLost(lost) => of_loss(endpoint, end, &lost),
        other => other.into(),
    }
}

fn of_loss(endpoint: &str, end: End, lost: &ConnectionError) -> io::Error {
    io::Error::other(error(endpoint, end, lost))
}
