//! `rdkafka` as it is.

use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use seam_core::{Timestamp, Value};

use super::*;

fn producer(place: &Place, codec: &str) -> BaseProducer {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", &place.broker).set("compression.codec", codec);
    // Long enough for all that is written at once to be one batch, which a codec then makes smaller.
    settings.set("linger.ms", "100").create().unwrap()
}

/// The first so many records, as Kafka has them.
fn records(place: &Place, count: usize) -> Vec<OwnedMessage> {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", &place.broker).set("group.id", "foreign");
    let consumer: BaseConsumer = settings.create().unwrap();
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(&place.topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&all).unwrap();
    let (mut records, until) = (Vec::new(), Instant::now() + PATIENCE);
    while records.len() < count && Instant::now() < until {
        if let Some(record) = consumer.poll(std::time::Duration::from_millis(100)) {
            records.push(record.unwrap().detach());
        }
    }
    assert_eq!(records.len(), count);
    records
}

fn headers(record: &OwnedMessage) -> Vec<(String, Option<Vec<u8>>)> {
    let headers = record.headers().into_iter().flat_map(Headers::iter);
    headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
}

fn header<'a>(key: &'a str, value: Option<&'a [u8]>) -> Header<'a, &'a [u8]> {
    Header { key, value }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn what_a_foreign_program_writes_is_delivered_as_it_is() {
    let place = Place::new("raw-in").await;
    let (key, time) = (&b"\xff\x00key"[..], 1_234_567_890_123);
    let odd = OwnedHeaders::new()
        .insert(header("null", None))
        .insert(header("empty", Some(b"")))
        .insert(header("twice", Some(b"1")))
        .insert(header("twice", Some(b"2")))
        .insert(header("bytes", Some(b"\xff\x00")))
        .insert(header("id", Some(b"\xff")))
        .insert(header("priority", Some(b"very")));
    let producer = producer(&place, "none");
    let to = || BaseRecord::<[u8], [u8]>::to(&place.topic);
    producer.send(to().payload(b"odd").key(key).headers(odd).timestamp(time)).unwrap();
    producer.send(to().key(b"gone")).unwrap();
    producer.send(to().key(b"").payload(b"")).unwrap();
    producer.send(to().payload(b"plain")).unwrap();
    producer.flush(PATIENCE).unwrap();

    let mut receiver = place.receiver().await;
    let odd = next(&mut receiver).await;
    let expected = Datagram::new("odd")
        .with_key(key)
        .with_header("null", Value::Null)
        .with_header("empty", "")
        .with_header("twice", "1")
        .with_header("twice", "2")
        .with_header("bytes", Value::Bytes(b"\xff\x00"[..].into()))
        .with_header("id", Value::Bytes(b"\xff"[..].into()))
        .with_header("priority", "very");
    assert_eq!(odd.datagram(), &expected);
    let time = Value::Time(Timestamp::from_millis(time).unwrap());
    assert_eq!(odd.note().native[..], [("CreateTime".into(), time)]);
    let plain = [
        Datagram::empty().with_key(&b"gone"[..]),
        Datagram::new("").with_key(&b""[..]),
        Datagram::new("plain"),
    ];
    for expected in &plain {
        let delivery = next(&mut receiver).await;
        assert_eq!(delivery.datagram(), expected);
        delivery.ack().unwrap();
    }
    place.remove().await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn each_compression_is_read_and_written() {
    let text = "much of the same ".repeat(60);
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let place = Place::new(codec).await;
        let producer = producer(&place, codec);
        for _ in 0..100 {
            producer.send(BaseRecord::<(), _>::to(&place.topic).payload(&text)).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        let ours = format!("{}&librdkafka.compression.codec={codec}", place.uri);
        let sender = soon(registry().sender(ours.as_str())).await.unwrap();
        soon(sender.send(Datagram::new(text.clone()))).await.unwrap();
        let mut receiver = place.receiver().await;
        for _ in 0..101 {
            let delivery = next(&mut receiver).await;
            assert_eq!(delivery.datagram(), &Datagram::new(text.clone()));
            delivery.ack().unwrap();
        }
        assert_eq!(records(&place, 101)[100].payload(), Some(text.as_bytes()));
        place.remove().await;
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn what_is_sent_a_foreign_program_reads_as_the_page_says() {
    let place = Place::new("raw-out").await;
    let time: Timestamp = "2026-01-31T12:00:00.25Z".parse().unwrap();
    let all = Datagram::new("12 apples")
        .with_tag(7)
        .with_id(seam_core::Id::text("order-1").unwrap())
        .with_key("customer-7")
        .with_kind("Order")
        .with_content_type("text/plain")
        .with_time(time)
        .with_expiry("2999-01-01T00:00:00Z".parse().unwrap())
        .with_priority(3)
        .with_header("twice", "1")
        .with_header("twice", Value::Bytes(b"\xff"[..].into()))
        .with_header("null", Value::Null)
        .with_header("number", Value::I64(-5));
    let tombstone = Datagram::empty().with_key("customer-7");
    place.send(&[all, tombstone, Datagram::new("")]).await;

    let records = records(&place, 3);
    assert_eq!(records[0].key(), Some(&b"customer-7"[..]));
    assert_eq!(records[0].payload(), Some(&b"12 apples"[..]));
    assert_eq!(records[0].timestamp(), rdkafka::Timestamp::CreateTime(time.as_millis()));
    let mut found = headers(&records[0]);
    let (slot, form) = found.pop().unwrap();
    assert_eq!(slot, "seam-envelope", "the type of a number has no other place");
    assert!(form.is_some());
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    let expected = [
        ("seam-tag", bytes("7")),
        ("id", bytes("order-1")),
        ("kind", bytes("Order")),
        ("content-type", bytes("text/plain")),
        ("time", bytes(&time.to_string())),
        ("expiry", bytes(&"2999-01-01T00:00:00Z".parse::<Timestamp>().unwrap().to_string())),
        ("priority", bytes("3")),
        ("twice", bytes("1")),
        ("twice", Some(vec![0xff])),
        ("null", None),
        ("number", bytes("-5")),
    ];
    assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!((records[1].key(), records[1].payload()), (Some(&b"customer-7"[..]), None));
    assert_eq!((records[2].key(), records[2].payload()), (None, Some(&b""[..])));
    assert!(headers(&records[1]).is_empty() && headers(&records[2]).is_empty());
    place.remove().await;
}
