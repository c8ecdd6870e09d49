//! What layers that give deliveries up build on.

use std::time::Duration;

use seam_core::{
    Clock, Datagram, Deliveries, Envelope, Memory, Registry, View, VirtualClock, dead_letter,
};

#[test]
fn a_letter_of_as_many_headers_as_fit_still_goes_out() {
    let clock = VirtualClock::new();
    clock.clone().block_on(async {
        let registry = Registry::new().with(Memory::new()).with_clock(clock);
        let _parked = registry.receiver("memory://parked").await.unwrap();
        let client = registry.client("memory://parked").await.unwrap();
        let sender = client.sender().await.unwrap();
        let mut envelope = Envelope::default();
        let headers = client.capabilities().limits().headers;
        envelope
            .headers
            .extend((0..headers).map(|n| (format!("h{n}").into(), n.to_string().into())));
        let full = Datagram::new("x").with_envelope(envelope);
        let letter = dead_letter::dead_letter(&full, "broken", 2, "memory://orders");
        assert!(sender.send(letter.clone()).await.is_err());
        dead_letter::send(&sender, letter).await.unwrap();
    });
}

#[test]
fn attempts_made_here_count_for_retry_and_dead_letter() {
    let clock = VirtualClock::new();
    clock.clone().block_on(async {
        let registry = Registry::new().with(Memory::new()).with_clock(clock);
        let mut parked = registry.receiver("memory://parked").await.unwrap();
        let uri = "memory://orders?retry=3&dead_letter=memory%3A%2F%2Fparked";
        let mut receiver = registry.receiver(uri).await.unwrap();
        let sender = registry.sender("memory://orders").await.unwrap();
        sender.send(Datagram::new("x")).await.unwrap();
        let mut delivery = receiver.next().await.unwrap().unwrap();
        delivery.set_attempt(3);
        assert_eq!(delivery.note().attempt, 3);
        delivery.retry(std::time::Duration::ZERO).unwrap();
        assert_eq!(receiver.settled().await.unwrap().late, 0);
        let letter = parked.next().await.unwrap().unwrap();
        let attempts = letter.view().header(dead_letter::ATTEMPTS).cloned();
        assert_eq!(attempts, Some(3u32.into()));
        letter.ack().unwrap();
    });
}

#[test]
fn what_is_given_up_unseen_counts_the_attempts_that_were_made() {
    let clock = VirtualClock::new();
    clock.clone().block_on(async {
        let registry = Registry::new().with(Memory::new()).with_clock(clock);
        let mut parked = registry.receiver("memory://parked").await.unwrap();
        let uri = "memory://orders?retry=2&dead_letter=memory%3A%2F%2Fparked";
        let mut receiver = registry.receiver(uri).await.unwrap();
        let sender = registry.sender("memory://orders").await.unwrap();
        sender.send(Datagram::new("x")).await.unwrap();
        for attempt in 1..=2 {
            let delivery = receiver.next().await.unwrap().unwrap();
            assert_eq!(delivery.note().attempt, attempt);
            drop(delivery);
        }
        let mut receiving = std::pin::pin!(receiver.next());
        let mut next = std::pin::pin!(parked.next());
        let letter = std::future::poll_fn(|cx| {
            assert!(receiving.as_mut().poll(cx).is_pending(), "it is given up");
            next.as_mut().poll(cx)
        });
        let letter = letter.await.unwrap().unwrap();
        let header = |name| letter.view().header(name).cloned();
        assert_eq!(header(dead_letter::ATTEMPTS), Some(2_u32.into()));
        assert_eq!(header(dead_letter::REASON), Some("gave up after 2 attempts".into()));
        letter.ack().unwrap();
    });
}

#[test]
fn what_is_given_up_is_not_settled_with_the_rest_of_its_batch() {
    let clock = VirtualClock::new();
    let registry = Registry::new().with(Memory::new()).with_clock(clock.clone());
    clock.block_on(async {
        let uri = "memory://orders?retry=2&dead_letter=memory%3A%2F%2Fparked%3Fsend_timeout%3D1s";
        let mut receiver = registry.receiver(uri).await.unwrap();
        let sender = registry.sender("memory://orders").await.unwrap();
        sender.send(Datagram::new("tried twice")).await.unwrap();
        sender.send(Datagram::new("tried too often")).await.unwrap();
        let first = receiver.next().await.unwrap();
        drop(receiver.next().await.unwrap());
        drop(receiver.next().await.unwrap());
        drop(first);
        let mut deliveries = Deliveries::new();
        assert!(receiver.receive(8, &mut deliveries).await.unwrap());
        let payloads: Vec<_> = deliveries.views().map(View::payload).collect();
        assert_eq!(payloads, [Some(&b"tried twice"[..])]);
        deliveries.ack_all();
        // Nobody is there to get the letter: it fails, and must not be lost with what was acknowledged.
        let until = clock.now() + Duration::from_secs(5);
        let receiving = receiver.receive(8, &mut deliveries);
        assert!(seam_core::clock::deadline(&clock, until, receiving).await.is_none());
        let mut parked = registry.receiver("memory://parked").await.unwrap();
        let mut receiving = std::pin::pin!(receiver.receive(8, &mut deliveries));
        let mut next = std::pin::pin!(parked.next());
        let letter = std::future::poll_fn(|cx| {
            assert!(receiving.as_mut().poll(cx).is_pending(), "nothing else is there");
            next.as_mut().poll(cx)
        });
        let letter = letter.await.unwrap().unwrap();
        assert_eq!(letter.view().payload(), Some(&b"tried too often"[..]));
        letter.ack().unwrap();
    });
}
