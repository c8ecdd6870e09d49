//! `?wire=connect` against the published crate `connect` 0.2.4, and against bytes captured from it.

use std::time::Duration;

use connect::tcp::TcpListener as TheirListener;
use connect::{ConnectDatagram, Connection as Theirs, SinkExt, StreamExt};
use seam_conformance::free_port;
use seam_core::{Batch, Connection, Datagram, Receiver, Registry};
use seam_tcp::Tcp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Captured from a client that is built on the crate: each datagram and its bytes.
const HELLO: (u16, &[u8], &[u8]) = (65535, b"Hello world", b"\0\0\0\x0f\0\x01\xff\xffHello world");
const FIVE: (u16, &[u8], &[u8]) = (1, &[0xaa; 5], b"\0\0\0\x09\0\x01\0\x01\xaa\xaa\xaa\xaa\xaa");
const THREE: &[u8] =
    b"\0\0\0\x06\0\x01\x01\x02\0\0\0\0\0\x06\0\x01\x01\x02\x01\x01\0\0\0\x06\0\x01\x01\x02\x02\x02";

/// The largest payload that the crate sends.
const LARGEST: usize = 100_000_000;

async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.expect("it ends")
}

fn registry() -> Registry {
    Registry::new().with(Tcp::new())
}

fn uri(port: u16) -> String {
    format!("tcp://127.0.0.1:{port}?wire=connect")
}

