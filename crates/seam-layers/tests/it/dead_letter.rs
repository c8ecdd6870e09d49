//! Deliveries that are given up, by the layer and through the pool.

use std::time::Duration;

use futures_util::future::join;
use seam_core::clock::deadline;
use seam_core::{
    Clock, Datagram, Delivery, Memory, Receiver, Registry, Value, Verdict, VirtualClock,
    dead_letter,
};
use seam_layers::{DeadLetter, Exponential, Job, Stop, lanes};

const SECOND: Duration = Duration::from_secs(1);

fn registry(clock: &VirtualClock) -> Registry {
    Registry::new().with(Memory::new()).with_clock(clock.clone())
}

#[track_caller]
fn check_letter(letter: Delivery, reason: &str, attempts: u32, origin: &str) {
    let header = |name| letter.view().header(name).cloned();
    assert_eq!(header(dead_letter::REASON), Some(Value::from(reason)));
    assert_eq!(header(dead_letter::ATTEMPTS), Some(Value::from(attempts)));
    assert_eq!(header(dead_letter::ORIGIN), Some(Value::from(origin)));
    assert_eq!((letter.view().payload(), letter.view().key()), (Some(&b"x"[..]), Some(&b"k"[..])));
    letter.ack().unwrap();
}

async fn letter_of(parked: &mut Receiver) -> Delivery {
    parked.next().await.unwrap().unwrap()
}

#[test]
fn attempts_used_up_here_become_a_letter_elsewhere() {
    let clock = VirtualClock::new();
    clock.block_on(async {
        let (here, elsewhere) = (registry(&clock), registry(&clock));
        let receiver = here.receiver("memory://orders").await.unwrap();
        let mut parked = elsewhere.receiver("memory://parked").await.unwrap();
        let sender = here.sender("memory://orders").await.unwrap();
        sender.send(Datagram::new("x").with_key("k")).await.unwrap();
        let letters = elsewhere.sender("memory://parked").await.unwrap();
        let letters = DeadLetter::new(letters, receiver.endpoint());
        let policy = Exponential::new(SECOND).with_limit(4).with_seed(7);
        let stop = Stop::new();
        let worker = lanes(2).with_retry(policy).with_dead_letter(letters).with_stop(stop.clone());
        let worker = worker.run(receiver, async |_: Job| Err::<(), _>("no stock"));
        let (summary, ()) = join(worker, async {
            let reason = "gave up after 4 attempts: no stock";
            check_letter(letter_of(&mut parked).await, reason, 4, "memory://orders");
            stop.stop();
        })
        .await;
        let summary = summary.unwrap();
        assert_eq!((summary.handled, summary.retried, summary.dead_lettered), (4, 3, 1));
    });
}

#[test]
fn retry_and_dead_letter_of_the_uri_hold_for_attempts_made_here() {
    let clock = VirtualClock::new();
    clock.block_on(async {
        let registry = registry(&clock);
        let uri = "memory://orders?retry=3&dead_letter=memory%3A%2F%2Fparked";
        let receiver = registry.receiver(uri).await.unwrap();
        let mut parked = registry.receiver("memory://parked").await.unwrap();
        let sender = registry.sender("memory://orders").await.unwrap();
        sender.send(Datagram::new("x").with_key("k")).await.unwrap();
        let stop = Stop::new();
        let origin = receiver.endpoint().to_string();
        let worker = lanes(2).with_stop(stop.clone());
        let worker = worker.run(receiver, async |_: Job| Err::<(), _>("no stock"));
        let (summary, ()) = join(worker, async {
            check_letter(letter_of(&mut parked).await, "gave up after 3 attempts", 3, &origin);
            stop.stop();
        })
        .await;
        let summary = summary.unwrap();
        assert_eq!((summary.handled, summary.dead_lettered), (3, 1));
    });
}

#[test]
fn a_letter_that_cannot_be_sent_keeps_its_delivery_and_its_key() {
    let clock = VirtualClock::new();
    clock.block_on(async {
        let registry = registry(&clock);
        let receiver = registry.receiver("memory://orders").await.unwrap();
        let sender = registry.sender("memory://orders").await.unwrap();
        sender.send(Datagram::new("x").with_key("k")).await.unwrap();
        sender.send(Datagram::new("y").with_key("k")).await.unwrap();
        // Nobody receives there yet, so each letter waits for its deadline.
        let letters = registry.sender("memory://parked?send_timeout=2s").await.unwrap();
        let letters = DeadLetter::new(letters, &"orders");
        let stop = Stop::new();
        let worker = lanes(2).with_dead_letter(letters).with_stop(stop.clone());
        let worker = worker.run(receiver, |job: Job| {
            let first = job.payload() == Some(b"x");
            assert!(first || clock.now() >= 10 * SECOND, "the key is held");
            async move {
                if first { Verdict::DeadLetter { reason: "broken".into() } } else { Verdict::Ack }
            }
        });
        let (summary, ()) = join(worker, async {
            clock.sleep(10 * SECOND).await;
            let mut parked = registry.receiver("memory://parked").await.unwrap();
            check_letter(letter_of(&mut parked).await, "broken", 1, "orders");
            clock.sleep(SECOND).await;
            stop.stop();
        })
        .await;
        let summary = summary.unwrap();
        assert_eq!((summary.handled, summary.dead_lettered, summary.acked), (2, 1, 1));
        assert!(summary.letters_failed >= 3, "{summary:?}");
    });
}

#[test]
fn a_refused_letter_gives_the_delivery_back() {
    let clock = VirtualClock::new();
    clock.block_on(async {
        let registry = registry(&clock);
        let mut receiver = registry.receiver("memory://orders").await.unwrap();
        let sender = registry.sender("memory://orders").await.unwrap();
        sender.send(Datagram::new(vec![0; 2000])).await.unwrap();
        let _parked = registry.receiver("memory://parked").await.unwrap();
        let letters = registry.sender("memory://parked?max_message=1000").await.unwrap();
        let letters = DeadLetter::new(letters, receiver.endpoint());
        let delivery = receiver.next().await.unwrap().unwrap();
        let (delivery, error) = letters.give_up(delivery, "broken").await.unwrap_err().into_parts();
        assert!(matches!(error, seam_core::Error::TooLarge { .. }), "{error}");
        delivery.ack().unwrap();
        let nothing = deadline(&clock, clock.now() + SECOND, receiver.next()).await;
        assert!(nothing.is_none());
    });
}
