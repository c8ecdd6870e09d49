//! Programs that know nothing of this library, on the same queue: what they write arrives, and what is sent they read.

use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use seam_core::{Datagram, Receiver, Value};

use crate::stage::*;

mod asking;
mod reading;
mod writing;

/// A queue, and a foreign program.
struct Place {
    queue: String,
    uri: String,
    channel: Channel,
    /// Ends with it.
    _connection: lapin::Connection,
}

impl Place {
    async fn new(name: &str, more: &str) -> Self {
        let queue = address(name);
        let uri = uri(&queue, more);
        drop(soon(registry().client(uri.as_str())).await.unwrap());
        let (_connection, channel) = raw().await;
        Self { queue, uri, channel, _connection }
    }

    async fn receiver(&self) -> Receiver {
        soon(registry().receiver(self.uri.as_str())).await.unwrap()
    }

    /// Publishes as a foreign program does.
    async fn publish(&self, properties: BasicProperties, body: &[u8]) {
        publish(&self.channel, &self.queue, properties, body).await;
    }

    /// The next message, as a foreign program gets it; it is acknowledged.
    async fn read(&self) -> lapin::message::Delivery {
        read(&self.channel, &self.queue).await
    }

    async fn end(self, receiver: Option<Receiver>) {
        drop(receiver);
        remove(&self.uri).await;
    }
}

async fn publish(channel: &Channel, queue: &str, properties: BasicProperties, body: &[u8]) {
    let options = BasicPublishOptions::default();
    soon(channel.basic_publish("".into(), queue.into(), options, body, properties)).await.unwrap();
}

async fn read(channel: &Channel, queue: &str) -> lapin::message::Delivery {
    use futures_util::StreamExt;
    let tag = address("foreign");
    let options = BasicConsumeOptions::default();
    let consuming =
        channel.basic_consume(queue.into(), tag.as_str().into(), options, FieldTable::default());
    let mut consumer = soon(consuming).await.unwrap();
    let delivery = soon(consumer.next()).await.unwrap().unwrap();
    soon(delivery.acker.ack(BasicAckOptions::default())).await.unwrap();
    soon(channel.basic_cancel(tag.into(), Default::default())).await.unwrap();
    delivery
}
