//! Values of headers, as AMQP has them.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::types::{AMQPValue, DecimalValue, FieldTable, MAX_SHORT_STRING_LENGTH, ShortString};
use seam_core::{Timestamp, Value, binary};

/// How a foreign program reads it; `None` where AMQP has no such value.
pub(super) fn native(value: &Value) -> Option<AMQPValue> {
    Some(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::I64(value) => AMQPValue::LongLongInt(*value),
        Value::U64(value) => AMQPValue::LongLongInt(i64::try_from(*value).ok()?),
        // RabbitMQ cannot parse the others: Erlang has none.
        Value::F64(value) => AMQPValue::Double(value.is_finite().then_some(*value)?),
        Value::Text(value) => AMQPValue::LongString(value.as_bytes().into()),
        Value::Bytes(value) => AMQPValue::ByteArray(value[..].into()),
        Value::Time(value) => AMQPValue::Timestamp(whole_seconds(*value)?),
        Value::List(items) => {
            let items: Option<Vec<_>> = items.iter().map(native).collect();
            AMQPValue::FieldArray(items?.into())
        }
        Value::Map(pairs) => AMQPValue::FieldTable(table(pairs)?),
        _ => return None,
    })
}

/// Of names that come twice, the first counts.
fn table(pairs: &[(Box<str>, Value)]) -> Option<FieldTable> {
    let mut table = BTreeMap::new();
    for (name, value) in pairs {
        let name = ShortString::try_new(&**name).ok()?;
        table.entry(name).or_insert(native(value)?);
    }
    Some(table.into())
}

/// Whether the native form alone tells what it was, after a stream too.
pub(super) fn survives(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::I64(_) => true,
        Value::F64(value) => value.is_finite(),
        Value::Text(text) => text.len() <= MAX_SHORT_STRING_LENGTH,
        Value::Bytes(bytes) => std::str::from_utf8(bytes).is_err(),
        Value::Time(value) => is_whole(*value),
        _ => false,
    }
}

/// What it is here. Narrow numbers widen; a decimal is text; what nests too deep for the slot is null.
pub(super) fn read(value: &AMQPValue) -> Value {
    read_at(value, 0)
}

fn read_at(value: &AMQPValue, depth: usize) -> Value {
    match value {
        AMQPValue::Boolean(value) => Value::Bool(*value),
        AMQPValue::ShortShortInt(value) => Value::I64((*value).into()),
        AMQPValue::ShortInt(value) => Value::I64((*value).into()),
        AMQPValue::LongInt(value) => Value::I64((*value).into()),
        AMQPValue::LongLongInt(value) => Value::I64(*value),
        AMQPValue::ShortShortUInt(value) => Value::U64((*value).into()),
        AMQPValue::ShortUInt(value) => Value::U64((*value).into()),
        AMQPValue::LongUInt(value) => Value::U64((*value).into()),
        AMQPValue::Float(value) => Value::F64((*value).into()),
        AMQPValue::Double(value) => Value::F64(*value),
        AMQPValue::DecimalValue(value) => Value::from(decimal(*value)),
        AMQPValue::ShortString(value) => Value::from(value.as_str()),
        AMQPValue::LongString(value) => text(value.as_bytes()),
        AMQPValue::ByteArray(value) => Value::Bytes(Bytes::copy_from_slice(value.as_slice())),
        AMQPValue::Timestamp(value) => time(*value).map_or(Value::U64(*value), Value::Time),
        AMQPValue::FieldArray(items) if depth < DEEPEST => {
            let items = items.as_slice().iter();
            Value::List(items.map(|item| read_at(item, depth + 1)).collect())
        }
        AMQPValue::FieldTable(pairs) if depth < DEEPEST => {
            let pairs = pairs.into_iter();
            let pair = |(name, value): (&ShortString, &AMQPValue)| {
                (name.as_str().into(), read_at(value, depth + 1))
            };
            Value::Map(pairs.map(pair).collect())
        }
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) | AMQPValue::Void => Value::Null,
    }
}

/// A whole number of any width.
pub(super) fn whole<T: TryFrom<i64>>(value: &AMQPValue) -> Option<T> {
    let whole = match *value {
        AMQPValue::ShortShortInt(value) => value.into(),
        AMQPValue::ShortShortUInt(value) => value.into(),
        AMQPValue::ShortInt(value) => value.into(),
        AMQPValue::ShortUInt(value) => value.into(),
        AMQPValue::LongInt(value) => value.into(),
        AMQPValue::LongUInt(value) => value.into(),
        AMQPValue::LongLongInt(value) => value,
        _ => return None,
    };
    T::try_from(whole).ok()
}

/// The time of a native timestamp, if it is before the year 10000.
pub(super) fn time(seconds: u64) -> Option<Timestamp> {
    let millis = i64::try_from(seconds).ok()?.checked_mul(1_000)?;
    Timestamp::from_millis(millis).ok()
}

/// The native timestamp of a time, if it is not before 1970; parts of a second are lost.
pub(super) fn whole_seconds(time: Timestamp) -> Option<u64> {
    Some(u64::try_from(time.as_millis()).ok()? / 1_000)
}

/// Whether a native timestamp alone tells the time.
pub(super) fn is_whole(time: Timestamp) -> bool {
    time.as_millis() >= 0 && time.as_millis() % 1_000 == 0
}

/// Text where it is UTF-8.
pub(super) fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => Value::Bytes(Bytes::copy_from_slice(bytes)),
    }
}

/// All its digits: 1.50 has a scale of 2 and a value of 150.
fn decimal(decimal: DecimalValue) -> String {
    let scale = usize::from(decimal.scale);
    let mut digits = format!("{:0>width$}", decimal.value, width = scale + 1);
    if scale > 0 {
        digits.insert(digits.len() - scale, '.');
    }
    digits
}

/// The slot wraps each value once more.
const DEEPEST: usize = binary::MAX_DEPTH - 1;
