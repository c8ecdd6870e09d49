//! What `send` promises.

use std::time::Duration;

use seam_core::{Datagram, json};
use tokio::io::AsyncWriteExt;

use super::{Page, calm, receive, registry, send, send_keeping, soon};
use crate::stop::Stop;
use crate::tally::Tally;

const ORDERS: &str = "memory://orders";
const HASTY: &str = "memory://orders?send_timeout=100ms";

#[tokio::test]
async fn each_line_arrives_in_order_and_is_settled_before_send_ends() {
    let registry = registry();
    let lines: Vec<String> = (0..5000).map(|n| format!("order {n}")).collect();
    let input = lines.join("\n");
    let (sent, (text, received)) = tokio::join!(
        send(&registry, &[ORDERS, "--key", "k"], input.as_bytes()),
        receive(&registry, &[ORDERS, "--count", "5000"]),
    );
    assert_eq!((sent.1, received), (Ok(()), Ok(())));
    assert_eq!(text, input.clone() + "\n");
    let summary = sent.0.unwrap();
    let bytes = u64::try_from(input.len() - 4999).unwrap();
    assert_eq!((summary.datagrams, summary.bytes), (5000, bytes));
    assert_eq!((summary.not_sent, summary.maybe_sent), (0, 0));
}

#[tokio::test]
async fn what_comes_slowly_goes_out_at_once() {
    let registry = registry();
    let mut orders = registry.receiver(ORDERS).await.unwrap();
    let (mut far, near) = tokio::io::duplex(64);
    let typing = async {
        for order in ["one", "two", "three"] {
            far.write_all(format!("{order}\n").as_bytes()).await.unwrap();
            // Before the next one is typed.
            let delivery = soon(orders.next()).await.unwrap().unwrap();
            assert_eq!(delivery.payload(), Some(order.as_bytes()));
            delivery.ack().unwrap();
        }
        drop(far);
    };
    let ((_, sent), ()) = tokio::join!(send(&registry, &[ORDERS], near), typing);
    assert_eq!(sent, Ok(()));
}

