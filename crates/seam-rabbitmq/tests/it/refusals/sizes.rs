//! What is too large for AMQP, for the endpoint or for the broker: refused, and the connection stays.

use super::*;

#[track_caller]
fn check_too_large(error: &SendError) {
    check(
        error.error(),
        |error| matches!(error, Error::TooLarge { .. }),
        false,
        &["over the limit"],
    );
    assert_eq!(error.fate(), Fate::NotSent, "{error}");
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_payload_over_the_limit_is_not_sent_and_the_rest_is() {
    let uri = uri(&address("large"), "max_message=100KiB");
    let sender = soon(registry().sender(uri.as_str())).await.unwrap();
    let mut receiver = soon(registry().receiver(uri.as_str())).await.unwrap();
    let largest = Datagram::new(vec![b'x'; 100 << 10]);
    soon(sender.send(largest.clone())).await.unwrap();
    check_too_large(&unsent(&sender, Datagram::new(vec![b'x'; (100 << 10) + 1])).await);
    soon(sender.send(Datagram::new("small"))).await.unwrap();
    for expected in [largest, Datagram::new("small")] {
        let delivery = next(&mut receiver).await;
        assert_eq!(delivery.datagram(), &expected);
        delivery.ack().unwrap();
    }
    drop(receiver);
    remove(&uri).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn headers_over_the_frame_are_not_sent_and_the_connection_stays() {
    let uri = uri(&address("wide"), "");
    let connection = soon(registry().client(uri.as_str())).await.unwrap();
    let sender = soon(connection.sender()).await.unwrap();
    let mut receiver = soon(registry().receiver(uri.as_str())).await.unwrap();
    let header = |size: usize| Datagram::new("x").with_header("wide", "x".repeat(size));
    let field = |size: usize| {
        let mut wide = Datagram::new("x");
        wide.envelope_mut().correlation_id = Some(vec![b'x'; size].into());
        wide
    };
    for wide in [header(17 << 10), header(200 << 10), field(127 << 10), field(200 << 10)] {
        check_too_large(&unsent(&sender, wide).await);
    }
    // As much as fits.
    for wide in [header(16_000), field(120 << 10)] {
        soon(sender.send(wide.clone())).await.unwrap();
        let delivery = next(&mut receiver).await;
        assert_eq!(delivery.datagram(), &wide);
        delivery.ack().unwrap();
    }
    stands(&connection).await;
    drop(receiver);
    remove(&uri).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn names_and_texts_of_any_length_survive() {
    let uri = uri(&address("long"), "");
    let sender = soon(registry().sender(uri.as_str())).await.unwrap();
    let mut receiver = soon(registry().receiver(uri.as_str())).await.unwrap();
    for length in [254, 255, 256, 300, 5_000] {
        let text = "x".repeat(length);
        let mut long = Datagram::new("x")
            .with_key("x".repeat(length.min(1024)))
            .with_kind(text.clone())
            .with_content_type(text.clone())
            .with_header("x".repeat(length.min(256)), text.clone())
            .with_header("after", 1_u64);
        long.envelope_mut().correlation_id = Some(text.clone().into());
        long.envelope_mut().content_encoding = Some(text.into());
        soon(sender.send(long.clone())).await.unwrap();
        let delivery = next(&mut receiver).await;
        assert_eq!(delivery.datagram(), &long, "{length}");
        delivery.ack().unwrap();
    }
    drop(receiver);
    remove(&uri).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn an_address_of_the_longest_name_is_of_use_and_a_longer_one_is_refused() {
    let name = address("longest");
    let longest = format!("{name}{}", "x".repeat(239 - name.len()));
    round_trip(&uri(&longest, "")).await.unwrap();
    let error =
        soon(registry().client(uri(&format!("{longest}x"), "").as_str())).await.unwrap_err();
    let is_it = |error: &Error| matches!(error, Error::InvalidEndpoint { .. });
    check(&error, is_it, false, &["longer than 239 bytes"]);
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn what_the_broker_refuses_as_too_large_was_not_sent_and_its_neighbours_lose_nothing() {
    // What 4.x has by default; more than any other test sends.
    ctl(&["eval", "application:set_env(rabbit, max_message_size, 16777216)."]).await;
    let uri = uri(&address("huge"), "max_message=32MiB&credit_bytes=64MiB");
    let connection = soon(registry().client(uri.as_str())).await.unwrap();
    let sender = soon(connection.sender()).await.unwrap();
    let mut receiver = soon(registry().receiver(uri.as_str())).await.unwrap();
    let small = |number: usize| Datagram::new(format!("small {number}"));
    let huge = Datagram::new(vec![b'x'; (16 << 20) + 1]);
    let mut tickets: Vec<_> =
        (0..5).map(|number| sender.try_send(small(number)).unwrap()).collect();
    tickets.push(sender.try_send(huge.clone()).unwrap());
    tickets.extend((5..10).map(|number| sender.try_send(small(number)).unwrap()));
    let mut doubtful = Vec::new();
    for (index, mut ticket) in tickets.into_iter().enumerate() {
        let failed = soon(ticket.receipts()).await.into_failed();
        for error in failed {
            line(error.error().clone());
            if index == 5 {
                check_too_large(&error);
                assert_eq!(error.datagram(), &huge);
            } else {
                assert!(error.error().is_retryable(), "{index} was not too large: {error}");
                doubtful.push(error.datagram().clone());
            }
        }
    }
    for datagram in doubtful {
        soon(sender.send(datagram)).await.unwrap();
    }
    let mut missing: std::collections::HashSet<_> =
        (0..10).map(|number| format!("small {number}").into_bytes()).collect();
    while !missing.is_empty() {
        let delivery = next(&mut receiver).await;
        missing.remove(delivery.datagram().payload().unwrap());
        delivery.ack().unwrap();
    }
    drop(receiver);
    remove(&uri).await;
}
