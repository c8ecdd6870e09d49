//! An actor that tells everything that can be told of endpoints: for a test that looks for what must not be.

use std::error::Error as _;
use std::fmt::Debug;
use std::time::Duration;

use seam_core::{Connection, Datagram, Error, Registry, Side};
use tokio::time::timeout;

/// How long an endpoint is tried.
const TRY: Duration = Duration::from_millis(1500);

/// Opens each of `uris` from either side and uses it, and hands to `say` the `Display` and the `Debug` of all that
/// it gets: endpoints, capabilities, connections, senders, receivers, events, counts, and errors down to their cause.
pub async fn confess(registry: &Registry, uris: &[String], say: impl Fn(String)) {
    for uri in uris {
        match registry.endpoint(uri.as_str()) {
            Ok(endpoint) => say(format!("{endpoint} {endpoint:#?}")),
            Err(error) => tell(&error, &say),
        }
        for side in [Side::Client, Side::Server] {
            told(registry.check(uri.as_str(), side), &say);
        }
        // Together, so that they find each other where both are here.
        tokio::join!(
            async {
                if let Some(client) = told(registry.client(uri.as_str()).await, &say) {
                    send(&client, &say).await;
                }
            },
            async {
                if let Some(server) = told(registry.server(uri.as_str()).await, &say) {
                    receive(&server, &say).await;
                }
            }
        );
        told(registry.remove(uri.as_str()).await, &say);
    }
}

async fn send(connection: &Connection, say: &impl Fn(String)) {
    if let Some(sender) = told(connection.sender().await, say) {
        match timeout(TRY, sender.send(Datagram::new("12 apples").with_key("k"))).await {
            Ok(Ok(receipt)) => say(format!("{receipt:?}")),
            Ok(Err(error)) => {
                say(format!("{error} {error:?}"));
                tell(error.error(), say);
            }
            Err(_) => say("no answer in time".to_owned()),
        }
    }
    end(connection, say).await;
}

async fn receive(connection: &Connection, say: &impl Fn(String)) {
    if let Some(mut receiver) = told(connection.receiver().await, say)
        && let Ok(next) = timeout(TRY, receiver.next()).await
        && let Some(Some(delivery)) = told(next, say)
        && let Err(error) = delivery.ack()
    {
        tell(error.error(), say);
    }
    end(connection, say).await;
}

/// Tells what happened on `connection`, and drains it.
async fn end(connection: &Connection, say: &impl Fn(String)) {
    say(format!("{connection:?} {:?} {:?}", connection.state(), connection.statistics()));
    told(connection.drain(Duration::from_millis(200)).await, say);
    while let Ok(Some(event)) = timeout(Duration::ZERO, connection.next_event()).await {
        say(format!("{event:?}"));
    }
}

fn told<T: Debug>(result: Result<T, Error>, say: &impl Fn(String)) -> Option<T> {
    match result {
        Ok(value) => {
            say(format!("{value:?}"));
            Some(value)
        }
        Err(error) => {
            tell(&error, say);
            None
        }
    }
}

fn tell(error: &Error, say: &impl Fn(String)) {
    say(format!("refused: {error} {error:#?}"));
    let mut cause = error.source();
    while let Some(error) = cause {
        say(format!("because {error} {error:?}"));
        cause = error.source();
    }
}
