//! E30: consumers that the broker ends: their queue goes, their channel fails, a delivery is open for too long. The
//! others are not disturbed.

use std::time::{Duration, Instant};

use integration_tests::{Figures, Scale, seed};
use seam::{Connection, Datagram, Error, Event, Receiver, Sender};
use seam_conformance::ledger::Report;
use tokio::time::{sleep, timeout};

use super::super::TOLERANCE;
use super::super::stage::{Stage, patience};
use super::broker::Broker;
use super::bystanders::Bystanders;

/// Until the end of a consumer is told, and until there is one again.
const NOTICE: Duration = Duration::from_secs(1);
const RECOVERY: Duration = Duration::from_secs(5);

/// How long something took from when it could be.
struct Took {
    notice: Duration,
    recovery: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p integration-tests --features rabbitmq -- --include-ignored"]
async fn rabbit_cancel() {
    let (_stage, seed, broker) = (Stage::new().await, seed(), Broker::own().await);
    let bystanders = Bystanders::start(&broker).await;
    let deleted = queue_deleted(&broker).await;
    let missing = queue_missing(&broker).await;
    let exchange = exchange_deleted(&broker).await;
    let overdue = overdue(&broker).await;
    let gap = bystanders.stop().await;
    let all = [
        ("queue deleted", deleted),
        ("queue missing (404)", missing),
        ("exchange deleted (404)", exchange),
        ("consumer timeout (406)", overdue),
    ];
    for (what, Took { notice, recovery }) in &all {
        Figures::new("E30 rabbit_cancel", seed, Report::default())
            .with_recovery(*recovery)
            .with("of", what)
            .with("notice", format!("{:.3} s", notice.as_secs_f64()))
            .with("others_gap", format!("{:.3} s", gap.as_secs_f64()))
            .print();
    }
    for (what, Took { notice, recovery }) in all {
        assert!(notice <= NOTICE * TOLERANCE, "{what}: {notice:?}");
        assert!(recovery <= RECOVERY * TOLERANCE, "{what}: {recovery:?}");
    }
}

/// The queue goes while one of its deliveries is in hand; the receiver makes it anew.
async fn queue_deleted(broker: &Broker) -> Took {
    let uri = broker.uri("deleted-e30");
    let (server, client) = open(&uri, &uri).await;
    let (mut receiver, sender) = (server.receiver().await.unwrap(), client.sender().await.unwrap());
    sender.send(Datagram::new("lost with its queue")).await.unwrap();
    let held = next(&mut receiver).await;

    broker.foreign.delete("deleted-e30").await;
    let since = Instant::now();
    let lost = lease_lost(&server).await;
    let notice = since.elapsed();
    assert!(lost == 1 && !held.is_current());
    held.ack().unwrap_err();
    let recovery = consumes_again(&mut receiver, &sender, since).await;
    end(&uri, server, client).await;
    Took { notice, recovery }
}

/// The queue is gone, and not to be declared: the receiver says so, and goes on once somebody else has.
async fn queue_missing(broker: &Broker) -> Took {
    broker.foreign.declare_quorum("missing-e30").await;
    let uri = broker.uri("missing-e30?declare=no");
    let (server, client) = open(&uri, &uri).await;
    let (mut receiver, sender) = (server.receiver().await.unwrap(), client.sender().await.unwrap());
    sender.send(Datagram::new("lost with its queue")).await.unwrap();
    next(&mut receiver).await.ack().unwrap();
    receiver.settled().await.unwrap();

    let since = Instant::now();
    broker.foreign.delete("missing-e30").await;
    let told = timeout(patience(), receiver.next()).await.unwrap();
    let notice = since.elapsed();
    assert!(matches!(told, Err(Error::NotFound { .. })), "{told:?}");
    broker.foreign.declare_quorum("missing-e30").await;
    let since = Instant::now();
    let recovery = consumes_again(&mut receiver, &sender, since).await;
    end(&uri, server, client).await;
    Took { notice, recovery }
}

/// What is sent to an exchange that is gone ends the channel; the next sends find it declared anew, with nothing bound until
/// the receiver, whose consumer lives on, has bound its queue again.
async fn exchange_deleted(broker: &Broker) -> Took {
    let uri = broker.uri("exchange-e30?exchange=e30");
    let (server, client) = open(&uri, &uri).await;
    let (mut receiver, sender) = (server.receiver().await.unwrap(), client.sender().await.unwrap());
    sender.send(Datagram::new("12 apples")).await.unwrap();

    broker.foreign.delete_exchange("e30").await;
    let since = Instant::now();
    let error = sender.send(Datagram::new("to nowhere")).await.unwrap_err();
    let notice = since.elapsed();
    assert!(matches!(error.error(), Error::NotFound { .. }), "{error:?}");
    let recovery = consumes_again(&mut receiver, &sender, since).await;
    end(&uri, server, client).await;
    Took { notice, recovery }
}

/// One of three receivers of a connection keeps a delivery for longer than the broker lets it.
async fn overdue(broker: &Broker) -> Took {
    let allowed = Scale::of_environment().pick(Duration::from_secs(2), Duration::from_secs(60));
    let millis = allowed.as_millis();
    broker
        .set(&["eval", &format!("application:set_env(rabbit, consumer_timeout, {millis}).")])
        .await;
    broker.set(&["eval", "application:set_env(rabbit, channel_tick_interval, 500)."]).await;
    let uri = broker.uri("overdue-e30?credit=1");
    let (server, client) = open(&uri, &uri).await;
    let (mut receiver, sender) = (server.receiver().await.unwrap(), client.sender().await.unwrap());
    sender.send(Datagram::new("takes its time")).await.unwrap();
    let held = next(&mut receiver).await;
    let since = Instant::now();
    let others = [server.receiver().await.unwrap(), server.receiver().await.unwrap()];
    let others = others.map(|other| tokio::spawn(settle_all(other)));
    let feeding = tokio::spawn(feed(sender.clone()));

    let lost = lease_lost(&server).await;
    let notice = since.elapsed().saturating_sub(allowed);
    assert_eq!(lost, 1);
    held.ack().unwrap_err();
    feeding.abort();
    let since = Instant::now();
    // The others have what was in hand; they go, so that the next one can only be for the first.
    others.iter().for_each(|other| other.abort());
    let recovery = consumes_again(&mut receiver, &sender, since).await;
    let statistics = server.statistics();
    // The others have lost nothing.
    let lost = [statistics.leases_lost, statistics.disconnects, statistics.settlements_failed];
    assert_eq!(lost, [1, 1, 0], "{statistics:?}");
    assert!(statistics.acked > 10, "the others went on: {statistics:?}");
    end(&uri, server, client).await;
    Took { notice, recovery }
}

async fn feed(sender: Sender) {
    loop {
        sender.send(Datagram::new("12 apples")).await.unwrap();
        sleep(Duration::from_millis(20)).await;
    }
}

async fn settle_all(mut receiver: Receiver) {
    while let Some(delivery) = receiver.next().await.unwrap() {
        delivery.ack().unwrap();
    }
}

/// The server end first, which declares what there is.
async fn open(server: &str, client: &str) -> (Connection, Connection) {
    let registry = seam::registry();
    let server = registry.server(server).await.unwrap();
    (server, registry.client(client).await.unwrap())
}

async fn next(receiver: &mut Receiver) -> seam::Delivery {
    timeout(patience(), receiver.next()).await.unwrap().unwrap().unwrap()
}

/// Waits until deliveries are told to be lost; how many.
async fn lease_lost(connection: &Connection) -> u64 {
    loop {
        match timeout(patience(), connection.next_event()).await.unwrap().unwrap() {
            Event::LeaseLost { count } => return count,
            event => assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}"),
        }
    }
}

/// How long it takes from `since` until something comes through again.
async fn consumes_again(receiver: &mut Receiver, sender: &Sender, since: Instant) -> Duration {
    let sending = async {
        while let Err(error) = sender.send(Datagram::new("again")).await {
            // The queue is not there yet, or was about to go.
            let error = error.error();
            let expected = matches!(error, Error::Unroutable { .. }) || error.is_retryable();
            assert!(expected && since.elapsed() < patience(), "{error:?}");
        }
    };
    let receiving = async {
        loop {
            match timeout(patience(), receiver.next()).await.unwrap() {
                Ok(delivery) => {
                    let delivery = delivery.unwrap();
                    let is_it = delivery.datagram().payload() == Some(b"again");
                    delivery.ack().unwrap();
                    if is_it {
                        break;
                    }
                }
                Err(Error::NotFound { .. }) => sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::join!(sending, receiving);
    since.elapsed()
}

async fn end(uri: &str, server: Connection, client: Connection) {
    assert!(client.drain(patience()).await.unwrap().is_clean());
    // What others have in hand is not of interest any more.
    drop(server.drain(patience()).await.unwrap());
    seam::registry().remove(uri).await.unwrap();
}
