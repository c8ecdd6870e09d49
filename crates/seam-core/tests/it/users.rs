//! What a user of the crate expects of senders, receivers and connections.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt, stream};
use seam_core::{
    Action, Capability, Datagram, Deliveries, Error, Event, Events, Fate, Registry, Side, State,
    Value, dead_letter,
};

use crate::hand::{Task, now};
use crate::memory::memory;

const LONG: Duration = Duration::from_secs(3_600);

fn text(datagram: &Datagram) -> &str {
    std::str::from_utf8(datagram.payload().unwrap()).unwrap()
}

#[test]
fn a_sink_and_a_stream_carry_datagrams() {
    let (registry, _) = memory();
    let server = now(registry.server("memory://orders")).unwrap();
    let mut incoming = now(server.receiver()).unwrap().into_stream();
    let mut sink = now(registry.sender("memory://orders")).unwrap().into_sink();
    let all = ["one", "two", "three"].map(|word| Ok(Datagram::new(word)));
    now(sink.send_all(&mut stream::iter(all))).unwrap();
    for word in ["one", "two", "three"] {
        let delivery = now(incoming.next()).unwrap().unwrap();
        assert_eq!(text(delivery.datagram()), word);
        delivery.ack().unwrap();
    }
    assert!(now(server.drain(LONG)).unwrap().is_clean());
    assert!(now(incoming.next()).is_none(), "a stream ends with its connection");
}

#[test]
fn a_sink_tells_each_failure_once_and_goes_on() {
    let (registry, _) = memory();
    let mut receiver = now(registry.receiver("memory://orders")).unwrap();
    let mut sink = now(registry.sender("memory://orders?max_message=10B")).unwrap().into_sink();
    now(sink.feed(Datagram::new("fits"))).unwrap();
    now(sink.feed(Datagram::new("this is too long"))).unwrap();
    let failed = now(sink.flush()).unwrap_err().failed;
    assert!(matches!(failed[0].error(), Error::TooLarge { .. }), "{:?}", failed[0]);
    assert_eq!(failed.len(), 1);
    now(sink.flush()).unwrap();
    now(sink.close()).unwrap();
    assert_eq!(text(now(receiver.next()).unwrap().unwrap().datagram()), "fits");
}

#[test]
fn a_busy_sink_gives_a_datagram_back() {
    let (registry, _) = memory();
    let mut sink = now(registry.sender("memory://orders")).unwrap().into_sink();
    sink.start_send_unpin(Datagram::new("1")).unwrap();
    let refused = sink.start_send_unpin(Datagram::new("2")).unwrap_err().failed;
    assert_eq!((text(refused[0].datagram()), refused[0].fate()), ("2", Fate::NotSent));
}

#[test]
fn try_send_never_waits_and_says_when_it_is_full() {
    let (registry, _) = memory();
    let mut receiver = now(registry.receiver("memory://orders")).unwrap();
    let client = now(registry.client("memory://orders?credit=1&max_message=10B")).unwrap();
    let sender = now(client.sender()).unwrap();
    let mut ticket = sender.try_send(Datagram::new("1")).unwrap();
    let full = sender.try_send(Datagram::new("2")).unwrap_err();
    assert!(matches!(full.error(), Error::Full) && full.error().is_retryable());
    assert_eq!((full.fate(), text(full.datagram())), (Fate::NotSent, "2"));
    let large = sender.try_send(Datagram::new("this is too long")).unwrap_err();
    assert!(matches!(large.error(), Error::TooLarge { .. }));
    now(receiver.next()).unwrap().unwrap().ack().unwrap();
    assert!(now(ticket.receipts()).all_ok());
    drop(sender.try_send(Datagram::new("2")).unwrap());
    let counts = client.statistics();
    assert_eq!((counts.admitted, counts.receipted, counts.not_sent), (2, 1, 2));
}

