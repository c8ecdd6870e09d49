//! What layers that give deliveries up build on.

use seam_core::{Datagram, Envelope, Memory, Registry, VirtualClock, dead_letter};

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
