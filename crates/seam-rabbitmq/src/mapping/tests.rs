//! Any datagram, as properties and back; any properties, as a datagram.

use bytes::Bytes;
use lapin::protocol::basic::{gen_properties, parse_properties};
use lapin::types::{DecimalValue, ShortString};
use proptest::prelude::*;
use seam_core::{Datagram, Envelope, Error, Id, Timestamp, Value};

use super::*;

mod any;
mod foreign;
mod once_more;
mod ours;

fn encoded(datagram: &Datagram) -> BasicProperties {
    encode(datagram.view(), now(), usize::MAX).unwrap()
}

/// What arrives of a datagram, on the wire between.
fn received(datagram: &Datagram) -> read::Received {
    let body = datagram.payload_bytes().unwrap_or_default();
    decode(&through_bytes(&encoded(datagram)), body, "", "queue")
}

fn decoded(properties: &BasicProperties) -> read::Received {
    decode(&through_bytes(properties), Bytes::from("body"), "", "queue")
}

#[track_caller]
fn check_kept(datagram: &Datagram) {
    let received = received(datagram);
    assert_eq!(received.datagram, *datagram, "{:?}", encoded(datagram));
    assert_eq!(received.datagram.envelope(), datagram.envelope());
    assert!(received.natives.is_empty(), "{:?}", received.natives);
}

/// The bytes as lapin writes them into a frame.
fn wire(properties: &BasicProperties) -> Vec<u8> {
    gen_properties(properties)(Vec::new().into()).unwrap().write
}

fn through_bytes(properties: &BasicProperties) -> BasicProperties {
    let wire = wire(properties);
    let (rest, parsed) = parse_properties(&wire[..]).unwrap();
    assert_eq!(rest, b"");
    parsed
}

fn now() -> Timestamp {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

fn millis(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), value);
    }
    BasicProperties::default().with_headers(table)
}

fn entry<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn long_long(number: i64) -> AMQPValue {
    AMQPValue::LongLongInt(number)
}
