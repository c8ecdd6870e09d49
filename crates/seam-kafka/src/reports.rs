//! What the client of a producer tells: the fate of each datagram, and whether a broker answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use seam_core::{Event, Fate};

use crate::failure;
use crate::producer::Producer;

/// The name of the state in the client's statistics that is `Assigned` once it has its number.
const STATE: &[u8] = b"idemp_state";

/// Hears what becomes of each datagram, on the thread that polls.
pub(crate) struct Reports(Arc<Producer>);

impl Reports {
    pub(crate) fn new(producer: Arc<Producer>) -> Self {
        Self(producer)
    }
}

impl ClientContext for Reports {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    /// The only place where the client tells that it has its number.
    fn stats_raw(&self, statistics: &[u8]) {
        let is_ready = || {
            let mut fields =
                statistics.split(|byte| *byte == b'"').skip_while(|text| *text != STATE);
            // Behind the name come what parts it from its value, and the value.
            fields.nth(2) == Some(b"Assigned")
        };
        if !self.0.ready.load(Ordering::Acquire) && is_ready() {
            self.0.ready.store(true, Ordering::Release);
            self.0.bell.ring();
        }
    }

    fn error(&self, error: KafkaError, _: &str) {
        if error.rdkafka_error_code() == Some(Code::AllBrokersDown)
            && self.0.connected.swap(false, Ordering::Relaxed)
        {
            let reason = failure::error(&self.0.endpoint, error).to_string();
            self.0.events.emit(Event::Disconnected { reason });
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let Ok(number) = u64::try_from(number) else { return };
        let result = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, message)) => Err((fate(message), self.0.broken(error.clone()))),
        };
        self.0.report(number, result);
    }
}

/// How far a datagram had come that failed: `NotSent` only where the client says that no broker was given it.
#[allow(unsafe_code, reason = "rdkafka has no way to ask for the status of a message")]
fn fate(message: &BorrowedMessage<'_>) -> Fate {
    use rdkafka::bindings::{rd_kafka_message_status, rd_kafka_msg_status_t as Status};
    // SAFETY: the pointer is that of the message of a delivery report, which `message` keeps alive for as long as it
    // is borrowed, and the call reads one field of it.
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    match status {
        Status::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Fate::NotSent,
        _ => Fate::MaybeSent,
    }
}
