//! Bridges from one endpoint to another.

use std::time::Duration;

use futures_util::future::join;
use seam_core::{
    Clock, Datagram, Error, Memory, Receiver, Registry, Sender, Value, VirtualClock, dead_letter,
};
use seam_layers::{DeadLetter, Stop, bridge};

const SECOND: Duration = Duration::from_secs(1);

fn registry(clock: &VirtualClock) -> Registry {
    Registry::new().with(Memory::new()).with_clock(clock.clone())
}

/// Sends without waiting for the receipts, which come once somebody receives.
async fn post(sender: &Sender, datagrams: impl IntoIterator<Item = Datagram>) {
    let mut batch = datagrams.into_iter().collect();
    drop(sender.admit(&mut batch).await.unwrap());
}

async fn take(receiver: &mut Receiver) -> Datagram {
    let delivery = receiver.next().await.unwrap().unwrap();
    let datagram = delivery.datagram().clone();
    delivery.ack().unwrap();
    datagram
}

#[test]
fn every_field_arrives_and_keys_keep_their_order() {
    let clock = VirtualClock::new();
    clock.block_on(async {
        let registry = registry(&clock);
        let source = registry.receiver("memory://from").await.unwrap();
        let mut to = registry.receiver("memory://to").await.unwrap();
        let made = |number: u64| {
            Datagram::new(format!("{number}"))
                .with_tag(7)
                .with_key(format!("key-{}", number % 3))
                .with_header("number", number)
                .with_header("number", Value::Null)
        };
        let from = registry.sender("memory://from").await.unwrap();
        post(&from, (0..300).map(made)).await;
        let stop = Stop::new();
        let bridge = bridge(registry.sender("memory://to").await.unwrap());
        let progress = bridge.progress();
        let arriving = async {
            let mut next = [0, 1, 2];
            for _ in 0..300 {
                let datagram = take(&mut to).await;
                let text = std::str::from_utf8(datagram.payload().unwrap()).unwrap();
                let number: u64 = text.parse().unwrap();
                let expected = &mut next[usize::try_from(number % 3).unwrap()];
                assert_eq!((number, &datagram), (*expected, &made(number)));
                *expected += 3;
            }
            stop.stop();
        };
        let (summary, ()) = join(bridge.with_stop(stop.clone()).run(source), arriving).await;
        let summary = summary.unwrap();
        assert_eq!((summary.acked, summary.handed_back), (300, 0));
        assert_eq!((progress.carried(), progress.parked(), progress.failed()), (300, 0, 0));
    });
}

#[test]
fn what_cannot_be_carried_is_parked_with_the_reason() {
    let clock = VirtualClock::new();
    clock.block_on(async {
        let registry = registry(&clock);
        let source = registry.receiver("memory://from").await.unwrap();
        let mut to = registry.receiver("memory://to").await.unwrap();
        let mut parked = registry.receiver("memory://parked").await.unwrap();
        let from = registry.sender("memory://from").await.unwrap();
        post(&from, [Datagram::new(vec![1; 2000]), Datagram::new("fits")]).await;
        let letters = registry.sender("memory://parked").await.unwrap();
        let letters = DeadLetter::new(letters, source.endpoint());
        let sink = registry.sender("memory://to?max_message=1KiB").await.unwrap();
        let stop = Stop::new();
        let bridge = bridge(sink).with_dead_letter(letters).with_stop(stop.clone());
        let progress = bridge.progress();
        let arriving = async {
            assert_eq!(take(&mut to).await, Datagram::new("fits"));
            let letter = take(&mut parked).await;
            assert_eq!(letter.payload().map(<[u8]>::len), Some(2000));
            let reason = letter.view().header(dead_letter::REASON).cloned();
            let reason = format!("{reason:?}");
            assert!(reason.contains("2000 is over the limit of 1024"), "{reason}");
            stop.stop();
        };
        let (summary, ()) = join(bridge.run(source), arriving).await;
        let summary = summary.unwrap();
        assert_eq!((summary.acked, summary.dead_lettered), (1, 1));
        assert_eq!((progress.carried(), progress.parked()), (1, 1));
    });
}

