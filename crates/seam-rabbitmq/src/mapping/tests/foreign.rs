//! What other programs and the broker write.

use super::*;

fn headers(properties: &BasicProperties) -> Vec<(Box<str>, Value)> {
    decoded(properties).datagram.envelope().headers.clone()
}

#[track_caller]
fn check_read(value: AMQPValue, expected: impl Into<Value>) {
    assert_eq!(headers(&table([("h", value)])), [("h".into(), expected.into())]);
}

#[test]
fn nothing_is_stamped() {
    let received = decoded(&BasicProperties::default());
    assert_eq!(received.datagram, Datagram::new("body"));
    assert!(received.natives.is_empty());
    assert_eq!((received.delivery_count, received.attempts), (None, 0));
    let empty = decode(&BasicProperties::default(), Bytes::new(), "", "");
    assert_eq!(empty.datagram, Datagram::new(""));
}

#[test]
fn narrow_numbers_widen_and_decimals_are_text() {
    check_read(AMQPValue::ShortShortInt(-1), -1_i64);
    check_read(AMQPValue::ShortShortUInt(255), 255_u64);
    check_read(AMQPValue::ShortInt(i16::MIN), i64::from(i16::MIN));
    check_read(AMQPValue::ShortUInt(u16::MAX), u64::from(u16::MAX));
    check_read(AMQPValue::LongInt(i32::MIN), i32::MIN);
    check_read(AMQPValue::LongUInt(u32::MAX), u32::MAX);
    check_read(long_long(i64::MIN), i64::MIN);
    check_read(AMQPValue::Float(0.5), 0.5);
    let decimal = |scale, value| AMQPValue::DecimalValue(DecimalValue { scale, value });
    check_read(decimal(2, 150), "1.50");
    check_read(decimal(0, 150), "150");
    check_read(decimal(3, 150), "0.150");
    check_read(decimal(4, 0), "0.0000");
    check_read(decimal(255, u32::MAX), format!("0.{}{}", "0".repeat(245), u32::MAX));
}

#[test]
fn text_is_text_only_where_it_is_utf_8() {
    check_read(long("ä"), "ä");
    check_read(AMQPValue::LongString(vec![0xff].into()), Bytes::from_static(&[0xff]));
    check_read(AMQPValue::ByteArray(b"ascii"[..].into()), Bytes::from("ascii"));
}

#[test]
fn a_timestamp_out_of_range_is_a_number() {
    check_read(AMQPValue::Timestamp(253_402_207_200), millis(253_402_207_200_000));
    check_read(AMQPValue::Timestamp(253_402_207_201), 253_402_207_201_u64);
    check_read(AMQPValue::Timestamp(u64::MAX), u64::MAX);
    let received = decoded(&BasicProperties::default().with_timestamp(1));
    assert_eq!(received.datagram, Datagram::new("body").with_time(millis(1_000)));
    let received = decoded(&BasicProperties::default().with_timestamp(u64::MAX));
    assert_eq!(received.datagram, Datagram::new("body"));
    assert_eq!(received.natives[..], [("timestamp".into(), u64::MAX.into())]);
}

#[test]
fn what_nests_too_deep_is_cut_and_goes_on() {
    let nest =
        |depth| (0..depth).fold(long("x"), |inner, _| AMQPValue::FieldArray(vec![inner].into()));
    for (depth, kept) in [(31, 31), (32, 31), (1_000, 31)] {
        // Not through bytes: lapin recurses too far for a stack of a test.
        let received = decode(&table([("h", nest(depth))]), Bytes::from("body"), "", "");
        assert_eq!(received.datagram.view().header("h").unwrap().depth(), kept);
        check_kept(&received.datagram);
    }
}

#[test]
fn a_field_in_another_form_is_a_header() {
    for (name, value) in [
        ("key", long_long(7)),
        ("time", long("yesterday")),
        ("time", long("2026-01-31T12:00:00.000Z")),
        ("time", AMQPValue::Timestamp(1)),
        ("expiry", AMQPValue::Void),
        ("deliver-at", long("2026-01-31")),
        ("seam-tag", long_long(0)),
        ("seam-tag", long_long(65_536)),
        ("seam-tag", long("7")),
        ("seam-none", AMQPValue::Boolean(true)), // beside a body
        ("seam-none", AMQPValue::Boolean(false)),
        ("seam-attempt", long_long(-1)),
        ("seam-attempt", long_long(1 << 32)),
        ("seam-publish", long("7")),
        ("seam-envelope", long("7")),
        ("seam-envelope", AMQPValue::ByteArray(b"junk"[..].into())),
        ("CC", AMQPValue::FieldArray(vec![long("copies")].into())),
    ] {
        let received = decoded(&table([(name, value.clone())]));
        let expected = Datagram::new("body").with_header(name, value::read(&value));
        assert_eq!(received.datagram, expected);
        assert_eq!(received.attempts, 0);
        check_kept(&expected);
    }
}

