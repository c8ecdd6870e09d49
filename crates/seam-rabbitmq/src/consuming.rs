//! The task of a receiver: it has the channel, takes in what comes and tells the broker what was settled.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use seam_broker::pause;
use seam_core::{Error, Note, Result, Timestamp};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::delays::SHORTEST;
use crate::desk::Desk;
use crate::failure;
use crate::inbox::{Due, Item, Original, Writes};
use crate::line::{GOODBYE, Line, Native, PATIENCE};
use crate::mapping;
use crate::prefetch::{Change, Prefetch};

/// Serves `desk` until it has ended, or its receiver is gone and nothing of it is open.
pub(crate) async fn serve(desk: Arc<Desk>, line: Arc<Line>, stop: CancellationToken) {
    let (mut failures, mut prefetch) = (0, Prefetch::new(&desk.parts.topology.config));
    let serving = async {
        while let Some(native) = line.up().await {
            let began = Instant::now();
            let error = match Consuming::begin(&desk, &native, &mut prefetch).await {
                Ok(mut consuming) => {
                    let ended = tokio::select! {
                        ended = consuming.run() => ended,
                        never = keep_bound(&desk, &native) => match never {},
                    };
                    let Some(error) = ended else { return };
                    error
                }
                Err(error) => error,
            };
            desk.lose(&error, native.is_up());
            if desk.wants().0 {
                return;
            }
            line.suspect();
            failures = if began.elapsed() > PATIENCE { 1 } else { failures + 1 };
            sleep(pause(failures)).await;
        }
    };
    tokio::select! {
        () = serving => {}
        () = stop.cancelled() => {}
    }
    desk.end();
}

/// Has the queue bound, whoever takes its binding away: with an exchange that is deleted go all bindings to it, and no
/// consumer notices.
async fn keep_bound(desk: &Desk, native: &Native) -> Infallible {
    let topology = &desk.parts.topology;
    if topology.bound_to().is_none() {
        return std::future::pending().await;
    }
    loop {
        sleep(LOOK).await;
        // What fails now is tried again; until then whoever sends is told.
        drop(topology.bind_again(native).await);
    }
}

/// A channel of a receiver.
struct Consuming<'a> {
    desk: &'a Arc<Desk>,
    native: &'a Native,
    prefetch: &'a mut Prefetch,
    channel: Channel,
    queue: ShortString,
    /// Absent while nothing more is wanted.
    consumer: Option<Consumer>,
    /// Which consumer of this channel it is, for its tag.
    consumers: u32,
    /// Which channel of the receiver.
    number: u64,
    /// How the consumer ended, if that was found while more was taken in.
    end: Option<Option<lapin::Error>>,
}

impl<'a> Consuming<'a> {
    async fn begin(
        desk: &'a Arc<Desk>,
        native: &'a Native,
        prefetch: &'a mut Prefetch,
    ) -> Result<Self> {
        let queue = desk.parts.topology.for_receiving(native).await?;
        let channel = native.channel().await?;
        prefetch.begin();
        let (consumer, consumers, number, end) = (None, 0, 0, None);
        let mut consuming =
            Self { desk, native, prefetch, channel, queue, consumer, consumers, number, end };
        consuming.consume().await?;
        consuming.number = desk.begin();
        Ok(consuming)
    }

    /// Receives and settles until the channel ends, and says why; `None` once the receiver needs it no more.
    async fn run(&mut self) -> Option<Error> {
        loop {
            if let Err(error) = self.step().await {
                return Some(error);
            }
            if (self.consumer.is_none() || self.keeps_order()) && self.desk.is_over() {
                self.desk.told.notify_waiters();
                // The broker has all it needs, whatever comes back.
                drop(timeout(GOODBYE, self.channel.close(200, "OK".into())).await);
                return None;
            }
        }
    }

    /// Waits for what comes next, and sees to it.
    async fn step(&mut self) -> Result<()> {
        if let Some(end) = self.end.take() {
            return Err(end.map_or_else(|| self.cancelled(), |error| self.failure(&error)));
        }
        let due = self.desk.look();
        tokio::select! {
            biased;
            came = next(&mut self.consumer) => match came {
                Some(Ok(delivery)) => self.take_in(delivery).await?,
                Some(Err(error)) => return Err(self.failure(&error)),
                // By the broker: the queue is gone, or its node.
                None => return Err(self.cancelled()),
            },
            () = self.native.ended.cancelled() => {
                return Err(Error::disconnected(&*self.desk.parts.name, "the connection ended"));
            }
            () = self.desk.work.notified() => {}
            () = until(due) => {}
        }
        self.write_due().await?;
        let (is_quiet, held) = self.desk.wants();
        // To cancel would hand the queue to somebody else before all is back in its place.
        if is_quiet && self.consumer.is_some() && !self.keeps_order() {
            self.cancel().await?;
            self.desk.give_back();
            self.write_due().await?;
        } else if !is_quiet && self.consumer.is_none() && self.prefetch.is_room(held) {
            self.consume().await?;
        }
        Ok(())
    }

    fn keeps_order(&self) -> bool {
        self.desk.parts.topology.config.keeps_order
    }

    /// Has the broker send what comes, up to what fits.
    async fn consume(&mut self) -> Result<()> {
        self.consumers += 1;
        let tag: ShortString = format!("seam-{}", self.consumers).into();
        let consuming = async {
            let most = self.prefetch.next();
            self.desk.fetches(most);
            self.channel.basic_qos(most, BasicQosOptions::default()).await?;
            let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
            self.channel.basic_consume(self.queue.clone(), tag, options, none).await
        };
        let consumer = timeout(PATIENCE, consuming).await;
        let name = &self.desk.parts.name;
        let consumer = consumer.map_err(|_| failure::silent(name, "a new consumer"))?;
        self.consumer = Some(consumer.map_err(|error| self.failure(&error))?);
        Ok(())
    }

