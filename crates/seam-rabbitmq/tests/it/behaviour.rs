//! What only RabbitMQ has.

use std::time::{Duration, Instant};

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use seam_core::{Batch, Datagram, Delivery, Error, Event, Receiver, Timestamp};
use tokio::time::{sleep, timeout};

use crate::stage::*;

async fn receiver(uri: &str) -> Receiver {
    soon(registry().receiver(uri)).await.unwrap()
}

/// A time so far from now.
fn from_now(after: Duration) -> Timestamp {
    let wall = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap() + after;
    Timestamp::from_millis(i64::try_from(wall.as_millis()).unwrap()).unwrap()
}

async fn delete_exchange(exchange: &str) {
    let (_connection, channel) = raw().await;
    soon(channel.exchange_delete(exchange.into(), Default::default())).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_field_of_each_datagram_is_its_routing_key() {
    for field in ["kind", "key"] {
        let exchange = address("routed");
        let uri = |address: &str, more: &str| uri(address, &format!("exchange={exchange}{more}"));
        let (apples, pears) = (address("apples"), address("pears"));
        let mut fruit = [receiver(&uri(&apples, "")).await, receiver(&uri(&pears, "")).await];
        // Senders have an address too, which is no routing key here.
        let all = uri(&address("all"), &format!("&routing_key={field}"));
        let sender = soon(registry().sender(all.as_str())).await.unwrap();
        for (receiver, name) in fruit.iter_mut().zip([&apples, &pears]) {
            let datagram = match field {
                "kind" => Datagram::new("12").with_kind(name.as_str()),
                _ => Datagram::new("12").with_key(name.clone()),
            };
            soon(sender.send(datagram.clone())).await.unwrap();
            let delivery = next(receiver).await;
            assert_eq!(delivery.datagram(), &datagram);
            let native = &delivery.note().native;
            assert!(native.contains(&("routing_key".into(), name.as_str().into())), "{native:?}");
            delivery.ack().unwrap();
        }
        let error = soon(sender.send(Datagram::new("none"))).await.unwrap_err();
        line(error.error().clone());
        assert!(matches!(error.error(), Error::Invalid { .. }), "{error}");
        drop(fruit);
        remove(&uri(&apples, "")).await;
        remove(&uri(&pears, "")).await;
        delete_exchange(&exchange).await;
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn an_endpoint_publishes_and_consumes_on_connections_of_their_own() {
    let client = address("till");
    let uri = uri(&address("two"), &format!("client_id={client}"));
    let server = soon(registry().server(uri.as_str())).await.unwrap();
    let mut receiver = soon(server.receiver()).await.unwrap();
    let sender = soon(server.sender()).await.unwrap();
    soon(sender.send(Datagram::new("12 apples"))).await.unwrap();
    next(&mut receiver).await.ack().unwrap();
    let listed = ctl(&["list_connections", "client_properties"]).await;
    for purpose in ["publish", "consume"] {
        let name = format!("{client} {purpose}");
        assert_eq!(listed.matches(&name).count(), 1, "{name} in {listed}");
    }
    drop(soon(server.drain(PATIENCE)).await.unwrap());
    let gone =
        async { while ctl(&["list_connections", "client_properties"]).await.contains(&client) {} };
    soon(gone).await;
    remove(&uri).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_delayed_retry_keeps_what_a_foreign_program_wrote_and_counts() {
    for kind in ["quorum", "classic"] {
        let address = address("again");
        let uri = uri(&address, &format!("queue_type={kind}"));
        let mut receiver = receiver(&uri).await;
        let (_connection, channel) = raw().await;
        let properties = BasicProperties::default()
            .with_app_id("shop".into())
            .with_cluster_id("eu".into())
            .with_message_id("m-1".into())
            .with_priority(3)
            .with_delivery_mode(1)
            .with_headers(table(&[("x-mine", long("kept"))]));
        let options = BasicPublishOptions::default();
        let (to, body) = (address.as_str().into(), b"12 apples");
        soon(channel.basic_publish("".into(), to, options, body, properties)).await.unwrap();
        let first = next(&mut receiver).await;
        let sent = first.datagram().clone();
        assert_eq!(first.note().attempt, 1);
        let natives = first.note().native.clone();
        let began = Instant::now();
        first.retry(Duration::from_millis(300)).unwrap();
        for attempt in 2..4 {
            let again = next(&mut receiver).await;
            assert_eq!(again.datagram(), &sent);
            assert_eq!(again.note().attempt, attempt, "{kind}");
            let kept = natives.iter().all(|native| again.note().native.contains(native));
            assert!(kept, "{:?}", again.note().native);
            if attempt == 2 {
                assert!(began.elapsed() >= Duration::from_millis(300));
                again.retry(Duration::ZERO).unwrap();
            } else {
                again.ack().unwrap();
            }
        }
        soon(receiver.settled()).await.unwrap();
        assert!(exists(&format!("{address}.delay.1s")).await);
        drop(receiver);
        remove(&uri).await;
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn what_is_due_later_waits_on_the_broker_and_comes_in_time() {
    let address = address("later");
    let uri = uri(&address, "");
    let mut receiver = receiver(&uri).await;
    let (after, began) = (Duration::from_millis(2_700), Instant::now());
    let later = Datagram::new("later").with_deliver_at(from_now(after));
    send(&uri, later.clone()).await;
    send(&uri, Datagram::new("now")).await;
    let now = next(&mut receiver).await;
    assert_eq!(now.datagram(), &Datagram::new("now"));
    now.ack().unwrap();
    let delivery = next(&mut receiver).await;
    let took = began.elapsed();
    assert_eq!(delivery.datagram(), &later);
    assert!(took >= after - Duration::from_millis(20), "{took:?}");
    assert!(took < after + Duration::from_secs(2), "{took:?}");
    assert_eq!(delivery.note().attempt, 1, "waiting is no attempt");
    delivery.ack().unwrap();
    soon(receiver.settled()).await.unwrap();
    assert!(exists(&format!("{address}.delay.1s")).await);
    drop(receiver);
    remove(&uri).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn with_order_one_receiver_gets_all_and_the_next_goes_on() {
    let uri = uri(&address("ordered"), "order=key");
    let mut one = receiver(&uri).await;
    let mut two = receiver(&uri).await;
    let sender = soon(registry().sender(uri.as_str())).await.unwrap();
    for number in 0..20 {
        soon(sender.send(Datagram::new(format!("{number}")).with_key("k"))).await.unwrap();
    }
    for number in 0..10 {
        let delivery = next(&mut one).await;
        assert_eq!(delivery.datagram().payload(), Some(format!("{number}").as_bytes()));
        delivery.ack().unwrap();
    }
    soon(one.settled()).await.unwrap();
    let waiting = timeout(Duration::ZERO, two.next()).await;
    assert!(waiting.is_err(), "the other one has its turn later");
    drop(one);
    for number in 10..20 {
        let delivery = next(&mut two).await;
        assert_eq!(delivery.datagram().payload(), Some(format!("{number}").as_bytes()));
        delivery.ack().unwrap();
    }
    soon(two.settled()).await.unwrap();
    drop(two);
    remove(&uri).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_private_queue_goes_with_its_receiver() {
    let (address, exchange) = (address("seen"), address("events"));
    let uri = uri(&address, &format!("exchange={exchange}"));
    let private = format!("{uri}&private");
    let server = soon(registry().server(private.as_str())).await.unwrap();
    let mut receiver = soon(server.receiver()).await.unwrap();
    send(&uri, Datagram::new("12 apples")).await;
    next(&mut receiver).await.retry(Duration::from_millis(300)).unwrap();
    let again = next(&mut receiver).await;
    assert_eq!((again.datagram(), again.note().attempt), (&Datagram::new("12 apples"), 2));
    again.ack().unwrap();
    soon(receiver.settled()).await.unwrap();
    // Its queue, and that in which the retry waited.
    let stem = format!("{address}.private");
    let listed = ctl(&["list_queues", "name", "exclusive"]).await;
    let queues: Vec<_> = listed.lines().filter(|line| line.starts_with(&stem)).collect();
    assert!(queues.len() == 2 && queues.iter().all(|line| line.ends_with("true")), "{listed}");
    drop(receiver);
    drop(soon(server.drain(PATIENCE)).await.unwrap());
    let gone = async { while ctl(&["list_queues", "name"]).await.contains(&stem) {} };
    soon(gone).await;
    delete_exchange(&exchange).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn remove_takes_the_queue_and_those_of_its_steps() {
    let address = address("removed");
    let uri = uri(&address, "");
    let mut receiver = receiver(&uri).await;
    send(&uri, Datagram::new("12 apples")).await;
    next(&mut receiver).await.retry(Duration::from_millis(1_500)).unwrap();
    soon(receiver.settled()).await.unwrap();
    let step = format!("{address}.delay.5s");
    assert!(exists(&address).await && exists(&step).await);
    drop(receiver);
    remove(&uri).await;
    assert!(!exists(&address).await && !exists(&step).await);
    remove(&uri).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_queue_that_is_deleted_is_declared_again_and_consumed() {
    let address = address("deleted");
    let uri = uri(&address, "");
    let server = soon(registry().server(uri.as_str())).await.unwrap();
    let mut receiver = soon(server.receiver()).await.unwrap();
    send(&uri, Datagram::new("before")).await;
    let held = next(&mut receiver).await;
    let (_connection, channel) = raw().await;
    delete(&channel, &address).await;
    let told = async {
        while !matches!(server.next_event().await, Some(Event::LeaseLost { count: 1 })) {}
    };
    soon(told).await;
    assert!(held.ack().is_err(), "it went with its queue");
    send(&uri, Datagram::new("after")).await;
    let delivery = next(&mut receiver).await;
    assert_eq!(delivery.datagram(), &Datagram::new("after"));
    delivery.ack().unwrap();
    soon(receiver.settled()).await.unwrap();
    drop(receiver);
    remove(&uri).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_consumer_that_is_cancelled_with_nothing_in_hand_is_told() {
    let address = address("cancelled");
    let uri = uri(&address, "");
    let server = soon(registry().server(uri.as_str())).await.unwrap();
    let mut receiver = soon(server.receiver()).await.unwrap();
    let (_connection, channel) = raw().await;
    delete(&channel, &address).await;
    let told = async {
        let mut reasons = Vec::new();
        loop {
            match server.next_event().await.unwrap() {
                Event::Disconnected { reason } => reasons.push(reason),
                Event::Connected if !reasons.is_empty() => return reasons,
                Event::Connected => {}
                event => panic!("{event:?}"),
            }
        }
    };
    let reasons = soon(told).await;
    assert!(reasons.len() == 1 && reasons[0].contains("cancelled the consumer"), "{reasons:?}");
    assert_eq!(server.statistics().leases_lost, 0);
    send(&uri, Datagram::new("after")).await;
    next(&mut receiver).await.ack().unwrap();
    soon(receiver.settled()).await.unwrap();
    drop(receiver);
    remove(&uri).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_receiver_is_bound_again_to_an_exchange_that_was_deleted() {
    let exchange = address("gone");
    let uri = uri(&address("bound"), &format!("exchange={exchange}"));
    let server = soon(registry().server(uri.as_str())).await.unwrap();
    let mut receiver = soon(server.receiver()).await.unwrap();
    let client = soon(registry().client(uri.as_str())).await.unwrap();
    let sender = soon(client.sender()).await.unwrap();
    delete_exchange(&exchange).await;
    let sending = async {
        while let Err(error) = sender.send(Datagram::new("after")).await {
            // First for want of the exchange, then of the binding.
            let error = error.error();
            let is_gone = matches!(error, Error::NotFound { .. } | Error::Unroutable { .. });
            assert!(is_gone || error.is_retryable(), "{error:?}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    // Five seconds are promised.
    timeout(PATIENCE * 2, sending).await.expect("it is bound again");
    next(&mut receiver).await.ack().unwrap();
    soon(receiver.settled()).await.unwrap();
    stands(&server).await;
    drop(receiver);
    remove(&uri).await;
    delete_exchange(&exchange).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_queue_that_is_deleted_under_a_sender_is_declared_again_after_one_is_returned() {
    let address = address("deleted");
    let uri = uri(&address, "");
    let sender = soon(registry().sender(uri.as_str())).await.unwrap();
    soon(sender.send(Datagram::new("before"))).await.unwrap();
    let (_connection, channel) = raw().await;
    delete(&channel, &address).await;
    let error = soon(sender.send(Datagram::new("meanwhile"))).await.unwrap_err();
    assert!(matches!(error.error(), Error::Unroutable { .. }), "{error}");
    assert!(error.error().is_retryable());
    soon(sender.send(Datagram::new("after"))).await.unwrap();
    assert_eq!(waiting(&channel, &address).await, 1);
    remove(&uri).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn whoever_stands_by_goes_on_in_the_order_of_each_key() {
    const KEYS: usize = 8;
    const MESSAGES: usize = 400;
    let uri = uri(&address("handed-over"), "order=key&credit=64");
    let first = soon(registry().server(uri.as_str())).await.unwrap();
    let mut one = soon(first.receiver()).await.unwrap();
    // It stands by from the beginning.
    let mut other = receiver(&uri).await;
    let sender = soon(registry().sender(uri.as_str())).await.unwrap();
    let datagram = |n: usize| Datagram::new(n.to_string()).with_key(format!("k{}", n % KEYS));
    let mut batch: Batch = (0..MESSAGES).map(datagram).collect();
    let mut ticket = soon(sender.admit(&mut batch)).await.unwrap();
    assert!(soon(ticket.receipts()).await.all_ok());

    let mut in_hand = Vec::new();
    for _ in 0..30 {
        in_hand.push(next(&mut one).await);
    }
    let done: Vec<usize> = in_hand.drain(..10).map(settled).collect();
    let giving_back = async {
        while let Some(delivery) = soon(one.next()).await.unwrap() {
            in_hand.push(delivery);
        }
        // From now on what nobody has may go back, and what is in hand after it, the last one first.
        while let Some(delivery) = in_hand.pop() {
            drop(delivery);
        }
    };
    let (drained, ()) = tokio::join!(biased; first.drain(PATIENCE), giving_back);
    drop(drained.unwrap());

    let mut came = Vec::new();
    while came.len() < MESSAGES - done.len() {
        came.push(settled(next(&mut other).await));
    }
    let wanted: Vec<usize> = (0..MESSAGES).filter(|number| !done.contains(number)).collect();
    for key in 0..KEYS {
        let of_key = |numbers: &[usize]| {
            numbers.iter().copied().filter(|number| number % KEYS == key).collect::<Vec<_>>()
        };
        assert_eq!(of_key(&came), of_key(&wanted), "of key {key}");
    }
    remove(&uri).await;
}

/// Acknowledges it; its number.
fn settled(delivery: Delivery) -> usize {
    let number = number(&delivery);
    delivery.ack().unwrap();
    number
}
