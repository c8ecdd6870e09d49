//! Datagrams as messages and back, and messages of foreign programs.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use seam_core::{Datagram, Error, Id, Timestamp, Value};

use super::*;

/// More than any test has.
const MUCH: usize = 1 << 20;

/// A message as SQS hands it out again: numbers rewritten, attributes in no order.
fn through_sqs(datagram: &Datagram, is_fifo: bool) -> Datagram {
    let written = encode(datagram.view(), is_fifo, MUCH).unwrap();
    check_legal(&written);
    let group = is_fifo.then(|| group(datagram.view(), "somebody"));
    let attributes = written.attributes.into_iter().collect();
    decode(written.body, attributes, group.as_deref())
}

fn check_legal(written: &Written) {
    assert!(text::is_legal(&written.body), "{:?}", written.body);
    assert!(written.attributes.len() <= MOST_ATTRIBUTES, "{:?}", written.attributes);
    let mut size = written.body.len();
    for (name, value) in &written.attributes {
        size += name.len() + value.data_type().len();
        size += match value {
            Attribute::Text(text) | Attribute::Number(text) => {
                assert!(text::is_legal(text), "{name}: {text:?}");
                text.len()
            }
            Attribute::Binary(bytes) => {
                assert!(!bytes.is_empty(), "{name}");
                bytes.len()
            }
        };
        assert!(!name.is_empty() && name.len() < 256 && name.is_ascii(), "{name}");
    }
    assert_eq!(size, written.size);
}

#[track_caller]
fn check_kept(datagram: &Datagram) {
    for is_fifo in [false, true] {
        let read = through_sqs(datagram, is_fifo);
        assert_eq!(read.payload(), datagram.payload(), "fifo: {is_fifo}");
        assert_eq!(read, *datagram, "fifo: {is_fifo}");
    }
}

fn written(datagram: &Datagram) -> (String, Attributes) {
    let written = encode(datagram.view(), false, MUCH).unwrap();
    (written.body, written.attributes.into_iter().collect())
}

fn text(value: &str) -> Attribute {
    Attribute::Text(value.to_owned())
}

#[test]
fn a_foreign_program_reads_text_fields_and_headers_as_they_are() {
    let mut datagram = Datagram::new("{\"apples\": 12}\r\n").with_tag(7).with_key("c-7");
    let envelope = datagram.envelope_mut();
    envelope.id = Some(Id::text("order-17").unwrap());
    envelope.content_type = Some("application/json".into());
    let datagram = datagram.with_header("source", "web").with_header("try", 2_i64);
    let (body, attributes) = written(&datagram);
    assert_eq!(body, "{\"apples\": 12}\r\n");
    assert_eq!(attributes["key"], text("c-7"));
    assert_eq!(attributes["id"], text("order-17"));
    assert_eq!(attributes["content-type"], text("application/json"));
    assert_eq!(attributes["source"], text("web"));
    assert_eq!(attributes["try"], Attribute::Number("2".to_owned()));
    assert_eq!(attributes["seam-tag"], Attribute::Number("7".to_owned()));
    check_kept(&datagram);
}

