//! The records that were fetched, many at once, and as librdkafka has them.
//!
//! `rdkafka` hands them out one by one, each within an event of its own, which costs more than all the rest; and it
//! panics on a header whose name is not UTF-8, which any program may write. So the partitions of a client hand theirs
//! to a [`Queue`] of ours, and its polls bring what else there is to hear.

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_header_get_all, rd_kafka_headers_t,
    rd_kafka_message_destroy, rd_kafka_message_headers, rd_kafka_message_t,
    rd_kafka_message_timestamp, rd_kafka_queue_destroy, rd_kafka_queue_forward,
    rd_kafka_queue_get_partition, rd_kafka_queue_new, rd_kafka_queue_t,
    rd_kafka_resp_err_t as Answer, rd_kafka_timestamp_type_t as Whose,
};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::BorrowedMessage;
use seam_core::Timestamp;

use crate::inbox::Room;
use crate::rebalance::Client;

/// A queue that partitions hand their records to. It is to go before its client does, which [`Fetch`] sees to.
pub(crate) struct Queue(*mut rd_kafka_queue_t);

// SAFETY: librdkafka locks its queues, so that any thread may use them.
#[allow(unsafe_code, reason = "a pointer of librdkafka, which is used by any thread")]
unsafe impl Send for Queue {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "a pointer of librdkafka, which is used by any thread")]
unsafe impl Sync for Queue {}

impl Queue {
    #[allow(unsafe_code, reason = "rdkafka makes no queues")]
    fn new(client: &Client) -> Self {
        // SAFETY: the pointer is that of a client that is borrowed, so it lives. The answer is never null.
        Self(unsafe { rd_kafka_queue_new(client.client().native_ptr()) })
    }

    /// Has this partition of `client`, whose queue this is, hand its records over here. To be called before it is
    /// assigned, or some have gone elsewhere.
    #[allow(unsafe_code, reason = "rdkafka forwards the queue of a partition nowhere")]
    pub(crate) fn collect(&self, client: &Client, topic: &str, partition: i32) {
        let Ok(topic) = CString::new(topic) else { return };
        let client = client.client().native_ptr();
        // SAFETY: the client is borrowed and the name ends at a NUL; the answer is null or a handle of our own.
        let records = unsafe { rd_kafka_queue_get_partition(client, topic.as_ptr(), partition) };
        if records.is_null() {
            return;
        }
        // SAFETY: both queues are of this client and live; the first is a handle that nothing else uses, and is
        // destroyed once. The queues themselves are counted.
        unsafe {
            rd_kafka_queue_forward(records, self.0);
            rd_kafka_queue_destroy(records);
        }
    }
}

impl Drop for Queue {
    #[allow(unsafe_code, reason = "made here")]
    fn drop(&mut self) {
        // SAFETY: it was made in `new`, and its client still lives.
        unsafe { rd_kafka_queue_destroy(self.0) }
    }
}

/// What a client fetched.
pub(crate) struct Fetch<'a> {
    queue: Arc<Queue>,
    read: Vec<Message>,
    /// Bytes of the largest record of the last read.
    largest: usize,
    client: PhantomData<&'a Client>,
}

impl<'a> Fetch<'a> {
    /// Nothing yet: each partition is [collected](Queue::collect) when it is assigned.
    pub(crate) fn new(client: &'a Client) -> Self {
        let queue = Arc::new(Queue::new(client));
        client.context().records.get_or_init(|| Arc::downgrade(&queue));
        Self { queue, read: Vec::new(), largest: 0, client: PhantomData }
    }

    /// Shows `each` some of what is there, in order by partition, up to `room`: where records are larger than those
    /// before, up to [`AT_ONCE`] of them may lie across. Waits for the first, no longer than `wait`. What there was,
    /// with at least a byte for each, since that is what a failure counts.
    pub(crate) fn read(
        &mut self,
        room: Room,
        wait: Duration,
        mut each: impl FnMut(Result<Record<'_>, Code>),
    ) -> Room {
        let fit = room.bytes / self.largest.max(1) + 1;
        // librdkafka waits until it has as many as it was asked for, so it is asked to wait for one.
        if !wait.is_zero() {
            self.take(1, wait);
        }
        self.take(room.records.min(fit).min(AT_ONCE), Duration::ZERO);
        let mut taken = Room { records: self.read.len(), bytes: 0 };
        self.largest = 0;
        for message in self.read.drain(..) {
            let record = message.record();
            let size = record.as_ref().map_or(1, |record| record.size().max(1));
            self.largest = self.largest.max(size);
            taken.bytes += size;
            each(record);
        }
        taken
    }

    /// Adds to what is read until that is `most`.
    #[allow(unsafe_code, reason = "rdkafka reads records one by one")]
    fn take(&mut self, most: usize, wait: Duration) {
        let millis = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let room = most.saturating_sub(self.read.len());
        self.read.reserve(room);
        let into = self.read.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: the queue lives as long as we have it, and `into` has room for so many pointers.
        let count = unsafe { rd_kafka_consume_batch_queue(self.queue.0, millis, into, room) };
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: so many pointers were written behind the others, none of them null, and each message is ours now.
        unsafe { self.read.set_len(self.read.len() + count) };
    }
}

/// A message that is ours to destroy. A pointer and nothing more, so that librdkafka can fill a list of them.
#[repr(transparent)]
struct Message(*mut rd_kafka_message_t);

impl Message {
    /// The record in it, unless it tells of a failure.
    fn record(&self) -> Result<Record<'_>, Code> {
        let record = Record(self.0, PhantomData);
        match record.fields().err {
            Answer::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(record),
            error => Err(error.into()),
        }
    }
}

