//! What an endpoint needs on the broker: declared where it is absent, and compared where it is there.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ErrorKind};
use seam_core::{Error, Result};
use tokio::time::{sleep, timeout};

use crate::config::{Config, Group};
use crate::failure::{self, Difference};
use crate::line::{Native, PATIENCE};

/// What an endpoint needs.
pub(crate) struct Topology {
    pub(crate) config: Arc<Config>,
    /// The endpoint, without secrets.
    name: String,
    /// Part of the name of a private queue, so that no two connections meet.
    instance: String,
}

impl Topology {
    pub(crate) fn new(config: Arc<Config>, name: String) -> Arc<Self> {
        use std::hash::{BuildHasher, Hasher, RandomState};
        let instance = format!("{:016x}", RandomState::new().build_hasher().finish());
        Arc::new(Self { config, name, instance })
    }

    /// Declares or finds what senders need: an exchange, or the queue itself.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`], [`Error::NotFound`], [`Error::Denied`], and those of the connection.
    pub(crate) async fn for_sending(&self, native: &Native) -> Result<()> {
        match &self.config.exchange {
            Some((exchange, kind)) => self.ensure_exchange(native, exchange, kind).await,
            None => self.for_receiving(native).await.map(drop),
        }
    }

    /// Declares or finds what receivers need, the queue that they share, and gives its name.
    ///
    /// # Errors
    ///
    /// As [`Topology::for_sending`].
    pub(crate) async fn for_receiving(&self, native: &Native) -> Result<ShortString> {
        let queue = self.queue(native);
        let is_private = matches!(self.config.group, Group::Private(_));
        let options = QueueDeclareOptions {
            durable: !is_private,
            exclusive: is_private,
            ..QueueDeclareOptions::default()
        };
        if let Some((exchange, kind)) = &self.config.exchange {
            self.ensure_exchange(native, exchange, kind).await?;
        }
        let arguments = if is_private { FieldTable::default() } else { self.arguments() };
        self.ensure_queue(native, &queue, options, arguments).await?;
        if let Some((exchange, _)) = self.bound_to() {
            self.bind(native, &queue, exchange).await?;
        }
        Ok(queue)
    }

    /// The exchange that the queue of receivers is bound to, where that is ours to do.
    pub(crate) fn bound_to(&self) -> Option<&(ShortString, lapin::ExchangeKind)> {
        let is_private = matches!(self.config.group, Group::Private(_));
        self.config.exchange.as_ref().filter(|_| self.config.declare || is_private)
    }

    /// Binds the queue of receivers once more, which costs nothing where it is bound; and declares the exchange where that
    /// is gone.
    ///
    /// # Errors
    ///
    /// As [`Topology::for_sending`].
    pub(crate) async fn bind_again(&self, native: &Native) -> Result<()> {
        let Some((exchange, kind)) = self.bound_to() else { return Ok(()) };
        let queue = self.queue(native);
        match self.bind(native, &queue, exchange).await {
            Err(Error::NotFound { .. }) => {
                self.ensure_exchange(native, exchange, kind).await?;
                self.bind(native, &queue, exchange).await
            }
            bound => bound,
        }
    }

    /// The queue of receivers on this connection.
    fn queue(&self, native: &Native) -> ShortString {
        match &self.config.group {
            Group::Queue(name) => name.clone(),
            Group::Private(stem) => format!("{stem}-{}-{}", self.instance, native.number).into(),
        }
    }

    fn arguments(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        let kind = if self.config.is_quorum { "quorum" } else { "classic" };
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        if self.config.keeps_order {
            arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        }
        if self.config.is_quorum {
            // From 4.0 on RabbitMQ drops what was delivered twenty times, unless told otherwise.
            arguments.insert(DELIVERY_LIMIT.into(), AMQPValue::LongInt(i32::MAX));
        }
        arguments
    }

