//! What owns a publishing channel: one task, which publishes in order, pipelines the confirms, and decides what landed.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use seam_broker::pause;
use seam_core::{Datagram, Error, Result};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::consuming::next;
use crate::failure;
use crate::line::{Line, Native, PATIENCE};
use crate::mapping;
use crate::returns::{Judge, Landing};

/// What is to be published, as the client takes it.
pub(crate) struct Order {
    pub(crate) number: u64,
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) mandatory: bool,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Body,
}

/// What a message holds.
pub(crate) enum Body {
    Of(Datagram),
    Raw(bytes::Bytes),
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Of(datagram) => datagram.payload().unwrap_or_default(),
            Self::Raw(bytes) => bytes,
        }
    }
}

/// Where orders come from, and who learns what became of them.
#[async_trait]
pub(crate) trait Source: Send + Sync + 'static {
    /// Ready once a connection is wanted. By default at once.
    async fn begin(&self) {}

    /// Has everything there that orders need, on a connection that may be new.
    ///
    /// # Errors
    ///
    /// What keeps it from being there.
    async fn prepare(&self, native: &Native) -> Result<()>;

    /// Sees to what the next orders need beside it. By default nothing.
    async fn precede(&self, native: &Native) {
        let _ = native;
    }

    /// Has the channel do more than publish, before the first order.
    ///
    /// # Errors
    ///
    /// Those of the channel.
    async fn equip(&self, channel: &Channel) -> lapin::Result<Option<lapin::Consumer>> {
        let _ = channel;
        Ok(None)
    }

    /// The next orders, which count as given to the client from now on.
    fn take(&self) -> Vec<Order>;

    /// What became of orders, or did not.
    fn landed(&self, landed: Vec<(u64, Landing)>);

    /// Everything that was given to the client is lost.
    fn lost(&self, error: &Error);

    /// Everything that was not is refused.
    fn refused(&self, error: &Error);

    /// How long it waits at most for what becomes of an order, before it is asked for [`Source::overdue`]. By default as
    /// long as it takes.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Sees to orders of which nothing was heard for too long.
    fn overdue(&self) {}

    /// What came to the consumer of [`Source::equip`].
    fn came(&self, delivery: lapin::message::Delivery) {
        drop(delivery);
    }

    /// Rings when there may be more to take.
    fn work(&self) -> &Notify;
}

/// Publishes for `source` until `stop`, on one channel of `line` after the other.
pub(crate) async fn publish(
    source: Arc<dyn Source>,
    line: Arc<Line>,
    name: String,
    stop: CancellationToken,
) {
    let mut failures = 0;
    let closed = Error::Closed { endpoint: name.clone() };
    let running = async {
        source.begin().await;
        while let Some(native) = line.up().await {
            let began = tokio::time::Instant::now();
            match prepared(&*source, &native, &name).await {
                Ok((channel, consumer)) => {
                    let publishing = Publishing { source: &*source, native: &native, name: &name };
                    source.lost(&publishing.run(channel, consumer).await);
                }
                Err(error) => {
                    source.lost(&error);
                    if !error.is_retryable() {
                        source.refused(&error);
                    }
                }
            }
            line.suspect();
            failures = if began.elapsed() > PATIENCE { 1 } else { failures + 1 };
            sleep(pause(failures)).await;
        }
    };
    tokio::select! {
        () = running => {}
        () = stop.cancelled() => {}
    }
    source.lost(&closed);
    source.refused(&closed);
}

async fn prepared(
    source: &dyn Source,
    native: &Native,
    name: &str,
) -> Result<(Channel, Option<lapin::Consumer>)> {
    source.prepare(native).await?;
    let channel = native.channel().await?;
    let selecting = async {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        source.equip(&channel).await
    };
    let selected = timeout(PATIENCE, selecting).await;
    let consumer = selected.map_err(|_| failure::silent(name, "a channel with confirms"))?;
    Ok((channel, consumer.map_err(|error| failure::error(name, &error))?))
}

/// One channel.
struct Publishing<'a> {
    source: &'a dyn Source,
    native: &'a Native,
    name: &'a str,
}

