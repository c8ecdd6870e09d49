//! What the slot has for each header.

use bytes::Bytes;
use seam_core::Value;

use super::value;

/// The entry of a header, whose native form is in the table, or not.
pub(super) fn of(value: &Value, is_in_table: bool) -> Value {
    match value {
        _ if is_in_table && value::survives(value) => Value::List(Vec::new()),
        Value::Text(_) if is_in_table => Value::Text("".into()),
        Value::Bytes(_) if is_in_table => Value::Bytes(Bytes::new()),
        _ => Value::List(vec![value.clone()]),
    }
}

/// The value of the header that has this entry; `table` takes it from there.
pub(super) fn value(entry: &Value, table: impl FnOnce() -> Option<Value>) -> Option<Value> {
    match entry {
        Value::List(entry) => entry.first().cloned().or_else(table),
        Value::Text(_) => table().map(as_text),
        Value::Bytes(_) => table().map(as_bytes),
        _ => None,
    }
}

fn as_text(value: Value) -> Value {
    match value {
        Value::Bytes(bytes) => value::text(&bytes),
        other => other,
    }
}

fn as_bytes(value: Value) -> Value {
    match value {
        Value::Text(text) => Value::Bytes(Bytes::from(text.into_boxed_bytes())),
        other => other,
    }
}
