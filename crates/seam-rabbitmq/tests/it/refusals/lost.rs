//! A broker that goes away while a connection is open, and comes back: what was sent meanwhile has its fate, and what is
//! sent later arrives.

use std::sync::Arc;

use seam_core::{Connection, Event};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;

/// A way to the broker that can be closed: whoever comes then is sent away.
struct Gate {
    port: u16,
    is_open: Arc<watch::Sender<bool>>,
    serving: JoinHandle<()>,
}

impl Gate {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_open = Arc::new(watch::Sender::new(true));
        let gate = is_open.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut state = gate.subscribe();
                if !*state.borrow_and_update() {
                    continue;
                }
                tokio::spawn(async move {
                    let host = host("SEAM_TEST_RABBITMQ_URL");
                    let mut far = TcpStream::connect(host).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|is_open| !is_open) => {}
                    }
                });
            }
        });
        Self { port, is_open, serving }
    }

    fn uri(&self, address: &str, more: &str) -> String {
        let (user, _) = broker().split_once('@').map(|(user, _)| (user.to_owned(), ())).unwrap();
        format!("rabbitmq://{user}@127.0.0.1:{}/{address}?{more}", self.port)
            .trim_end_matches('?')
            .to_owned()
    }

    fn open(&self, is_open: bool) {
        self.is_open.send_replace(is_open);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The next event that `is_it`.
async fn told(connection: &Connection, is_it: fn(&Event) -> bool) -> Event {
    let telling = async {
        loop {
            let event = connection.next_event().await.expect("it is open");
            if is_it(&event) {
                return event;
            }
        }
    };
    soon(telling).await
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn what_is_sent_without_a_broker_comes_back_in_time_and_what_follows_arrives() {
    let (gate, address) = (Gate::new().await, address("lost"));
    let uri = gate.uri(&address, "send_timeout=2s");
    let connection = soon(registry().client(uri.as_str())).await.unwrap();
    let sender = soon(connection.sender()).await.unwrap();
    let server = soon(registry().server(uri.as_str())).await.unwrap();
    let mut receiver = soon(server.receiver()).await.unwrap();
    soon(sender.send(Datagram::new("before"))).await.unwrap();
    let held = next(&mut receiver).await;

    gate.open(false);
    let is_lost = |event: &Event| matches!(event, Event::Disconnected { .. });
    let Event::Disconnected { reason } = told(&connection, is_lost).await else { unreachable!() };
    assert_eq!(reason.lines().count(), 1, "{reason}");
    told(&server, |event| matches!(event, Event::LeaseLost { count: 1 })).await;
    assert!(!held.is_current() && held.ack().is_err());
    for _ in 0..2 {
        let error = unsent(&sender, Datagram::new("meanwhile")).await;
        assert!(error.error().is_retryable(), "{error}");
        assert_eq!(error.fate(), Fate::NotSent, "no broker was there to be given it");
    }

    gate.open(true);
    told(&connection, |event| matches!(event, Event::Connected)).await;
    let sending = async {
        while let Err(error) = sender.send(Datagram::new("after")).await {
            assert!(error.error().is_retryable(), "{error}");
        }
    };
    soon(sending).await;
    for (expected, attempt) in [("before", 2), ("after", 1)] {
        let delivery = next(&mut receiver).await;
        assert_eq!(delivery.datagram(), &Datagram::new(expected), "no more and no less");
        assert_eq!(delivery.note().attempt, attempt);
        delivery.ack().unwrap();
    }
    soon(receiver.settled()).await.unwrap();
    drop(receiver);
    remove(&super::uri(&address, "")).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn of_several_hosts_any_will_do() {
    let (gate, address) = (Gate::new().await, address("hosts"));
    let (user, host) =
        broker().split_once('@').map(|(user, host)| (user.to_owned(), host.to_owned())).unwrap();
    let uri = format!("rabbitmq://{user}@127.0.0.1:1,127.0.0.1:{},{host}/{address}", gate.port);
    round_trip(&uri).await.unwrap();
    gate.open(false);
    round_trip(&uri).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn what_waits_for_a_broker_is_given_back_by_drain() {
    let (gate, address) = (Gate::new().await, address("drained"));
    let uri = gate.uri(&address, "");
    let connection = soon(registry().client(uri.as_str())).await.unwrap();
    let sender = soon(connection.sender()).await.unwrap();
    gate.open(false);
    told(&connection, |event| matches!(event, Event::Disconnected { .. })).await;
    let ticket = sender.try_send(Datagram::new("kept")).unwrap();
    let drained = soon(connection.drain(std::time::Duration::from_millis(300))).await.unwrap();
    let mut ticket = ticket;
    let mut failed = soon(ticket.receipts()).await.into_failed();
    failed.extend(drained.unsent);
    assert!(failed.iter().all(|error| error.datagram() == &Datagram::new("kept")));
    assert!(!failed.is_empty() && failed.iter().all(|error| error.fate() == Fate::NotSent));
    gate.open(true);
    remove(&super::uri(&address, "")).await;
}
