//! A peer that was written from `docs/wire.md`, over a bare stream of each carrier, with nothing of ours in it: it sends,
//! is cut off, resumes, and ends well.

use hmac::{Hmac, KeyInit, Mac};
use integration_tests::bare::{Over, Wire};
use seam_core::Receiver;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::over::Place;
use super::stage::{Stage, patience};

const INSTANCE: [u8; 16] = [3; 16];
const SID: [u8; 16] = [5; 16];
const BODIES: [&[u8]; 4] = [b"12 apples", b"", b"7 pears", b"1 quince"];

const OPEN: u8 = 1;
const HELLO: u8 = 3;
const WELCOME: u8 = 4;
const DATA: u8 = 6;
const ACK: u8 = 7;
const PING: u8 = 8;
const FIN: u8 = 10;
const FIN_ACK: u8 = 11;

#[tokio::test]
async fn a_peer_written_from_the_page() {
    for over in Over::EACH {
        talk(over).await;
    }
}

async fn talk(over: Over) {
    let stage = Stage::new().await;
    let place = Place::new(over, &stage);
    let server = seam::registry().server(place.listens("credit=4096")).await.unwrap();
    let mut receiver = server.receiver().await.unwrap();

    let mut peer = Peer::open(place.wire().await, 1).await;
    peer.write(HELLO, &hello(1, 0, 1, 0, None)).await;
    let welcome = peer.next(WELCOME).await;
    let (next, token) = read_welcome(&welcome, 1);
    assert_eq!(next, 1, "{over}");
    peer.write(DATA, &data(1, &BODIES[..3])).await;
    take(&mut receiver, &BODIES[..3]).await;
    peer.settled(3).await;
    // Without a word.
    drop(peer);

    let mut peer = Peer::open(place.wire().await, 2).await;
    let bytes = BODIES[..3].iter().map(|body| u64::try_from(body.len()).unwrap()).sum();
    let proof = token.map(|token| peer.prove(&token, 2));
    // Inside TLS and on a Unix socket there is a token; on a bare line without a shared one there is none.
    assert_eq!(proof.is_some(), over != Over::Tcp, "{over}");
    peer.write(HELLO, &hello(2, 3, 4, bytes, proof)).await;
    let (next, _) = read_welcome(&peer.next(WELCOME).await, 2);
    assert_eq!(next, 4, "{over}: it has what was sent before");
    peer.write(DATA, &data(4, &BODIES[3..])).await;
    take(&mut receiver, &BODIES[3..]).await;
    peer.settled(4).await;
    peer.write(FIN, &numbers(&[4])).await;
    assert!(peer.next(FIN_ACK).await.is_empty());
    assert_eq!(server.statistics().sessions_lost, 0);
}

async fn take(receiver: &mut Receiver, bodies: &[&[u8]]) {
    for body in bodies {
        let next = timeout(patience(), receiver.next()).await.expect("it comes");
        let delivery = next.unwrap().unwrap();
        assert_eq!(delivery.datagram().payload(), Some(*body));
        delivery.ack().unwrap();
    }
}

/// A connection on which both ends have said OPEN.
struct Peer {
    wire: Wire,
    /// What a proof is bound to, section 6, rule 11.
    connection: Vec<u8>,
}

impl Peer {
    async fn open(wire: Wire, nonce: u8) -> Self {
        let exporter = wire.exporter;
        let mut peer = Self { wire, connection: Vec::new() };
        peer.write(OPEN, &open(nonce)).await;
        let theirs = peer.next(OPEN).await;
        // highest, which is one byte so far, then the nonce.
        let nonces = [[nonce; 32].as_slice(), &theirs[1..33]].concat();
        peer.connection = exporter.map_or(nonces, |exporter| exporter.to_vec());
        peer
    }

    async fn write(&mut self, kind: u8, body: &[u8]) {
        let size = u32::try_from(body.len() + 4).unwrap();
        let frame = [&size.to_be_bytes(), &[0, 2, kind, 0][..], body].concat();
        self.wire.stream.write_all(&frame).await.unwrap();
        self.wire.stream.flush().await.unwrap();
    }

    /// The next frame of this kind. A PING may come before it, an ACK that tells nothing new, and a HELLO of a session in
    /// which nobody receives here: that waits.
    async fn next(&mut self, wanted: u8) -> Vec<u8> {
        loop {
            let (kind, body) = timeout(patience(), self.read()).await.expect("a frame comes");
            if kind == wanted {
                return body;
            }
            assert!(
                [PING, ACK, HELLO].contains(&kind),
                "type {kind} instead of {wanted}: {body:?}"
            );
        }
    }

    async fn read(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 8];
        self.wire.stream.read_exact(&mut header).await.unwrap();
        let [a, b, c, d, 0, 2, kind, 0] = header else { panic!("{header:?}") };
        let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap();
        let mut body = vec![0; size - 4];
        self.wire.stream.read_exact(&mut body).await.unwrap();
        (kind, body)
    }

    /// Waits until everything up to `last` is settled.
    async fn settled(&mut self, last: u64) {
        while read_number(&mut &*self.next(ACK).await) < last {}
    }

    fn prove(&self, token: &[u8], attempt: u64) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(token).unwrap();
        mac.update(&self.connection);
        mac.update(&SID);
        mac.update(&attempt.to_be_bytes());
        mac.update(&INSTANCE);
        mac.finalize().into_bytes().into()
    }
}

fn open(nonce: u8) -> Vec<u8> {
    let mut body = numbers(&[2]);
    body.extend([nonce; 32]);
    body.extend(INSTANCE);
    // It sends.
    body.push(1);
    body.extend(numbers(&[4]));
    body.extend(b"load");
    body.push(0);
    let (max_message, max_frame) = (64 << 20, 1_049_600);
    body.extend(numbers(&[max_message, max_frame, 65_536, 1024, 72, 256, 20_480, 8]));
    body
}

fn hello(attempt: u64, acked: u64, next: u64, bytes: u64, proof: Option<[u8; 32]>) -> Vec<u8> {
    let mut body = [SID, INSTANCE].concat();
    body.extend(numbers(&[attempt]));
    let resumes = u8::from(attempt > 1);
    body.push(if proof.is_some() { resumes | 8 } else { resumes });
    body.extend(numbers(&[acked, next, bytes, 60_000]));
    body.extend(proof.into_iter().flatten());
    body
}

/// The next number that is wanted, and the token if there is one.
fn read_welcome(mut body: &[u8], attempt: u64) -> (u64, Option<Vec<u8>>) {
    assert_eq!(read_number(&mut body), attempt);
    let next = read_number(&mut body);
    // max_frame and expiry.
    for _ in 0..2 {
        read_number(&mut body);
    }
    let (flags, rest) = body.split_first().unwrap();
    (next, (*flags == 1).then(|| rest[..32].to_vec()))
}

fn data(first: u64, bodies: &[&[u8]]) -> Vec<u8> {
    let mut body = numbers(&[first, u64::try_from(bodies.len()).unwrap()]);
    for content in bodies {
        body.push(0);
        body.extend(numbers(&[u64::try_from(content.len()).unwrap()]));
        body.extend(*content);
    }
    body
}

/// LEB128.
fn numbers(numbers: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in numbers {
        let mut rest = *number;
        loop {
            let low = rest.to_le_bytes()[0] & 0x7f;
            rest >>= 7;
            if rest == 0 {
                bytes.push(low);
                break;
            }
            bytes.push(low | 0x80);
        }
    }
    bytes
}

fn read_number(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return number;
        }
    }
}
