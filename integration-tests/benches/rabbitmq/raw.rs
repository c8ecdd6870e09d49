//! lapin by itself, as its documentation has it, and as fast as it goes.

use std::collections::VecDeque;
use std::hint::black_box;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm,
    Result,
};

use crate::job::{Job, SIZE, WINDOW};
use crate::paired::{Meter, Outcome};

pub(crate) async fn connect(authority: &str) -> Result<Connection> {
    let uri = format!("amqp://{authority}/%2f?heartbeat=10");
    Connection::connect(&uri, ConnectionProperties::default()).await
}

pub(crate) async fn send(job: &Job) -> Result<Outcome> {
    let connection = connect(&job.authority).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let payload = vec![7; SIZE];
    stored(publish(&channel, &job.queue, &payload).await?).await?;
    let mut open = VecDeque::new();
    let meter = Meter::start();
    for _ in 0..job.messages {
        open.push_back(publish(&channel, &job.queue, black_box(&payload)).await?);
        if open.len() >= usize::from(WINDOW)
            && let Some(confirm) = open.pop_front()
        {
            stored(confirm).await?;
        }
    }
    for confirm in open {
        stored(confirm).await?;
    }
    let outcome = meter.stop();
    connection.close(200, "OK".into()).await?;
    Ok(outcome)
}

async fn publish(channel: &Channel, queue: &str, payload: &[u8]) -> Result<PublisherConfirm> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(2);
    channel.basic_publish("".into(), queue.into(), options, payload, properties).await
}

async fn stored(confirm: PublisherConfirm) -> Result<()> {
    let confirmation = confirm.await?;
    assert!(matches!(confirmation, Confirmation::Ack(None)), "{confirmation:?}");
    Ok(())
}

pub(crate) async fn receive(job: &Job) -> Result<Outcome> {
    let connection = connect(&job.authority).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(WINDOW, BasicQosOptions::default()).await?;
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    let queue = job.queue.as_str().into();
    let mut consumer = channel.basic_consume(queue, "raw".into(), options, none).await?;
    let (mut meter, mut count) = (None, 0);
    while count < job.messages
        && let Some(delivery) = consumer.next().await
    {
        let delivery = delivery?;
        meter.get_or_insert_with(Meter::start);
        assert_eq!(delivery.data.len(), SIZE);
        count += 1;
        if count % 100 == 0 || count == job.messages {
            delivery.ack(BasicAckOptions { multiple: true }).await?;
        }
    }
    let outcome = meter.expect("something came").stop();
    connection.close(200, "OK".into()).await?;
    Ok(outcome)
}