impl Publishing<'_> {
    /// Publishes until the channel ends; why it did.
    async fn run(&self, channel: Channel, mut consumer: Option<lapin::Consumer>) -> Error {
        let channel = Arc::new(channel);
        let mut flights = FuturesUnordered::new();
        let (mut judge, glance) = (Judge::default(), Glance::default());
        let mut blocked = self.native.blocked.subscribe();
        loop {
            // What is taken after it ended would come back in doubt, for nothing.
            if flights.is_empty() && !(channel.status().connected() && self.native.is_up()) {
                return Error::disconnected(self.name, "the channel ended");
            }
            if !*blocked.borrow_and_update() {
                self.source.precede(self.native).await;
                flights.extend(
                    self.source.take().into_iter().map(|order| fly(channel.clone(), order)),
                );
            }
            let lost = tokio::select! {
                biased;
                Some((number, resolved)) = flights.next(), if !flights.is_empty() => {
                    let mut lost = resolved.as_ref().err().cloned();
                    judge.note(number, resolved);
                    // All that is resolved, for the judge.
                    while let Some((number, resolved)) = glance.next(&mut flights) {
                        lost = lost.or_else(|| resolved.as_ref().err().cloned());
                        judge.note(number, resolved);
                    }
                    self.source.landed(judge.decide(flights.is_empty()));
                    lost
                }
                came = next(&mut consumer) => match came {
                    Some(Ok(delivery)) => {
                        self.source.came(delivery);
                        None
                    }
                    Some(Err(error)) => Some(error),
                    None => return Error::disconnected(self.name, "the broker cancelled the replies"),
                },
                () = self.source.work().notified() => None,
                () = after(self.source.patience()), if !flights.is_empty() => {
                    self.source.overdue();
                    None
                }
                _ = blocked.changed() => None,
                () = self.native.ended.cancelled() => {
                    self.collect(flights, judge).await;
                    return Error::disconnected(self.name, "the connection ended");
                }
            };
            if let Some(error) = lost {
                self.collect(flights, judge).await;
                return failure::of_neighbours(self.name, &error);
            }
        }
    }

    /// What was resolved before the channel ended is known.
    async fn collect<F: Future<Output = (u64, lapin::Result<Confirmation>)>>(
        &self,
        mut flights: FuturesUnordered<F>,
        mut judge: Judge,
    ) {
        let resolving = async {
            while let Some((number, resolved)) = flights.next().await {
                judge.note(number, resolved);
            }
        };
        // What is not resolved now may never be.
        let all = timeout(LAST_CONFIRMS, resolving).await.is_ok();
        self.source.landed(judge.decide(all));
    }
}

/// Publishes one message, and waits for what the broker says of it. The first poll fixes its place in the channel.
async fn fly(channel: Arc<Channel>, order: Order) -> (u64, lapin::Result<Confirmation>) {
    let Order { number, exchange, routing_key, mandatory, properties, body } = order;
    let id = i64::try_from(number).unwrap_or(i64::MAX);
    let properties = mapping::with_publish_id(properties, id);
    let flying = async {
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        channel.basic_publish(exchange, routing_key, options, body.bytes(), properties).await?.await
    };
    (number, flying.await)
}

/// Ready after so long, if ever.
async fn after(patience: Option<Duration>) {
    match patience {
        Some(patience) => sleep(patience).await,
        None => std::future::pending().await,
    }
}

/// Takes what is ready, and does not wait.
///
/// A set of futures pauses now and then though more of them are ready, and has its waker woken to say so. Whoever took
/// that for the end would show the judge half of a round.
struct Glance {
    paused: Arc<Paused>,
    waker: Waker,
}

#[derive(Default)]
struct Paused(AtomicBool);

impl Wake for Paused {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Default for Glance {
    fn default() -> Self {
        let paused = Arc::new(Paused::default());
        Self { waker: paused.clone().into(), paused }
    }
}

impl Glance {
    fn next<S: Stream + Unpin>(&self, stream: &mut S) -> Option<S::Item> {
        loop {
            match stream.poll_next_unpin(&mut Context::from_waker(&self.waker)) {
                Poll::Ready(next) => return next,
                Poll::Pending if self.paused.0.swap(false, Ordering::SeqCst) => {}
                Poll::Pending => return None,
            }
        }
    }
}

/// How long the last confirms of a channel that ended are waited for.
const LAST_CONFIRMS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_pause_is_not_the_end() {
        let mut set = FuturesUnordered::new();
        for number in 0..40_u32 {
            // Each yields twice, which a set answers with a pause.
            let yields = async move {
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                number
            };
            set.push(yields.boxed());
        }
        let glance = Glance::default();
        let mut found: Vec<_> = std::iter::from_fn(|| glance.next(&mut set)).collect();
        found.sort_unstable();
        assert_eq!(found, (0..40).collect::<Vec<_>>());
        set.push(std::future::pending().boxed());
        assert_eq!(glance.next(&mut set), None);
    }
}
