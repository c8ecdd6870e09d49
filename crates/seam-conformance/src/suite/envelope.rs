//! The envelope: everything the sender set arrives, and nothing else.

use bytes::Bytes;
use futures_util::future::join;
use seam_core::{Datagram, Envelope, Error, Fate, Id, Timestamp, Value};

use crate::bench::Bench;
use crate::line::Line;
use crate::report::{Check, Stop, ensure};
use crate::suite::needs;

/// Sends `datagram` and has it arrive as it was.
async fn round_trip(line: &mut Line<'_>, datagram: Datagram) -> Check {
    let bench = line.bench;
    let sent = bench.within("the send", line.sender.send(datagram.clone()));
    let receiving = async {
        let delivery = bench.within("a delivery", line.receiver.next()).await??;
        let delivery = delivery.ok_or_else(|| Stop::failed("the receiver ended"))?;
        let (arrived, duty) = delivery.split();
        duty.ack()?;
        Check::Ok(arrived)
    };
    let (sent, arrived) = join(sent, receiving).await;
    sent??;
    let arrived = arrived?;
    ensure!(arrived.payload() == datagram.payload(), "another payload arrived");
    ensure!(arrived.tag() == datagram.tag(), "tag {} became {}", datagram.tag(), arrived.tag());
    let (was, is) = (datagram.envelope(), arrived.envelope());
    ensure!(was == is, "the envelope changed from {was:?} to {is:?}");
    Ok(())
}

pub(crate) async fn any_bytes_arrive_as_payload(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    let all: Vec<u8> = (0..=255).collect();
    for size in [1, 2, 63, 64, 65, 127, 128, 129, 255, 256] {
        round_trip(&mut line, Datagram::new(all[..size].to_vec())).await?;
        round_trip(&mut line, Datagram::new(vec![0; size])).await?;
    }
    line.finish().await
}

pub(crate) async fn any_tag_arrives(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    for tag in [0, 1, 255, 256, u16::MAX] {
        round_trip(&mut line, Datagram::new("tagged").with_tag(tag)).await?;
    }
    line.finish().await
}

pub(crate) async fn a_field_left_empty_arrives_empty(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    round_trip(&mut line, Datagram::new("plain")).await?;
    line.finish().await
}

pub(crate) async fn an_empty_payload_differs_from_none(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Envelope);
    round_trip(&mut line, Datagram::new("")).await?;
    round_trip(&mut line, Datagram::empty()).await?;
    round_trip(&mut line, Datagram::new("").with_key("k")).await?;
    round_trip(&mut line, Datagram::empty().with_key("k")).await?;
    line.finish().await
}

fn full(bench: &Bench<'_>) -> Check<Envelope> {
    let mut envelope = Envelope::default();
    envelope.id = Some(Id::text("order-17/ä")?);
    envelope.key = Some(Bytes::from_static(b"\x00key\xff"));
    envelope.kind = Some("shop.Order".into());
    envelope.content_type = Some("application/json; charset=utf-8".into());
    envelope.content_encoding = Some("zstd".into());
    envelope.time = Some("2018-01-31T01:49:59.650Z".parse()?);
    let wall = bench.registry.clock().wall();
    envelope.expiry = Some(wall.saturating_add(std::time::Duration::from_secs(3600)));
    envelope.priority = Some(7);
    envelope.correlation_id = Some(Bytes::from_static(b"\x01\x02"));
    envelope.reply_to = Some(Bytes::from_static(b"somebody's own"));
    envelope.headers.push(("trace".into(), Value::from("00-4bf9-01")));
    Ok(envelope)
}

pub(crate) async fn every_field_arrives(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Envelope);
    round_trip(&mut line, Datagram::new("{}").with_tag(3).with_envelope(full(bench)?)).await?;
    let mut other = full(bench)?;
    // Two of one id are one and the same to a broker that removes duplicates.
    other.id = Some(Id::text("order-18/ä")?);
    round_trip(&mut line, Datagram::empty().with_envelope(other)).await?;
    line.finish().await
}

pub(crate) async fn each_field_arrives_alone(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Envelope);
    type Part = fn(&mut Envelope, Envelope);
    let parts: [Part; 11] = [
        |to, from| to.id = from.id,
        |to, from| to.key = from.key,
        |to, from| to.kind = from.kind,
        |to, from| to.content_type = from.content_type,
        |to, from| to.content_encoding = from.content_encoding,
        |to, from| to.time = from.time,
        |to, from| to.expiry = from.expiry,
        |to, from| to.priority = from.priority,
        |to, from| to.correlation_id = from.correlation_id,
        |to, from| to.reply_to = from.reply_to,
        |to, from| to.headers = from.headers,
    ];
    for part in parts {
        let mut envelope = Envelope::default();
        part(&mut envelope, full(bench)?);
        round_trip(&mut line, Datagram::new("{}").with_envelope(envelope)).await?;
    }
    line.finish().await
}

