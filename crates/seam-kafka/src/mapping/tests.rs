//! Any datagram, as a record and back; any record, as a datagram.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn through(datagram: &Datagram) -> Datagram {
    let view = datagram.view();
    let headers = headers(view);
    let headers = headers.iter().map(|(name, value)| (&**name, value.as_deref()));
    super::datagram(view.key(), view.payload(), headers)
}

fn times() -> impl Strategy<Value = Timestamp> {
    let (first, last) = (Timestamp::MIN.as_millis(), Timestamp::MAX.as_millis());
    (first..=last).prop_map(|millis| Timestamp::from_millis(millis).unwrap())
}

fn values() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(Value::U64),
        any::<u64>().prop_map(|bits| Value::F64(f64::from_bits(bits))),
        any::<String>().prop_map(|text| Value::Text(text.into())),
        vec(any::<u8>(), 0..9).prop_map(|bytes| Value::Bytes(bytes.into())),
        "[a-z]{0,3}".prop_map(|text| Value::Bytes(text.into_bytes().into())),
        times().prop_map(Value::Time),
    ];
    plain.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::List),
            vec(("[ab]{1,2}".prop_map(Into::into), inner), 0..3).prop_map(Value::Map),
        ]
    })
}

/// Mostly few names, so that they meet; those of fields too.
fn names() -> impl Strategy<Value = Box<str>> {
    let taken = name::TAKEN.into_iter().chain([name::TAG, SLOT, "seam-origin", "nul\0here"]);
    let taken: Vec<&str> = taken.collect();
    let name = prop_oneof![
        "[ab]".boxed(),
        ".{1,6}".boxed(),
        proptest::sample::select(taken).prop_map(str::to_owned)
    ];
    name.prop_map(String::into_boxed_str)
}

fn ids() -> impl Strategy<Value = Id> {
    prop_oneof![
        "[a-zä]{1,60}".prop_map(|text| Id::text(text).unwrap()),
        any::<[u8; 16]>().prop_map(Id::bytes),
    ]
}

fn datagrams() -> impl Strategy<Value = Datagram> {
    let bytes = || option::of(vec(any::<u8>(), 0..80).prop_map(Bytes::from));
    let text = || option::of(any::<String>().prop_map(String::into_boxed_str));
    let first = (any::<u16>(), bytes(), option::of(ids()), bytes(), text(), text(), text());
    let second = (
        option::of(times()),
        option::of(times()),
        option::of(times()),
        option::of(any::<u8>()),
        bytes(),
        bytes(),
        vec((names(), values()), 0..6),
    );
    (first, second).prop_map(|(first, second)| {
        let mut envelope = Envelope::default();
        let (tag, payload);
        (
            tag,
            payload,
            envelope.id,
            envelope.key,
            envelope.kind,
            envelope.content_type,
            envelope.content_encoding,
        ) = first;
        (
            envelope.time,
            envelope.expiry,
            envelope.deliver_at,
            envelope.priority,
            envelope.correlation_id,
            envelope.reply_to,
            envelope.headers,
        ) = second;
        let datagram = payload.map_or_else(Datagram::empty, Datagram::new);
        datagram.with_tag(tag).with_envelope(envelope)
    })
}

/// Headers that any program may write.
fn records() -> impl Strategy<Value = Vec<(Box<str>, Option<Vec<u8>>)>> {
    let value = prop_oneof![
        vec(any::<u8>(), 0..20).boxed(),
        "[0-9]{1,6}".prop_map(String::into_bytes).boxed(),
        Just(b"2026-01-31T12:00:00Z".to_vec()).boxed(),
    ];
    vec((names(), option::of(value)), 0..8)
}

proptest! {
    #[test]
    fn any_datagram_comes_back_as_it_was(datagram in datagrams()) {
        prop_assert_eq!(through(&datagram), datagram);
    }

    #[test]
    fn any_foreign_record_has_a_datagram_that_goes_on_unchanged(headers in records()) {
        let read = headers.iter().map(|(name, value)| (&**name, value.as_deref()));
        let datagram = super::datagram(None, Some(b"body"), read);
        prop_assert_eq!(through(&datagram), datagram);
    }
}

#[test]
fn a_plain_datagram_has_no_headers() {
    assert!(headers(Datagram::new("x").view()).is_empty());
    assert!(headers(Datagram::new("x").with_key("k").view()).is_empty());
}

#[test]
fn a_foreign_program_reads_fields_and_numbers() {
    let datagram = Datagram::new("{}")
        .with_kind("shop.Order")
        .with_header("try", 2_u64)
        .with_header("late", false);
    let headers = headers(datagram.view());
    let read = |wanted: &str| {
        let found = headers.iter().find(|(name, _)| name == wanted);
        found.and_then(|(_, value)| value.as_deref())
    };
    assert_eq!(read("kind"), Some(&b"shop.Order"[..]));
    assert_eq!(read("try"), Some(&b"2"[..]));
    assert_eq!(read("late"), Some(&b"false"[..]));
}

#[test]
fn a_header_that_a_foreign_program_puts_between_disturbs_nothing() {
    let datagram = Datagram::new("{}").with_header("a", "1").with_header("b", 2_u64);
    let mut written = headers(datagram.view());
    written.insert(0, (Cow::Borrowed("traceparent"), Some(Cow::Borrowed(b"00-4b"))));
    let read = written.iter().map(|(name, value)| (&**name, value.as_deref()));
    let arrived = super::datagram(None, Some(b"{}"), read);
    let expected = Datagram::new("{}")
        .with_header("traceparent", "00-4b")
        .with_header("a", "1")
        .with_header("b", 2_u64);
    assert_eq!(arrived, expected);
}
