//! What `request` and `serve --echo` promise.

use std::time::Duration;

use clap::Parser;
use seam_core::{Datagram, Registry};

use super::{Page, calm, command, registry, soon};
use crate::args::{Args, Command};
use crate::failure::Outcome;
use crate::stop::Stop;
use crate::{dialog, request, serve};

const SUM: &str = "memory://sum";

async fn ask(registry: &Registry, line: &[&str]) -> (String, Outcome) {
    let Command::Request(args) = command(&[&["request"], line].concat()) else { unreachable!() };
    let page = Page::default();
    let outcome = soon(request::request(registry, &args, page.clone(), &calm())).await;
    (page.text(), outcome)
}

#[tokio::test]
async fn an_echo_answers_each_request_with_all_its_fields() {
    let registry = registry();
    let (raise, stop) = Stop::new();
    let asking = async {
        let raw = ask(&registry, &[SUM, "1 2 3", "--raw"]).await;
        assert_eq!(raw, ("1 2 3".to_owned(), Ok(())));
        let plain = ask(&registry, &[SUM, "1 2 3"]).await;
        let line = [SUM, "x", "--json", "--tag", "7", "--key", "k", "--header", "a=b"];
        let full = ask(&registry, &line).await;
        raise.raise();
        (plain, full)
    };
    let connection = registry.server(SUM).await.unwrap();
    let (served, (plain, (full, outcome))) =
        soon(async { tokio::join!(serve::echo_requests(&connection, &stop), asking) }).await;
    assert_eq!(plain, ("1 2 3\n".to_owned(), Ok(())));
    assert_eq!(outcome, Ok(()));
    let mut reply = seam_core::json::decode(&full).unwrap();
    assert!(reply.envelope_mut().correlation_id.take().is_some());
    let wanted = Datagram::new("x").with_tag(7).with_key("k").with_header("a", "b");
    assert_eq!(reply, wanted);
    assert_eq!(served, Ok(serve::Served { answered: 3, discarded: 0 }));
}

#[tokio::test]
async fn what_asks_for_no_reply_is_discarded_and_counted() {
    let registry = registry();
    let (raise, stop) = Stop::new();
    let sending = async {
        let client = registry.client(SUM).await.unwrap();
        let sender = client.sender().await.unwrap();
        soon(sender.send(Datagram::new("no request"))).await.unwrap();
        let drained = client.drain(super::DEADLINE).await.unwrap();
        raise.raise();
        drained.is_clean()
    };
    let connection = registry.server(SUM).await.unwrap();
    let (served, clean) =
        soon(async { tokio::join!(serve::echo_requests(&connection, &stop), sending) }).await;
    assert_eq!((served, clean), (Ok(serve::Served { answered: 0, discarded: 1 }), true));
}

#[tokio::test]
async fn serve_ends_gracefully_by_a_signal() {
    let registry = registry();
    let Command::Serve(args) = command(&["serve", SUM, "--echo"]) else { unreachable!() };
    let (raise, stop) = Stop::new();
    raise.raise();
    assert_eq!(soon(serve::serve(&registry, &args, &stop)).await, Ok(()));
    let (raise, stop) = Stop::new();
    let (served, _) = tokio::join!(soon(serve::serve(&registry, &args, &stop)), async {
        ask(&registry, &[SUM, "x"]).await.1.unwrap();
        raise.raise();
    });
    assert_eq!(served, Ok(()));
    assert!(Args::try_parse_from(["seam", "serve", SUM]).is_err());
}

#[tokio::test]
async fn a_request_that_nobody_answers_says_its_fate() {
    let (text, outcome) = ask(&registry(), &[SUM, "x", "--timeout", "100ms"]).await;
    let line = outcome.unwrap_err().to_string();
    assert!(line.starts_with("not sent: request did not finish within 100ms; "), "{line}");
    assert_eq!(text, "");
}

#[tokio::test]
async fn where_nothing_correlates_each_datagram_goes_back_to_its_peer() {
    let registry = registry();
    let hall = registry.server("memory://chat").await.unwrap();
    let (raise, stop) = Stop::new();
    let asking = async {
        let mut replies = Vec::new();
        for tag in [1, 2] {
            let client = registry.client("memory://chat").await.unwrap();
            let request = Datagram::new("hello").with_tag(tag);
            let reply = dialog::ask(&client, request, super::DEADLINE).await.unwrap();
            assert!(client.drain(super::DEADLINE).await.unwrap().is_clean());
            replies.push(reply);
        }
        raise.raise();
        replies
    };
    let (served, replies) =
        soon(async { tokio::join!(serve::echo_peers(&hall, &stop), asking) }).await;
    let wanted = [1, 2].map(|tag| Datagram::new("hello").with_tag(tag));
    assert_eq!(replies, wanted);
    assert_eq!(served, Ok(serve::Served { answered: 2, discarded: 0 }));
}

#[tokio::test]
async fn a_dialog_without_an_answer_ends_in_its_time() {
    let registry = registry();
    let _hall = registry.server("memory://chat").await.unwrap();
    let client = registry.client("memory://chat").await.unwrap();
    let asked = dialog::ask(&client, Datagram::new("x"), Duration::from_millis(100)).await;
    let line = asked.unwrap_err().to_string();
    assert!(line.starts_with("no reply within 100ms; "), "{line}");
}
