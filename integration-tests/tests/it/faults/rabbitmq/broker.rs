//! A real broker that is killed, frozen, set otherwise and asked; and a foreign client on it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ConnectionProperties};

use super::super::own::{Own, Place};

static ALL: Place = Place::const_new(None);

/// Whether a setting may not be as the broker begins with.
static IS_SET: AtomicBool = AtomicBool::new(false);

/// The broker, for as long as this test has it.
pub(crate) struct Broker {
    own: Own,
    /// Somebody else's client.
    pub(super) foreign: Foreign,
}

impl Broker {
    /// The broker, up, with the settings that it begins with.
    ///
    /// # Panics
    ///
    /// Where the tests were not started by `integration-tests/brokers`, or the broker does not come up.
    pub(crate) async fn own() -> Self {
        let own = Own::of(&ALL, NAME).await;
        if IS_SET.load(Ordering::SeqCst) {
            own.command(&["restart", NAME]).await;
            IS_SET.store(false, Ordering::SeqCst);
        }
        let foreign = Foreign(own.variable("SEAM_TEST_RABBITMQ_URL").to_owned());
        Self { own, foreign }
    }

    /// `user:password@host:port`.
    pub(super) fn authority(&self) -> &str {
        authority(self.own.variable("SEAM_TEST_RABBITMQ_URL"))
    }

    /// The same over TLS.
    pub(super) fn tls_authority(&self) -> &str {
        authority(self.own.variable("SEAM_TEST_RABBITMQ_TLS_URL"))
    }

    pub(super) fn address(&self) -> SocketAddr {
        let (_, address) = self.authority().split_once('@').unwrap();
        address.parse().unwrap()
    }

    /// What a variable says of it: files for TLS.
    pub(super) fn variable(&self, name: &str) -> &str {
        self.own.variable(name)
    }

    /// The URI of a queue, or of what lies behind it, on it.
    pub(crate) fn uri(&self, path: &str) -> String {
        format!("rabbitmq://{}/{path}", self.authority())
    }

    /// Ends it by SIGKILL.
    pub(super) async fn kill(&self) {
        self.own.command(&["kill", NAME]).await;
    }

    /// Brings it back, and waits until it is ready.
    pub(super) async fn up(&self) {
        self.own.command(&["up", NAME]).await;
    }

    /// Stops it where it stands: it accepts connections and answers nothing.
    pub(super) async fn freeze(&self) {
        self.own.command(&["pause", NAME]).await;
    }

    pub(super) async fn thaw(&self) {
        self.own.command(&["resume", NAME]).await;
    }

    /// Stops it gracefully and starts it again.
    pub(crate) async fn restart(&self) {
        self.own.command(&["restart", NAME]).await;
    }

    /// Changes a setting, until the next test.
    pub(super) async fn set(&self, arguments: &[&str]) {
        IS_SET.store(true, Ordering::SeqCst);
        self.control(arguments).await;
    }

    /// What `rabbitmqctl` says to `arguments`.
    pub(super) async fn control(&self, arguments: &[&str]) -> String {
        let all: Vec<_> = ["ctl", NAME].into_iter().chain(arguments.iter().copied()).collect();
        self.own.command(&all).await
    }

    /// Has it write down at once which queues there are: what was declared within the last second does not come back
    /// after SIGKILL, and neither does what lies in it.
    pub(super) async fn persist(&self) {
        self.control(&["eval", "[ok = dets:sync(Table) || Table <- dets:all()]."]).await;
    }
}

/// What another program on the broker sees and does.
#[derive(Clone)]
pub(super) struct Foreign(String);

impl Foreign {
    /// A channel on a connection of its own.
    pub(super) async fn channel(&self) -> Channel {
        let properties = ConnectionProperties::default();
        let connection = lapin::Connection::connect(&self.0, properties).await.unwrap();
        connection.create_channel().await.unwrap()
    }

    /// How many messages of `queue` wait to be delivered.
    pub(super) async fn ready(&self, queue: &str) -> u64 {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let channel = self.channel().await;
        let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
        declared.await.unwrap().message_count().into()
    }

    pub(super) async fn declare_quorum(&self, queue: &str) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let channel = self.channel().await;
        channel.queue_declare(queue.into(), options, arguments).await.unwrap();
    }

    pub(super) async fn delete_exchange(&self, exchange: &str) {
        let options = ExchangeDeleteOptions::default();
        self.channel().await.exchange_delete(exchange.into(), options).await.unwrap();
    }

    pub(super) async fn delete(&self, queue: &str) {
        let options = QueueDeleteOptions::default();
        self.channel().await.queue_delete(queue.into(), options).await.unwrap();
    }
}

/// `user:password@host:port` of a URI.
fn authority(uri: &str) -> &str {
    let (_, rest) = uri.split_once("://").unwrap();
    rest.split('/').next().unwrap()
}

const NAME: &str = "rabbitmq";
