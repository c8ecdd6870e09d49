//! Peers that speak the protocol, and not as they should: frame by frame, on a raw socket.

use std::time::Duration;

use seam_conformance::free_port;
use seam_core::{Event, Registry, VirtualClock};
use seam_tcp::Tcp;
use seam_wire::{
    EnvelopeLimits, Frame, Group, Header, Hello, Offers, Open, Proof, Reject, ResumeProof,
    ResumeToken, Role,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);
const TOKEN: &[u8] = b"correct horse";

/// A connection on which both ends have said who they are.
struct Raw {
    socket: TcpStream,
    /// What proofs of this connection are bound to.
    binding: Vec<u8>,
}

impl Raw {
    /// Comes to `port` as the end of this name, and proves to know the token if there is one.
    async fn new(port: u16, instance: [u8; 16], token: Option<&[u8]>) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let open = Open {
            highest: 2,
            nonce: [instance[0]; 32],
            instance,
            offers: Offers { sends: true, ..Offers::default() },
            token: token.is_some(),
            address: "orders".into(),
            group: Group::Default,
            max_message: 64 << 20,
            max_frame: 1 << 20,
            envelope: EnvelopeLimits {
                headers: 1 << 10,
                header_bytes: 1 << 20,
                ..EnvelopeLimits::default()
            },
        };
        let mut dialler = Vec::new();
        Frame::Open(Box::new(open)).encode(0, &mut dialler);
        socket.write_all(&dialler).await.unwrap();
        let dialler = dialler.split_off(Header::SIZE);
        let (kind, acceptor) = read(&mut socket).await;
        let Frame::Open(theirs) = Frame::decode(kind, &acceptor).unwrap() else { panic!() };
        let binding = [[instance[0]; 32], theirs.nonce].concat();
        if let Some(token) = token {
            let proof = Proof { token, dialler: &dialler, acceptor: &acceptor, exporter: &[] };
            let (kind, theirs) = read(&mut socket).await;
            let Frame::Prove(theirs) = Frame::decode(kind, &theirs).unwrap() else { panic!() };
            proof.verify(Role::Acceptor, &theirs).unwrap();
            say(&mut socket, Frame::Prove(proof.prove(Role::Dialler))).await;
        }
        Self { socket, binding }
    }

    /// Says HELLO, and gives the answer: its type and its bytes.
    async fn hello(&mut self, hello: Hello) -> (u8, Vec<u8>) {
        say(&mut self.socket, Frame::Hello(hello)).await;
        loop {
            let (kind, body) = read(&mut self.socket).await;
            match Frame::decode(kind, &body).unwrap() {
                // Its own session, and signs of life.
                Frame::Hello(_) | Frame::Ping(_) => {}
                _ => return (kind, body),
            }
        }
    }
}

async fn say(socket: &mut TcpStream, frame: Frame) {
    let mut bytes = Vec::new();
    frame.encode(0, &mut bytes);
    socket.write_all(&bytes).await.unwrap();
}

/// The next frame: its type and its body.
async fn read(socket: &mut TcpStream) -> (u8, Vec<u8>) {
    let reading = async {
        let mut head = [0; Header::SIZE];
        socket.read_exact(&mut head).await.unwrap();
        let header = seam_wire::header(&head, 1 << 20).unwrap().unwrap();
        let mut body = vec![0; header.body];
        socket.read_exact(&mut body).await.unwrap();
        (header.kind, body)
    };
    timeout(PATIENCE, reading).await.expect("a frame comes")
}

fn hello(owner: [u8; 16], sid: [u8; 16], attempt: u64) -> Hello {
    Hello {
        sid,
        owner,
        attempt,
        resume: attempt > 1,
        acked: 0,
        next: 1,
        next_bytes: 0,
        expiry: Duration::from_secs(60),
        proof: None,
    }
}

/// Whoever tries sessions that are not its own learns nothing: not even whether they are there.
#[tokio::test]
async fn sessions_cannot_be_probed() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let port = free_port();
    let uri = format!("tcp://127.0.0.1:{port}/orders?token_file={}", file.display());
    let server = Registry::new().with(Tcp::new()).server(&*uri).await.unwrap();
    let _receiver = server.receiver().await.unwrap();
    let (owner, other, sid, unknown) = ([1; 16], [2; 16], [3; 16], [4; 16]);

    let mut first = Raw::new(port, owner, Some(TOKEN)).await;
    let (welcome, _) = first.hello(hello(owner, sid, 1)).await;
    drop(first);

    let mut answers = Vec::new();
    for (who, sid, token) in [
        (owner, unknown, Some(TOKEN)),
        (other, sid, Some(TOKEN)),
        (owner, sid, Some(b"battery staple")),
        (owner, sid, None),
    ] {
        let mut raw = Raw::new(port, who, Some(TOKEN)).await;
        let mut hello = hello(who, sid, 2);
        if let Some(token) = token {
            let token = ResumeToken::derived(token, &sid);
            ResumeProof { token: &token, connection: &raw.binding }.sign(&mut hello);
        }
        answers.push(raw.hello(hello).await);
    }
    assert_eq!(answers, vec![answers[0].clone(); 4], "the answers differ");
    let (kind, body) = &answers[0];
    assert_eq!(Frame::decode(*kind, body), Ok(Frame::Reject(Reject::Unknown)));

    let mut again = Raw::new(port, owner, Some(TOKEN)).await;
    let mut resumed = hello(owner, sid, 3);
    let token = ResumeToken::derived(TOKEN, &sid);
    ResumeProof { token: &token, connection: &again.binding }.sign(&mut resumed);
    assert_eq!(again.hello(resumed).await.0, welcome, "its owner gets it all the same");
}

