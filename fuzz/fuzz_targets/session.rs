//! A hostile peer of both halves of a session: whatever frames come, nothing panics, what is told stays
//! consistent, and no datagram gets two outcomes.
#![no_main]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use seam_core::{Datagram, Datagrams};
use seam_wire::{
    EnvelopeLimits, Frame, Header, Learned, Outgoing, Parcel, Receiving, Run, Sending, Sink, Window,
    header,
};

fuzz_target!(|bytes: &[u8]| {
    let mut peer = Hostile::new();
    let mut rest = bytes;
    while let Ok(Some(read)) = header(rest, 1 << 20) {
        let Some(whole) = rest.get(..Header::SIZE + read.body) else { return };
        rest = &rest[whole.len()..];
        if read.version == 2 && !peer.take(read.kind, whole) {
            return;
        }
    }
});

struct Hostile {
    sending: Sending,
    receiving: Receiving,
    learned: HashSet<(u64, u32)>,
    got: Got,
}

#[derive(Default)]
struct Got(Vec<u64>);

impl Sink for Got {
    fn run(&mut self, run: Run) {
        self.0.extend((run.first..).take(run.count));
    }

    fn datagram(
        &mut self,
        number: u64,
        _datagram: Datagram,
        _attempt: u32,
        _possible_duplicate: bool,
    ) {
        self.0.push(number);
    }
}

impl Hostile {
    fn new() -> Self {
        let mut sending = Sending::new([1; 16], Duration::from_secs(1), 4096);
        let hello = sending.hello([2; 16]);
        let window = Window::new(64, 1 << 16);
        let mut receiving =
            Receiving::new(&hello, window, 4096, 1 << 16, EnvelopeLimits::default())
                .expect("a first HELLO is welcome");
        let welcome = receiving.welcome(Duration::from_secs(1), None);
        sending.on_welcome(&welcome, &mut Learned::default()).expect("it is in order");
        let content: Datagrams = [
            Datagram::new("plain"),
            Datagram::new(vec![7; 9_000]),
            Datagram::new("enveloped").with_key("k"),
            Datagram::new("another"),
        ]
        .into_iter()
        .collect();
        let range = 0..content.len();
        let content = Arc::new(content);
        sending.admit(Parcel {
            token: 1,
            place: 0,
            content,
            range,
            attempt: 1,
            possible_duplicate: false,
        });
        let mut peer = Self { sending, receiving, learned: HashSet::new(), got: Got::default() };
        peer.transmit();
        peer
    }

    fn transmit(&mut self) {
        self.sending.transmit(0, &mut Outgoing::new(), usize::MAX);
    }

    /// `false` once the connection would be closed.
    fn take(&mut self, kind: u8, whole: &[u8]) -> bool {
        if kind == Frame::DATA {
            return self.data(whole);
        }
        let Ok(frame) = Frame::decode(kind, &whole[Header::SIZE..]) else { return false };
        let mut learned = Learned::default();
        let goes_on = match frame {
            Frame::Hello(hello) => match self.receiving.on_hello(&hello) {
                Ok(()) => {
                    self.told(|receiving| Frame::Welcome(receiving.welcome(Duration::ZERO, None)))
                }
                Err(_) => true,
            },
            Frame::Welcome(mut welcome) => {
                welcome.epoch = self.sending.hello([3; 16]).attempt;
                self.sending.on_welcome(&welcome, &mut learned).is_ok()
            }
            Frame::Ack(ack) => self.sending.on_ack(&ack, &mut learned).is_ok(),
            Frame::Pong(pong) => self.sending.on_pong(&pong, &mut learned).is_ok(),
            Frame::Ping(ping) => {
                self.receiving.on_ping(ping.seen).is_ok()
                    && self.told(|receiving| Frame::Pong(receiving.pong(ping.opaque)))
            }
            Frame::Fin { last } => self.receiving.on_fin(last).is_ok(),
            Frame::Leave => {
                self.sending.on_leave();
                true
            }
            _ => true,
        };
        self.check(&learned);
        self.transmit();
        goes_on
    }

    fn data(&mut self, whole: &[u8]) -> bool {
        let frame = Bytes::copy_from_slice(whole);
        let result = self.receiving.on_data(&frame, Header::SIZE..frame.len(), &mut self.got);
        for number in std::mem::take(&mut self.got.0) {
            match number % 3 {
                0 => self.receiving.released(number, 2, Duration::ZERO),
                1 => self.receiving.done(number..number + 1),
                _ => {}
            }
        }
        self.told(|receiving| {
            let mut out = Outgoing::new();
            receiving.ack(0, &mut out);
            Frame::decode(7, &out.buffer()[Header::SIZE..]).expect("what is written is read")
        }) && result.is_ok()
    }

    /// What the receiving half tells can be read, and is no longer than it may be.
    fn told(&mut self, tell: impl FnOnce(&mut Receiving) -> Frame) -> bool {
        let frame = tell(&mut self.receiving);
        let mut written = Vec::new();
        frame.encode(0, &mut written);
        assert!(written.len() <= Header::SIZE + seam_wire::CONTROL_LIMIT);
        assert_eq!(Frame::decode(written[6], &written[Header::SIZE..]), Ok(frame));
        let progress = self.receiving.progress();
        assert!(progress.settled <= progress.received);
        true
    }

    fn check(&mut self, learned: &Learned) {
        for (token, places) in &learned.done {
            places.clone().for_each(|place| assert!(self.learned.insert((*token, place))));
        }
        for released in &learned.released {
            assert!(self.learned.insert((released.token, released.place)));
        }
        assert!(self.learned.len() <= 4);
    }
}
