//! What ends up in a log: names by OpenTelemetry's conventions, and never a payload, a value or a secret.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seam_core::{Datagram, Memory, Registry, VirtualClock};
use tracing_subscriber::fmt::MakeWriter;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Everything that a busy and failing program logs at the finest level.
fn everything_logged() -> String {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let clock = VirtualClock::new();
    let registry = Registry::new().with(Memory::new()).with_clock(clock.clone());
    tracing::subscriber::with_default(subscriber, || clock.block_on(work(&registry)));
    log.text()
}

async fn work(registry: &Registry) {
    let secret = || {
        Datagram::new("hunter2")
            .with_key("hunter2")
            .with_kind("order")
            .with_header("authorization", "hunter2")
    };
    let uri = "memory://orders?dead_letter=memory%3A%2F%2Fparked%3Fsend_timeout%3D1s";
    let server = registry.server(uri).await.unwrap();
    let client = registry.client("memory://orders?send_timeout=1s").await.unwrap();
    assert!(client.sender().await.unwrap().send(secret()).await.is_err());
    let mut receiver = server.receiver().await.unwrap();
    let mut sender = client.sender().await.unwrap();
    sender.send(secret()).await.unwrap();
    drop(receiver.next().await.unwrap());
    receiver.next().await.unwrap().unwrap().dead_letter("not readable").unwrap();
    // Nobody receives what is parked: the letter fails, and the delivery comes again.
    let again = receiver.next().await.unwrap().unwrap();
    again.ack().unwrap();
    sender.feed(secret()).await.unwrap();
    drop(sender);
    let asking = client.request(secret(), Duration::from_secs(1));
    assert!(asking.await.is_err());
    drop(server.drain(Duration::from_secs(1)).await.unwrap());
    drop(client.drain(Duration::from_secs(1)).await.unwrap());
}

#[test]
fn no_log_line_holds_a_payload_a_value_or_a_secret() {
    let log = everything_logged();
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn the_log_speaks_by_the_conventions() {
    let log = everything_logged();
    for field in [
        "messaging.system=\"memory\"",
        "messaging.destination.name=\"orders\"",
        "messaging.operation.name=\"send\"",
        "messaging.operation.name=\"receive\"",
        "messaging.operation.type=\"settle\"",
        "messaging.batch.message_count=1",
    ] {
        assert!(log.contains(field), "{field} is missing in\n{log}");
    }
}
