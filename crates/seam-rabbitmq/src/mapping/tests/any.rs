//! Properties that hold for whatever comes.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::sample::select;

use super::*;

proptest! {
    #[test]
    fn any_datagram_comes_back_as_it_was(datagram in datagrams()) {
        check_kept(&datagram);
    }

    #[test]
    fn any_datagram_survives_one_more_publishing(datagram in datagrams(), attempts: u32, id: i64) {
        let numbered = with_publish_id(encoded(&datagram), id);
        let again = through_bytes(&again(&through_bytes(&numbered), attempts));
        let received = decode(&again, datagram.payload_bytes().unwrap_or_default(), "", "");
        prop_assert_eq!(received.datagram, datagram);
        prop_assert_eq!(received.attempts, attempts);
    }

    #[test]
    fn any_foreign_delivery_has_a_datagram_that_goes_on_unchanged(
        properties in foreign(),
        body in vec(any::<u8>(), 0..3),
    ) {
        let datagram = decode(&properties, body.into(), "orders", "new").datagram;
        check_kept(&datagram);
    }

    #[test]
    fn any_size_is_that_on_the_wire(properties in foreign(), datagram in datagrams(), id: i64) {
        prop_assert_eq!(size(&properties), wire(&properties).len());
        let ours = encoded(&datagram);
        prop_assert_eq!(size(&ours), wire(&ours).len());
        let numbered = with_publish_id(ours.clone(), id);
        prop_assert!(size(&numbered) <= size(&ours) + PUBLISH_ID_BYTES);
        prop_assert_eq!(publish_id(&through_bytes(&numbered)), Some(id));
    }

    #[test]
    fn any_limit_is_kept_to_the_byte(datagram in datagrams()) {
        let size = size(&encoded(&datagram));
        prop_assert!(encode(datagram.view(), now(), size).is_ok());
        let refused = encode(datagram.view(), now(), size - 1).is_err();
        prop_assert_eq!(refused, size > 3, "a plain datagram has 3 bytes and needs no check");
    }
}

fn times() -> impl Strategy<Value = Timestamp> {
    let (first, last) = (Timestamp::MIN.as_millis(), Timestamp::MAX.as_millis());
    let soon = now().as_millis();
    let time = prop_oneof![
        first..=last,
        (0..=last / 1_000).prop_map(|seconds| seconds * 1_000),
        soon - 5_000..soon + 5_000_000_000,
        select(vec![first, -1_000, -1, 0, 1, 999, 1_000, last]),
    ];
    time.prop_map(millis)
}

fn values() -> impl Strategy<Value = Value> {
    let floats = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE];
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(Value::U64),
        (0..5_u64).prop_map(Value::U64),
        any::<u64>().prop_map(|bits| Value::F64(f64::from_bits(bits))),
        select(floats.to_vec()).prop_map(Value::F64),
        any::<String>().prop_map(|text| Value::Text(text.into())),
        vec(any::<u8>(), 0..9).prop_map(|bytes| Value::Bytes(bytes.into())),
        "[a-z]{0,3}".prop_map(|text| Value::Bytes(text.into_bytes().into())),
        times().prop_map(Value::Time),
    ];
    plain.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::List),
            vec((names(), inner), 0..3).prop_map(Value::Map),
        ]
    })
}

/// Mostly few names, so that they meet; those of fields, of this library and of the broker too.
fn names() -> impl Strategy<Value = Box<str>> {
    let taken = name::TAKEN.into_iter().chain(name::OF_BROKER).chain(name::OF_BROKER_FROM);
    let ours = [name::SLOT, name::TAG, name::NONE, name::ATTEMPT, name::PUBLISH, "seam-origin"];
    let name = prop_oneof![
        4 => "[abc]".boxed(),
        1 => ".{0,6}".boxed(),
        1 => select(taken.collect::<Vec<_>>()).prop_map(str::to_owned).boxed(),
        1 => select(ours.to_vec()).prop_map(str::to_owned).boxed(),
        1 => (250..260_usize).prop_map(|length| "n".repeat(length)).boxed(),
    ];
    name.prop_map(String::into_boxed_str)
}

fn ids() -> impl Strategy<Value = Id> {
    prop_oneof![
        "[a-zä]{1,60}".prop_map(|text| Id::text(text).unwrap()),
        any::<[u8; 16]>().prop_map(Id::bytes),
    ]
}