#[test]
fn without_anywhere_to_park_it_ends_and_the_source_keeps_it() {
    let clock = VirtualClock::new();
    clock.block_on(async {
        let registry = registry(&clock);
        let server = registry.server("memory://from").await.unwrap();
        let source = server.receiver().await.unwrap();
        let from = registry.sender("memory://from").await.unwrap();
        post(&from, [Datagram::new(vec![1; 2000])]).await;
        let sink = registry.sender("memory://to?max_message=1KiB").await.unwrap();
        let refused = bridge(sink).run(source).await.unwrap_err();
        assert!(matches!(refused, Error::TooLarge { size: 2000, .. }), "{refused}");
        let mut again = server.receiver().await.unwrap();
        assert_eq!(take(&mut again).await.payload().map(<[u8]>::len), Some(2000));
    });
}

#[test]
fn a_sink_that_is_away_holds_what_is_in_hand_until_it_is_back() {
    let clock = VirtualClock::new();
    clock.block_on(async {
        let registry = registry(&clock);
        let source = registry.receiver("memory://from").await.unwrap();
        let from = registry.sender("memory://from").await.unwrap();
        post(&from, ["a", "b", "c"].map(|body| Datagram::new(body).with_key("k"))).await;
        // Nobody receives there, so each send comes back after a second.
        let sink = registry.sender("memory://to?send_timeout=1s").await.unwrap();
        let stop = Stop::new();
        let bridge = bridge(sink).with_stop(stop.clone());
        let progress = bridge.progress();
        let arriving = async {
            while progress.failed() < 3 {
                clock.sleep(SECOND).await;
            }
            assert_eq!(progress.carried(), 0);
            let mut to = registry.receiver("memory://to").await.unwrap();
            for body in ["a", "b", "c"] {
                assert_eq!(take(&mut to).await.payload(), Some(body.as_bytes()));
            }
            stop.stop();
        };
        let (summary, ()) = join(bridge.run(source), arriving).await;
        assert_eq!(summary.unwrap().acked, 3);
    });
}

#[test]
fn what_waits_for_its_sink_goes_back_when_it_is_stopped() {
    let clock = VirtualClock::new();
    clock.block_on(async {
        let registry = registry(&clock);
        let server = registry.server("memory://from").await.unwrap();
        let mut source = server.receiver().await.unwrap();
        let from = registry.sender("memory://from").await.unwrap();
        post(&from, [Datagram::new("a").with_key("k"), Datagram::new("b")]).await;
        let sink = registry.sender("memory://to?send_timeout=1s").await.unwrap();
        let stop = Stop::new();
        let bridge = bridge(sink).with_stop(stop.clone());
        let progress = bridge.progress();
        let stopping = async {
            while progress.failed() < 2 {
                clock.sleep(SECOND).await;
            }
            stop.stop();
        };
        let (summary, ()) = join(bridge.run(&mut source), stopping).await;
        let summary = summary.unwrap();
        assert_eq!((summary.acked, summary.handed_back), (0, 2));
        let mut bodies = [take(&mut source).await, take(&mut source).await]
            .map(|datagram| datagram.payload().unwrap().to_vec());
        bodies.sort();
        assert_eq!(bodies, [b"a", b"b"]);
    });
}

#[test]
fn what_has_expired_on_the_way_is_discarded() {
    let clock = VirtualClock::new();
    clock.block_on(async {
        let registry = registry(&clock);
        let source = registry.receiver("memory://from").await.unwrap();
        let from = registry.sender("memory://from").await.unwrap();
        let expiry = clock.wall().saturating_add(SECOND * 5);
        post(&from, [Datagram::new("brief").with_expiry(expiry)]).await;
        let sink = registry.sender("memory://to?send_timeout=1s").await.unwrap();
        let stop = Stop::new();
        let bridge = bridge(sink).with_stop(stop.clone());
        let stopping = async {
            clock.sleep(SECOND * 60).await;
            stop.stop();
        };
        let (summary, ()) = join(bridge.run(source), stopping).await;
        let summary = summary.unwrap();
        assert_eq!((summary.acked, summary.discarded), (0, 1));
    });
}