#[test]
fn flush_tells_every_failure_of_what_was_fed_once() {
    let (registry, clock) = memory();
    let _slow = now(registry.receiver("memory://orders?credit=1")).unwrap();
    let client = now(registry.client("memory://orders?credit=3&send_timeout=5s")).unwrap();
    let mut sender = now(client.sender()).unwrap();
    for word in ["1", "2", "3", "4"] {
        now(sender.feed(Datagram::new(word))).unwrap();
    }
    let errors = clock.block_on(sender.flush()).unwrap_err();
    let mut failed: Vec<&str> = errors.failed.iter().map(|e| text(e.datagram())).collect();
    failed.sort_unstable();
    assert_eq!((errors.receipted, failed), (1, vec!["2", "3", "4"]));
    assert!(errors.failed.iter().all(|error| error.fate() == Fate::NotSent));
    assert_eq!(clock.block_on(sender.flush()).unwrap(), 0, "told once");
    let counts = client.statistics();
    assert_eq!((counts.receipted, counts.not_sent), (1, 3));
}

#[test]
fn send_all_sends_what_it_can_and_tells_the_rest() {
    let (registry, _) = memory();
    let _receiver = now(registry.receiver("memory://orders")).unwrap();
    let mut sender = now(registry.sender("memory://orders?max_message=10B")).unwrap();
    let words = ["short", "this is too long", "also"].map(Datagram::new);
    let errors = now(sender.send_all(stream::iter(words))).unwrap_err();
    assert_eq!((errors.receipted, errors.failed.len()), (2, 1));
    assert_eq!(text(errors.failed[0].datagram()), "this is too long");
}

#[test]
fn a_dropped_sender_with_unflushed_datagrams_is_counted_and_an_event() {
    let (registry, _) = memory();
    let client = now(registry.client("memory://orders")).unwrap();
    let mut sender = now(client.sender()).unwrap();
    now(sender.feed(Datagram::new("1"))).unwrap();
    drop(sender.clone());
    drop(sender);
    assert!(matches!(now(client.next_event()), Some(Event::Connected)));
    assert!(matches!(now(client.next_event()), Some(Event::Unflushed { count: 1 })));
    assert_eq!(client.statistics().unflushed, 1);
}

#[test]
fn a_paused_receiver_hands_out_nothing_until_it_is_resumed() {
    let (registry, _) = memory();
    let mut receiver = now(registry.receiver("memory://orders")).unwrap();
    let mut other = now(registry.receiver("memory://orders")).unwrap();
    let sender = now(registry.sender("memory://orders")).unwrap();
    let gate = receiver.gate();
    let mut paused = Task::waiting(receiver.next());
    gate.pause();
    assert!(gate.is_paused());
    now(sender.send(Datagram::new("1"))).unwrap();
    paused.still_waits();
    assert_eq!(text(now(other.next()).unwrap().unwrap().datagram()), "1", "others go on");
    gate.resume();
    assert_eq!(text(paused.woken().unwrap().unwrap().datagram()), "1");
}

#[test]
fn a_connection_tells_its_state_and_its_counts_by_name() {
    let (registry, _) = memory();
    let server = now(registry.server("memory://orders")).unwrap();
    assert_eq!(server.state(), State::Connected);
    let mut receiver = now(server.receiver()).unwrap();
    now(now(registry.sender("memory://orders")).unwrap().send(Datagram::new("1"))).unwrap();
    let delivery = now(receiver.next()).unwrap().unwrap();
    let drain = Task::waiting(server.drain(LONG));
    assert_eq!(server.state(), State::Draining);
    delivery.discard().unwrap();
    assert!(drain.woken().unwrap().is_clean());
    assert_eq!(server.state(), State::Closed);
    let counted: Vec<_> = server.statistics().iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [("delivered", 1), ("discarded", 1)]);
}

#[test]
fn events_are_bounded_and_the_dropped_ones_counted() {
    let events = Events::new();
    for _ in 0..Events::CAPACITY + 44 {
        events.emit(Event::Unblocked);
    }
    assert_eq!(events.statistics().events_dropped, 44);
}

#[test]
fn concurrent_requests_each_get_their_own_reply_whoever_is_cancelled() {
    let (registry, _) = memory();
    let mut server = now(registry.receiver("memory://sum")).unwrap();
    let client = now(registry.client("memory://sum")).unwrap();
    let ask = |word: &'static str| Task::waiting(client.request(Datagram::new(word), LONG));
    let (first, second, third) = (ask("1"), ask("2"), ask("3"));
    let mut reply = |expected: &str| {
        let request = now(server.next()).unwrap().unwrap();
        assert_eq!(text(request.datagram()), expected);
        let answer = Datagram::new(format!("reply to {expected}"));
        now(request.reply(answer)).unwrap();
    };
    reply("1");
    assert_eq!(text(&first.woken().unwrap()), "reply to 1");
    // One of the others is called to read for all, and is dropped instead.
    let (other, reply_to_other) =
        if second.is_woken() { (third, "reply to 3") } else { (second, "reply to 2") };
    reply("2");
    reply("3");
    assert_eq!(text(&other.woken().unwrap()), reply_to_other);
    assert_eq!(client.statistics().requests, 3);
}