#[test]
fn fields_that_a_foreign_program_writes_as_we_do_are_fields() {
    let written = table([
        ("key", AMQPValue::ByteArray(vec![0xff].into())),
        ("time", long("2026-01-31T12:00:00Z")),
        ("expiry", long("2026-01-31T12:00:01Z")),
        ("deliver-at", long("2026-01-31T12:00:02Z")),
        ("seam-tag", AMQPValue::ShortUInt(7)),
    ]);
    let received = decoded(&written.with_timestamp(5).with_expiration("9".into()));
    let expected = Datagram::new("body")
        .with_tag(7)
        .with_key(Bytes::from_static(&[0xff]))
        .with_time(now())
        .with_expiry(millis(now().as_millis() + 1_000))
        .with_deliver_at(millis(now().as_millis() + 2_000));
    assert_eq!(received.datagram, expected);
    assert!(received.natives.is_empty());
}

#[test]
fn what_the_broker_writes_is_native_and_no_header() {
    let properties = table([
        ("a", long("1")),
        ("x-death", AMQPValue::FieldArray(vec![].into())),
        ("x-delivery-count", AMQPValue::LongInt(3)),
        ("x-first-death-reason", long("rejected")),
        ("x-retries", long("2")),
    ]);
    let received = decoded(&properties.with_user_id("guest".into()).with_expiration("9".into()));
    let expected = Datagram::new("body").with_header("a", "1").with_header("x-retries", "2");
    assert_eq!(received.datagram, expected);
    assert_eq!(received.delivery_count, Some(3));
    let natives = [
        ("x-death".into(), Value::List(vec![])),
        ("x-delivery-count".into(), Value::I64(3)),
        ("x-first-death-reason".into(), "rejected".into()),
        ("expiration".into(), "9".into()),
        ("user_id".into(), "guest".into()),
    ];
    assert_eq!(received.natives[..], natives);
}

#[test]
fn a_delivery_count_of_any_width_is_read() {
    for (value, count) in [
        (AMQPValue::ShortShortUInt(5), Some(5)),
        (AMQPValue::LongUInt(5), Some(5)),
        (long_long(i64::MAX), Some(u64::MAX >> 1)),
        (long_long(-1), None),
        (long("5"), None),
    ] {
        assert_eq!(decoded(&table([("x-delivery-count", value)])).delivery_count, count);
    }
}

#[test]
fn exchange_and_routing_key_are_told_only_where_there_is_an_exchange() {
    let received = decode(&BasicProperties::default(), Bytes::from("x"), "orders", "new.eu");
    let natives = [("exchange".into(), "orders".into()), ("routing_key".into(), "new.eu".into())];
    assert_eq!(received.natives[..], natives);
}

#[test]
fn an_id_that_is_none_here_is_native() {
    for id in [String::new(), "i".repeat(129)] {
        let properties = BasicProperties::default().with_message_id(id.as_str().into());
        let received = decoded(&properties);
        assert_eq!(received.datagram, Datagram::new("body"));
        assert_eq!(received.natives[..], [("message_id".into(), id.into())]);
    }
}

#[test]
fn what_a_foreign_program_adds_or_takes_away_disturbs_nothing() {
    let datagram = Datagram::new("body")
        .with_header("b", "1")
        .with_header("a", 2_u64)
        .with_header("c", "3")
        .with_header("a", "4");
    let mut changed = FieldTable::default();
    for (name, value) in encoded(&datagram).headers().iter().flatten() {
        if name.as_str() != "c" {
            changed.insert(name.clone(), value.clone());
        }
    }
    changed.insert("aa".into(), long("added"));
    changed.insert("traceparent".into(), long("00-4b"));
    let expected = Datagram::new("body")
        .with_header("b", "1")
        .with_header("a", 2_u64)
        .with_header("a", "4")
        .with_header("aa", "added")
        .with_header("traceparent", "00-4b");
    let received = decoded(&BasicProperties::default().with_headers(changed));
    assert_eq!(received.datagram, expected);
}

#[test]
fn what_a_stream_confuses_comes_back_as_it_was() {
    let datagram = Datagram::new("body")
        .with_id(Id::bytes([7; 16]))
        .with_key("k")
        .with_header("bytes", Bytes::from("text"))
        .with_header("list", Value::List(vec!["x".into()]))
        .with_header("long", "t".repeat(300));
    let mut confused = FieldTable::default();
    for (name, value) in encoded(&datagram).headers().iter().flatten() {
        let value = match value {
            AMQPValue::ByteArray(bytes) => AMQPValue::LongString(bytes.as_slice().into()),
            AMQPValue::LongString(text) => AMQPValue::ByteArray(text.as_bytes().into()),
            AMQPValue::FieldArray(_) => continue,
            other => other.clone(),
        };
        confused.insert(name.clone(), value);
    }
    let received = decoded(&BasicProperties::default().with_headers(confused));
    assert_eq!(received.datagram, datagram);
}

#[test]
fn of_an_entry_that_comes_twice_lapin_keeps_the_last() {
    let entry = |value: u8| [1, b'a', b'B', value];
    let content = [entry(1), entry(2)].concat();
    let wire = [&[0x20, 0, 0, 0, 0, 8][..], &content].concat();
    let (_, parsed) = parse_properties(&wire[..]).unwrap();
    assert_eq!(headers(&parsed), [("a".into(), Value::U64(2))]);
}

#[test]
fn a_huge_table_is_read() {
    let mut large = FieldTable::default();
    for number in 0..10_000 {
        large.insert(format!("h{number:05}").into(), long_long(number));
    }
    let received = decoded(&BasicProperties::default().with_headers(large));
    assert_eq!(received.datagram.envelope().headers.len(), 10_000);
    check_kept(&received.datagram);
}
