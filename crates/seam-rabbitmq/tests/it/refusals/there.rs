//! What is there and not as the endpoint asks, what is absent, and what goes nowhere.

use lapin::options::ExchangeDeclareOptions;
use lapin::types::AMQPValue;

use super::*;

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_queue_of_another_kind_is_a_mismatch_that_names_both() {
    let address = address("kind");
    let made = uri(&address, "");
    drop(soon(registry().client(made.as_str())).await.unwrap());
    for (more, parts) in [
        ("queue_type=classic", ["x-queue-type=quorum", "x-queue-type=classic"]),
        ("order=key", ["x-single-active-consumer=none", "x-single-active-consumer=true"]),
    ] {
        let uri = uri(&address, more);
        check(&refusal(&uri).await, is_mismatch, false, &parts);
        let error = line(soon(registry().receiver(uri.as_str())).await.unwrap_err());
        check(&error, is_mismatch, false, &parts);
    }
    // It is as it was.
    round_trip(&made).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_queue_that_one_receiver_has_alone_is_no_queue_for_all() {
    let address = address("alone");
    let made = uri(&address, "order=key");
    drop(soon(registry().client(made.as_str())).await.unwrap());
    check(&refusal(&uri(&address, "")).await, is_mismatch, false, &["x-single-active-consumer"]);
    round_trip(&made).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_long_name_does_not_hide_what_differs() {
    let name = address("long");
    let address = format!("{name}{}", "x".repeat(239 - name.len()));
    let made = uri(&address, "");
    drop(soon(registry().client(made.as_str())).await.unwrap());
    let error =
        soon(registry().client(uri(&address, "queue_type=classic").as_str())).await.unwrap_err();
    check(&error, is_mismatch, false, &["x-queue-type"]);
    round_trip(&made).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_queue_that_differs_in_what_does_not_count_is_of_use() {
    let (_connection, channel) = raw().await;
    let quorum = ("x-queue-type", long("quorum"));
    let number = AMQPValue::LongInt;
    for more in [
        vec![],
        vec![("x-max-length", number(1000))],
        vec![
            ("x-max-length", AMQPValue::LongLongInt(1000)),
            ("x-overflow", long("reject-publish")),
        ],
        vec![("x-delivery-limit", number(7))],
        vec![("x-message-ttl", number(600_000)), ("x-dead-letter-exchange", long("amq.fanout"))],
        vec![("x-expires", number(600_000)), ("x-quorum-initial-group-size", number(1))],
        vec![
            ("x-dead-letter-routing-key", long("elsewhere")),
            ("x-dead-letter-exchange", long("")),
        ],
        vec![("x-max-in-memory-length", number(10)), ("x-max-length-bytes", number(1 << 20))],
    ] {
        let address = address("other");
        declare(&channel, &address, &[vec![quorum.clone()], more].concat()).await;
        round_trip(&uri(&address, "")).await.unwrap();
    }
    for more in [vec![("x-max-priority", number(7))], vec![("x-queue-mode", long("lazy"))]] {
        let address = address("other");
        declare(&channel, &address, &more).await;
        round_trip(&uri(&address, "queue_type=classic")).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn an_exchange_of_another_type_is_a_mismatch_that_names_both() {
    let (_connection, channel) = raw().await;
    let (address, exchange) = (address("orders"), address("events"));
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let kind = lapin::ExchangeKind::Fanout;
    soon(channel.exchange_declare(exchange.clone().into(), kind, options, Default::default()))
        .await
        .unwrap();
    let more = format!("exchange={exchange}");
    for more in [more.clone(), format!("{more}&exchange_type=direct")] {
        let error = refusal(&uri(&address, &more)).await;
        check(&error, is_mismatch, false, &["exchange `events-", "type=fanout"]);
    }
    let right = uri(&address, &format!("{more}&exchange_type=fanout"));
    round_trip(&right).await.unwrap();
    soon(channel.exchange_delete(exchange.into(), Default::default())).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn what_is_absent_stays_so_with_declare_no() {
    let address = address("absent");
    for (more, part) in [
        ("declare=no".to_owned(), "the queue `absent-"),
        (format!("declare=no&exchange={address}-e"), "the exchange `absent-"),
    ] {
        for _ in 0..2 {
            let uri = uri(&address, &more);
            check(&refusal(&uri).await, is_absent, false, &[part, "declare=no"]);
            let error = line(soon(registry().receiver(uri.as_str())).await.unwrap_err());
            check(&error, is_absent, false, &[part, "declare=no"]);
        }
    }
    assert!(!exists(&address).await);
    // What is absent is removed already.
    remove(&uri(&address, "")).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn an_exchange_without_queue_takes_nothing_and_with_one_it_does() {
    let (address, exchange) = (address("orders"), address("events"));
    let uri = uri(&address, &format!("exchange={exchange}"));
    let sender = soon(registry().sender(uri.as_str())).await.unwrap();
    for _ in 0..3 {
        let error = unsent(&sender, Datagram::new("nowhere")).await;
        let is_it = |error: &Error| matches!(error, Error::Unroutable { .. });
        check(error.error(), is_it, true, &["no queue is bound", "NO_ROUTE"]);
        assert_eq!(error.fate(), Fate::NotSent);
    }
    let mut receiver = soon(registry().receiver(uri.as_str())).await.unwrap();
    soon(sender.send(Datagram::new("somewhere"))).await.unwrap();
    let delivery = next(&mut receiver).await;
    assert_eq!(delivery.datagram(), &Datagram::new("somewhere"));
    delivery.ack().unwrap();
    drop(receiver);
    remove(&uri).await;
    let (_connection, channel) = raw().await;
    soon(channel.exchange_delete(exchange.into(), Default::default())).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_full_queue_gives_back_what_it_does_not_keep() {
    let (_connection, channel) = raw().await;
    for kind in ["quorum", "classic"] {
        let address = address("full");
        let arguments = [
            ("x-queue-type", long(kind)),
            ("x-max-length", AMQPValue::LongInt(1)),
            ("x-overflow", long("reject-publish")),
        ];
        declare(&channel, &address, &arguments).await;
        let uri = uri(&address, &format!("queue_type={kind}"));
        let sender = soon(registry().sender(uri.as_str())).await.unwrap();
        // A quorum queue takes a few more than its limit.
        let filling = async {
            let mut stored = 0;
            loop {
                match sender.send(Datagram::new("one")).await {
                    Ok(_) => stored += 1,
                    Err(error) => return (stored, error),
                }
            }
        };
        let (stored, error) = soon(filling).await;
        assert!(stored >= 1);
        line(error.error().clone());
        let is_it = |error: &Error| matches!(error, Error::Native { .. });
        check(error.error(), is_it, true, &["basic.nack", "full", "send it again later"]);
        assert_eq!(error.datagram(), &Datagram::new("one"));
        // Once there is room the same call succeeds.
        let mut receiver = soon(registry().receiver(uri.as_str())).await.unwrap();
        for _ in 0..stored {
            next(&mut receiver).await.ack().unwrap();
        }
        soon(receiver.settled()).await.unwrap();
        let sending = async {
            while let Err(error) = sender.send(Datagram::new("again")).await {
                assert!(error.error().is_retryable(), "{error}");
            }
        };
        soon(sending).await;
        let delivery = next(&mut receiver).await;
        assert_eq!(delivery.datagram(), &Datagram::new("again"));
        delivery.ack().unwrap();
        drop(receiver);
        remove(&uri).await;
    }
}
