//! What the tests share: where the broker is, names of their own, what holds for each error, and the raw client.

use std::time::Duration;

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ConnectionProperties};
use seam_core::{Connection, Datagram, Delivery, Error, Event, Receiver, Registry};
use seam_rabbitmq::RabbitMq;
use tokio::time::timeout;

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: start cargo by `integration-tests/brokers run rabbitmq --`")
    })
}

/// The authority of a variable that holds an AMQP URI: `user:password@host:port`.
pub(crate) fn authority(variable: &str) -> String {
    let uri = self::variable(variable);
    let (_, rest) = uri.split_once("://").unwrap();
    rest.split('/').next().unwrap().to_owned()
}

/// The broker, without TLS.
pub(crate) fn broker() -> String {
    authority("SEAM_TEST_RABBITMQ_URL")
}

/// Its host and port, without or with TLS.
pub(crate) fn host(variable: &str) -> String {
    authority(variable).rsplit('@').next().unwrap().to_owned()
}

/// The endpoint of this address at the broker; `more` is `name=value&..`.
pub(crate) fn uri(address: &str, more: &str) -> String {
    format!("rabbitmq://{}/{address}?connect_timeout=10s&{more}", broker())
        .trim_end_matches('&')
        .to_owned()
}

/// A file that a variable names, as a value in a URI.
pub(crate) fn file(variable: &str) -> String {
    escaped(&self::variable(variable))
}

/// A text as a value in a URI.
pub(crate) fn escaped(text: &str) -> String {
    let escape = |text: String, (one, by)| text.replace(one, by);
    [(':', "%3A"), ('/', "%2F"), ('@', "%40"), ('?', "%3F"), ('&', "%26")]
        .into_iter()
        .fold(text.to_owned(), escape)
}

/// The number that a delivery has for its payload.
pub(crate) fn number(delivery: &Delivery) -> usize {
    std::str::from_utf8(delivery.view().payload().unwrap()).unwrap().parse().unwrap()
}

pub(crate) fn registry() -> Registry {
    Registry::new().with(RabbitMq::new())
}

/// An address that no other test and no other run has.
pub(crate) fn address(name: &str) -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    format!("{name}-{:x}", now.as_nanos())
}

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// `future`, within [`PATIENCE`].
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it hangs")
}

pub(crate) async fn send(uri: &str, datagram: Datagram) {
    let sender = soon(registry().sender(uri)).await.unwrap();
    soon(sender.send(datagram)).await.unwrap();
}

pub(crate) async fn next(receiver: &mut Receiver) -> Delivery {
    soon(receiver.next()).await.unwrap().expect("it goes on")
}

pub(crate) async fn remove(uri: &str) {
    soon(registry().remove(uri)).await.unwrap();
}

/// Whether `connection` was never lost.
pub(crate) async fn stands(connection: &Connection) {
    while let Ok(event) = timeout(Duration::ZERO, connection.next_event()).await {
        assert!(!matches!(event, Some(Event::Disconnected { .. })), "{event:?}");
    }
}

/// Why `uri` does not open for senders: in one line, without a secret.
pub(crate) async fn refusal(uri: &str) -> Error {
    line(soon(registry().client(uri)).await.unwrap_err())
}

/// Holds the text of `error`, and of what led to it, against what each text has to be.
#[track_caller]
pub(crate) fn line(error: Error) -> Error {
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.len() < 400, "a novel: {text}");
    assert!(!text.contains("protocol error: AMQP"), "no word of what to do: {text}");
    assert!(!format!("{text}{error:?}").contains("hunter2"), "a secret: {text}");
    error
}

/// A channel of a foreign program, and what keeps it.
pub(crate) async fn raw() -> (lapin::Connection, Channel) {
    let uri = variable("SEAM_TEST_RABBITMQ_URL");
    let connecting = lapin::Connection::connect(&uri, ConnectionProperties::default());
    let connection = soon(connecting).await.unwrap();
    let channel = soon(connection.create_channel()).await.unwrap();
    (connection, channel)
}

pub(crate) fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}

pub(crate) fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// A durable queue that a foreign program made.
pub(crate) async fn declare(channel: &Channel, queue: &str, arguments: &[(&str, AMQPValue)]) {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    soon(channel.queue_declare(queue.into(), options, table(arguments))).await.unwrap();
}

/// How many messages wait to be delivered.
pub(crate) async fn waiting(channel: &Channel, queue: &str) -> u32 {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
    soon(declared).await.unwrap().message_count()
}

pub(crate) async fn delete(channel: &Channel, queue: &str) {
    soon(channel.queue_delete(queue.into(), QueueDeleteOptions::default())).await.unwrap();
}

/// Whether there is a queue of this name.
pub(crate) async fn exists(queue: &str) -> bool {
    let (_connection, channel) = raw().await;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    soon(channel.queue_declare(queue.into(), options, FieldTable::default())).await.is_ok()
}

/// What `rabbitmqctl` prints.
pub(crate) async fn ctl(arguments: &[&str]) -> String {
    let (brokers, arguments) = (variable("SEAM_TEST_BROKERS"), arguments.to_vec());
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let running = tokio::task::spawn_blocking(move || {
        let mut command = std::process::Command::new(brokers);
        command.args(["ctl", "rabbitmq"]).args(arguments).output().unwrap()
    });
    let output = soon(running).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
