//! E8: frames that claim more than they hold, or more than is allowed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use integration_tests::{Figures, Scale};
use seam_conformance::ledger::Report;
use seam_core::{Datagram, Limits, Value};
use seam_wire::{
    DEFAULT_MAX_FRAME, EnvelopeLimits, Frame, Group, Header, Hello, Offers, Open, Receiving, Run,
    Sink, Window, header,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::stage::{Stage, free_address, patience};
use super::{TOLERANCE, quantile};

/// What may be allocated before it is refused, in bytes.
const ALLOCATED: u64 = 64 << 10;
/// How soon a connection is closed.
const CLOSED: Duration = Duration::from_millis(100);

/// An attack: where it comes, and its bytes.
struct Lie {
    name: &'static str,
    /// Whether it comes behind the first frames.
    inside: bool,
    bytes: Vec<u8>,
}

/// What goes wrong as soon as it is read.
fn lies() -> Vec<Lie> {
    let size = |size: u32, kind: u8| [&size.to_be_bytes()[..], &[0, 2, kind, 0]].concat();
    let over = u32::try_from(DEFAULT_MAX_FRAME).unwrap() + 4 + 65;
    // One entry of DATA: flags, then a length that says more than there is, or takes more bytes than it needs.
    let data = |body: &[u8]| {
        let mut bytes = size(u32::try_from(body.len()).unwrap() + 4, Frame::DATA);
        bytes.extend_from_slice(body);
        bytes
    };
    let mut hello = Vec::new();
    Frame::Hello(good_hello()).encode(0, &mut hello);
    let inside = |bytes: Vec<u8>| [hello.clone(), bytes].concat();
    let many = (0..5_000).fold(Datagram::new("x"), |bomb, _| bomb.with_header("h", "v"));
    let values = Datagram::new("x").with_header("h", Value::List(vec![Value::Null; 30_000]));
    let lie = |name, inside, bytes| Lie { name, inside, bytes };
    vec![
        lie("u32::MAX first", false, size(u32::MAX, 1)),
        lie("over 4 KiB first", false, size(4096 + 5, 1)),
        lie("u32::MAX", true, size(u32::MAX, Frame::DATA)),
        lie("over the largest frame", true, size(over, Frame::DATA)),
        lie("an overlong number", true, inside(data(&[0x81, 0x80, 0x80, 0x80, 0x00, 1, 0, 0]))),
        lie("a length over what is there", true, inside(data(&[1, 1, 0, 0xff, 0xff, 0xff, 0x7f]))),
        lie("a bomb of headers", true, inside(data(&body(&many)))),
        lie("a bomb of values", true, inside(data(&body(&values)))),
    ]
}

/// The body of a DATA with one datagram, which has the payload `x`.
fn body(datagram: &Datagram) -> Vec<u8> {
    let mut slot = Vec::new();
    seam_core::binary::encode_envelope(datagram.view(), &mut slot);
    let content = [&number(slot.len())[..], &slot, b"x"].concat();
    // First number 1, one entry, with an envelope.
    [&[1, 1, 64][..], &number(content.len()), &content].concat()
}

/// A length as the wire writes it.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

#[test]
fn lying_length_allocates_little() {
    let mut most = 0;
    let lies = lies();
    for lie in &lies {
        let frame = Bytes::from(lie.bytes.clone());
        let hello = good_hello();
        let (limits, window) =
            (EnvelopeLimits::from(&Limits::default()), Window::new(256, 1 << 20));
        let mut receiving =
            Receiving::new(&hello, window, DEFAULT_MAX_FRAME, 64 << 20, limits).unwrap();
        receiving.welcome(Duration::from_secs(60), None);
        let mut refused = false;
        let counted =
            allocation_counter::measure(|| refused = is_refused(&mut receiving, &frame, lie));
        assert!(refused, "{}", lie.name);
        let allocated = counted.bytes_total;
        assert!(allocated <= ALLOCATED, "{}: {allocated} bytes", lie.name);
        most = most.max(allocated);
    }
    Figures::new("E8 lying_length allocated", 0, Report::default())
        .with("lies", lies.len())
        .with("bytes", most)
        .print();
}

/// Reads as a connection does, to the first complaint.
fn is_refused(receiving: &mut Receiving, bytes: &Bytes, lie: &Lie) -> bool {
    let limit = if lie.inside { DEFAULT_MAX_FRAME + 64 } else { seam_wire::CONTROL_LIMIT };
    let mut at = 0;
    while at < bytes.len() {
        let Ok(Some(header)) = header(&bytes[at..], limit) else { return true };
        let end = at + Header::SIZE + header.body;
        if end > bytes.len() {
            return false;
        }
        let frame = bytes.slice(at..end);
        let read = match header.kind {
            Frame::DATA => receiving.on_data(&frame, Header::SIZE..frame.len(), &mut Nobody),
            kind => Frame::decode(kind, &frame[Header::SIZE..]).map(drop),
        };
        if read.is_err() {
            return true;
        }
        at = end;
    }
    false
}

/// Takes nothing.
struct Nobody;

impl Sink for Nobody {
    fn run(&mut self, _: Run) {}

    fn datagram(&mut self, _: u64, _: Datagram, _: u32, _: bool) {}
}

#[tokio::test]
async fn lying_length_is_closed_at_once() {
    let stage = Stage::new().await;
    let attempts = Scale::of_environment().pick(800, 10_000);
    let listen = free_address();
    let consumer = stage.consume(stage.consumer(&format!("tcp://{listen}/load"), "ben")).await;
    let lies = lies();
    let mut closed = Vec::new();
    while closed.len() < attempts {
        let round = lies.iter().map(|lie| closed_after(listen, lie));
        closed.extend(join_all(round).await);
    }
    let attempts = closed.len();
    let (half, longest) = (quantile(&mut closed, 0.5), quantile(&mut closed, 1.0));
    let received = consumer.stop().await;
    let report = stage.check();
    Figures::new("E8 lying_length", 0, report)
        .with_rss(received.rss())
        .with("attempts", attempts)
        .with("closed", format!("{:.1} ms", half.as_secs_f64() * 1e3))
        .with("longest", format!("{:.1} ms", longest.as_secs_f64() * 1e3))
        .print();
    report.assert_clean();
    assert_eq!(received.summary.messages, 0);
    assert!(longest <= CLOSED * TOLERANCE, "{longest:?}");
}

/// How long after the lie the connection was closed.
async fn closed_after(listen: std::net::SocketAddr, lie: &Lie) -> Duration {
    let mut stream = TcpStream::connect(listen).await.unwrap();
    if lie.inside {
        let mut open = Vec::new();
        Frame::Open(Box::new(good_open())).encode(0, &mut open);
        stream.write_all(&open).await.unwrap();
        let mut answer = [0; 4096];
        assert!(timeout(patience(), stream.read(&mut answer)).await.unwrap().unwrap() > 0);
    }
    let told = Instant::now();
    // It may be closed before all is written.
    let _ = stream.write_all(&lie.bytes).await;
    let mut rest = Vec::new();
    let end = timeout(patience(), stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "{} is not closed", lie.name);
    told.elapsed()
}

fn good_open() -> Open {
    Open {
        highest: 2,
        nonce: rand::random(),
        instance: rand::random(),
        offers: Offers { sends: true, ..Offers::default() },
        token: false,
        address: "load".into(),
        group: Group::Default,
        max_message: 1 << 20,
        max_frame: 1 << 20,
        envelope: EnvelopeLimits::from(&Limits::default()),
    }
}

fn good_hello() -> Hello {
    Hello {
        sid: rand::random(),
        owner: rand::random(),
        attempt: 1,
        resume: false,
        acked: 0,
        next: 1,
        next_bytes: 0,
        expiry: Duration::from_secs(60),
        proof: None,
    }
}