    async fn ensure_exchange(
        &self,
        native: &Native,
        exchange: &ShortString,
        kind: &lapin::ExchangeKind,
    ) -> Result<()> {
        let declare = |channel: Channel, passive| async move {
            let options = ExchangeDeclareOptions { passive, durable: true, ..Default::default() };
            channel
                .exchange_declare(exchange.clone(), kind.clone(), options, FieldTable::default())
                .await
        };
        let mut is_denied = false;
        if self.config.declare {
            match self.ask(native, |channel| declare(channel, false)).await? {
                Ok(()) => return Ok(()),
                Err(error) if is_refused(&error) => is_denied = true,
                Err(error) => return Err(self.failure(&error)),
            }
        }
        let found = self.ask(native, |channel| declare(channel, true)).await?;
        found.map_err(|error| self.absent(is_denied, &error))
    }

    /// Declares a queue, or finds one that differs in nothing that counts here.
    async fn ensure_queue(
        &self,
        native: &Native,
        queue: &ShortString,
        options: QueueDeclareOptions,
        mut arguments: FieldTable,
    ) -> Result<()> {
        let declare = |options: QueueDeclareOptions, arguments: FieldTable| {
            move |channel: Channel| async move {
                channel.queue_declare(queue.clone(), options, arguments).await
            }
        };
        let mut is_denied = false;
        for _ in 0..MOST_DIFFERENCES {
            if !self.config.declare && !options.exclusive {
                break;
            }
            let asked = self.ask(native, declare(options, arguments.clone())).await?;
            let Err(error) = asked else { return Ok(()) };
            if is_refused(&error) {
                is_denied = true;
                break;
            }
            let Some(difference) = difference(&error) else { return Err(self.failure(&error)) };
            arguments = adapted(&arguments, &difference).ok_or_else(|| difference.error())?;
        }
        let options = QueueDeclareOptions { passive: true, ..options };
        let found = self.ask(native, declare(options, FieldTable::default())).await?;
        found.map(drop).map_err(|error| self.absent(is_denied, &error))
    }

    /// Why something was not found that was looked for: what counts is that it could not be made.
    fn absent(&self, is_denied: bool, error: &lapin::Error) -> Error {
        match self.failure(error) {
            Error::NotFound { what, .. } if is_denied => Error::Denied {
                endpoint: self.name.clone(),
                reason: format!(
                    "{what} does not exist, and the user may not configure it; see `rabbitmqctl set_permissions`"
                ),
            },
            other => other,
        }
    }

    async fn bind(
        &self,
        native: &Native,
        queue: &ShortString,
        exchange: &ShortString,
    ) -> Result<()> {
        let bound = self.ask(native, |channel| async move {
            let (options, none) = (QueueBindOptions::default(), FieldTable::default());
            let key = self.config.address.clone();
            channel.queue_bind(queue.clone(), exchange.clone(), key, options, none).await
        });
        bound.await?.map_err(|error| self.failure(&error))
    }

