//! The headers of a record that was read. `rdkafka` has them too, but panics on a name that is not UTF-8, which any
//! program may write.

use std::ffi::CStr;
use std::ptr;

use rdkafka::bindings::{
    rd_kafka_header_get_all, rd_kafka_headers_t, rd_kafka_message_headers,
    rd_kafka_resp_err_t as Answer,
};
use rdkafka::message::BorrowedMessage;

/// A header of a record.
pub(crate) type Header<'a> = (&'a str, Option<&'a [u8]>);

/// The headers of `message`, in their order. One whose name is not UTF-8 is left out: it is no field, and a header of
/// a datagram cannot have such a name.
#[allow(unsafe_code, reason = "rdkafka has no way to read a header that does not panic")]
pub(crate) fn headers<'a>(message: &'a BorrowedMessage<'_>) -> Vec<Header<'a>> {
    let mut list: *mut rd_kafka_headers_t = ptr::null_mut();
    // SAFETY: the pointer is that of the message, which `message` keeps alive; the call sets `list` to a list that
    // belongs to the message, or fails where it has none.
    let answer = unsafe { rd_kafka_message_headers(message.ptr(), &raw mut list) };
    if answer != Answer::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Vec::new();
    }
    let mut headers = Vec::new();
    for at in 0.. {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: `list` was given by the call above for a message that is still borrowed; the call fails behind the
        // last header, else it sets all three.
        let answer = unsafe {
            rd_kafka_header_get_all(list, at, &raw mut name, &raw mut value, &raw mut size)
        };
        if answer != Answer::RD_KAFKA_RESP_ERR_NO_ERROR {
            break;
        }
        // SAFETY: librdkafka ends each name at a NUL, and keeps it as long as the message.
        let name = unsafe { CStr::from_ptr(name) };
        let value = (!value.is_null()).then(|| {
            // SAFETY: it is not null, so it is `size` bytes, which are kept as long as the message.
            unsafe { std::slice::from_raw_parts(value.cast::<u8>(), size) }
        });
        headers.extend(name.to_str().ok().map(|name| (name, value)));
    }
    headers
}
