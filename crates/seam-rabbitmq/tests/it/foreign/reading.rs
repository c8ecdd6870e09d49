//! What foreign programs read.

use lapin::types::AMQPValue;
use seam_core::{Id, Timestamp};

use super::*;

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn each_field_is_a_property_or_a_header_of_that_name() {
    let place = Place::new("fields", "").await;
    let time: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
    let mut all = Datagram::new("12 apples")
        .with_id(Id::text("m-1").unwrap())
        .with_key("customer-7")
        .with_kind("shop.Order")
        .with_content_type("text/plain")
        .with_priority(3)
        .with_time(time)
        .with_expiry("2099-01-01T00:00:00Z".parse().unwrap())
        .with_header("count", Value::I64(12))
        .with_header("fresh", true)
        .with_header("sort", "cox");
    all.envelope_mut().content_encoding = Some("utf-8".into());
    all.envelope_mut().correlation_id = Some("c-1".into());
    all.envelope_mut().reply_to = Some("answers".into());
    send(&place.uri, all).await;
    let read = place.read().await;
    assert_eq!(read.data, b"12 apples", "as it is");
    let properties = &read.properties;
    let text =
        |value: &Option<lapin::types::ShortString>| value.as_ref().map(|text| text.to_string());
    for (found, expected) in [
        (properties.message_id(), "m-1"),
        (properties.kind(), "shop.Order"),
        (properties.content_type(), "text/plain"),
        (properties.content_encoding(), "utf-8"),
        (properties.correlation_id(), "c-1"),
        (properties.reply_to(), "answers"),
    ] {
        assert_eq!(text(found).as_deref(), Some(expected));
    }
    assert_eq!(*properties.priority(), Some(3));
    assert_eq!(*properties.delivery_mode(), Some(2), "it outlives the broker");
    assert_eq!(*properties.timestamp(), Some(1_769_860_800));
    let headers = properties.headers().as_ref().unwrap().inner();
    for (name, expected) in [
        ("key", long("customer-7")),
        ("count", AMQPValue::LongLongInt(12)),
        ("fresh", AMQPValue::Boolean(true)),
        ("sort", long("cox")),
    ] {
        assert_eq!(headers.get(name), Some(&expected), "{name}");
    }
    let expiry: Timestamp = "2099-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(headers.get("expiry"), Some(&long(&expiry.to_string())));
    place.end(None).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_plain_datagram_is_a_body_and_little_else() {
    let place = Place::new("plain", "").await;
    send(&place.uri, Datagram::new("12 apples")).await;
    let read = place.read().await;
    assert_eq!(read.data, b"12 apples");
    let names = read.properties.headers().iter().flatten().map(|(name, _)| name.to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["seam-publish"], "by which its publisher knows it");
    assert_eq!(read.properties.message_id(), &None);
    place.end(None).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn an_end_that_is_near_is_an_expiration_too() {
    let place = Place::new("expiring", "").await;
    let wall = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let in_a_minute = Timestamp::from_millis(i64::try_from(wall).unwrap() + 60_000).unwrap();
    send(&place.uri, Datagram::new("soon").with_expiry(in_a_minute)).await;
    let read = place.read().await;
    let expiration = read.properties.expiration().as_ref().unwrap().as_str();
    let expiration: u64 = expiration.parse().unwrap();
    assert!((30_000..=60_000).contains(&expiration), "{expiration}");
    // The broker throws away what nobody reads.
    let in_a_moment = Timestamp::from_millis(in_a_minute.as_millis() - 59_000).unwrap();
    send(&place.uri, Datagram::new("gone").with_expiry(in_a_moment)).await;
    soon(async { while waiting(&place.channel, &place.queue).await > 0 {} }).await;
    place.end(None).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_foreign_consumer_of_an_exchange_gets_what_is_sent_to_it() {
    let (address, exchange) = (address("orders"), address("events"));
    let uri = uri(&address, &format!("exchange={exchange}"));
    let (_connection, channel) = raw().await;
    drop(soon(registry().client(uri.as_str())).await.unwrap());
    let queue = format!("{address}.foreign");
    declare(&channel, &queue, &[]).await;
    let (options, none) = (Default::default(), FieldTable::default());
    let (name, from) = (queue.as_str().into(), exchange.as_str().into());
    soon(channel.queue_bind(name, from, address.as_str().into(), options, none)).await.unwrap();
    send(&uri, Datagram::new("12 apples")).await;
    let read = read(&channel, &queue).await;
    assert_eq!((read.data.as_slice(), read.exchange.as_str()), (&b"12 apples"[..], &*exchange));
    assert_eq!(read.routing_key.as_str(), address);
    delete(&channel, &queue).await;
    soon(channel.exchange_delete(exchange.into(), Default::default())).await.unwrap();
}