fn texts() -> impl Strategy<Value = Box<str>> {
    let long = (250..260_usize).prop_map(|length| "ß".repeat(length / 2) + &"x".repeat(length % 2));
    let text = prop_oneof![3 => any::<String>().boxed(), 1 => long.boxed()];
    text.prop_map(String::into_boxed_str)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        vec(any::<u8>(), 0..80).prop_map(Bytes::from),
        texts().prop_map(|text| Bytes::copy_from_slice(text.as_bytes())),
    ]
}

fn datagrams() -> impl Strategy<Value = Datagram> {
    let (text, time) = (|| option::of(texts()), || option::of(times()));
    let tag = prop_oneof![Just(0), any::<u16>()];
    let first = (tag, option::of(bytes()), option::of(ids()), option::of(bytes()));
    let second = (text(), text(), text(), time(), time(), time());
    let headers = vec((names(), values()), 0..6);
    let third = (option::of(any::<u8>()), option::of(bytes()), option::of(bytes()), headers);
    (first, second, third).prop_map(|(first, second, third)| {
        let mut envelope = Envelope::default();
        let (tag, payload);
        (tag, payload, envelope.id, envelope.key) = first;
        (
            envelope.kind,
            envelope.content_type,
            envelope.content_encoding,
            envelope.time,
            envelope.expiry,
            envelope.deliver_at,
        ) = second;
        (envelope.priority, envelope.correlation_id, envelope.reply_to, envelope.headers) = third;
        let datagram = payload.map_or_else(Datagram::empty, Datagram::new);
        datagram.with_tag(tag).with_envelope(envelope)
    })
}

/// Properties that any program may write.
fn foreign() -> impl Strategy<Value = BasicProperties> {
    let text = || option::of(shorts());
    let first = (text(), text(), option::of(tables()), option::of(any::<u8>()));
    let second = (option::of(any::<u8>()), text(), text(), text(), text());
    let third = (option::of(any::<u64>()), text(), text(), text(), text());
    (first, second, third).prop_map(|(first, second, third)| {
        let mut properties = BasicProperties::default();
        macro_rules! set {
            ($from:expr; $($with:ident),*) => {{
                let ($($with),*) = $from;
                $(if let Some(value) = $with {
                    properties = properties.$with(value);
                })*
            }};
        }
        set!(first; with_content_type, with_content_encoding, with_headers, with_delivery_mode);
        set!(second; with_priority, with_correlation_id, with_reply_to, with_expiration,
            with_message_id);
        set!(third; with_timestamp, with_type, with_user_id, with_app_id, with_cluster_id);
        properties
    })
}

fn shorts() -> impl Strategy<Value = ShortString> {
    let text = prop_oneof!["", "[0-9]{1,4}", ".{1,6}", "x{200,255}"];
    text.prop_map(|text| ShortString::try_new(text).unwrap())
}

fn tables() -> impl Strategy<Value = FieldTable> {
    let name = names().prop_filter_map("long", |name| ShortString::try_new(name).ok());
    btree_map(name, held(), 0..8).prop_map(FieldTable::from)
}

fn held() -> impl Strategy<Value = AMQPValue> {
    let mut slot = Vec::new();
    let inside = Datagram::empty().with_header("b", Value::List(vec![])).with_header("a", "bare");
    seam_core::binary::encode_envelope(inside.view(), &mut slot);
    let whole = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
    ];
    let plain = prop_oneof![
        4 => whole,
        1 => any::<f32>().prop_map(AMQPValue::Float),
        1 => any::<u64>().prop_map(|bits| AMQPValue::Double(f64::from_bits(bits))),
        1 => any::<(u8, u32)>().prop_map(|(scale, value)| {
            AMQPValue::DecimalValue(DecimalValue { scale, value })
        }),
        1 => vec(any::<u8>(), 0..9).prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        2 => times().prop_map(|time| long(&time.to_string())),
        1 => any::<u64>().prop_map(AMQPValue::Timestamp),
        1 => vec(any::<u8>(), 0..9).prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
        1 => Just(AMQPValue::ByteArray(slot.into())),
        1 => Just(AMQPValue::Void),
    ];
    plain.prop_recursive(3, 12, 3, |inner| {
        let pairs = btree_map(shorts(), inner.clone(), 0..3);
        prop_oneof![
            vec(inner, 0..3).prop_map(|items| AMQPValue::FieldArray(items.into())),
            pairs.prop_map(|pairs: BTreeMap<_, _>| AMQPValue::FieldTable(pairs.into())),
        ]
    })
}