#[test]
fn a_plain_datagram_of_text_has_no_attributes() {
    let (body, attributes) = written(&Datagram::new("12 apples"));
    assert_eq!((body.as_str(), attributes.len()), ("12 apples", 0));
    let (_, attributes) = written(&Datagram::new("x").with_header("a", "1").with_header("b", "2"));
    assert_eq!(attributes.into_keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn what_sqs_forbids_travels_as_base64() {
    for payload in [&b"\x00"[..], b"\xff", b"a\x0bb", b"\x1b[0m", "\u{fffe}".as_bytes()] {
        let (body, attributes) = written(&Datagram::new(payload.to_vec()));
        assert_eq!(attributes["seam-body"], text("base64"), "{payload:?}");
        assert!(body.is_ascii());
        check_kept(&Datagram::new(payload.to_vec()));
    }
}

#[test]
fn an_empty_payload_differs_from_none_and_from_its_stand_in() {
    for datagram in [Datagram::new(""), Datagram::empty(), Datagram::new("-")] {
        check_kept(&datagram);
        check_kept(&datagram.with_key("k"));
    }
}

#[test]
fn headers_that_are_too_many_lose_nothing() {
    let many = (0..64).fold(Datagram::new("x"), |datagram, number| {
        datagram.with_header(format!("h{number}"), format!("v{number}"))
    });
    check_kept(&many);
    let (_, attributes) = written(&many);
    assert_eq!(attributes.len(), MOST_ATTRIBUTES);
    assert_eq!(attributes["h0"], text("v0"));
}

#[test]
fn what_a_tracer_adds_is_a_header_behind_ours() {
    let datagram = Datagram::new("x").with_header("b", "1").with_header("a", "2");
    let (body, mut attributes) = written(&datagram);
    attributes.insert("traceparent".to_owned(), text("00-4bf9-01"));
    attributes.remove("b");
    let read = decode(body, attributes, None);
    let headers = &read.envelope().headers;
    assert_eq!(headers.len(), 2, "what was taken away stays away: {headers:?}");
    assert_eq!(*headers[0].0, *"a");
    assert_eq!(headers[1], ("traceparent".into(), Value::from("00-4bf9-01")));
}

#[test]
fn whatever_a_foreign_program_writes_is_delivered() {
    let foreign = [
        ("seam-body", text("zip")),
        ("seam-envelope", Attribute::Binary(vec![1, 2, 3])),
        ("seam-tag", Attribute::Number("1e9".to_owned())),
        ("time", text("yesterday")),
        ("priority", text("high")),
        ("id", Attribute::Number("17".to_owned())),
        ("large", Attribute::Number("1234567890123456789012".to_owned())),
        ("price", Attribute::Number("1.50".to_owned())),
        ("blob", Attribute::Binary(vec![0, 1])),
    ];
    let attributes: Attributes =
        foreign.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let count = attributes.len();
    let read = decode("body".to_owned(), attributes, Some("group-1"));
    assert_eq!(read.payload(), Some(&b"body"[..]));
    assert_eq!(read.view().key(), Some(&b"group-1"[..]));
    assert_eq!(read.envelope().headers.len(), count);
    assert_eq!(read.view().header("id"), Some(&Value::I64(17)));
    assert_eq!(read.view().header("price"), Some(&Value::from("1.50")));
    check_kept(&read);
    let marked = [("seam-body".to_owned(), text("base64"))].into();
    assert_eq!(decode("no base64!".to_owned(), marked, None).payload(), Some(&b"no base64!"[..]));
}

#[test]
fn a_limit_is_kept_to_the_byte() {
    let datagram = Datagram::new("12 apples").with_header("a", "b");
    let size = encode(datagram.view(), false, MUCH).unwrap().size;
    assert_eq!(size, 9 + 1 + 6 + 1);
    assert!(encode(datagram.view(), false, size).is_ok());
    let refused = encode(datagram.view(), false, size - 1).unwrap_err();
    assert!(matches!(refused, Error::TooLarge { limit: 16, .. }), "{refused:?}");
}

#[test]
fn a_key_is_its_group_where_it_can_be() {
    let group = |key: &[u8]| group(Datagram::new("x").with_key(key.to_vec()).view(), "s");
    assert_eq!(group(b"customer-7"), "customer-7");
    assert_eq!(super::group(Datagram::new("x").view(), "s"), "seam-s");
    for odd in [&b""[..], b"two words", b"\xff", "ä".as_bytes(), b"seam-s", &[b'k'; 129]] {
        let group = group(odd);
        assert!(group.starts_with("seam-key-") && group.len() == 41, "{group}");
    }
    assert_ne!(group(b"a b"), group(b"a  b"));
    assert_eq!(deduplication(&Id::text("order-17").unwrap()), "order-17");
    assert_eq!(deduplication(&Id::bytes([0xab; 16])), "ab".repeat(16));
    assert_eq!(deduplication(&Id::text("ä").unwrap()).len(), 32);
}

proptest! {
    #[test]
    fn any_datagram_comes_back_as_it_was(datagram in datagrams()) {
        check_kept(&datagram);
    }

    #[test]
    fn any_foreign_message_has_a_datagram_that_goes_on_unchanged(
        body in "\\PC{1,9}",
        attributes in vec((names(), foreign()), 0..10),
        group in option::of("[!-~]{1,128}"),
    ) {
        let attributes = attributes.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let read = decode(body, attributes, group.as_deref());
        check_kept(&read);
    }
}

fn foreign() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        any::<String>().prop_map(Attribute::Text),
        select(vec!["7", "base64", "none", "empty"]).prop_map(text),
        times().prop_map(|time| text(&time.to_string())),
        any::<i64>().prop_map(|number| Attribute::Number(number.to_string())),
        "-?[0-9]{1,38}(\\.[0-9]{1,5})?".prop_map(Attribute::Number),
        vec(any::<u8>(), 1..9).prop_map(Attribute::Binary),
    ]
}