impl Drop for Message {
    #[allow(unsafe_code, reason = "made by librdkafka")]
    fn drop(&mut self) {
        // SAFETY: it is ours, and nothing that was borrowed from it is left.
        unsafe { rd_kafka_message_destroy(self.0) }
    }
}

/// A record as librdkafka has it.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a>(*mut rd_kafka_message_t, PhantomData<&'a Message>);

/// A header of a record.
pub(crate) type Header<'a> = (&'a str, Option<&'a [u8]>);

impl<'a> Record<'a> {
    /// A message that a client handed out by itself.
    pub(crate) fn of(message: &'a BorrowedMessage<'_>) -> Self {
        Self(message.ptr(), PhantomData)
    }

    #[allow(unsafe_code, reason = "made by librdkafka")]
    fn fields(self) -> &'a rd_kafka_message_t {
        // SAFETY: the message lives as long as it is borrowed, and these fields are never changed.
        unsafe { &*self.0 }
    }

    pub(crate) fn partition(self) -> i32 {
        self.fields().partition
    }

    pub(crate) fn offset(self) -> i64 {
        self.fields().offset
    }

    #[allow(unsafe_code, reason = "made by librdkafka")]
    pub(crate) fn key(self) -> Option<&'a [u8]> {
        // SAFETY: librdkafka keeps it as long as the message, and says how long it is.
        unsafe { bytes(self.fields().key.cast(), self.fields().key_len) }
    }

    #[allow(unsafe_code, reason = "made by librdkafka")]
    pub(crate) fn payload(self) -> Option<&'a [u8]> {
        // SAFETY: as of the key.
        unsafe { bytes(self.fields().payload.cast(), self.fields().len) }
    }

    /// Bytes of its key and its payload.
    fn size(self) -> usize {
        self.fields().key_len + self.fields().len
    }

    /// The time of the record, by the name that Kafka has for whose it is.
    #[allow(unsafe_code, reason = "rdkafka reads it of messages of its own only")]
    pub(crate) fn time(self) -> Option<(&'static str, Timestamp)> {
        let mut whose = Whose::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives as long as it is borrowed, and the call reads two fields of it.
        let millis = unsafe { rd_kafka_message_timestamp(self.0, &raw mut whose) };
        let name = match whose {
            Whose::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => return None,
            Whose::RD_KAFKA_TIMESTAMP_CREATE_TIME => "CreateTime",
            Whose::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => "LogAppendTime",
        };
        Some((name, Timestamp::from_millis(millis).ok()?))
    }

    /// The headers, in their order. One whose name is not UTF-8 is left out: it is no field, and a header of a
    /// datagram cannot have such a name.
    #[allow(unsafe_code, reason = "rdkafka has no way to read a header that does not panic")]
    pub(crate) fn headers(self) -> Vec<Header<'a>> {
        let mut list: *mut rd_kafka_headers_t = ptr::null_mut();
        // SAFETY: the message lives as long as it is borrowed; the call sets `list` to a list that belongs to the
        // message, or fails where it has none.
        let answer = unsafe { rd_kafka_message_headers(self.0, &raw mut list) };
        if answer != Answer::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Vec::new();
        }
        let mut headers = Vec::new();
        for at in 0.. {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            // SAFETY: `list` was given by the call above for a message that is still borrowed; the call fails behind
            // the last header, else it sets all three.
            let answer = unsafe {
                rd_kafka_header_get_all(list, at, &raw mut name, &raw mut value, &raw mut size)
            };
            if answer != Answer::RD_KAFKA_RESP_ERR_NO_ERROR {
                break;
            }
            // SAFETY: librdkafka ends each name at a NUL, and keeps it as long as the message.
            let name = unsafe { CStr::from_ptr(name) };
            // SAFETY: and so it does with each value, and says how long it is.
            let value = unsafe { bytes(value.cast(), size) };
            headers.extend(name.to_str().ok().map(|name| (name, value)));
        }
        headers
    }
}

/// `length` bytes from `start` on; null is none.
///
/// # Safety
///
/// They are there as long as `'a`, unless `start` is null.
#[allow(unsafe_code, reason = "made by librdkafka")]
unsafe fn bytes<'a>(start: *const u8, length: usize) -> Option<&'a [u8]> {
    // SAFETY: it is not null, so the caller says that they are there.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start, length) })
}

/// Records that are read together at most.
const AT_ONCE: usize = 64;
