//! Datagrams of every kind, and that their JSON and binary forms lose nothing.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use seam_core::{Datagram, Envelope, Id, Timestamp, Value, binary, json};

/// Any datagram; fields are absent, empty and filled alike.
pub(crate) fn datagrams() -> impl Strategy<Value = Datagram> {
    (any::<u16>(), option::of(payloads()), envelopes()).prop_map(|(tag, payload, envelope)| {
        let datagram = payload.map_or_else(Datagram::empty, Datagram::new);
        datagram.with_tag(tag).with_envelope(envelope)
    })
}

/// Any envelope.
pub(crate) fn envelopes() -> impl Strategy<Value = Envelope> {
    let names = (option::of(ids()), option::of(blobs()), option::of(texts()));
    let contents = (option::of(texts()), option::of(texts()));
    let times = (option::of(times()), option::of(times()), option::of(times()));
    let replies = (option::of(any::<u8>()), option::of(blobs()), option::of(blobs()));
    (names, contents, times, replies, headers()).prop_map(
        |(names, contents, times, replies, headers)| {
            let mut envelope = Envelope::default();
            (envelope.id, envelope.key, envelope.kind) = names;
            (envelope.content_type, envelope.content_encoding) = contents;
            (envelope.time, envelope.expiry, envelope.deliver_at) = times;
            (envelope.priority, envelope.correlation_id, envelope.reply_to) = replies;
            envelope.headers = headers;
            envelope
        },
    )
}

/// Headers in which names come twice, are empty, and are this library's own.
pub(crate) fn headers() -> impl Strategy<Value = Vec<(Box<str>, Value)>> {
    let name =
        prop_oneof![Just("twice".into()), Just("".into()), Just("seam-attempt".into()), texts()];
    vec((name, values()), 0..6)
}

/// A value of every kind, plain and nested.
pub(crate) fn values() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![any::<i64>(), -70_i64..70, Just(i64::MIN)].prop_map(Value::I64),
        prop_oneof![any::<u64>(), 0_u64..300, Just(u64::MAX)].prop_map(Value::U64),
        floats().prop_map(Value::F64),
        texts().prop_map(Value::Text),
        blobs().prop_map(Value::Bytes),
        times().prop_map(Value::Time),
    ];
    plain.prop_recursive(6, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            vec((prop_oneof![Just("twice".into()), texts()], inner), 0..4).prop_map(Value::Map),
        ]
    })
}

/// Every bit pattern: NaNs with their payload, infinities, both zeros, subnormal numbers.
fn floats() -> impl Strategy<Value = f64> {
    let special = prop::sample::select(vec![
        0.0,
        -0.0,
        1.0,
        1e16,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0001),
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
    ]);
    prop_oneof![special, any::<u64>().prop_map(f64::from_bits)]
}

fn payloads() -> impl Strategy<Value = Bytes> {
    let around_inline = vec(any::<u8>(), Datagram::INLINE - 1..=Datagram::INLINE + 1);
    prop_oneof![blobs(), around_inline.prop_map(Bytes::from)]
}

/// Bytes that are UTF-8, and bytes that are not.
fn blobs() -> impl Strategy<Value = Bytes> {
    let text = texts().prop_map(|text| Bytes::from(text.into_string()));
    prop_oneof![text, vec(any::<u8>(), 0..40).prop_map(Bytes::from)]
}

/// Text with control characters, quotes and characters beyond the first plane.
fn texts() -> impl Strategy<Value = Box<str>> {
    let special = prop::sample::select(vec!["", "\0", "\"\\/", "\r\n\u{2028}", "\u{1f600}é"]);
    prop_oneof![special.prop_map(Into::into), ".{0,12}".prop_map(Into::into)]
}

fn ids() -> impl Strategy<Value = Id> {
    let text = prop_oneof!["[ -~]{1,128}", "\\PC{1,32}"];
    // Text that looks like the other form must stay text.
    let hex = "[0-9a-f]{32}";
    prop_oneof![
        prop_oneof![text, hex].prop_map(|text| Id::text(text).expect("1 to 128 bytes")),
        any::<[u8; 16]>().prop_map(Id::bytes),
    ]
}

fn times() -> impl Strategy<Value = Timestamp> {
    let range = Timestamp::MIN.as_millis()..=Timestamp::MAX.as_millis();
    let edge = prop::sample::select(vec![Timestamp::MIN, Timestamp::MAX]);
    prop_oneof![edge, range.prop_map(|millis| Timestamp::from_millis(millis).expect("in range"))]
}

proptest! {
    #[test]
    fn json_loses_nothing_in_one_line(datagram in datagrams()) {
        let line = json::encode(datagram.view());
        prop_assert_eq!(line.lines().count(), 1);
        prop_assert_eq!(json::decode(&line).unwrap(), datagram);
    }

    #[test]
    fn binary_loses_nothing(datagram in datagrams()) {
        let mut whole = Vec::new();
        binary::encode(datagram.view(), &mut whole);
        prop_assert_eq!(binary::decode(&whole).unwrap(), datagram);
    }

    #[test]
    fn binary_loses_nothing_with_its_payload_apart(datagram in datagrams()) {
        let mut slot = Vec::new();
        binary::encode_envelope(datagram.view(), &mut slot);
        let apart = datagram.payload_bytes().unwrap_or_default();
        prop_assert_eq!(binary::decode_with(&slot, apart).unwrap(), datagram);
    }

    #[test]
    fn any_text_is_read_as_json_or_refused_in_one_line(text in "\\PC{0,60}|[\\[{:,\"}\\]a-z0-9]{0,60}") {
        check_refused_in_one_line(json::decode(&text))?;
    }

    #[test]
    fn json_with_any_character_replaced_is_read_or_refused_in_one_line(
        datagram in datagrams(), place: prop::sample::Index, put: char
    ) {
        let mut characters: Vec<char> = json::encode(datagram.view()).chars().collect();
        *place.get_mut(&mut characters) = put;
        check_refused_in_one_line(json::decode(&String::from_iter(characters)))?;
    }

    /// With the right checksum, so that what lies behind it is reached.
    #[test]
    fn any_bytes_have_one_binary_form_or_are_refused(
        tail in prop_oneof![vec(any::<u8>(), 0..60), vec(0_u8..15, 0..60)], form in 0_u8..4
    ) {
        check_one_form([&[1, form, 0, 7][..], &tail].concat())?;
    }

    #[test]
    fn binary_with_any_byte_replaced_has_one_form_or_is_refused(
        datagram in datagrams(), place: prop::sample::Index, put: u8
    ) {
        let mut content = Vec::new();
        binary::encode(datagram.view(), &mut content);
        content.truncate(content.len() - 4);
        *place.get_mut(&mut content) = put;
        check_one_form(content)?;
    }

    #[test]
    fn any_bytes_never_panic(bytes in vec(any::<u8>(), 0..60)) {
        check_refused_in_one_line(binary::decode(&bytes))?;
    }
}

/// What is read must be written again byte for byte.
fn check_one_form(mut content: Vec<u8>) -> Result<(), TestCaseError> {
    content.extend(crc32fast::hash(&content).to_be_bytes());
    let read = binary::decode(&content);
    if let Ok(datagram) = &read {
        let mut again = Vec::new();
        binary::encode(datagram.view(), &mut again);
        prop_assert_eq!(again, content);
    }
    check_refused_in_one_line(read)
}

fn check_refused_in_one_line(read: seam_core::Result<Datagram>) -> Result<(), TestCaseError> {
    if let Err(error) = read {
        prop_assert_eq!(error.to_string().lines().count(), 1, "{}", error);
    }
    Ok(())
}
