//! What a real broker refuses, and what users may not: one line each, the right variant, no secret, nothing lost.

use seam_core::{Datagram, Error, Fate, Result, SendError, Sender};

use crate::stage::*;

mod denied;
mod lost;
mod sizes;
mod there;

/// Sends one datagram and receives it.
async fn round_trip(uri: &str) -> Result<()> {
    let registry = registry();
    let mut receiver = soon(registry.receiver(uri)).await?;
    let sender = soon(registry.sender(uri)).await?;
    soon(sender.send(Datagram::new("12 apples").with_key("k"))).await?;
    let delivery = next(&mut receiver).await;
    assert_eq!(delivery.datagram(), &Datagram::new("12 apples").with_key("k"));
    delivery.ack()?;
    soon(receiver.settled()).await?;
    soon(registry.remove(uri)).await
}

/// What did not arrive: it comes back as it was.
async fn unsent(sender: &Sender, datagram: Datagram) -> SendError {
    let error = soon(sender.send(datagram.clone())).await.unwrap_err();
    assert_eq!(error.datagram(), &datagram, "it comes back as it was");
    line(error.error().clone());
    error
}

#[track_caller]
fn check(error: &Error, is_it: fn(&Error) -> bool, is_retryable: bool, parts: &[&str]) {
    let text = error.to_string();
    assert!(is_it(error), "{error:?}");
    assert_eq!(error.is_retryable(), is_retryable, "{text}");
    for part in parts {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
}

fn is_denied(error: &Error) -> bool {
    matches!(error, Error::Denied { .. })
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. })
}

fn is_mismatch(error: &Error) -> bool {
    matches!(error, Error::Mismatch { .. })
}

fn is_lost(error: &Error) -> bool {
    matches!(error, Error::Disconnected { .. })
}

#[tokio::test]
async fn nobody_who_listens_is_a_lost_connection() {
    for (host, part) in
        [("127.0.0.1:1", "nobody listens there"), ("no-such-host.invalid", "spelt right")]
    {
        let uri = format!("rabbitmq://seam:hunter2@{host}/orders?connect_timeout=1s");
        check(&refusal(&uri).await, is_lost, true, &[part]);
        let error = line(soon(registry().receiver(uri.as_str())).await.unwrap_err());
        check(&error, is_lost, true, &[part]);
        let error = line(soon(registry().remove(uri.as_str())).await.unwrap_err());
        check(&error, is_lost, true, &[part]);
    }
}

#[tokio::test]
async fn who_is_there_and_does_not_speak_is_told() {
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("rabbitmq://{}/orders?connect_timeout=1s", deaf.local_addr().unwrap());
    check(&refusal(&uri).await, is_lost, true, &["no answer to a new connection"]);
}

#[tokio::test]
async fn who_speaks_something_else_is_told() {
    let web = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("rabbitmq://{}/orders?connect_timeout=1s", web.local_addr().unwrap());
    let serving = async {
        loop {
            let (mut stream, _) = web.accept().await.unwrap();
            let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
        }
    };
    let error = tokio::select! {
        error = refusal(&uri) => error,
        () = serving => unreachable!(),
    };
    assert!(error.to_string().contains("AMQP 0-9-1"), "{error}");
}

