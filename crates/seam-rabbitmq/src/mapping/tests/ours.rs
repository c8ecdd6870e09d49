//! What we write, and what foreign programs read of it.

use std::collections::BTreeMap;

use super::*;

#[test]
fn a_plain_datagram_has_the_delivery_mode_and_nothing_else() {
    for payload in ["x", ""] {
        let properties = encoded(&Datagram::new(payload));
        assert_eq!(properties, BasicProperties::default().with_delivery_mode(2));
        check_kept(&Datagram::new(payload));
    }
}

#[test]
fn no_payload_differs_from_an_empty_one() {
    check_kept(&Datagram::empty());
    check_kept(&Datagram::empty().with_tag(3));
    check_kept(&Datagram::new("").with_tag(3));
    let marker = encoded(&Datagram::empty());
    assert_eq!(entry(&marker, "seam-none"), Some(&AMQPValue::Boolean(true)));
}

#[test]
fn a_foreign_program_reads_fields_as_properties() {
    let mut datagram = Datagram::new("{}")
        .with_id(Id::text("order-1").unwrap())
        .with_key("customer-7")
        .with_kind("shop.Order")
        .with_content_type("application/json")
        .with_time(millis(1_500))
        .with_priority(4);
    datagram.envelope_mut().content_encoding = Some("gzip".into());
    datagram.envelope_mut().correlation_id = Some("c-1".into());
    datagram.envelope_mut().reply_to = Some("replies".into());
    let expected = table([("key", long("customer-7")), ("time", long("1970-01-01T00:00:01.5Z"))])
        .with_message_id("order-1".into())
        .with_type("shop.Order".into())
        .with_content_type("application/json".into())
        .with_content_encoding("gzip".into())
        .with_correlation_id("c-1".into())
        .with_reply_to("replies".into())
        .with_timestamp(1)
        .with_priority(4)
        .with_delivery_mode(2);
    assert_eq!(encoded(&datagram), expected);
    check_kept(&datagram);
}

#[test]
fn a_foreign_program_reads_headers_with_their_types() {
    let list = Value::List(vec![Value::Bool(true), "x".into()]);
    let map = Value::Map(vec![("b".into(), Value::I64(1)), ("a".into(), Value::Null)]);
    let datagram = Datagram::new("{}")
        .with_header("try", 2_u64)
        .with_header("huge", u64::MAX)
        .with_header("nan", f64::NAN)
        .with_header("none", Value::Null)
        .with_header("late", false)
        .with_header("left", -2_i64)
        .with_header("share", 0.5)
        .with_header("from", "web")
        .with_header("raw", Bytes::from_static(b"raw"))
        .with_header("made", millis(1_999))
        .with_header("list", list)
        .with_header("map", map);
    let properties = encoded(&datagram);
    let inner = FieldTable::from(BTreeMap::from([
        ("a".into(), AMQPValue::Void),
        ("b".into(), long_long(1)),
    ]));
    for (name, expected) in [
        ("try", Some(long_long(2))),
        ("huge", None),
        ("nan", None),
        ("none", Some(AMQPValue::Void)),
        ("late", Some(AMQPValue::Boolean(false))),
        ("left", Some(long_long(-2))),
        ("share", Some(AMQPValue::Double(0.5))),
        ("from", Some(long("web"))),
        ("raw", Some(AMQPValue::ByteArray(b"raw"[..].into()))),
        ("made", Some(AMQPValue::Timestamp(1))),
        ("list", Some(AMQPValue::FieldArray(vec![AMQPValue::Boolean(true), long("x")].into()))),
        ("map", Some(AMQPValue::FieldTable(inner))),
    ] {
        assert_eq!(entry(&properties, name), expected.as_ref(), "{name}");
    }
    check_kept(&datagram);
}

#[test]
fn only_what_the_table_cannot_tell_needs_the_slot() {
    for (needs, headers) in [
        (false, vec![("a", Value::from("1")), ("b", Value::I64(2)), ("c", Value::Null)]),
        (false, vec![("a", Value::F64(-0.0)), ("b", Value::Time(millis(2_000)))]),
        (false, vec![("Z", true.into()), ("a", "t".repeat(255).into()), ("ä", "x".into())]),
        (false, vec![("a", Bytes::from_static(&[0xff]).into())]),
        (false, vec![("x-retries", "3".into())]),
        (true, vec![("b", "1".into()), ("a", "2".into())]),
        (true, vec![("a", "1".into()), ("a", "1".into())]),
        (true, vec![("a", Value::U64(1))]),
        (true, vec![("a", "t".repeat(256).into())]),
        (true, vec![("a", Bytes::from("text").into())]),
        (true, vec![("a", Value::F64(f64::INFINITY))]),
        (true, vec![("a", Value::Time(millis(2_001)))]),
        (true, vec![("a", Value::Time(millis(-2_000)))]),
        (true, vec![("a", Value::List(vec![]))]),
        (true, vec![("key", "1".into())]),
        (true, vec![("x-death", "1".into())]),
    ] {
        let mut datagram = Datagram::new("x");
        for (name, value) in headers {
            datagram = datagram.with_header(name, value);
        }
        let slot = entry(&encoded(&datagram), name::SLOT).is_some();
        assert_eq!(slot, needs, "{:?}", datagram.envelope().headers);
        check_kept(&datagram);
    }
}

