//! What foreign programs write.

use lapin::types::{AMQPValue, DecimalValue};
use seam_core::{Id, Timestamp};

use super::*;

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn each_property_is_a_field_or_told_beside() {
    for kind in ["quorum", "classic"] {
        let place = Place::new("properties", &format!("queue_type={kind}")).await;
        let properties = BasicProperties::default()
            .with_content_type("text/plain".into())
            .with_content_encoding("utf-8".into())
            .with_delivery_mode(1)
            .with_priority(7)
            .with_correlation_id("c-1".into())
            .with_reply_to("answers".into())
            .with_expiration("600000".into())
            .with_message_id("m-1".into())
            .with_timestamp(1_769_860_800)
            .with_type("shop.Order".into())
            .with_user_id("seam".into())
            .with_app_id("shop".into())
            .with_cluster_id("eu".into());
        place.publish(properties, b"12 apples").await;
        let mut receiver = place.receiver().await;
        let delivery = next(&mut receiver).await;
        let mut expected = Datagram::new("12 apples")
            .with_id(Id::text("m-1").unwrap())
            .with_kind("shop.Order")
            .with_content_type("text/plain")
            .with_priority(7)
            .with_time("2026-01-31T12:00:00Z".parse::<Timestamp>().unwrap());
        expected.envelope_mut().content_encoding = Some("utf-8".into());
        expected.envelope_mut().correlation_id = Some("c-1".into());
        expected.envelope_mut().reply_to = Some("answers".into());
        assert_eq!(delivery.datagram(), &expected);
        let natives: std::collections::BTreeMap<_, _> =
            delivery.note().native.iter().map(|(name, value)| (&**name, value.clone())).collect();
        let told = [
            ("app_id", "shop"),
            ("cluster_id", "eu"),
            ("expiration", "600000"),
            ("user_id", "seam"),
        ];
        assert_eq!(natives, told.map(|(name, value)| (name, Value::from(value))).into());
        delivery.ack().unwrap();
        place.end(Some(receiver)).await;
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn headers_of_every_type_arrive() {
    let place = Place::new("headers", "").await;
    let list = AMQPValue::FieldArray(vec![long("one"), AMQPValue::LongInt(2)].into());
    let map = AMQPValue::FieldTable(table(&[("a", AMQPValue::Boolean(true))]));
    let decimal = DecimalValue { scale: 2, value: 150 };
    let headers = [
        ("a-bool", AMQPValue::Boolean(true), Value::Bool(true)),
        ("b-i8", AMQPValue::ShortShortInt(-1), Value::I64(-1)),
        ("c-u8", AMQPValue::ShortShortUInt(255), Value::U64(255)),
        ("d-i16", AMQPValue::ShortInt(-2), Value::I64(-2)),
        ("e-u16", AMQPValue::ShortUInt(65535), Value::U64(65535)),
        ("f-i32", AMQPValue::LongInt(-3), Value::I64(-3)),
        ("g-u32", AMQPValue::LongUInt(4_000_000_000), Value::U64(4_000_000_000)),
        ("h-i64", AMQPValue::LongLongInt(i64::MIN), Value::I64(i64::MIN)),
        ("i-f32", AMQPValue::Float(0.5), Value::F64(0.5)),
        ("j-f64", AMQPValue::Double(0.25), Value::F64(0.25)),
        ("k-decimal", AMQPValue::DecimalValue(decimal), Value::from("1.50")),
        ("l-text", long("äpfel"), Value::from("äpfel")),
        (
            "m-bytes",
            AMQPValue::ByteArray(b"\xff\x00"[..].into()),
            Value::Bytes(b"\xff\x00"[..].into()),
        ),
        (
            "n-time",
            AMQPValue::Timestamp(1_769_860_800),
            Value::Time("2026-01-31T12:00:00Z".parse().unwrap()),
        ),
        ("o-list", list, Value::List(vec![Value::from("one"), Value::I64(2)])),
        ("p-map", map, Value::Map(vec![("a".into(), Value::Bool(true))])),
        ("q-void", AMQPValue::Void, Value::Null),
        ("x-mine", long("kept"), Value::from("kept")),
    ];
    let native = headers.clone().map(|(name, value, _)| (name, value));
    place.publish(BasicProperties::default().with_headers(table(&native)), b"x").await;
    let mut receiver = place.receiver().await;
    let delivery = next(&mut receiver).await;
    let found = &delivery.datagram().envelope().headers;
    let expected: Vec<_> = headers.map(|(name, _, value)| (Box::from(name), value)).into();
    assert_eq!(found, &expected);
    assert!(delivery.note().native.is_empty());
    delivery.ack().unwrap();
    place.end(Some(receiver)).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_body_of_any_length_arrives_and_nothing_else_is_there() {
    let place = Place::new("bodies", "").await;
    let mut receiver = place.receiver().await;
    for size in [0, 1, 131_064, 131_065, 1 << 20] {
        let body = vec![b'x'; size];
        place.publish(BasicProperties::default(), &body).await;
        let delivery = next(&mut receiver).await;
        assert_eq!(delivery.datagram(), &Datagram::new(body));
        assert!(delivery.note().native.is_empty() && delivery.note().attempt == 1);
        delivery.ack().unwrap();
    }
    place.end(Some(receiver)).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn what_the_broker_dead_lettered_tells_its_history() {
    let place = Place::new("dead", "").await;
    let source = address("dying");
    let arguments = [
        ("x-message-ttl", AMQPValue::LongInt(1)),
        ("x-dead-letter-exchange", long("")),
        ("x-dead-letter-routing-key", long(&place.queue)),
    ];
    declare(&place.channel, &source, &arguments).await;
    let mine = table(&[("mine", long("kept"))]);
    let properties = BasicProperties::default().with_headers(mine);
    publish(&place.channel, &source, properties, b"12 apples").await;
    let mut receiver = place.receiver().await;
    let delivery = next(&mut receiver).await;
    assert_eq!(delivery.datagram(), &Datagram::new("12 apples").with_header("mine", "kept"));
    let native = |name: &str| {
        let found = delivery.note().native.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    assert_eq!(native("x-first-death-reason"), Some(Value::from("expired")));
    assert_eq!(native("x-first-death-queue"), Some(Value::from(source.as_str())));
    assert!(matches!(native("x-death"), Some(Value::List(deaths)) if deaths.len() == 1));
    delivery.ack().unwrap();
    delete(&place.channel, &source).await;
    place.end(Some(receiver)).await;
}
