//! Spans and events, by the names of OpenTelemetry's conventions for messaging
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>).
//!
//! Batches, not datagrams, are what is told: one event for each that is admitted, delivered or settled, at level
//! `TRACE`; a span for what a program does rarely, at `DEBUG`. Neither holds a payload, a value of a header or
//! a secret. Trace context travels in the headers `traceparent` and `tracestate`, which are the program's own.

use tracing::Span;

use crate::{Endpoint, Side};

/// What a batch goes through.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    Send,
    Receive,
    Settle,
}

/// Tells of `count` datagrams.
#[inline]
pub(crate) fn batch(endpoint: &Endpoint, operation: Operation, count: usize) {
    if !tracing::enabled!(tracing::Level::TRACE) {
        return;
    }
    let name = match operation {
        Operation::Send => "send",
        Operation::Receive => "receive",
        Operation::Settle => "settle",
    };
    tracing::trace!(
        messaging.system = endpoint.scheme(),
        messaging.destination.name = endpoint.address(),
        messaging.operation.name = name,
        messaging.operation.type = name,
        messaging.batch.message_count = count,
    );
}

/// The span of opening an endpoint.
pub(crate) fn open(endpoint: &Endpoint, side: Side) -> Span {
    tracing::debug_span!(
        "open",
        messaging.system = endpoint.scheme(),
        messaging.destination.name = endpoint.address(),
        seam.side = ?side,
    )
}

/// The span of a request and its reply.
pub(crate) fn request(endpoint: &Endpoint) -> Span {
    tracing::debug_span!(
        "request",
        messaging.system = endpoint.scheme(),
        messaging.destination.name = endpoint.address(),
        messaging.operation.name = "request",
        messaging.operation.type = "send",
    )
}

/// The span of a drain.
pub(crate) fn drain(endpoint: &Endpoint) -> Span {
    tracing::debug_span!(
        "drain",
        messaging.system = endpoint.scheme(),
        messaging.destination.name = endpoint.address(),
    )
}
