//! From a datagram to its tree.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::tree::{Object, Tree};
use crate::{Envelope, Id, Timestamp, Value, View};

pub(super) fn fields(view: View<'_>) -> Object<'_> {
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
    } = view.envelope();
    let fields = [
        ("tag", (view.tag() != 0).then(|| Tree::I64(view.tag().into()))),
        ("payload", Some(view.payload().map_or(Tree::Null, bytes))),
        ("id", id.as_ref().map(name_of)),
        ("key", key.as_deref().map(bytes)),
        ("kind", text(kind)),
        ("content_type", text(content_type)),
        ("content_encoding", text(content_encoding)),
        ("time", moment(time)),
        ("expiry", moment(expiry)),
        ("deliver_at", moment(deliver_at)),
        ("priority", priority.map(|priority| Tree::I64(priority.into()))),
        ("correlation_id", correlation_id.as_deref().map(bytes)),
        ("reply_to", reply_to.as_deref().map(bytes)),
        ("headers", (!headers.is_empty()).then(|| pairs(headers))),
    ];
    fields.into_iter().filter_map(|(name, tree)| Some((name.into(), tree?))).collect()
}

fn bytes(bytes: &[u8]) -> Tree<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Tree::Text(text.into()),
        Err(_) => Tree::form("base64", STANDARD.encode(bytes)),
    }
}

fn text(text: &Option<Box<str>>) -> Option<Tree<'_>> {
    text.as_deref().map(|text| Tree::Text(text.into()))
}

fn moment(time: &Option<Timestamp>) -> Option<Tree<'_>> {
    time.map(|time| Tree::Text(time.to_string().into()))
}

fn name_of(id: &Id) -> Tree<'_> {
    match id.as_text() {
        Some(text) => Tree::Text(text.into()),
        None => Tree::form("bytes", id.to_string()),
    }
}

fn pairs(pairs: &[(Box<str>, Value)]) -> Tree<'_> {
    let pair = pairs.iter().map(|(name, item)| vec![Tree::Text((&**name).into()), value(item)]);
    Tree::List(pair.map(Tree::List).collect())
}

fn value(value: &Value) -> Tree<'_> {
    match value {
        Value::Null => Tree::Null,
        Value::Bool(value) => Tree::Bool(*value),
        Value::I64(value) => Tree::I64(*value),
        Value::U64(value) => Tree::form("u64", value.to_string()),
        Value::F64(value) if value.is_finite() => Tree::F64(*value),
        Value::F64(value) => Tree::form("f64", format!("{:016x}", value.to_bits())),
        Value::Text(text) => Tree::Text((&**text).into()),
        Value::Bytes(bytes) => Tree::form("bytes", STANDARD.encode(bytes)),
        Value::Time(time) => Tree::form("time", time.to_string()),
        Value::List(items) => Tree::List(items.iter().map(self::value).collect()),
        Value::Map(items) => Tree::Object(vec![("map".into(), pairs(items))]),
    }
}
