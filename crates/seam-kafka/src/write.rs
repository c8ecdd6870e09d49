//! Records on their way to librdkafka, many at once where they have nothing but a key and a payload: then it looks at
//! the clock and for the topic once for all of them. `rdkafka` writes them one by one.

use std::ffi::CString;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::ptr;

use rdkafka::bindings::{
    RD_KAFKA_MSG_F_COPY, RD_KAFKA_MSG_F_PARTITION, rd_kafka_message_t, rd_kafka_produce_batch,
    rd_kafka_resp_err_t as Answer, rd_kafka_topic_destroy, rd_kafka_topic_new, rd_kafka_topic_t,
};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::Producer as _;
use seam_core::View;
use smallvec::SmallVec;

use crate::producer::Client;

/// The topic that a client writes to. It is to go before its client does.
pub(crate) struct Sink {
    topic: *mut rd_kafka_topic_t,
    name: CString,
}

// SAFETY: librdkafka locks its topics, so that any thread may use them.
#[allow(unsafe_code, reason = "a pointer of librdkafka, which any thread may use")]
unsafe impl Send for Sink {}

impl Sink {
    /// The topic `name` of `client`; `None` where none can have such a name.
    #[allow(unsafe_code, reason = "rdkafka has no topics")]
    pub(crate) fn new(client: &Client, name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        let client = client.client().native_ptr();
        // SAFETY: the client is borrowed, so it lives, and the name ends at a NUL. Without settings of its own the
        // topic has those of the client.
        let topic = unsafe { rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()) };
        (!topic.is_null()).then_some(Self { topic, name })
    }

    /// Whether it is the topic of this name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.as_bytes() == name.as_bytes()
    }
}

impl Drop for Sink {
    #[allow(unsafe_code, reason = "made here")]
    fn drop(&mut self) {
        // SAFETY: it was made in `new`, and its client still lives.
        unsafe { rd_kafka_topic_destroy(self.topic) }
    }
}

/// Records that are written together.
#[derive(Default)]
pub(crate) struct Lot<'a> {
    records: SmallVec<[rd_kafka_message_t; FULL]>,
    borrowed: PhantomData<View<'a>>,
}

impl<'a> Lot<'a> {
    /// Adds the key and the payload of `view`, to be reported by `number`; the client chooses the partition by the key
    /// where there is `None`.
    pub(crate) fn push(&mut self, view: View<'a>, partition: Option<i32>, number: usize) {
        let (payload, len) = parts(view.payload());
        let (key, key_len) = parts(view.key());
        self.records.push(rd_kafka_message_t {
            err: Answer::RD_KAFKA_RESP_ERR_NO_ERROR,
            rkt: ptr::null_mut(),
            partition: partition.unwrap_or(ANY),
            payload: payload.cast_mut().cast(),
            len,
            key: key.cast_mut().cast(),
            key_len,
            offset: 0,
            _private: ptr::without_provenance_mut(number),
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether it is to be written before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= FULL
    }

    /// Writes all of it, and tells `each` in order what became of them, with their sizes in bytes, until it has heard
    /// enough: behind a queue that is full nothing was taken.
    #[allow(unsafe_code, reason = "rdkafka writes records one by one")]
    pub(crate) fn write(
        &mut self,
        sink: &Sink,
        mut each: impl FnMut(Result<(), Code>, usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let flags = RD_KAFKA_MSG_F_COPY | RD_KAFKA_MSG_F_PARTITION;
        let count = i32::try_from(self.records.len()).unwrap_or(i32::MAX);
        // SAFETY: the sink lives; there are `count` records, what they point to is borrowed from views that still
        // are, and is copied.
        unsafe {
            rd_kafka_produce_batch(sink.topic, ANY, flags, self.records.as_mut_ptr(), count);
        }
        self.records.drain(..).try_for_each(|record| {
            let outcome = match record.err {
                Answer::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
                error => Err(error.into()),
            };
            each(outcome, record.len + record.key_len)
        })
    }
}

/// Where it is and how long it is, as C has it.
fn parts(bytes: Option<&[u8]>) -> (*const u8, usize) {
    bytes.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr(), bytes.len()))
}

/// No partition in particular.
const ANY: i32 = -1;

/// Records that are written together at most.
const FULL: usize = 32;
