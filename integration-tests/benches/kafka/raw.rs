//! librdkafka by itself, through rdkafka, as fast as it goes.

use std::error::Error;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{
    BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer, ProducerContext,
};

use crate::job::Job;
use crate::paired::{Meter, Outcome};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What librdkafka waits by default for a batch to fill, in milliseconds.
pub(crate) const LINGER: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(60);
const IN_FLIGHT: usize = 10_000;

#[derive(Default)]
struct Count(AtomicUsize);

impl ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        assert!(result.is_ok(), "a message failed");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn config(job: &Job) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &job.servers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", LINGER.to_string())
        .set("log_level", "0");
    config
}

pub(crate) fn produce(job: &Job) -> Result<Outcome> {
    let producer: BaseProducer<Count> = config(job).create_with_context(Count::default())?;
    let payload = vec![7; job.size];
    send(&producer, &job.topic, &payload);
    producer.flush(PATIENCE)?;
    let meter = Meter::start();
    for number in 0..job.messages {
        send(&producer, &job.topic, black_box(&payload));
        if number % 500 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    while producer.context().0.load(Ordering::Relaxed) <= job.messages {
        producer.poll(Duration::from_millis(10));
    }
    Ok(meter.stop())
}

fn send(producer: &BaseProducer<Count>, topic: &str, payload: &[u8]) {
    let mut record = BaseRecord::<(), [u8]>::to(topic).payload(payload);
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((error, back)) => {
                assert_eq!(error.rdkafka_error_code(), Some(Code::QueueFull));
                producer.poll(Duration::from_millis(1));
                record = back;
            }
        }
    }
}

pub(crate) async fn produce_by_futures(job: &Job) -> Result<Outcome> {
    let producer: FutureProducer = config(job).create()?;
    let payload = vec![7; job.size];
    let send = |payload| {
        let record = FutureRecord::<(), [u8]>::to(&job.topic).payload(payload);
        producer.send(record, PATIENCE)
    };
    send(&payload).await.map_err(|(error, _)| error)?;
    let meter = Meter::start();
    let mut open = FuturesUnordered::new();
    for _ in 0..job.messages {
        open.push(send(black_box(&payload)));
        if open.len() >= IN_FLIGHT
            && let Some(report) = open.next().await
        {
            report.map_err(|(error, _)| error)?;
        }
    }
    while let Some(report) = open.next().await {
        report.map_err(|(error, _)| error)?;
    }
    Ok(meter.stop())
}

pub(crate) fn consume(job: &Job) -> Result<Outcome> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &job.servers)
        .set("group.id", &job.group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.offset.store", "false")
        .set("partition.assignment.strategy", "cooperative-sticky");
    let consumer: BaseConsumer<DefaultConsumerContext> = config.create()?;
    consumer.subscribe(&[&job.topic])?;
    let (mut meter, mut count) = (None, 0);
    while count < job.messages {
        // It also comes back for what is no message.
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        meter.get_or_insert_with(Meter::start);
        assert_eq!(message.payload().map(<[u8]>::len), Some(job.size));
        consumer.store_offset_from_message(&message)?;
        count += 1;
    }
    consumer.commit_consumer_state(rdkafka::consumer::CommitMode::Sync)?;
    Ok(meter.expect("something came").stop())
}
