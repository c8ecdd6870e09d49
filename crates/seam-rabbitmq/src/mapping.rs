//! How a datagram becomes AMQP 0-9-1 properties beside a body, and those a datagram.
//!
//! Native first: a property for each field that has one, a header for each other field and for each header of the
//! datagram, and the payload, unaltered, as the body. What AMQP cannot say, such as the order of headers or that a
//! number is unsigned, goes into one more header, [`SLOT`](name::SLOT), which the [`binary`](seam_core::binary) form of
//! core fills. Pure functions: no client, no socket, no clock.
//!
//! The slot lists *all* headers of the datagram, or none where the table alone tells them exactly. Each is a list with
//! its value; or an empty one where its value in the table stands; or an empty text or empty bytes where that stands and
//! is of this kind. So what a foreign program adds disturbs nothing, and what it takes away stays away.
//!
//! A stream converts to AMQP 1.0 and back, which drops lists and maps and confuses bytes with text. So lists, maps, long
//! texts and bytes that may be text never count as exact.

mod again;
mod entry;
mod name;
mod read;
mod size;
mod value;
mod write;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

pub(crate) use again::again;
pub(crate) use read::decode;
pub(crate) use size::{FRAME_BYTES, size};
pub(crate) use write::encode;

/// The properties with the number by which their publisher knows them again when they are returned.
///
/// Adds at most [`PUBLISH_ID_BYTES`] to their [`size()`]. Copies the table if there is one.
pub(crate) fn with_publish_id(properties: BasicProperties, id: i64) -> BasicProperties {
    let mut table = properties.headers().clone().unwrap_or_default();
    table.insert(name::PUBLISH.into(), AMQPValue::LongLongInt(id));
    properties.with_headers(table)
}

/// The number that [`with_publish_id`] gave them.
pub(crate) fn publish_id(properties: &BasicProperties) -> Option<i64> {
    let table: &FieldTable = properties.headers().as_ref()?;
    table.inner().get(name::PUBLISH)?.as_long_long_int()
}

/// What [`with_publish_id`] adds: its name and value with their lengths and type, and the length of a new table.
pub(crate) const PUBLISH_ID_BYTES: usize = 1 + name::PUBLISH.len() + 1 + 8 + 4;

/// The delivery mode that outlives the broker.
const PERSISTENT: u8 = 2;

#[cfg(test)]
mod tests;
