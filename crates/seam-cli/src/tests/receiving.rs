//! What `receive` promises.

use seam_core::{Datagram, Registry, Timestamp, Value, json};

use super::{Full, Page, calm, receive, receive_into, registry, soon};
use crate::stop::Stop;

const ORDERS: &str = "memory://orders";

/// Sends these, each with its receipt, as soon as somebody receives.
async fn give(registry: &Registry, payloads: &[&str]) -> seam_core::Sender {
    let mut sender = registry.sender(ORDERS).await.unwrap();
    for payload in payloads {
        sender.feed(Datagram::new(payload.to_string())).await.unwrap();
    }
    soon(sender.flush()).await.unwrap();
    sender
}

#[tokio::test]
async fn no_more_is_printed_than_was_asked_for_and_the_rest_goes_to_the_next() {
    let registry = registry();
    let line = [ORDERS, "--count", "2"];
    let ((first, outcome), sender) =
        tokio::join!(receive(&registry, &line), give(&registry, &["a", "b", "c", "d"]));
    assert_eq!((first.as_str(), outcome), ("a\nb\n", Ok(())));
    let (second, outcome) = receive(&registry, &line).await;
    assert_eq!((second.as_str(), outcome), ("c\nd\n", Ok(())));
    drop(sender);
}

#[tokio::test]
async fn what_was_not_flushed_comes_again() {
    let registry = registry();
    let calm = calm();
    let failing = receive_into(&registry, &[ORDERS], Full, &calm);
    let (failed, sender) = tokio::join!(failing, give(&registry, &["a", "b"]));
    let line = failed.unwrap_err().to_string();
    let wanted = "cannot write the output: the disk is full; what was not written comes again";
    assert_eq!(line, wanted);
    let (text, outcome) = receive(&registry, &[ORDERS, "--count", "2"]).await;
    assert_eq!((text.as_str(), outcome), ("a\nb\n", Ok(())));
    assert_eq!(sender.endpoint().address(), "orders");
}

#[tokio::test]
async fn fewer_than_were_asked_for_is_a_failure() {
    let registry = registry();
    let line = [ORDERS, "--count", "3", "--idle", "200ms"];
    let ((text, outcome), _sender) =
        tokio::join!(receive(&registry, &line), give(&registry, &["a"]));
    assert_eq!(text, "a\n");
    assert_eq!(outcome.unwrap_err().to_string(), "only 1 of 3 datagrams came");
    let (text, outcome) = receive(&registry, &[ORDERS, "--idle", "1ms"]).await;
    assert_eq!((text.as_str(), outcome), ("", Ok(())));
}

#[tokio::test]
async fn a_datagram_without_payload_is_an_empty_line_and_json_tells() {
    let cases =
        [("", "\n\n"), ("--json", "{\"payload\":null}\n{\"payload\":\"\"}\n"), ("--raw", "")];
    for (option, wanted) in cases {
        let registry = registry();
        let mut line = vec![ORDERS, "--count", "2"];
        line.extend(Some(option).filter(|option| !option.is_empty()));
        let giving = async {
            let sender = registry.sender(ORDERS).await.unwrap();
            soon(sender.send(Datagram::empty())).await.unwrap();
            soon(sender.send(Datagram::new(""))).await.unwrap();
            sender
        };
        let ((text, outcome), _sender) = tokio::join!(receive(&registry, &line), giving);
        assert_eq!((text.as_str(), outcome), (wanted, Ok(())), "{option}");
    }
}

#[tokio::test]
async fn an_envelope_survives_send_and_receive() {
    let registry = registry();
    let time: Timestamp = "2018-01-31T01:49:59.65Z".parse().unwrap();
    let mut datagram = Datagram::new(vec![0xff, 0x00])
        .with_tag(65535)
        .with_id(seam_core::Id::bytes([0xab; 16]))
        .with_key(vec![0xfe])
        .with_kind("order")
        .with_content_type("text/plain")
        .with_time(time)
        .with_priority(9)
        .with_header("n", 1_u64)
        .with_header("n", Value::Null)
        .with_header("t", time);
    datagram.envelope_mut().correlation_id = Some(bytes::Bytes::from_static(b"c"));
    let line = json::encode(datagram.view());
    let (sent, (text, received)) = tokio::join!(
        super::send(&registry, &[ORDERS, "--json"], line.as_bytes()),
        receive(&registry, &[ORDERS, "--json", "--count", "1"]),
    );
    assert_eq!((sent.1, received), (Ok(()), Ok(())));
    assert_eq!(text, line + "\n");
}

#[tokio::test]
async fn a_signal_ends_it_gracefully() {
    let registry = registry();
    let (raise, stop) = Stop::new();
    raise.raise();
    let early = receive_into(&registry, &[ORDERS], Page::default(), &stop).await;
    assert_eq!(early, Ok(()));
    let early = receive_into(&registry, &[ORDERS, "--count", "1"], Page::default(), &stop).await;
    assert_eq!(early.unwrap_err().to_string(), "only 0 of 1 datagrams came");
    let (raise, stop) = Stop::new();
    let page = Page::default();
    let receiving = receive_into(&registry, &[ORDERS], page.clone(), &stop);
    let giving = async {
        let connection = registry.client(ORDERS).await.unwrap();
        let sender = connection.sender().await.unwrap();
        soon(sender.send(Datagram::new("a"))).await.unwrap();
        // Once it is done, it was printed and acknowledged.
        let drained = connection.drain(super::DEADLINE).await.unwrap();
        raise.raise();
        drained
    };
    let (outcome, drained) = tokio::join!(receiving, giving);
    assert_eq!((outcome, page.text().as_str()), (Ok(()), "a\n"));
    assert!(drained.is_clean());
}