fn times() -> impl Strategy<Value = Timestamp> {
    let all = Timestamp::MIN.as_millis()..=Timestamp::MAX.as_millis();
    all.prop_map(|millis| Timestamp::from_millis(millis).unwrap())
}

fn values() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(Value::U64),
        any::<u64>().prop_map(|bits| Value::F64(f64::from_bits(bits))),
        any::<String>().prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::from),
        vec(any::<u8>(), 0..9).prop_map(|bytes| Value::Bytes(bytes.into())),
        times().prop_map(Value::Time),
    ];
    plain.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::List),
            vec((names(), inner), 0..3).prop_map(Value::Map),
        ]
    })
}

/// Mostly few names, so that they meet; those of fields, of this library and of AWS too.
fn names() -> impl Strategy<Value = Box<str>> {
    let special = [
        "id",
        "key",
        "kind",
        "time",
        "expiry",
        "deliver-at",
        "priority",
        "content-type",
        "correlation-id",
        "reply-to",
        "seam-body",
        "seam-tag",
        "seam-envelope",
        "seam-origin",
        "AWS.x",
        "amazon.x",
        "a.",
        ".a",
        "a..b",
    ];
    let name = prop_oneof![
        4 => "[abc]".boxed(),
        1 => ".{0,6}".boxed(),
        1 => select(special.to_vec()).prop_map(str::to_owned).boxed(),
        1 => (250..260_usize).prop_map(|length| "n".repeat(length)).boxed(),
    ];
    name.prop_map(String::into_boxed_str)
}

fn ids() -> impl Strategy<Value = Id> {
    prop_oneof![
        "[a-zä\u{0}]{1,60}".prop_map(|text| Id::text(text).unwrap()),
        any::<[u8; 16]>().prop_map(Id::bytes),
    ]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        vec(any::<u8>(), 0..140).prop_map(Bytes::from),
        "[a-z]{0,130}".prop_map(Bytes::from),
        any::<String>().prop_map(Bytes::from),
        Just(Bytes::from_static(b"seam-somebody")),
    ]
}

fn datagrams() -> impl Strategy<Value = Datagram> {
    let texts = || option::of(any::<String>().prop_map(String::into_boxed_str));
    let time = || option::of(times());
    let tag = prop_oneof![Just(0), any::<u16>()];
    let first = (tag, option::of(bytes()), option::of(ids()), option::of(bytes()));
    let second = (texts(), texts(), texts(), time(), time(), time());
    let headers = vec((names(), values()), 0..6);
    let third = (option::of(any::<u8>()), option::of(bytes()), option::of(bytes()), headers);
    (first, second, third).prop_map(|(first, second, third)| {
        let (tag, payload, id, key) = first;
        let mut datagram = payload.map_or_else(Datagram::empty, Datagram::new).with_tag(tag);
        let envelope = datagram.envelope_mut();
        (envelope.id, envelope.key) = (id, key);
        (envelope.kind, envelope.content_type, envelope.content_encoding) =
            (second.0, second.1, second.2);
        (envelope.time, envelope.expiry, envelope.deliver_at) = (second.3, second.4, second.5);
        (envelope.priority, envelope.correlation_id, envelope.reply_to) =
            (third.0, third.1, third.2);
        envelope.headers = third.3;
        datagram
    })
}