pub(crate) async fn ids_of_text_and_of_bytes_stay_apart(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Envelope);
    let text = "0123456789abcdef";
    let bytes: [u8; 16] = text.as_bytes().try_into()?;
    for id in [Id::text(text)?, Id::bytes(bytes), Id::bytes([0xff; 16]), Id::text("x".repeat(128))?]
    {
        round_trip(&mut line, Datagram::new("named").with_id(id)).await?;
    }
    line.finish().await
}

pub(crate) async fn headers_keep_their_order_and_duplicates(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Envelope);
    let datagram = Datagram::new("x")
        .with_header("b", "2")
        .with_header("a", "1")
        .with_header("b", "3")
        .with_header("B", "4")
        .with_header("a", "1")
        .with_header("with space: and\r\nline", "")
        .with_header("ключ", "значение");
    round_trip(&mut line, datagram).await?;
    line.finish().await
}

pub(crate) async fn headers_of_every_kind_arrive(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Envelope);
    let mut datagram = Datagram::new("x");
    let map = vec![("n".into(), Value::Null), ("n".into(), Value::I64(1))];
    let values = [
        Value::Null,
        Value::Bool(false),
        Value::I64(i64::MIN),
        Value::U64(u64::MAX),
        Value::I64(7),
        Value::U64(7),
        Value::F64(-0.0),
        Value::F64(f64::from_bits(0x7ff8_0000_0000_0001)),
        Value::F64(f64::INFINITY),
        Value::Text("".into()),
        Value::Text("\u{0}\u{10ffff}".into()),
        Value::Bytes(Bytes::new()),
        Value::Bytes(Bytes::from_static(b"\x00\xff\r\n")),
        Value::Time(Timestamp::MIN),
        Value::Time(Timestamp::MAX),
        Value::List(vec![Value::Bool(true), Value::List(Vec::new())]),
        Value::Map(map),
    ];
    for (number, value) in values.into_iter().enumerate() {
        datagram.envelope_mut().headers.push((format!("h{number}").into(), value));
    }
    round_trip(&mut line, datagram).await?;
    line.finish().await
}

pub(crate) async fn headers_up_to_the_limits_arrive(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Envelope);
    let limits = line.client.capabilities().limits().clone();
    let mut many = Datagram::new("x");
    for number in 0..limits.headers.min(limits.header_bytes / 8) {
        many = many.with_header(format!("{number}"), "v");
    }
    round_trip(&mut line, many).await?;
    let name = "n".repeat(limits.header_name.min(limits.header_bytes));
    let value = Bytes::from(vec![b'v'; limits.header_bytes - name.len()]);
    round_trip(&mut line, Datagram::new("x").with_header(name, value)).await?;
    round_trip(&mut line, Datagram::new("x").with_key(vec![b'k'; limits.key])).await?;
    let mut deep = Value::Null;
    for _ in 0..limits.header_depth.min(64) {
        deep = Value::List(vec![deep]);
    }
    let mut nested = Datagram::new("x");
    nested.envelope_mut().headers.push(("deep".into(), deep));
    round_trip(&mut line, nested).await?;
    line.finish().await
}

pub(crate) async fn headers_over_a_limit_are_refused_before_the_send(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    needs!(line, Envelope);
    let limits = line.client.capabilities().limits().clone();
    let mut many = Datagram::new("x");
    for number in 0..=limits.headers {
        many = many.with_header(format!("{number}"), "");
    }
    let large = Bytes::from(vec![0; limits.header_bytes]);
    let over = [
        many,
        Datagram::new("x").with_header("n".repeat(limits.header_name + 1), ""),
        Datagram::new("x").with_header("n", large),
        Datagram::new("x").with_key(vec![b'k'; limits.key + 1]),
    ];
    for datagram in over {
        let sent = bench.within("the refusal", line.sender.send(datagram.clone())).await?;
        let Err(refused) = sent else {
            return Err(Stop::failed(format!("over a limit, and yet sent: {datagram:?}")));
        };
        let typed = matches!(refused.error(), Error::TooLarge { .. });
        ensure!(typed && refused.fate() == Fate::NotSent, "refused as {refused}");
        ensure!(*refused.datagram() == datagram, "it came back changed");
    }
    line.finish().await
}

pub(crate) async fn a_datagram_can_go_on_unchanged(bench: &Bench<'_>) -> Check {
    let (mut one, mut two) = (bench.line().await?, bench.line().await?);
    needs!(one, Envelope);
    let datagram = Datagram::new("{}").with_tag(9).with_envelope(full(bench)?);
    let sent = bench.within("the send", one.sender.send(datagram.clone()));
    let forwarding = async {
        let delivery = bench.within("a delivery", one.receiver.next()).await??;
        let delivery = delivery.ok_or_else(|| Stop::failed("the receiver ended"))?;
        let forwarded = delivery.datagram().clone();
        round_trip(&mut two, forwarded.clone()).await?;
        delivery.ack()?;
        ensure!(forwarded == datagram, "it changed on its way");
        Check::Ok(())
    };
    let (sent, forwarded) = join(sent, forwarding).await;
    sent??;
    forwarded?;
    one.finish().await?;
    two.finish().await
}