#[tokio::test]
async fn groups_without_an_exchange_name_the_remedy() {
    for more in ["group=billing", "private"] {
        let uri = format!("rabbitmq://127.0.0.1:1/orders?{more}");
        let error = line(soon(registry().receiver(uri.as_str())).await.unwrap_err());
        check(&error, |error| matches!(error, Error::Unsupported { .. }), false, &["`exchange`"]);
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_wrong_password_is_denied() {
    let host = host("SEAM_TEST_RABBITMQ_URL");
    for user in ["seam", "nobody-knows-me"] {
        let uri = format!("rabbitmq://{user}:hunter2@{host}/orders?connect_timeout=10s");
        check(&refusal(&uri).await, is_denied, false, &["the password is wrong"]);
        let error = line(soon(registry().remove(uri.as_str())).await.unwrap_err());
        check(&error, is_denied, false, &["the password is wrong"]);
    }
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_virtual_host_that_is_absent_or_closed_to_the_user_is_named() {
    let host = host("SEAM_TEST_RABBITMQ_URL");
    for uri in [
        format!("rabbitmq://seam:seam@{host}/orders?vhost=shop"),
        format!("amqp://seam:seam@{host}/shop?address=orders"),
    ] {
        check(&refusal(&uri).await, is_absent, false, &["the virtual host `shop`"]);
    }
    let uri = format!("rabbitmq://nobody:nobody@{host}/orders");
    check(&refusal(&uri).await, is_denied, false, &["vhost '/'", "'nobody'", "set_permissions"]);
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn another_virtual_host_is_another_place() {
    let address = address("elsewhere");
    round_trip(&uri(&address, "vhost=other")).await.unwrap();
    let amqp = format!("amqp://{}/other?address={address}", broker());
    round_trip(&amqp).await.unwrap();
    assert!(!exists(&address).await);
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_reply_goes_only_where_the_broker_sends_replies() {
    let uri = uri(&address("replies"), "");
    let client = soon(registry().client(uri.as_str())).await.unwrap();
    let server = soon(registry().server(uri.as_str())).await.unwrap();
    let mut requests = soon(server.receiver()).await.unwrap();
    let sender = soon(client.sender()).await.unwrap();
    // A queue of another broker, an address of another kind, and the name that only the broker puts something in for.
    for reply_to in
        ["payments", "seam-kafka:abc/orders.replies", "amq.rabbitmq.reply-to.g1h2AA==.x"]
    {
        let mut forged = Datagram::new("?");
        forged.envelope_mut().reply_to = Some(reply_to.into());
        soon(sender.send(forged)).await.unwrap();
        let request = next(&mut requests).await;
        let error = line(soon(request.reply(Datagram::new("!"))).await.unwrap_err());
        check(&error, is_denied, false, &["the reply address", "`reply_any`"]);
        // It was not answered, so it comes again.
        next(&mut requests).await.ack().unwrap();
    }
    let mut forged = Datagram::new("?");
    forged.envelope_mut().reply_to = Some("amq.rabbitmq.reply-to".into());
    let error = unsent(&sender, forged).await;
    check(error.error(), |error| matches!(error, Error::Invalid { .. }), false, &["`request`"]);
    assert_eq!(error.fate(), Fate::NotSent);
    // One that the broker made, for somebody who is gone by now.
    let mut gone = Datagram::new("?");
    gone.envelope_mut().reply_to = Some(address_of_nobody().await.into());
    soon(sender.send(gone)).await.unwrap();
    let request = next(&mut requests).await;
    let error = soon(request.reply(Datagram::new("!"))).await.unwrap_err();
    assert!(matches!(error, Error::RequesterGone), "{error:?}");
    stands(&server).await;
    remove(&uri).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn what_only_looks_like_an_address_of_a_requester_is_no_queue_either() {
    let uri = uri(&address("any"), "reply_any");
    let server = soon(registry().server(uri.as_str())).await.unwrap();
    let mut requests = soon(server.receiver()).await.unwrap();
    for token in [
        "",
        ".",
        ".x",
        ".g1h2AA==.x",
        ".g1h2AA5yZXBseUA1MDU2OTMxNgAAIwgAAAAAaw001A==",
        ".g2gC.eA==",
    ] {
        let mut forged = Datagram::new("?");
        forged.envelope_mut().reply_to = Some(format!("amq.rabbitmq.reply-to{token}").into());
        let sender = soon(registry().sender(uri.as_str())).await.unwrap();
        match soon(sender.send(forged)).await {
            Ok(_) => {}
            Err(error) if token.is_empty() => {
                assert!(matches!(error.error(), Error::Invalid { .. }), "{error}");
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        let request = next(&mut requests).await;
        let error = line(soon(request.reply(Datagram::new("!"))).await.unwrap_err());
        check(&error, is_denied, false, &["the reply address"]);
        next(&mut requests).await.ack().unwrap();
    }
    stands(&server).await;
    drop(requests);
    remove(&uri).await;
}

/// The address that the broker made for a requester who asked and went.
async fn address_of_nobody() -> String {
    let uri = uri(&address("nobody"), "");
    let client = soon(registry().client(uri.as_str())).await.unwrap();
    let mut requests = soon(registry().receiver(uri.as_str())).await.unwrap();
    let asking = client.request(Datagram::new("?"), PATIENCE);
    let reply_to = tokio::select! {
        _ = asking => unreachable!("nobody answers"),
        request = next(&mut requests) => request.datagram().envelope().reply_to.clone().unwrap(),
    };
    drop(soon(client.drain(PATIENCE)).await.unwrap());
    drop(requests);
    remove(&uri).await;
    String::from_utf8(reply_to.to_vec()).unwrap()
}