    /// Has the broker send nothing more, and takes in what is on its way.
    async fn cancel(&mut self) -> Result<()> {
        let Some(consumer) = &self.consumer else { return Ok(()) };
        let cancelled = self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        let cancelled = timeout(PATIENCE, cancelled).await;
        cancelled
            .map_err(|_| failure::silent(&self.desk.parts.name, "the end of a consumer"))?
            .map_err(|error| self.failure(&error))?;
        while let Some(delivery) = self.came() {
            let came = self.read(delivery);
            self.desk.take_in(std::iter::once(came));
        }
        // That it ended is what was asked for.
        (self.consumer, self.end) = (None, None);
        Ok(())
    }

    /// Takes what came, and whatever came with it.
    async fn take_in(&mut self, first: Delivery) -> Result<()> {
        let mut came = vec![self.read(first)];
        while came.len() < TOGETHER
            && let Some(next) = self.came()
        {
            came.push(self.read(next));
        }
        let held = self.desk.take_in(came.into_iter());
        match self.prefetch.judge(held) {
            Change::None => Ok(()),
            Change::Pause => self.cancel().await,
            Change::Widen => {
                self.cancel().await?;
                self.consume().await
            }
        }
    }

    /// What has come already.
    fn came(&mut self) -> Option<Delivery> {
        let consumer = self.consumer.as_mut().filter(|_| self.end.is_none())?;
        match consumer.next().now_or_never()? {
            Some(Ok(delivery)) => return Some(delivery),
            Some(Err(error)) => self.end = Some(Some(error)),
            None => self.end = Some(None),
        }
        None
    }

    fn read(&mut self, delivery: Delivery) -> (Item, Original, Option<Due>) {
        let Delivery { delivery_tag: tag, redelivered, data, properties, .. } = delivery;
        let (exchange, routing_key) = (delivery.exchange.as_str(), delivery.routing_key.as_str());
        let body = Bytes::from(data);
        let received = mapping::decode(&properties, body.clone(), exchange, routing_key);
        let counted = received.delivery_count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let attempts = received.attempts.saturating_add(counted.unwrap_or(u32::from(redelivered)));
        let possible_duplicate = redelivered || attempts > 0;
        let has_natives = !received.natives.is_empty();
        let note = (possible_duplicate || has_natives).then(|| {
            let mut note = Note::attempt(attempts.saturating_add(1));
            note.possible_duplicate = possible_duplicate;
            note.native = received.natives;
            note
        });
        let datagram = received.datagram;
        let due = datagram.envelope().deliver_at.and_then(|at| self.due(at));
        let size = datagram.view().size().max(1);
        let due = match (due, self.prefetch.saw(size, attempts)) {
            (None | Some(Due::Here(_)), true) => Some(Due::Behind),
            (due, _) => due,
        };
        let is_bare = properties.headers().is_none() && datagram.view().is_plain() && !has_natives;
        let properties = (!is_bare).then(|| Box::new(properties));
        (Item { tag, datagram, note, attempts, size }, Original { properties, body }, due)
    }

    /// What a datagram is to wait for before `at`: the last part of it here.
    fn due(&self, at: Timestamp) -> Option<Due> {
        let clock = &self.desk.parts.clock;
        match at.saturating_since(clock.wall()) {
            Duration::ZERO => None,
            left if left < SHORTEST => Some(Due::Here(clock.now().saturating_add(left))),
            left => Some(Due::Later(left)),
        }
    }

    /// Tells the broker what was settled, where that is due.
    async fn write_due(&self) -> Result<()> {
        let Some(mut writes) = self.desk.take_writes() else { return Ok(()) };
        for delay in std::mem::take(&mut writes.delays) {
            self.desk.parts.delays.add(self.desk, self.number, &self.queue, delay);
        }
        let written = self.write(&writes).await;
        self.desk.written();
        written.map_err(|error| self.failure(&error))
    }

    async fn write(&self, writes: &Writes) -> lapin::Result<()> {
        let requeues = writes.requeues.iter().map(|tag| {
            let options = BasicNackOptions { multiple: false, requeue: true };
            self.channel.basic_nack(*tag, options)
        });
        let acks = writes.acks.iter().map(|(tag, multiple)| {
            self.channel.basic_ack(*tag, BasicAckOptions { multiple: *multiple })
        });
        // In this order: an acknowledgement with all below it must find only what is settled.
        for written in join_all(requeues).await {
            written?;
        }
        for written in join_all(acks).await {
            written?;
        }
        Ok(())
    }

    fn failure(&self, error: &lapin::Error) -> Error {
        failure::error(&self.desk.parts.name, error)
    }

    fn cancelled(&self) -> Error {
        let reason = "the broker cancelled the consumer: its queue was deleted, or moved";
        Error::disconnected(&*self.desk.parts.name, reason)
    }
}

/// The next delivery, while there is a consumer.
pub(crate) async fn next(consumer: &mut Option<Consumer>) -> Option<lapin::Result<Delivery>> {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}

/// Ready at that time, if there is one.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Deliveries that are taken in at once.
const TOGETHER: usize = 256;

/// How often to look after a binding.
const LOOK: Duration = Duration::from_secs(5);
