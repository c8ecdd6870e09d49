//! Datagrams of every kind, at random.

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;
use seam_core::{Datagram, Id, Timestamp, Value};

/// One with any of its fields, and with headers of any kind.
pub(super) fn envelope(random: &mut StdRng) -> Datagram {
    let datagram = datagram(random).with_tag(if random.random() { random.random() } else { 0 });
    let mut envelope = datagram.envelope().clone();
    envelope.id = match random.random_range(0..4) {
        0 => Some(Id::bytes(random.random())),
        1 => Id::text(text(random, 40)).ok(),
        _ => None,
    };
    for field in [&mut envelope.kind, &mut envelope.content_type, &mut envelope.content_encoding] {
        *field = random.random_ratio(1, 3).then(|| text(random, 30).into());
    }
    envelope.time = random.random_ratio(1, 2).then(|| time(random));
    // What has expired, or is to wait, is refused everywhere here.
    envelope.expiry = random.random_ratio(1, 3).then_some(Timestamp::MAX);
    if random.random_ratio(1, 50) {
        envelope.expiry = Some(time(random));
    }
    envelope.deliver_at = random.random_ratio(1, 100).then(|| time(random));
    envelope.priority = random.random_ratio(1, 3).then(|| random.random());
    for field in [&mut envelope.correlation_id, &mut envelope.reply_to] {
        *field = random.random_ratio(1, 3).then(|| bytes(random, 40));
    }
    datagram.with_envelope(envelope)
}

/// Any time there is; often an extreme one.
fn time(random: &mut StdRng) -> Timestamp {
    let (first, last) = (Timestamp::MIN.as_millis(), Timestamp::MAX.as_millis());
    let millis = match random.random_range(0..8) {
        0 => first,
        1 => last,
        at @ 2..5 => at - 3,
        _ => random.random_range(first..=last),
    };
    Timestamp::from_millis(millis).unwrap()
}

/// One with headers of any kind; now and then with more than is taken.
pub(super) fn datagram(random: &mut StdRng) -> Datagram {
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
    const NAMES: [&str; 14] = [
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
        "id",
        "time",
        "reply-to",
        "correlation-id",
    ];
    match random.random_range(0..16) {
        at @ 0..14 => NAMES[at].to_owned(),
        14 => text(random, 20),
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
