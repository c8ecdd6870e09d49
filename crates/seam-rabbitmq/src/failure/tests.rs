//! What brokers, sockets and TLS say, in the words of the contract.

use lapin::protocol::AMQPError;

use super::*;

const ENDPOINT: &str = "rabbitmq://seam@h/orders";

/// What holds for each error.
#[track_caller]
fn line(error: Error) -> Error {
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.len() < 300, "a novel: {text}");
    for code in ["ACCESS_REFUSED", "NOT_FOUND", "PRECONDITION_FAILED", "NOT_ALLOWED"] {
        assert!(!text.contains(code), "a code for machines: {text}");
    }
    error
}

/// What a broker's `close` comes to.
#[track_caller]
fn said(code: u16, text: &str) -> Error {
    let error = AMQPError::from_id(code, text.into()).expect("a code of AMQP");
    line(super::error(ENDPOINT, &lapin::ErrorKind::ProtocolError(error).into()))
}

#[track_caller]
fn check(error: &Error, is_it: fn(&Error) -> bool, is_retryable: bool, parts: &[&str]) {
    let text = error.to_string();
    assert!(is_it(error), "{error:?}");
    assert_eq!(error.is_retryable(), is_retryable, "{text}");
    for part in parts {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
}

fn is_denied(error: &Error) -> bool {
    matches!(error, Error::Denied { .. })
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. })
}

fn is_mismatch(error: &Error) -> bool {
    matches!(error, Error::Mismatch { .. })
}

fn is_lost(error: &Error) -> bool {
    matches!(error, Error::Disconnected { .. })
}

fn is_rejected(error: &Error) -> bool {
    matches!(error, Error::Rejected { .. })
}

fn is_native(error: &Error) -> bool {
    matches!(error, Error::Native { .. })
}

#[test]
fn who_may_not_come_in_is_told_what_to_look_at() {
    let refused = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the \
                   broker logfile.";
    check(&said(403, refused), is_denied, false, &["the user or the password is wrong", "`sasl`"]);
    let vhost = "NOT_ALLOWED - access to vhost '/' refused for user 'nobody'";
    check(
        &said(530, vhost),
        is_denied,
        false,
        &["access to vhost '/'", "'nobody'", "set_permissions"],
    );
}

#[test]
fn a_right_that_is_missing_is_named_as_far_as_the_broker_tells() {
    // 4.0 names it, 3.10 does not.
    for right in ["configure", "write", "read"] {
        let text = format!(
            "ACCESS_REFUSED - {right} access to queue 'orders' in vhost '/' refused for user 'limited'"
        );
        check(&said(403, &text), is_denied, false, &[right, "`orders`", "set_permissions"]);
    }
    let text =
        "ACCESS_REFUSED - access to exchange 'events' in vhost '/' refused for user 'limited'";
    check(&said(403, text), is_denied, false, &["exchange 'events'", "set_permissions"]);
}

#[test]
fn what_is_absent_is_named() {
    for (kind, text) in [
        ("queue", "NOT_FOUND - no queue 'orders' in vhost '/'"),
        ("exchange", "NOT_FOUND - no exchange 'orders' in vhost '/'"),
    ] {
        let what = format!("the {kind} `orders`");
        check(&said(404, text), is_absent, false, &[&what, "declare=no"]);
    }
    check(&said(404, "NOT_FOUND - it went"), is_absent, false, &[ENDPOINT]);
    for text in ["NOT_ALLOWED - vhost shop not found", "NOT_ALLOWED - vhost 'shop' not found"] {
        check(&said(530, text), is_absent, false, &["the virtual host `shop`"]);
    }
}

#[test]
fn what_differs_is_named_with_both_values() {
    let text = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'orders' in vhost '/': received \
                'quorum' but current is 'classic'";
    let parts = ["queue `orders`", "x-queue-type=quorum", "x-queue-type=classic"];
    check(&said(406, text), is_mismatch, false, &parts);
    let text = "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'events' in vhost '/': received 'fanout' \
                but current is 'topic'";
    check(
        &said(406, text),
        is_mismatch,
        false,
        &["exchange `events`", "type=fanout", "type=topic"],
    );
    let text = "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'orders' in vhost '/': received none \
                but current is the value '5' of type 'signedint'";
    check(&said(406, text), is_mismatch, false, &["x-max-length=none", "x-max-length=5"]);
}

#[test]
fn what_the_broker_cuts_short_still_names_the_argument() {
    let text = format!(
        "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue '{}...",
        "x".repeat(187)
    );
    check(&said(406, &text), is_mismatch, false, &["x-queue-type"]);
    let difference = Difference::read(&text).unwrap();
    assert_eq!(difference.argument, "x-queue-type");
}