/// Our client, and the socket it dialled.
async fn our_client() -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = uri(listener.local_addr().unwrap().port());
    let registry = registry();
    let (client, accepted) = tokio::join!(registry.client(&*uri), listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

/// Our server with a receiver for all peers, and its port.
async fn our_server() -> (Connection, Receiver, u16) {
    let port = free_port();
    let server = registry().server(&*uri(port)).await.unwrap();
    let receiver = server.receiver().await.unwrap();
    (server, receiver, port)
}

/// The next datagram: tag and payload.
async fn take(receiver: &mut Receiver) -> (u16, Vec<u8>) {
    let delivery = within(receiver.next()).await.unwrap().expect("it still receives");
    let (datagram, duty) = delivery.split();
    duty.ack().unwrap();
    (datagram.tag(), datagram.payload().unwrap().to_vec())
}

async fn expect_bytes(socket: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    within(socket.read_exact(&mut got)).await.unwrap();
    assert_eq!(got, bytes);
}

fn datagram(tag: u16, payload: &[u8]) -> Datagram {
    Datagram::new(payload.to_vec()).with_tag(tag)
}

fn theirs(tag: u16, payload: &[u8]) -> ConnectDatagram {
    ConnectDatagram::new(tag, payload.to_vec()).unwrap()
}

/// A server of the crate that sends each datagram back, as its own example does.
async fn their_echo() -> (u16, JoinHandle<()>) {
    let port = free_port();
    let mut listener = TheirListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
    let echo = tokio::spawn(async move {
        while let Some(mut connection) = listener.next().await {
            while let Some(datagram) = connection.reader().next().await {
                connection.writer().send(datagram).await.unwrap();
            }
        }
    });
    (port, echo)
}

/// A server of the crate that takes what the first connection brings: tag, length and first byte of each.
async fn their_sink(count: usize) -> (u16, JoinHandle<Vec<(u16, usize, u8)>>) {
    let port = free_port();
    let mut listener = TheirListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
    let sink = tokio::spawn(async move {
        let mut connection = listener.next().await.unwrap();
        let mut taken = Vec::new();
        while taken.len() < count {
            let datagram = connection.reader().next().await.unwrap();
            let data = datagram.data().unwrap();
            taken.push((datagram.recipient(), data.len(), data[0]));
        }
        taken
    });
    (port, sink)
}

#[tokio::test]
async fn what_we_send_is_what_the_crate_sends() {
    let (client, mut socket) = our_client().await;
    let mut sender = client.sender().await.unwrap();
    for (tag, payload, bytes) in [HELLO, FIVE] {
        sender.send(datagram(tag, payload)).await.unwrap();
        expect_bytes(&mut socket, bytes).await;
    }
    for byte in 0..3 {
        sender.feed(datagram(0x0102, &[byte; 2])).await.unwrap();
    }
    sender.flush().await.unwrap();
    expect_bytes(&mut socket, THREE).await;
    assert!(within(client.drain(Duration::from_secs(5))).await.unwrap().is_clean());
    assert_eq!(within(socket.read(&mut [0])).await.unwrap(), 0, "nothing follows");
}

#[tokio::test]
async fn what_the_crate_sends_arrives_split_or_together() {
    let (_server, mut receiver, port) = our_server().await;
    let all = [HELLO.2, FIVE.2, THREE].concat();
    for step in [1, 3, 7, 8, 9, all.len()] {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let sending = async {
            for piece in all.chunks(step) {
                socket.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let receiving = async {
            for (tag, payload, _) in [HELLO, FIVE] {
                assert_eq!(take(&mut receiver).await, (tag, payload.to_vec()));
            }
            for byte in 0..3 {
                assert_eq!(take(&mut receiver).await, (0x0102, vec![byte; 2]));
            }
        };
        tokio::join!(sending, receiving);
    }
}

#[tokio::test]
async fn a_peer_that_says_no_more_hears_its_answers() {
    let port = free_port();
    let server = registry().server(&*uri(port)).await.unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(&[HELLO.2, FIVE.2].concat()).await.unwrap();
    socket.shutdown().await.unwrap();
    let peer = within(server.accept()).await.unwrap().unwrap();
    let (sender, mut receiver) = (peer.sender().await.unwrap(), peer.receiver().await.unwrap());
    let mut count = 0;
    while let Some(delivery) = within(receiver.next()).await.unwrap() {
        sender.send(delivery.datagram().clone()).await.unwrap();
        delivery.ack().unwrap();
        count += 1;
    }
    assert_eq!(count, 2);
    sender.send(datagram(3, b"that was all")).await.unwrap();
    let mut answers = Vec::new();
    within(socket.read_to_end(&mut answers)).await.unwrap();
    let last = b"\0\0\0\x10\0\x01\0\x03that was all";
    assert_eq!(answers, [HELLO.2, FIVE.2, last].concat());
}

#[tokio::test]
async fn their_echo_server_gives_back_what_our_client_sends() {
    let (port, echo) = their_echo().await;
    let client = registry().client(&*uri(port)).await.unwrap();
    let (sender, mut receiver) = (client.sender().await.unwrap(), client.receiver().await.unwrap());
    for number in 0..1000u16 {
        sender.send(datagram(number, &number.to_be_bytes())).await.unwrap();
        assert_eq!(take(&mut receiver).await, (number, number.to_be_bytes().to_vec()));
    }
    echo.abort();
}

#[tokio::test]
async fn our_echo_server_gives_back_what_their_client_sends() {
    let port = free_port();
    let server = registry().server(&*uri(port)).await.unwrap();
    let mut client = Theirs::tcp_client(format!("127.0.0.1:{port}")).await.unwrap();
    let peer = within(server.accept()).await.unwrap().unwrap();
    let (sender, mut receiver) = (peer.sender().await.unwrap(), peer.receiver().await.unwrap());
    let serving = tokio::spawn(async move {
        while let Some(delivery) = receiver.next().await.unwrap() {
            sender.send(delivery.datagram().clone()).await.unwrap();
            delivery.ack().unwrap();
        }
    });
    for number in 0..1000u16 {
        client.writer().send(theirs(number, &number.to_be_bytes())).await.unwrap();
        let back = within(client.reader().next()).await.unwrap();
        let data = back.data().unwrap();
        assert_eq!((back.recipient(), &data[..]), (number, &number.to_be_bytes()[..]));
    }
    drop(client);
    within(serving).await.unwrap();
}

#[tokio::test]
async fn one_byte_and_a_hundred_million_arrive() {
    let (port, sink) = their_sink(2).await;
    let client = registry().client(&*uri(port)).await.unwrap();
    let sender = client.sender().await.unwrap();
    within(sender.send(datagram(1, &[1]))).await.unwrap();
    within(sender.send(datagram(2, &vec![2; LARGEST]))).await.unwrap();
    assert_eq!(within(sink).await.unwrap(), [(1, 1, 1), (2, LARGEST, 2)]);
    let refused = sender.send(datagram(3, &vec![3; LARGEST + 1])).await.unwrap_err();
    assert!(refused.to_string().contains("over the limit of 100000000"), "{refused}");

    let (_server, mut receiver, port) = our_server().await;
    let client = registry().client(&*uri(port)).await.unwrap();
    let sender = client.sender().await.unwrap();
    let (sent, got) =
        tokio::join!(within(sender.send(datagram(4, &vec![4; LARGEST]))), take(&mut receiver));
    sent.unwrap();
    assert!(got == (4, vec![4; LARGEST]), "another payload came");
}

#[tokio::test]
async fn a_header_that_cannot_be_ends_that_connection_alone() {
    let (_server, mut receiver, port) = our_server().await;
    let mut good = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let sizes = [0, 1, 2, 3, 4, 100_000_005, u32::MAX];
    for (size, version) in sizes.map(|size| (size, 1)).into_iter().chain([(6, 2), (6, 7)]) {
        let mut bad = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        bad.write_all(FIVE.2).await.unwrap();
        bad.write_all(&size.to_be_bytes()).await.unwrap();
        bad.write_all(&[0, version, 0, 1]).await.unwrap();
        assert_eq!(take(&mut receiver).await, (FIVE.0, FIVE.1.to_vec()), "what came before");
        let end = within(bad.read(&mut [0])).await;
        assert!(matches!(end, Ok(0) | Err(_)), "it stays open for {size} and {version}");
        good.write_all(HELLO.2).await.unwrap();
        assert_eq!(take(&mut receiver).await, (HELLO.0, HELLO.1.to_vec()));
    }
}

#[tokio::test]
async fn a_body_of_ten_million_bytes_arrives_whole() {
    let (port, sink) = their_sink(1).await;
    let client = registry().client(&*uri(port)).await.unwrap();
    let sender = client.sender().await.unwrap();
    within(sender.send(datagram(7, &vec![0x55; 10_000_000]))).await.unwrap();
    assert_eq!(within(sink).await.unwrap(), [(7, 10_000_000, 0x55)]);
}

#[tokio::test]
async fn three_thousand_fed_before_one_flush_arrive() {
    let (port, sink) = their_sink(3000).await;
    let client = registry().client(&*uri(port)).await.unwrap();
    let mut sender = client.sender().await.unwrap();
    for number in 0..3000 {
        sender.feed(datagram(number, &[1; 32])).await.unwrap();
    }
    within(sender.flush()).await.unwrap();
    let all: Vec<_> = (0..3000).map(|number| (number, 32, 1)).collect();
    assert_eq!(within(sink).await.unwrap(), all);
}

/// It reads nothing until everything that a socket takes was taken.
#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let (client, mut socket) = our_client().await;
    let sender = client.sender().await.unwrap();
    let mut batch = Batch::new();
    for number in 0..2000u16 {
        batch.push(datagram(number, &[7; 16 << 10]));
    }
    let sending = async { sender.admit(&mut batch).await.unwrap().receipts().await };
    let mut sending = Box::pin(sending);
    let early = timeout(Duration::from_millis(300), &mut sending).await;
    assert!(early.is_err(), "32 MB fit into a socket that nobody reads");
    let reading = async {
        let mut frame = vec![0; 8 + (16 << 10)];
        for number in 0..2000u16 {
            socket.read_exact(&mut frame).await.unwrap();
            assert_eq!(frame[6..8], number.to_be_bytes());
        }
    };
    let (receipts, ()) = within(async { tokio::join!(sending, reading) }).await;
    assert!(receipts.all_ok(), "{receipts:?}");
}

/// Nor does a peer lose anything that sends fast and goes, while we are slow.
#[tokio::test]
async fn a_slow_receiver_of_ours_gets_everything() {
    let (_server, mut receiver, port) = our_server().await;
    let sending = tokio::spawn(async move {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let frame = [&b"\0\0\x04\x04\0\x01\0\x09"[..], &[9; 1024]].concat();
        for _ in 0..20_000 {
            socket.write_all(&frame).await.unwrap();
        }
    });
    for _ in 0..20_000 {
        assert_eq!(take(&mut receiver).await.0, 9);
    }
    within(sending).await.unwrap();
}

/// Whoever only sends reads nothing, and learns by writing that nobody is there any more.
#[tokio::test]
async fn a_sender_without_receivers_comes_back_when_its_peer_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = uri(listener.local_addr().unwrap().port());
    let registry = registry();
    let (client, accepted) = tokio::join!(registry.client(&*uri), listener.accept());
    let sender = client.unwrap().sender().await.unwrap();
    drop(accepted.unwrap());
    // What the operating system takes before it knows is lost: this wire has no receipts.
    let sending = async {
        loop {
            sender.send(Datagram::new("12 apples")).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (mut socket, _) = within(async {
        tokio::select! {
            again = listener.accept() => again.unwrap(),
            () = sending => unreachable!("it never ends"),
        }
    })
    .await;
    within(sender.send(Datagram::new("7 pears"))).await.unwrap();
    let mut head = [0; 8];
    within(socket.read_exact(&mut head)).await.unwrap();
    assert_eq!(head[4..6], [0, 1], "a datagram of version 1");
}
