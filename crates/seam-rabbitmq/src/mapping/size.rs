//! How many bytes properties take on the wire.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

/// The bytes of `properties` in a content header frame: flags, properties and table.
///
/// The frame has [`FRAME_BYTES`] around them.
pub(crate) fn size(properties: &BasicProperties) -> usize {
    let texts = [
        properties.content_type(),
        properties.content_encoding(),
        properties.correlation_id(),
        properties.reply_to(),
        properties.expiration(),
        properties.message_id(),
        properties.kind(),
        properties.user_id(),
        properties.app_id(),
        properties.cluster_id(),
    ];
    let texts = texts.into_iter().flatten().map(|text| 1 + text.as_str().len());
    let narrow = [properties.delivery_mode(), properties.priority()];
    2 + texts.sum::<usize>()
        + narrow.into_iter().flatten().count()
        + properties.timestamp().map_or(0, |_| 8)
        + properties.headers().as_ref().map_or(0, table)
}

/// The rest of a content header frame: its own header and end, class, weight and length of the body.
pub(crate) const FRAME_BYTES: usize = 7 + 1 + 2 + 2 + 8;

fn table(table: &FieldTable) -> usize {
    let entries = table.into_iter().map(|(name, held)| 1 + name.as_str().len() + value(held));
    4 + entries.sum::<usize>()
}

fn value(value: &AMQPValue) -> usize {
    1 + match value {
        AMQPValue::Void => 0,
        AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
        AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
        AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
        AMQPValue::DecimalValue(_) => 5,
        AMQPValue::LongLongInt(_) | AMQPValue::Double(_) | AMQPValue::Timestamp(_) => 8,
        AMQPValue::ShortString(text) => 1 + text.as_str().len(),
        AMQPValue::LongString(text) => 4 + text.len(),
        AMQPValue::ByteArray(bytes) => 4 + bytes.len(),
        AMQPValue::FieldArray(items) => 4 + items.as_slice().iter().map(self::value).sum::<usize>(),
        AMQPValue::FieldTable(pairs) => table(pairs),
    }
}