#[tokio::test]
async fn without_a_receiver_nothing_is_sent_and_all_of_it_is_kept() {
    let registry = registry();
    let lines: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let input = lines.join("\n");
    let failed = Page::default();
    let tally = Tally::new(Some(Box::new(failed.clone())));
    let (summary, sent) = send_keeping(&registry, &[HASTY], input.as_bytes(), tally, &calm()).await;
    let line = sent.unwrap_err().to_string();
    assert!(line.starts_with("1000 of 1000 datagrams failed; the first: datagram 1: not sent: "));
    assert!(line.ends_with("or raise `?send_timeout=`"), "{line}");
    let summary = summary.unwrap();
    assert_eq!((summary.datagrams, summary.bytes, summary.not_sent), (0, 0, 1000));
    let kept: Vec<Datagram> =
        failed.text().lines().map(|line| json::decode(line).unwrap()).collect();
    let wanted: Vec<Datagram> = lines.iter().map(|line| Datagram::new(line.clone())).collect();
    assert_eq!(kept, wanted);
    assert!(failed.text().lines().all(|line| line.contains(r#""fate":"not_sent","error":"#)));
}

#[tokio::test]
async fn without_a_receiver_and_a_file_it_says_where_it_stopped() {
    let input = "x\n".repeat(1000);
    let (_, sent) = send(&registry(), &[HASTY], input.as_bytes()).await;
    let line = sent.unwrap_err().to_string();
    assert!(line.starts_with("stopped after line 256: admission did not finish within "), "{line}");
}

#[tokio::test]
async fn what_failed_can_be_sent_again() {
    let registry = registry();
    let failed = Page::default();
    let tally = Tally::new(Some(Box::new(failed.clone())));
    let line = [HASTY, "--key", "k", "--header", "a=b=c", "--kind", "order", "--tag", "7"];
    let (_, sent) = send_keeping(&registry, &line, &b"12 apples"[..], tally, &calm()).await;
    assert!(sent.is_err());
    let failed = failed.text();
    let (again, (text, received)) = tokio::join!(
        send(&registry, &[ORDERS, "--json"], failed.as_bytes()),
        receive(&registry, &[ORDERS, "--json", "--count", "1"]),
    );
    assert_eq!((again.1, received), (Ok(()), Ok(())));
    let wanted =
        r#"{"tag":7,"payload":"12 apples","key":"k","kind":"order","headers":[["a","b=c"]]}"#;
    assert_eq!(text, format!("{wanted}\n"));
}

#[tokio::test]
async fn what_nobody_settles_is_left_by_the_drain_and_fails() {
    let registry = registry();
    let mut orders = registry.receiver(ORDERS).await.unwrap();
    let failed = Page::default();
    let tally = Tally::new(Some(Box::new(failed.clone())));
    let (line, calm) = ([ORDERS, "--drain", "100ms"], calm());
    let holding = async { soon(orders.next()).await.unwrap().unwrap() };
    let ((summary, sent), held) =
        tokio::join!(send_keeping(&registry, &line, &b"12 apples\n"[..], tally, &calm), holding,);
    let line = sent.unwrap_err().to_string();
    assert!(
        line.starts_with("1 of 1 datagrams failed; the first: not done within 100ms "),
        "{line}"
    );
    assert_eq!(summary.unwrap().maybe_sent, 1);
    assert!(failed.text().contains(r#""fate":"maybe_sent""#), "{}", failed.text());
    drop(held);
}

#[tokio::test]
async fn a_bad_line_ends_it_and_what_came_before_is_settled() {
    for (line, input, complaint) in [
        (
            vec!["memory://orders?max_message=5B"],
            "one\ntwo\ntoo long\nfour\n",
            "standard input, line 3: 8 bytes are over the limit of 5; nothing from this line on was sent",
        ),
        (
            vec![ORDERS, "--json"],
            "{\"payload\":\"one\"}\n{\"payload\":\"two\"}\n{\"payload\":\n{}\n",
            "standard input, line 3: invalid JSON datagram: is no JSON: EOF while parsing a value \
             at line 1 column 11; nothing from this line on was sent",
        ),
    ] {
        let registry = registry();
        let ((summary, sent), (text, received)) = tokio::join!(
            send(&registry, &line, input.as_bytes()),
            receive(&registry, &[ORDERS, "--idle", "200ms"]),
        );
        assert_eq!(sent.unwrap_err().to_string(), complaint);
        assert_eq!((text.as_str(), received), ("one\ntwo\n", Ok(())));
        assert_eq!(summary.unwrap().datagrams, 2);
    }
}

#[tokio::test]
async fn one_that_cannot_be_carried_fails_alone() {
    let registry = registry();
    let header = format!(r#"{{"payload":"b","headers":[["h","{}"]]}}"#, "x".repeat(20_000));
    let input = format!("{{\"payload\":\"a\"}}\n{header}\n{{\"payload\":\"c\"}}\n");
    let ((summary, sent), (text, _)) = tokio::join!(
        send(&registry, &[ORDERS, "--json"], input.as_bytes()),
        receive(&registry, &[ORDERS, "--count", "2"]),
    );
    let line = sent.unwrap_err().to_string();
    let wanted =
        "1 of 3 datagrams failed; the first: datagram 2: not sent: headers (bytes) of 20001 ";
    assert!(line.starts_with(wanted), "{line}");
    assert_eq!(text, "a\nc\n");
    assert_eq!(summary.unwrap().datagrams, 2);
}

#[tokio::test]
async fn a_signal_ends_it_after_what_was_read_and_is_no_success() {
    let registry = registry();
    let mut orders = registry.receiver(ORDERS).await.unwrap();
    let (raise, stop) = Stop::new();
    let (mut far, near) = tokio::io::duplex(64);
    let typing = async {
        far.write_all(b"one\n").await.unwrap();
        soon(orders.next()).await.unwrap().unwrap().ack().unwrap();
        raise.raise();
    };
    let sending = send_keeping(&registry, &[ORDERS], near, Tally::new(None), &stop);
    let ((summary, sent), ()) = tokio::join!(sending, typing);
    let line = sent.unwrap_err().to_string();
    assert_eq!(line, "stopped by a signal after line 1, before the end of the input");
    assert_eq!(summary.unwrap().datagrams, 1);
}

#[tokio::test(start_paused = true)]
async fn a_rate_spreads_datagrams_over_time() {
    let registry = registry();
    let begun = tokio::time::Instant::now();
    let ((_, sent), (text, _)) = tokio::join!(
        send(&registry, &[ORDERS, "--rate", "10"], &b"a\nb\nc\nd\ne\n"[..]),
        receive(&registry, &[ORDERS, "--count", "5"]),
    );
    assert_eq!((sent, text.as_str()), (Ok(()), "a\nb\nc\nd\ne\n"));
    let taken = begun.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_millis(600)).contains(&taken), "{taken:?}");
}

#[tokio::test]
async fn a_file_of_failures_that_cannot_be_written_is_told() {
    struct Broken;
    impl std::io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is full"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let tally = Tally::new(Some(Box::new(Broken)));
    let (_, sent) = send_keeping(&registry(), &[HASTY], &b"x"[..], tally, &calm()).await;
    let line = sent.unwrap_err().to_string();
    assert_eq!(line, "cannot write what failed, so --failed is not complete: the disk is full");
}

#[tokio::test]
async fn a_whole_file_is_one_datagram() {
    let registry = registry();
    let ((_, sent), (text, _)) = tokio::join!(
        send(&registry, &[ORDERS, "--file", "-"], &b"two\nlines"[..]),
        receive(&registry, &[ORDERS, "--raw", "--count", "1"]),
    );
    assert_eq!((sent, text.as_str()), (Ok(()), "two\nlines"));
    let line = ["memory://orders?max_message=5B", "--file", "-"];
    let (_, refused) = send(&registry, &line, &b"two\nlines"[..]).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.starts_with("standard input has more than the 5 bytes that"), "{refused}");
}