    /// Declares the queue in which a datagram waits for `step` before it comes back to `queue`.
    ///
    /// # Errors
    ///
    /// As [`Topology::for_sending`].
    pub(crate) async fn ensure_step(
        &self,
        native: &Native,
        queue: &ShortString,
        step: Duration,
    ) -> Result<()> {
        let is_private = matches!(self.config.group, Group::Private(_));
        let options = QueueDeclareOptions {
            durable: !is_private,
            exclusive: is_private,
            ..QueueDeclareOptions::default()
        };
        let millis = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut arguments = FieldTable::default();
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(millis));
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        arguments.insert("x-dead-letter-routing-key".into(), text(queue.as_str()));
        // What waits for a private queue goes with the connection, as that does.
        if !is_private {
            arguments.insert("x-queue-type".into(), text("quorum"));
            // So that what waits is not lost on its way back either.
            arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
            arguments.insert("x-overflow".into(), text("reject-publish"));
        }
        self.ensure_queue(native, &step_queue(queue, step), options, arguments).await
    }

    /// Deletes the queues that are declared. An exchange stays, since others may publish to it.
    ///
    /// # Errors
    ///
    /// Those of the connection, and [`Error::Denied`].
    pub(crate) async fn remove(&self, native: &Native) -> Result<()> {
        let Group::Queue(queue) = &self.config.group else { return Ok(()) };
        let mut names = Vec::new();
        for step in STEPS {
            let name = step_queue(queue, step);
            if self.is_there(native, &name).await? {
                names.push(name);
            }
        }
        if !names.is_empty() {
            sleep(SETTLING).await;
        }
        names.push(queue.clone());
        for name in names {
            let deleted = self.ask(native, |channel| async move {
                channel.queue_delete(name, QueueDeleteOptions::default()).await
            });
            match deleted.await?.map_err(|error| self.failure(&error)) {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn is_there(&self, native: &Native, queue: &ShortString) -> Result<bool> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let found = self.ask(native, |channel| async move {
            channel.queue_declare(queue.clone(), options, FieldTable::default()).await
        });
        match found.await?.map_err(|error| self.failure(&error)) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks the broker on a channel that is thrown away, since a refusal ends it.
    async fn ask<T, F: Future<Output = lapin::Result<T>>>(
        &self,
        native: &Native,
        question: impl FnOnce(Channel) -> F,
    ) -> Result<lapin::Result<T>> {
        let channel = native.channel().await?;
        let answer = timeout(PATIENCE, question(channel.clone())).await;
        let answer = answer.map_err(|_| failure::silent(&self.name, "a declaration"))?;
        if answer.is_ok() {
            // It is of no more use, whatever comes back.
            drop(timeout(PATIENCE, channel.close(200, "OK".into())).await);
        }
        Ok(answer)
    }

    fn failure(&self, error: &lapin::Error) -> Error {
        failure::error(&self.name, error)
    }
}

/// The steps of a delay: each has a queue of its own, made when it is first needed.
pub(crate) const STEPS: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(60 * 60),
];

/// The name of the queue of a step.
pub(crate) fn step_queue(queue: &ShortString, step: Duration) -> ShortString {
    let seconds = step.as_secs();
    let span = match seconds {
        3600.. => format!("{}h", seconds / 3600),
        60.. => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    };
    format!("{queue}.delay.{span}").into()
}

/// How long the queue of a step is left alone before it is deleted.
///
/// One that is deleted before its worker for dead letters has begun crashes that worker. RabbitMQ 3.10 bears one such crash
/// in five seconds; at the next it forwards no dead letters any more, of no queue, until it is started again.
const SETTLING: Duration = Duration::from_secs(1);

const DELIVERY_LIMIT: &str = "x-delivery-limit";

/// How often a declaration is tried that differs from what is there in arguments that do not count here.
const MOST_DIFFERENCES: usize = 24;

/// What counts: a queue that differs in one of these is not the one that is asked for.
const COUNTS: [&str; 7] = [
    "x-queue-type",
    "x-single-active-consumer",
    "durable",
    "exclusive",
    "auto_delete",
    "x-message-ttl",
    "x-dead-letter-routing-key",
];

fn difference(error: &lapin::Error) -> Option<Difference> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Difference::read(error.get_message().as_str()),
        _ => None,
    }
}

fn is_refused(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
        }
        _ => false,
    }
}

/// The arguments of a queue that is there, as far as they are known; `None` where the difference counts.
fn adapted(arguments: &FieldTable, difference: &Difference) -> Option<FieldTable> {
    if COUNTS.contains(&&*difference.argument) && arguments.contains_key(&difference.argument)
        || COUNTS[..5].contains(&&*difference.argument)
    {
        return None;
    }
    let kept = arguments.inner().iter().filter(|(name, _)| name.as_str() != difference.argument);
    let mut adapted = FieldTable::default();
    for (name, value) in kept {
        adapted.insert(name.clone(), value.clone());
    }
    let found = &difference.found;
    let value = match difference.found_type.as_deref() {
        None => None,
        Some("longstr") => Some(AMQPValue::LongString(found.as_str().into())),
        Some("bool") => Some(AMQPValue::Boolean(found == "true")),
        Some(_) => Some(AMQPValue::LongLongInt(found.parse().ok()?)),
    };
    if let Some(value) = value {
        adapted.insert(ShortString::try_new(difference.argument.as_str()).ok()?, value);
    }
    Some(adapted)
}

#[cfg(test)]
mod tests;
