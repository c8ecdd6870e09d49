//! E6: a connection is cut behind every byte of an exchange.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::join;
use integration_tests::bare::Over;
use integration_tests::relay::{Cut, Plan, Relay, Way};
use integration_tests::{Figures, Scale};
use seam_conformance::ledger::Report;
use seam_core::{Connection, Datagram, Error, Event};
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::over::Place;
use super::stage::{Stage, free_address, patience};

/// The three frames of the exchange.
const BODIES: [&str; 3] = ["twelve apples", "", "one pear"];
/// Exchanges at the same time.
const AT_ONCE: usize = 32;

/// Each exchange is a session over a relay, which cuts its first connection.
#[tokio::test]
async fn cut_every_offset_of_a_session() {
    cut(Over::Tcp, 1).await;
}

/// The offsets of its handshake among them.
#[tokio::test]
async fn cut_every_offset_of_a_session_over_tls() {
    cut(Over::Tls, Scale::of_environment().pick(23, 1)).await;
}

/// Cuts it behind every byte, or behind every so many.
async fn cut(over: Over, step: usize) {
    let stage = Stage::new().await;
    for (way, cut) in [
        (Way::Up, Cut::Reset),
        (Way::Up, Cut::Finish),
        (Way::Down, Cut::Reset),
        (Way::Down, Cut::Finish),
    ] {
        let mut offsets = 0;
        loop {
            let some = (offsets..).step_by(step).take(AT_ONCE);
            let some = some.map(|after| exchange(Place::new(over, &stage), way, after, cut));
            let cuts = timeout(patience(), join_all(some)).await.expect("an exchange stands still");
            let happened = cuts.iter().take_while(|cut| **cut).count();
            offsets += u64::try_from(happened * step).unwrap();
            if happened < cuts.len() {
                assert!(cuts[happened..].iter().all(|cut| !cut), "{way:?} {cut:?}: a hole");
                break;
            }
        }
        assert!(offsets > 100, "there is a handshake and three frames: {offsets}");
        Figures::new("E6 cut_every_offset", 0, Report::default())
            .with("over", over)
            .with("way", format!("{way:?}"))
            .with("cut", format!("{cut:?}"))
            .with("offsets", offsets)
            .print();
    }
}

/// One exchange; whether it was long enough to be cut there.
async fn exchange(place: Place, way: Way, after: u64, cut: Cut) -> bool {
    let registry = seam::registry();
    let server = registry.server(place.both("credit=4096")).await.unwrap();
    let mut receiver = server.receiver().await.unwrap();
    let relay = Relay::start(place.address(), 0).await.unwrap();
    relay.plan(Plan::At { way, after, cut });
    let opening = registry.client(place.at(relay.address()).both("credit=4096"));
    let first = async {
        // It obeys the plan from its first byte on; those that follow live.
        relay.until(patience(), |now| now.cuts > 0 || now.up > 0).await.unwrap();
        relay.plan(Plan::Live);
    };
    let (client, ()) = join!(opening, first);
    let client = client.unwrap();
    let sender = client.sender().await.unwrap();
    let sending = async {
        for body in BODIES {
            sender.send(Datagram::new(body)).await.unwrap();
        }
    };
    let receiving = async {
        let mut in_hand = Vec::new();
        for body in BODIES {
            let delivery = receiver.next().await.unwrap().expect("no end inside an exchange");
            assert_eq!(delivery.datagram().payload(), Some(body.as_bytes()));
            assert_eq!(delivery.note().attempt, 1);
            // Settled at the end, so that a resume finds some received and not settled.
            in_hand.push(delivery);
        }
        in_hand.into_iter().for_each(|delivery| delivery.ack().unwrap());
    };
    join!(sending, receiving);
    let cuts = relay.counts().cuts;
    let left = client.drain(patience()).await.unwrap();
    assert!(left.unsent.is_empty(), "{way:?} {cut:?} {after}: {left:?}");
    assert_eq!(server.drain(patience()).await.unwrap().unsettled, 0);
    let statistics = server.statistics();
    assert_eq!((statistics.delivered, statistics.leases_lost), (3, 0), "{way:?} {cut:?} {after}");
    assert!(receiver.next().await.unwrap().is_none());
    cuts > 0
}

/// Version 1, by a peer that ends behind each byte: only whole datagrams, and no good end inside of one.
#[tokio::test]
async fn cut_every_offset_of_version_1() {
    let _stage = Stage::new().await;
    let mut bytes = Vec::new();
    let mut ends = vec![0];
    for body in BODIES.iter().filter(|body| !body.is_empty()) {
        let size = u32::try_from(body.len() + 4).unwrap();
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(&[0, 1, 0, 0]);
        bytes.extend_from_slice(body.as_bytes());
        ends.push(bytes.len());
    }
    let registry = seam::registry();
    let listen = free_address();
    let hall = registry.server(format!("tcp://{listen}?wire=connect")).await.unwrap();
    let mut cases = 0;
    for reset in [false, true] {
        for after in 0..=bytes.len() {
            let mut stream = TcpStream::connect(listen).await.unwrap();
            let accepted = timeout(patience(), hall.accept()).await.unwrap().unwrap().unwrap();
            stream.write_all(&bytes[..after]).await.unwrap();
            if reset {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(stream);
            let whole = ends.iter().filter(|end| **end <= after).count() - 1;
            let inside = !ends.contains(&after);
            let (bodies, end) = received(&accepted).await;
            let case = format!("reset {reset}, {after} bytes: {bodies:?}, {end:?}");
            let sent = BODIES.iter().filter(|body| !body.is_empty()).take(whole);
            if reset {
                // What was not read before the reset is gone.
                assert!(bodies.len() <= whole, "{case}");
            } else {
                assert_eq!(bodies.len(), whole, "{case}");
            }
            assert!(bodies.iter().zip(sent).all(|(is, was)| is == was.as_bytes()), "{case}");
            assert!(end.is_err() || reset || !inside, "no good end inside a frame: {case}");
            cases += 1;
        }
    }
    // One that has come and gone before anybody accepts it.
    let mut stream = TcpStream::connect(listen).await.unwrap();
    stream.write_all(&bytes[..=ends[1]]).await.unwrap();
    drop(stream);
    let gone =
        async { while !matches!(hall.next_event().await, Some(Event::Disconnected { .. })) {} };
    timeout(patience(), gone).await.unwrap();
    let accepted = timeout(patience(), hall.accept()).await.unwrap().unwrap().unwrap();
    let (bodies, end) = received(&accepted).await;
    assert_eq!(bodies, [BODIES[0].as_bytes()]);
    assert!(matches!(end, Err(Error::Disconnected { .. })), "{end:?}");
    Figures::new("E6 cut_every_offset version 1", 0, Report::default())
        .with("offsets", cases)
        .print();
}

/// Everything that comes of a peer, and how it ends.
async fn received(peer: &Connection) -> (Vec<Vec<u8>>, Result<(), Error>) {
    let mut receiver = peer.receiver().await.unwrap();
    let mut bodies = Vec::new();
    loop {
        match timeout(patience(), receiver.next()).await.expect("it does not end") {
            Ok(Some(delivery)) => {
                bodies.push(delivery.datagram().payload().unwrap_or_default().to_vec());
                delivery.ack().unwrap();
            }
            Ok(None) => return (bodies, Ok(())),
            Err(error) => return (bodies, Err(error)),
        }
    }
}
