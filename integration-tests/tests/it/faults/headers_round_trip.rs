//! E23: whatever headers hold, they arrive as they are, or are refused before anything is sent.

use bytes::Bytes;
use integration_tests::{Figures, Scale, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use seam_conformance::ledger::Report;
use seam_core::{Datagram, Error, Fate, Timestamp, Value, json};
use tokio::time::timeout;

use super::stage::{Stage, free_address, patience};

#[tokio::test]
async fn headers_round_trip() {
    let (_stage, seed) = (Stage::new().await, seed());
    let count = Scale::of_environment().pick(1_500, 10_000);
    for uri in ["memory://load".to_owned(), format!("tcp://{}/load", free_address())] {
        let mut random = StdRng::seed_from_u64(seed);
        let registry = seam::registry();
        let server = registry.server(uri.as_str()).await.unwrap();
        let mut receiver = server.receiver().await.unwrap();
        let sender = registry.sender(uri.as_str()).await.unwrap();
        let (mut equal, mut refused) = (0, 0);
        for _ in 0..count {
            let datagram = datagram(&mut random);
            let line = json::encode(datagram.view());
            assert!(!line.contains(['\n', '\r', '\0']), "one line: {line:?}");
            assert_eq!(json::decode(&line).unwrap(), datagram, "by way of {line}");
            let sent = timeout(patience(), sender.send(datagram.clone())).await.unwrap();
            match sent {
                Ok(_) => {
                    let next = timeout(patience(), receiver.next()).await.unwrap();
                    let delivery = next.unwrap().unwrap();
                    assert_eq!(delivery.datagram(), &datagram);
                    assert_eq!(json::encode(delivery.view()), line);
                    delivery.ack().unwrap();
                    equal += 1;
                }
                Err(error) => {
                    let typed =
                        matches!(error.error(), Error::Invalid { .. } | Error::TooLarge { .. });
                    assert!(typed && error.fate() == Fate::NotSent, "{error}");
                    assert_eq!(error.datagram(), &datagram, "it comes back as it was");
                    refused += 1;
                }
            }
        }
        assert_eq!(server.statistics().delivered, equal, "none extra");
        Figures::new("E23 headers_round_trip", seed, Report::default())
            .with("over", uri.split(':').next().unwrap())
            .with("equal", equal)
            .with("refused", refused)
            .print();
        assert!(equal > count / 2 && refused > count / 50, "{equal} {refused}");
    }
}

/// One with headers of any kind; now and then with more than is taken.
fn datagram(random: &mut StdRng) -> Datagram {
    let mut datagram = match random.random_range(0..4) {
        0 => Datagram::empty(),
        1 => Datagram::new(""),
        _ => Datagram::new(bytes(random, 100)),
    };
    if random.random() {
        datagram = datagram.with_key(bytes(random, 40));
    }
    let many = if random.random_ratio(1, 20) { 100 } else { 8 };
    for _ in 0..random.random_range(0..many) {
        let name = name(random);
        datagram = datagram.with_header(name, value(random, 0));
    }
    if random.random_ratio(1, 20) {
        // About the most that headers hold, and far over.
        let size = [16_000, 16 << 10, 64 << 10][random.random_range(0..3)];
        datagram = datagram.with_header("large", "x".repeat(size));
    }
    datagram
}

fn name(random: &mut StdRng) -> String {
    const NAMES: [&str; 10] = [
        "a",
        "a",
        "",
        "Content-Type",
        "content-type",
        "a\r\nb: c",
        "\0",
        "ledger",
        "grüße",
        "seam-attempt",
    ];
    match random.random_range(0..12) {
        at @ 0..10 => NAMES[at].to_owned(),
        10 => text(random, 20),
        _ => "n".repeat(random.random_range(0..300)),
    }
}

fn value(random: &mut StdRng, depth: u32) -> Value {
    match random.random_range(0..if depth < 3 { 12 } else { 10 }) {
        0 => Value::Null,
        1 => Value::Bool(random.random()),
        2 => Value::I64(random.random()),
        3 => Value::U64(random.random()),
        4 => Value::F64(f64::from_bits(random.random())),
        5 => Value::F64(f64::from(random.random_range(-5..5))),
        6 => Value::Text("a\r\nb\0c\u{1f4e6}\"\\".into()),
        7 => Value::Text(text(random, 50).into()),
        8 => Value::Bytes(bytes(random, 50)),
        9 => {
            Value::Time(Timestamp::from_millis(random.random_range(0..4_000_000_000_000)).unwrap())
        }
        10 => {
            Value::List((0..random.random_range(0..4)).map(|_| value(random, depth + 1)).collect())
        }
        _ => {
            let pairs = (0..random.random_range(0..4))
                .map(|_| (name(random).into(), value(random, depth + 1)));
            Value::Map(pairs.collect())
        }
    }
}

fn text(random: &mut StdRng, most: usize) -> String {
    (0..random.random_range(0..most)).map(|_| random.random::<char>()).collect()
}

fn bytes(random: &mut StdRng, most: usize) -> Bytes {
    (0..random.random_range(0..most)).map(|_| random.random::<u8>()).collect()
}