#[test]
fn what_names_routes_or_belongs_to_broker_or_library_is_never_written_natively() {
    let prefixed = name::OF_BROKER_FROM.map(|begin| format!("{begin}more"));
    let long = "n".repeat(256);
    let ours = ["seam-", "seam-new", name::TAG, name::ATTEMPT, name::PUBLISH, &long];
    let names = name::TAKEN.into_iter().chain(name::OF_BROKER).chain(ours);
    for name in names.chain(prefixed.iter().map(String::as_str)) {
        let datagram = Datagram::new("x").with_header(name, "value");
        let properties = encoded(&datagram);
        let table = properties.headers().as_ref().unwrap();
        assert_eq!(table.inner().len(), 1, "{name}");
        assert!(table.contains_key(name::SLOT), "{name}");
        check_kept(&datagram);
    }
}

#[test]
fn a_long_text_or_binary_field_goes_to_the_slot() {
    for (length, fits) in [(255, true), (256, false), (70_000, false)] {
        let text = "t".repeat(length);
        let mut datagram = Datagram::new("x").with_kind(&*text).with_content_type(&*text);
        datagram.envelope_mut().content_encoding = Some(text.clone().into());
        datagram.envelope_mut().correlation_id = Some(text.clone().into());
        datagram.envelope_mut().reply_to = Some(text.into());
        let properties = encoded(&datagram);
        assert_eq!(properties.kind().is_some(), fits);
        assert_eq!(properties.reply_to().is_some(), fits);
        assert_eq!(properties.headers().is_none(), fits);
        check_kept(&datagram);
    }
    let mut datagram = Datagram::new("x").with_id(Id::bytes([7; 16]));
    datagram.envelope_mut().correlation_id = Some(Bytes::from_static(&[0xff]));
    assert_eq!(encoded(&datagram).message_id(), &None);
    assert_eq!(encoded(&datagram).correlation_id(), &None);
    check_kept(&datagram);
}

#[test]
fn a_time_needs_its_header_only_where_whole_seconds_do_not_tell_it() {
    for (time, seconds, header) in [
        (0, Some(0), false),
        (1_000, Some(1), false),
        (1_001, Some(1), true),
        (-1, None, true),
        (-1_000, None, true),
        (Timestamp::MIN.as_millis(), None, true),
        (Timestamp::MAX.as_millis(), Some(253_402_207_200), true),
    ] {
        let datagram = Datagram::new("x").with_time(millis(time));
        let properties = encoded(&datagram);
        assert_eq!(*properties.timestamp(), seconds, "{time}");
        assert_eq!(entry(&properties, "time").is_some(), header, "{time}");
        check_kept(&datagram);
    }
}

#[test]
fn the_broker_expires_nothing_before_its_time() {
    let at = |offset| millis(now().as_millis() + offset);
    let expiring = |offset| Datagram::new("x").with_expiry(at(offset));
    for (datagram, expiration) in [
        (expiring(1_500), Some("1500")),
        (expiring(0), Some("0")),
        (expiring(-1), Some("0")),
        (expiring(4_294_967_295), Some("4294967295")),
        (expiring(4_294_967_296), None),
        (expiring(1_500).with_deliver_at(at(0)), Some("1500")),
        (expiring(1_500).with_deliver_at(at(1)), None),
    ] {
        let properties = encoded(&datagram);
        assert_eq!(properties.expiration().as_ref().map(ShortString::as_str), expiration);
        check_kept(&datagram);
    }
}

#[test]
fn the_limit_is_told_with_the_size() {
    let datagram = Datagram::new("x").with_header("a", "x".repeat(200));
    let size = 2 + 1 + 4 + 2 + 1 + 4 + 200;
    assert!(encode(datagram.view(), now(), size).is_ok());
    let error = encode(datagram.view(), now(), size - 1).unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { size: told, limit, .. } if told == size && limit == size - 1),
        "{error}"
    );
}

#[test]
fn a_value_in_the_table_is_not_repeated_in_the_slot() {
    for large in [Value::from("x".repeat(10_000)), Bytes::from("x".repeat(10_000)).into()] {
        let datagram = Datagram::new("x").with_header("b", large).with_header("a", "1");
        assert!(size(&encoded(&datagram)) < 10_100);
        check_kept(&datagram);
    }
}

#[test]
fn of_headers_of_one_name_the_first_that_the_table_can_hold_is_in_it() {
    let datagram = Datagram::new("x")
        .with_header("a", f64::NAN)
        .with_header("a", "first")
        .with_header("b", "between")
        .with_header("a", "second");
    assert_eq!(entry(&encoded(&datagram), "a"), Some(&long("first")));
    check_kept(&datagram);
}

#[test]
fn the_payload_of_any_length_is_the_body() {
    for length in [0, 1, 64, 65, 1_000_000] {
        check_kept(&Datagram::new(vec![7; length]).with_header("a", "1"));
    }
}
