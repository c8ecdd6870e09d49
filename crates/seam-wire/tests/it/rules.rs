//! The rules of a session, one by one.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use seam_core::Datagram;
use seam_wire::{
    EnvelopeLimits, Frame, Header, Learned, Outgoing, Parcel, Receiving, Sending, Sink, Window,
    header,
};

#[derive(Default)]
struct Got {
    frame: Bytes,
    datagrams: Vec<(u64, Datagram, u32, bool)>,
}

impl Sink for Got {
    fn slice(&mut self, number: u64, tag: u16, at: Range<usize>) {
        self.datagrams.push((number, Datagram::copy_from(tag, &self.frame[at]), 1, false));
    }

    fn datagram(
        &mut self,
        number: u64,
        datagram: Datagram,
        attempt: u32,
        possible_duplicate: bool,
    ) {
        self.datagrams.push((number, datagram, attempt, possible_duplicate));
    }
}

#[test]
fn first_round_trip() {
    let mut sending = Sending::new([1; 16], Duration::from_secs(300), 4096);
    let hello = sending.hello([2; 16]);
    let mut receiving =
        Receiving::new(&hello, Window::new(100, 1 << 20), 4096, 1 << 20, EnvelopeLimits::default())
            .unwrap();
    let mut learned = Learned::default();
    sending.on_welcome(&receiving.welcome(hello.expiry, None), &mut learned).unwrap();
    let content = vec![
        Datagram::new("a"),
        Datagram::new("b").with_tag(7),
        Datagram::empty(),
        Datagram::new(vec![9; 10_000]).with_key("k"),
        Datagram::new(vec![9; 300]),
    ];
    let parcel = Parcel {
        token: 9,
        place: 0,
        range: 0..content.len(),
        content: Arc::new(content.clone()),
        attempt: 1,
        possible_duplicate: false,
    };
    assert_eq!(sending.admit(parcel), 5);
    let mut out = Outgoing::new();
    sending.transmit(0, &mut out, usize::MAX);
    let bytes = Bytes::copy_from_slice(out.buffer());
    let mut got = Got { frame: bytes.clone(), ..Got::default() };
    let mut at = 0;
    while let Some(Header { kind, body, .. }) = header(&bytes[at..], 1 << 20).unwrap() {
        assert_eq!(kind, Frame::DATA);
        at += Header::SIZE;
        receiving.on_data(&bytes, at..at + body, &mut got).unwrap();
        at += body;
    }
    assert_eq!(at, bytes.len());
    assert_eq!(got.datagrams.iter().map(|d| d.1.clone()).collect::<Vec<_>>(), content);
    assert_eq!(got.datagrams.iter().map(|d| d.0).collect::<Vec<_>>(), [1, 2, 3, 6, 7]);
    receiving.done(1..2);
    receiving.done(6..7);
    receiving.released(3, 2, Duration::from_millis(5));
    out.clear();
    receiving.ack(0, &mut out);
    let ack = Frame::decode(7, &out.buffer()[8..]).unwrap();
    let Frame::Ack(ack) = ack else { panic!("{ack:?}") };
    sending.on_ack(&ack, &mut learned).unwrap();
    assert_eq!(learned.received, [(9, 0..5)]);
    assert_eq!(learned.done, [(9, 3..4), (9, 0..1)]);
    assert_eq!(learned.released.len(), 1);
}