#[test]
fn a_request_without_reply_times_out_and_comes_back_as_it_was() {
    let (registry, clock) = memory();
    let _server = now(registry.receiver("memory://sum")).unwrap();
    let client = now(registry.client("memory://sum")).unwrap();
    let request = Datagram::new("1").with_key("k");
    let asked = client.request(request.clone(), Duration::from_secs(1));
    let (datagram, fate, error) = clock.block_on(asked).unwrap_err().into_parts();
    assert_eq!((datagram, fate), (request, Fate::MaybeSent));
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
}

#[test]
fn a_reply_to_a_requester_that_is_gone_acknowledges_the_request() {
    let (registry, _) = memory();
    let server = now(registry.server("memory://sum")).unwrap();
    let mut receiver = now(server.receiver()).unwrap();
    let client = now(registry.client("memory://sum")).unwrap();
    drop(Task::waiting(client.request(Datagram::new("1"), LONG)));
    drop(client);
    let request = now(receiver.next()).unwrap().unwrap();
    let gone = now(request.reply(Datagram::new("2"))).unwrap_err();
    assert!(matches!(gone, Error::RequesterGone), "{gone}");
    let counts = server.statistics();
    assert_eq!((counts.requesters_gone, counts.acked, counts.dropped), (1, 1, 0));
    assert!(now(server.drain(LONG)).unwrap().is_clean());
}

#[test]
fn a_forged_reply_address_is_refused_unless_any_is_allowed() {
    let (registry, _) = memory();
    let mut victim = now(registry.receiver("memory://victim")).unwrap();
    let sender = now(registry.sender("memory://sum")).unwrap();
    let mut request = Datagram::new("1");
    request.envelope_mut().reply_to = Some("victim".into());
    let mut strict = now(registry.receiver("memory://sum")).unwrap();
    now(sender.send(request.clone())).unwrap();
    let asked = now(strict.next()).unwrap().unwrap();
    let denied = now(asked.reply(Datagram::new("2"))).unwrap_err();
    assert!(matches!(denied, Error::Denied { .. }), "{denied}");
    assert_eq!(now(strict.next()).unwrap().unwrap().note().attempt, 2, "it comes again");
    drop(strict);
    let mut open = now(registry.receiver("memory://sum?reply_any")).unwrap();
    now(sender.send(request)).unwrap();
    now(now(open.next()).unwrap().unwrap().reply(Datagram::new("3"))).unwrap();
    assert_eq!(text(now(victim.next()).unwrap().unwrap().datagram()), "3");
}

#[test]
fn a_dead_letter_says_why_how_often_and_from_where() {
    let (registry, _) = memory();
    let uri = "memory://orders?dead_letter=memory%3A%2F%2Fparked&retry=2";
    let server = now(registry.server(uri)).unwrap();
    let mut receiver = now(server.receiver()).unwrap();
    let mut parked = now(registry.receiver("memory://parked")).unwrap();
    let sender = now(registry.sender("memory://orders")).unwrap();
    now(sender.send(Datagram::new("1").with_key("k"))).unwrap();
    now(receiver.next()).unwrap().unwrap().retry(Duration::ZERO).unwrap();
    now(receiver.next()).unwrap().unwrap().retry(Duration::ZERO).unwrap();
    now(receiver.settled()).unwrap();
    let letter = now(parked.next()).unwrap().unwrap();
    let view = letter.view();
    assert_eq!((view.payload(), view.key()), (Some(&b"1"[..]), Some(&b"k"[..])));
    let header = |name| view.header(name).cloned();
    assert_eq!(header(dead_letter::REASON), Some(Value::from("gave up after 2 attempts")));
    assert_eq!(header(dead_letter::ATTEMPTS), Some(Value::from(2_u32)));
    assert!(header(dead_letter::ORIGIN).unwrap().as_text().unwrap().starts_with("memory://orders"));
    let counts = server.statistics();
    assert_eq!((counts.retried, counts.dead_lettered), (1, 1));
}

