//! Rights that a user lacks: told with what they are about, at once, and nothing is lost.

use super::*;

/// The endpoint of a user who has few rights; the name says which are missing.
fn limited(address: &str, more: &str) -> String {
    let host = host("SEAM_TEST_RABBITMQ_URL");
    format!("rabbitmq://limited:limited@{host}/{address}?connect_timeout=10s&{more}")
        .trim_end_matches('&')
        .to_owned()
}

async fn opened_for_receiving(uri: &str) -> Result<()> {
    soon(registry().receiver(uri)).await.map(drop)
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn without_configure_what_is_absent_stays_absent_and_what_is_there_is_of_use() {
    let address = address("no-configure");
    let there = uri(&address, "");
    let error = refusal(&limited(&address, "")).await;
    check(&error, is_denied, false, &["the queue `no-configure-", "may not configure it"]);
    let error = line(opened_for_receiving(&limited(&address, "")).await.unwrap_err());
    check(&error, is_denied, false, &["the queue `no-configure-"]);
    let error = refusal(&limited(&address, "declare=no")).await;
    check(&error, is_absent, false, &["the queue `no-configure-", "leave out `declare=no`"]);
    drop(soon(registry().client(there.as_str())).await.unwrap());
    for more in ["", "declare=no"] {
        let uri = limited(&address, more);
        let mut receiver = soon(registry().receiver(uri.as_str())).await.unwrap();
        send(&uri, Datagram::new("12 apples")).await;
        next(&mut receiver).await.ack().unwrap();
        soon(receiver.settled()).await.unwrap();
    }
    let error = line(soon(registry().remove(limited(&address, "").as_str())).await.unwrap_err());
    check(&error, is_denied, false, &["no-configure-", "set_permissions"]);
    remove(&there).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn without_write_on_the_exchange_each_datagram_comes_back() {
    let (address, exchange) = (address("allowed"), address("no-write"));
    let more = format!("exchange={exchange}");
    let all = uri(&address, &more);
    // Somebody who may makes all that is needed.
    let mut receiver = soon(registry().receiver(all.as_str())).await.unwrap();
    let sender = soon(registry().sender(limited(&address, &more).as_str())).await.unwrap();
    for _ in 0..3 {
        let error = unsent(&sender, Datagram::new("kept")).await;
        check(error.error(), is_denied, false, &["exchange", "no-write-", "set_permissions"]);
    }
    // Nothing came meanwhile.
    send(&all, Datagram::new("allowed")).await;
    let delivery = next(&mut receiver).await;
    assert_eq!(delivery.datagram(), &Datagram::new("allowed"));
    delivery.ack().unwrap();
    clean(&all, &exchange, receiver).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn without_write_on_the_default_exchange_a_queue_gets_nothing() {
    let uri = limited(&address("orders"), "vhost=other");
    let sender = soon(registry().sender(uri.as_str())).await.unwrap();
    let error = unsent(&sender, Datagram::new("kept")).await;
    check(error.error(), is_denied, false, &["amq.default", "set_permissions"]);
    let mut receiver = soon(registry().receiver(uri.as_str())).await.unwrap();
    assert!(tokio::time::timeout(std::time::Duration::ZERO, receiver.next()).await.is_err());
    remove(&uri).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn without_read_nobody_receives_and_senders_send() {
    let address = address("no-read");
    let uri = limited(&address, "");
    let error = line(opened_for_receiving(&uri).await.unwrap_err());
    check(&error, is_denied, false, &["no-read-", "set_permissions"]);
    send(&uri, Datagram::new("12 apples")).await;
    let all = super::uri(&address, "");
    let mut receiver = soon(registry().receiver(all.as_str())).await.unwrap();
    next(&mut receiver).await.ack().unwrap();
    soon(receiver.settled()).await.unwrap();
    remove(&all).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_group_needs_to_read_the_exchange() {
    let (address, exchange) = (address("allowed"), address("no-read"));
    let uri = limited(&address, &format!("exchange={exchange}"));
    let error = line(opened_for_receiving(&format!("{uri}&group=mail")).await.unwrap_err());
    check(&error, is_denied, false, &["no-read-", "set_permissions"]);
    let (_connection, channel) = raw().await;
    delete(&channel, &format!("{address}.mail")).await;
    soon(channel.exchange_delete(exchange.into(), Default::default())).await.unwrap();
}

async fn clean(uri: &str, exchange: &str, receiver: seam_core::Receiver) {
    drop(receiver);
    remove(uri).await;
    let (_connection, channel) = raw().await;
    soon(channel.exchange_delete(exchange.into(), Default::default())).await.unwrap();
}