#[test]
fn other_preconditions_are_told_as_they_are() {
    let text = "PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'orders' in vhost '/' of queue type \
                rabbit_quorum_queue";
    check(&said(406, text), is_rejected, false, &["invalid arg 'x-max-priority'"]);
    let text = "PRECONDITION_FAILED - message size 200 is larger than configured max size 100";
    check(&said(406, text), is_rejected, false, &["larger than configured max size 100"]);
    let text = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 \
                ms. This timeout value can be configured, see consumers doc guide to learn more";
    check(&said(406, text), is_lost, true, &["`consumer_timeout`"]);
}

#[test]
fn a_queue_of_another_connection_is_denied() {
    let text = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It could be \
                originally declared on another connection or the exclusive property value does not match that of the \
                original declaration.";
    check(&said(405, text), is_denied, false, &["another connection alone", "'mine'"]);
}

#[test]
fn what_passes_is_retryable_and_what_does_not_is_not() {
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    check(&said(320, text), is_lost, true, &["the broker closed it", "'shutdown'"]);
    check(&said(311, "CONTENT_TOO_LARGE - x"), is_rejected, false, &[]);
    check(&said(541, "INTERNAL_ERROR"), is_native, true, &[]);
    check(&said(506, "RESOURCE_ERROR - no file descriptors"), is_native, true, &[]);
    for code in [501, 502, 503, 504, 505, 540] {
        check(&said(code, "UNEXPECTED_FRAME - x"), is_native, false, &[]);
    }
}

#[track_caller]
fn socket(error: io::Error) -> Error {
    line(super::error(ENDPOINT, &lapin::Error::from(error)))
}

#[test]
fn sockets_are_lost_connections_with_an_advice() {
    for (kind, part) in [
        (io::ErrorKind::ConnectionRefused, "nobody listens there"),
        (io::ErrorKind::TimedOut, "is the host up"),
        (io::ErrorKind::ConnectionAborted, "does it want TLS"),
        (io::ErrorKind::UnexpectedEof, "does it want TLS"),
        (io::ErrorKind::ConnectionReset, "reset"),
    ] {
        check(&socket(kind.into()), is_lost, true, &[part]);
    }
    let other = io::Error::other("the name of the host is not known; is it spelt right?");
    check(&socket(other), is_lost, true, &["is it spelt right"]);
}

#[test]
fn tls_says_what_is_wrong_with_whom() {
    use rustls::{AlertDescription, InvalidMessage, PeerMisbehaved};
    let certificate = rustls::Error::InvalidCertificate;
    for (error, part) in [
        (certificate(CertificateError::UnknownIssuer), "give its own by `ca=`"),
        (certificate(CertificateError::NotValidForName), "see `server_name=`"),
        (certificate(CertificateError::Expired), "has expired"),
        (certificate(CertificateError::BadSignature), "is not valid"),
        (rustls::Error::AlertReceived(AlertDescription::CertificateRequired), "(`cert=`)"),
        (rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType), "write `rabbitmq://`"),
        (
            rustls::Error::PeerMisbehaved(PeerMisbehaved::MessageInterleavedWithHandshakeMessage),
            "TLS",
        ),
    ] {
        let inner = io::Error::new(io::ErrorKind::InvalidData, error);
        // However deep it lies.
        let nested = io::Error::other(io::Error::other(inner));
        check(&socket(nested), is_lost, true, &[part]);
    }
}

#[test]
fn silence_and_what_is_no_amqp_are_told() {
    let silence = super::error(ENDPOINT, &lapin::ErrorKind::MissingHeartbeatError.into());
    check(&line(silence), is_lost, true, &["no sign of life", "`keep_alive`"]);
    check(&line(silent(ENDPOINT, "a new channel")), is_lost, true, &["no answer to a new channel"]);
    let state = lapin::ErrorKind::InvalidConnectionState(lapin::ConnectionState::Closed);
    check(&line(super::error(ENDPOINT, &state.into())), is_lost, true, &["the connection ended"]);
    let state = lapin::ErrorKind::InvalidChannelState(lapin::ChannelState::Closed, "x");
    check(&line(super::error(ENDPOINT, &state.into())), is_lost, true, &["the connection ended"]);
}

#[test]
fn what_a_broker_did_not_keep_may_be_sent_again() {
    check(&line(refused(ENDPOINT)), is_native, true, &["basic.nack", "send it again later"]);
}

#[test]
fn a_broker_that_hangs_up_may_want_another_certificate_where_one_is_shown() {
    let cut = || lapin::Error::from(io::Error::from(io::ErrorKind::ConnectionReset));
    let told = of_dialling("e", &cut(), true);
    assert!(told.is_retryable() && told.to_string().contains("(`cert=`)"), "{told}");
    assert!(!of_dialling("e", &cut(), false).to_string().contains("cert"));
    let refused = lapin::Error::from(io::Error::from(io::ErrorKind::ConnectionRefused));
    assert!(of_dialling("e", &refused, true).to_string().contains("nobody listens"));
}