#[test]
fn what_was_dropped_too_often_is_parked_while_its_sender_waits_for_settlement() {
    let (registry, _) = memory();
    let uri = "memory://orders?dead_letter=memory%3A%2F%2Fparked&retry=1";
    let mut receiver = now(registry.receiver(uri)).unwrap();
    let mut parked = now(registry.receiver("memory://parked")).unwrap();
    let sender = now(registry.sender("memory://orders?confirm=settled")).unwrap();
    let mut sent = Task::waiting(sender.send(Datagram::new("1")));
    drop(sender.try_send(Datagram::new("2")).unwrap());
    drop(now(receiver.next()).unwrap().unwrap());
    assert_eq!(text(now(receiver.next()).unwrap().unwrap().datagram()), "2");
    now(receiver.settled()).unwrap();
    assert_eq!(text(now(parked.next()).unwrap().unwrap().datagram()), "1");
    assert!(sent.poll().unwrap().is_ok());
}

#[test]
fn without_a_receiver_of_dead_letters_the_delivery_comes_back() {
    let (registry, clock) = memory();
    let uri = "memory://orders?dead_letter=memory%3A%2F%2Fparked%3Fsend_timeout%3D3s";
    let server = now(registry.server(uri)).unwrap();
    let mut receiver = now(server.receiver()).unwrap();
    now(now(registry.sender("memory://orders")).unwrap().send(Datagram::new("1"))).unwrap();
    now(receiver.next()).unwrap().unwrap().dead_letter("damaged").unwrap();
    let again = clock.block_on(receiver.next()).unwrap().unwrap();
    assert_eq!(again.note().attempt, 2);
    assert!(matches!(now(server.next_event()), Some(Event::Connected)));
    assert!(matches!(now(server.next_event()), Some(Event::DeadLetterFailed { .. })));
    assert_eq!(server.statistics().dead_letters_failed, 1);
    let mut parked = now(registry.receiver("memory://parked")).unwrap();
    again.dead_letter("damaged").unwrap();
    now(receiver.settled()).unwrap();
    assert_eq!(text(now(parked.next()).unwrap().unwrap().datagram()), "1");
}

#[test]
fn a_dead_letter_without_an_endpoint_for_it_is_refused() {
    let (registry, _) = memory();
    let mut receiver = now(registry.receiver("memory://orders")).unwrap();
    now(now(registry.sender("memory://orders")).unwrap().send(Datagram::new("1"))).unwrap();
    let refused = now(receiver.next()).unwrap().unwrap().dead_letter("damaged").unwrap_err();
    let (delivery, error) = refused.into_parts();
    assert!(matches!(error, Error::Misuse { .. }), "{error}");
    delivery.ack().unwrap();
    let error = now(registry.server("memory://orders?retry=2")).unwrap_err();
    assert!(error.to_string().contains("`retry` needs a `dead_letter`"), "{error}");
    let checked = registry.check("memory://orders?retry=2", Side::Server).unwrap_err();
    assert_eq!(checked.to_string(), error.to_string());
}

#[test]
fn what_is_wrong_in_the_uri_of_dead_letters_is_told_as_theirs() {
    let (registry, _) = memory();
    let uri = "memory://orders?dead_letter=memory%3A%2F%2Fparked%3Fcerdit=3";
    assert_eq!(
        now(registry.server(uri)).unwrap_err().to_string(),
        "invalid endpoint: in `dead_letter`: unknown parameter `cerdit` for `memory`; \
         did you mean `credit`?"
    );
}

#[test]
fn the_hook_decides_who_may_send_and_receive() {
    let (registry, _) = memory();
    let registry = registry.authorise(|access| access.action != Action::Receive);
    now(registry.sender("memory://orders")).unwrap();
    let denied = now(registry.receiver("memory://orders")).unwrap_err();
    assert!(matches!(denied, Error::Denied { .. }), "{denied}");
}

#[test]
fn what_is_missing_is_named_in_one_line() {
    let (registry, _) = memory();
    let client = now(registry.client("memory://orders")).unwrap();
    client.require(&[Capability::Order, Capability::Reply]).unwrap();
    let missing = client.require(&[Capability::Replay, Capability::Store]).unwrap_err().to_string();
    assert!(missing.starts_with("memory://orders does not support "), "{missing}");
    assert_eq!(missing.lines().count(), 1);
}

