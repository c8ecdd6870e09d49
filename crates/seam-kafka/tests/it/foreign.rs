//! Programs that know nothing of this library, on the same topic: what they write arrives, and what is sent they read.

use seam_core::{Datagram, Delivery, Receiver};

use crate::stage::*;

mod kcat;
mod raw;

/// A topic of one partition.
struct Place {
    broker: String,
    topic: String,
    uri: String,
}

impl Place {
    async fn new(name: &str) -> Self {
        let (broker, topic) = (variable("SEAM_TEST_KAFKA_URL"), address(name));
        let uri = format!("kafka://{broker}/{topic}?partitions=1");
        drop(soon(registry().client(uri.as_str())).await.unwrap());
        Self { broker, topic, uri }
    }

    async fn receiver(&self) -> Receiver {
        soon(registry().receiver(self.uri.as_str())).await.unwrap()
    }

    /// Sends these in this order, and waits for their receipts.
    async fn send(&self, datagrams: &[Datagram]) {
        let sender = soon(registry().sender(self.uri.as_str())).await.unwrap();
        for datagram in datagrams {
            soon(sender.send(datagram.clone())).await.unwrap();
        }
    }

    async fn remove(&self) {
        registry().remove(self.uri.as_str()).await.unwrap();
    }
}

async fn next(receiver: &mut Receiver) -> Delivery {
    soon(receiver.next()).await.unwrap().unwrap()
}
