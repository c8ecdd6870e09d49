//! From a datagram to bytes.

use super::{VERSION, code};
use crate::{Envelope, Timestamp, Value, View};

pub(super) fn datagram(view: View<'_>, with_payload: bool, into: &mut Vec<u8>) {
    let start = into.len();
    let (form, here) = match view.payload() {
        None => (code::NONE, None),
        Some([]) => (code::EMPTY, None),
        Some(payload) if with_payload => (code::HERE, Some(payload)),
        Some(_) => (code::APART, None),
    };
    into.extend([VERSION, form]);
    into.extend(view.tag().to_be_bytes());
    if let Some(payload) = here {
        bytes(payload, into);
    }
    fields(view.envelope(), into);
    let checksum = crc32fast::hash(&into[start..]);
    into.extend(checksum.to_be_bytes());
}

fn fields(envelope: &Envelope, into: &mut Vec<u8>) {
    // Taken apart whole, so that a field added to the envelope cannot be forgotten here.
    let Envelope {
        id,
        key,
        kind,
        content_type,
        content_encoding,
        time,
        expiry,
        deliver_at,
        priority,
        correlation_id,
        reply_to,
        headers,
    } = envelope;
    if let Some(id) = id {
        field(code::ID_TEXT, id.as_text(), into, |id, into| bytes(id.as_bytes(), into));
        field(code::ID_BYTES, id.as_bytes(), into, |id, into| into.extend(id));
    }
    let put_text = |text: &str, into: &mut Vec<u8>| bytes(text.as_bytes(), into);
    field(code::KEY, key.as_deref(), into, bytes);
    field(code::KIND, kind.as_deref(), into, put_text);
    field(code::CONTENT_TYPE, content_type.as_deref(), into, put_text);
    field(code::CONTENT_ENCODING, content_encoding.as_deref(), into, put_text);
    field(code::TIME, *time, into, moment);
    field(code::EXPIRY, *expiry, into, moment);
    field(code::DELIVER_AT, *deliver_at, into, moment);
    field(code::PRIORITY, *priority, into, |priority, into| into.push(priority));
    field(code::CORRELATION_ID, correlation_id.as_deref(), into, bytes);
    field(code::REPLY_TO, reply_to.as_deref(), into, bytes);
    let headers = Some(&headers[..]).filter(|headers| !headers.is_empty());
    field(code::HEADERS, headers, into, pairs);
}

fn field<T>(code: u8, value: Option<T>, into: &mut Vec<u8>, put: impl FnOnce(T, &mut Vec<u8>)) {
    if let Some(value) = value {
        into.push(code);
        put(value, into);
    }
}

pub(super) fn bytes(bytes: &[u8], into: &mut Vec<u8>) {
    length(bytes.len(), into);
    into.extend(bytes);
}

fn moment(time: Timestamp, into: &mut Vec<u8>) {
    signed(time.as_millis(), into);
}

fn pairs(pairs: &[(Box<str>, Value)], into: &mut Vec<u8>) {
    length(pairs.len(), into);
    for (name, item) in pairs {
        bytes(name.as_bytes(), into);
        value(item, into);
    }
}

fn value(value: &Value, into: &mut Vec<u8>) {
    match value {
        Value::Null => into.push(code::NULL),
        Value::Bool(value) => into.push(if *value { code::TRUE } else { code::FALSE }),
        Value::I64(value) => field(code::I64, Some(*value), into, signed),
        Value::U64(value) => field(code::U64, Some(*value), into, number),
        Value::F64(value) => {
            field(code::F64, Some(value.to_be_bytes()), into, |bits, into| into.extend(bits));
        }
        Value::Text(text) => field(code::TEXT, Some(text.as_bytes()), into, bytes),
        Value::Bytes(content) => field(code::BYTES, Some(&content[..]), into, bytes),
        Value::Time(time) => field(code::MOMENT, Some(*time), into, moment),
        Value::List(items) => {
            into.push(code::LIST);
            length(items.len(), into);
            items.iter().for_each(|item| self::value(item, into));
        }
        Value::Map(items) => field(code::MAP, Some(&items[..]), into, pairs),
    }
}

fn length(length: usize, into: &mut Vec<u8>) {
    number(u64::try_from(length).expect("no memory holds more than 2^64 bytes"), into);
}

/// Zigzag, so that small negative numbers are short too.
fn signed(number: i64, into: &mut Vec<u8>) {
    self::number((number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned(), into);
}

fn number(mut number: u64, into: &mut Vec<u8>) {
    while number > 0x7f {
        into.push(0x80 | number.to_le_bytes()[0]);
        number >>= 7;
    }
    into.push(number.to_le_bytes()[0]);
}