#[test]
fn what_is_closed_is_named_as_it_was_opened() {
    let (registry, _) = memory();
    let billing = now(registry.server("memory://orders?group=billing")).unwrap();
    let _receiver = now(billing.receiver()).unwrap();
    let client = now(registry.client("memory://orders?confirm=settled")).unwrap();
    let sender = now(client.sender()).unwrap();
    let mut ticket = sender.try_send(Datagram::new("1")).unwrap();
    let closed = "the connection to memory://orders?confirm=settled is closed; open a new one";
    let drained = now(client.drain(Duration::ZERO)).unwrap();
    assert_eq!(drained.unsent[0].error().to_string(), closed);
    assert_eq!(now(ticket.receipts()).failed()[0].1.error().to_string(), closed);
    assert_eq!(now(sender.send(Datagram::new("2"))).unwrap_err().error().to_string(), closed);
}

#[test]
fn no_secret_is_shown_by_anything_opened() {
    let (registry, _) = memory();
    let uri = "memory://orders?dead_letter=memory%3A%2F%2Fuser%3Ahunter2%40parked";
    let Ok(server) = now(registry.server(uri)) else {
        let refused = now(registry.server(uri)).unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
        return;
    };
    let (sender, receiver) = (now(server.sender()).unwrap(), now(server.receiver()).unwrap());
    let shown = format!("{server:?} {sender:?} {receiver:?} {}", server.endpoint());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn many_threads_lose_nothing_and_keep_the_order_of_each_key() {
    const SENDERS: u8 = 8;
    const EACH: u32 = 2_000;
    let registry = Registry::new().with(seam_core::Memory::new());
    let server = now(registry.server("memory://orders?credit=64")).unwrap();
    let seen = std::sync::Mutex::new(vec![Vec::new(); usize::from(SENDERS)]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let mut receiver = now(server.receiver()).unwrap();
            let seen = &seen;
            scope.spawn(move || {
                let mut deliveries = Deliveries::new();
                while smol::block_on(receiver.receive(16, &mut deliveries)).unwrap() {
                    while let Some(lent) = deliveries.lend() {
                        let payload = lent.view().payload().unwrap();
                        let number = u32::from_be_bytes(payload[1..].try_into().unwrap());
                        seen.lock().unwrap()[usize::from(payload[0])].push(number);
                        lent.ack();
                    }
                }
            });
        }
        let client = now(registry.client("memory://orders?credit=256")).unwrap();
        let send = |key: u8| {
            let mut sender = now(client.sender()).unwrap();
            move || {
                for number in 0..EACH {
                    let payload = [&[key][..], &number.to_be_bytes()].concat();
                    let datagram = Datagram::new(payload).with_key(vec![key]);
                    smol::block_on(sender.feed(datagram)).unwrap();
                }
                assert_eq!(smol::block_on(sender.flush()).unwrap(), u64::from(EACH));
            }
        };
        let senders: Vec<_> = (0..SENDERS).map(|key| scope.spawn(send(key))).collect();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert!(smol::block_on(client.drain(LONG)).unwrap().is_clean());
        assert!(smol::block_on(server.drain(LONG)).unwrap().is_clean());
    });
    let all: Vec<u32> = (0..EACH).collect();
    for numbers in seen.into_inner().unwrap() {
        assert_eq!(numbers, all, "each once, in order");
    }
}

#[test]
fn a_request_that_nobody_took_is_proved_not_sent() {
    let (registry, clock) = memory();
    clock.block_on(async {
        let client = registry.client("memory://sum").await.unwrap();
        let second = Duration::from_secs(1);
        let nobody = client.request(Datagram::new("1 2 3"), second).await.unwrap_err();
        assert_eq!(nobody.fate(), Fate::NotSent);
        assert!(matches!(nobody.error(), Error::TimedOut { .. }), "{nobody}");
        let (datagram, ..) = nobody.into_parts();
        assert_eq!(datagram, Datagram::new("1 2 3"), "as it was handed over");
        let mut server = registry.receiver("memory://sum").await.unwrap();
        let asking = client.request(datagram, second);
        let serving = async {
            // Taken, and never answered.
            server.next().await.unwrap().unwrap().ack().unwrap();
        };
        let (unanswered, ()) = futures_util::future::join(asking, serving).await;
        assert_eq!(unanswered.unwrap_err().fate(), Fate::MaybeSent);
    });
}