/// Virtual seconds until `socket` is closed, with a byte of `trickle` in each.
async fn seconds_open(clock: &VirtualClock, socket: &mut TcpStream, trickle: u8) -> u64 {
    let waiting = async {
        for second in 0.. {
            // Whether it still takes a byte shows at the other half.
            let _ = socket.write_all(&[trickle]).await;
            let mut bytes = [0; 1024];
            let turn = timeout(Duration::from_millis(10), socket.read(&mut bytes)).await;
            if matches!(turn, Ok(Ok(0) | Err(_))) {
                return second;
            }
            clock.advance(Duration::from_secs(1));
        }
        unreachable!("there is always a next second")
    };
    timeout(PATIENCE, waiting).await.expect("it is closed at some time")
}

/// A frame that has begun has 30 s and a second for each 16 KiB; single bytes extend nothing.
#[tokio::test]
async fn a_frame_that_trickles_is_not_waited_for() {
    let clock = VirtualClock::new();
    let registry = Registry::new().with(Tcp::new()).with_clock(clock.clone());
    let port = free_port();
    let uri = format!("tcp://127.0.0.1:{port}/orders?keep_alive=1h");
    let server = registry.server(&*uri).await.unwrap();
    let _receiver = server.receiver().await.unwrap();
    let mut raw = Raw::new(port, [1; 16], None).await;
    raw.hello(hello([1; 16], [2; 16], 1)).await;
    // A DATA of 160 KiB: ten seconds more.
    raw.socket.write_all(&[0, 2, 0x80, 4, 0, 2, Frame::DATA, 0]).await.unwrap();
    let open = seconds_open(&clock, &mut raw.socket, 0).await;
    assert!((38..=60).contains(&open), "closed after {open} s");

    let port = free_port();
    let plain = registry.server(&*format!("tcp://127.0.0.1:{port}?wire=connect")).await.unwrap();
    let _receiver = plain.receiver().await.unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(&[0, 0, 16, 4, 0, 1, 0, 1]).await.unwrap();
    let open = seconds_open(&clock, &mut socket, 7).await;
    assert!((29..=50).contains(&open), "closed after {open} s");
}

/// Reads until the server closes the connection.
async fn closed(socket: &mut TcpStream) {
    let reading = async { while !matches!(socket.read(&mut [0; 64]).await, Ok(0) | Err(_)) {} };
    timeout(PATIENCE, reading).await.expect("it is closed");
}

/// C4: one source has its share of the connections, and gets it back.
#[tokio::test]
async fn one_source_does_not_take_every_connection() {
    let (port, registry) = (free_port(), Registry::new().with(Tcp::new()));
    let uri = format!("tcp://127.0.0.1:{port}/orders");
    let server = registry.server(&*format!("{uri}?source_connections=3")).await.unwrap();
    let _receiver = server.receiver().await.unwrap();
    let connect = async || TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut silent = [connect().await, connect().await, connect().await];
    closed(&mut connect().await).await;
    silent[0].shutdown().await.unwrap();
    let client = timeout(PATIENCE, registry.client(&*uri)).await;
    client.expect("there is a place again").unwrap();
}

/// C10: one source has its share of what is remembered.
#[tokio::test]
async fn one_source_is_not_remembered_without_end() {
    let port = free_port();
    let uri = format!("tcp://127.0.0.1:{port}/orders?source_connections=2");
    let server = Registry::new().with(Tcp::new()).server(&*uri).await.unwrap();
    let _receiver = server.receiver().await.unwrap();
    let gone = async || {
        let waiting = async {
            while let Some(event) = server.next_event().await {
                if matches!(event, Event::Disconnected { .. }) {
                    return;
                }
            }
        };
        timeout(PATIENCE, waiting).await.expect("its end is seen");
    };
    let mut welcome = 0;
    for name in [1, 2] {
        let mut raw = Raw::new(port, [name; 16], None).await;
        welcome = raw.hello(hello([name; 16], [name; 16], 1)).await.0;
        drop(raw);
        gone().await;
    }
    closed(&mut Raw::new(port, [3; 16], None).await.socket).await;
    let mut known = Raw::new(port, [2; 16], None).await;
    assert_eq!(known.hello(hello([2; 16], [2; 16], 2)).await.0, welcome, "it is known");
}
