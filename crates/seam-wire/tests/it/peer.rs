//! What several tests need: a sink, and both halves of a session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use seam_core::Datagram;
use seam_wire::{
    EnvelopeLimits, Frame, Header, Hello, Learned, Outgoing, Parcel, Receiving, Run, Sending, Sink,
    Window, WireError, header,
};

/// Keeps what it is given.
#[derive(Default)]
pub(crate) struct Got {
    pub(crate) frame: Bytes,
    pub(crate) datagrams: Vec<(u64, Datagram, u32, bool)>,
}

impl Sink for Got {
    fn run(&mut self, run: Run) {
        let all = run.views(&self.frame);
        self.datagrams.extend(all.map(|(number, view)| (number, view.to_datagram(), 1, false)));
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

pub(crate) fn sending() -> Sending {
    Sending::new([1; 16], Duration::from_secs(300), 4096)
}

pub(crate) fn receiving(hello: &Hello, window: Window) -> Receiving {
    Receiving::new(hello, window, 4096, 1 << 20, EnvelopeLimits::default()).unwrap()
}

/// Both halves, connected.
pub(crate) struct Pair {
    pub(crate) sending: Sending,
    pub(crate) receiving: Receiving,
    pub(crate) learned: Learned,
    pub(crate) got: Got,
}

impl Pair {
    pub(crate) fn new(window: Window) -> Self {
        let mut sending = sending();
        let hello = sending.hello([2; 16]);
        let receiving = receiving(&hello, window);
        let mut pair =
            Self { sending, receiving, learned: Learned::default(), got: Got::default() };
        pair.welcome();
        pair
    }

    pub(crate) fn welcome(&mut self) {
        let welcome = self.receiving.welcome(Duration::from_secs(300), None);
        self.sending.on_welcome(&welcome, &mut self.learned).unwrap();
    }

    /// A new connection: everything on the old one is lost.
    pub(crate) fn reconnect(&mut self) {
        let hello = self.sending.hello([3; 16]);
        self.receiving.on_hello(&hello).unwrap();
        self.welcome();
    }

    pub(crate) fn admit(&mut self, token: u64, content: &[Datagram]) -> usize {
        self.sending.admit(parcel(token, content))
    }

    /// Everything transmitted, as one run of bytes.
    pub(crate) fn transmitted(&mut self) -> Vec<u8> {
        let mut out = Outgoing::new();
        self.sending.transmit(0, &mut out, usize::MAX);
        drain(&mut out)
    }

    pub(crate) fn deliver(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        on_bytes(&mut self.receiving, bytes, &mut self.got)
    }

    /// Admits, transmits and receives.
    pub(crate) fn pass(&mut self, token: u64, content: &[Datagram]) {
        assert_eq!(self.admit(token, content), content.len());
        let bytes = self.transmitted();
        self.deliver(&bytes).unwrap();
    }

    pub(crate) fn ack(&mut self) {
        let ack = self.next_ack();
        self.sending.on_ack(&ack, &mut self.learned).unwrap();
    }

    pub(crate) fn next_ack(&mut self) -> seam_wire::Ack {
        let mut out = Outgoing::new();
        self.receiving.ack(0, &mut out);
        match frame(out.buffer()) {
            Frame::Ack(ack) => ack,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn parcel(token: u64, content: &[Datagram]) -> Parcel {
    Parcel {
        token,
        place: 0,
        range: 0..content.len(),
        content: Arc::new(content.iter().cloned().collect()),
        attempt: 1,
        possible_duplicate: false,
    }
}

/// Reads every DATA in `bytes`, which hold nothing else.
pub(crate) fn on_bytes(
    receiving: &mut Receiving,
    bytes: &[u8],
    got: &mut Got,
) -> Result<(), WireError> {
    let bytes = Bytes::copy_from_slice(bytes);
    got.frame = bytes.clone();
    let mut at = 0;
    while at < bytes.len() {
        let header = header(&bytes[at..], 1 << 20)?.expect("only whole frames");
        assert_eq!(header.kind, Frame::DATA);
        at += Header::SIZE;
        receiving.on_data(&bytes, at..at + header.body, got)?;
        at += header.body;
    }
    Ok(())
}

pub(crate) fn frame(bytes: &[u8]) -> Frame {
    let header = header(bytes, 1 << 20).unwrap().unwrap();
    assert_eq!(bytes.len(), Header::SIZE + header.body);
    Frame::decode(header.kind, &bytes[Header::SIZE..]).unwrap()
}

pub(crate) fn drain(out: &mut Outgoing) -> Vec<u8> {
    let mut bytes = Vec::new();
    while out.pending() > 0 {
        let mut slices = [std::io::IoSlice::new(&[]); 2];
        let filled = out.slices(&mut slices);
        let taken = slices[..filled].iter().map(|slice| slice.len()).sum();
        slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
        out.advance(taken);
    }
    bytes
}

pub(crate) fn plain(count: usize) -> Vec<Datagram> {
    (0..count).map(|number| Datagram::new(number.to_string())).collect()
}

pub(crate) fn wide() -> Window {
    Window::new(100, 1 << 20)
}

/// With its type and body, each frame that was written.
pub(crate) fn frames(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while let Some(header) = seam_wire::header(rest, 1 << 20).unwrap() {
        frames.push((header.kind, rest[8..8 + header.body].to_vec()));
        rest = &rest[8 + header.body..];
    }
    frames
}
