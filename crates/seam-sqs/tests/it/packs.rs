//! Small datagrams that share messages.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Name;
use bytes::Bytes;
use seam_core::{Batch, Datagram, Deliveries, Registry};

use crate::stage::{queue_url, raw, registry, unique, uri, wide, within};

/// Datagrams of every kind: bare, wide, empty, without payload, of any bytes, of an own message.
fn mixed(count: usize) -> BTreeMap<Bytes, Datagram> {
    let datagram = |number: usize| match number % 7 {
        0 => wide(),
        1 => Datagram::new(""),
        2 => Datagram::empty(),
        3 => Datagram::new(&b"\xff\x00\x01"[..]),
        4 if number % 70 == 4 => Datagram::new("x".repeat(100 << 10)),
        _ => Datagram::new(format!("{number} apples")),
    };
    let keyed = |number| {
        let key = Bytes::from(format!("{number:05}"));
        (key.clone(), datagram(number).with_key(key))
    };
    (0..count).map(keyed).collect()
}

async fn send_packed(registry: &Registry, queue: &str, datagrams: impl Iterator<Item = Datagram>) {
    let packing = format!("{}?pack=true", uri(queue));
    let sender = registry.sender(packing.as_str()).await.unwrap();
    let mut batch: Batch = datagrams.collect();
    while !batch.is_empty() {
        let mut ticket = within("admission", sender.admit(&mut batch)).await.unwrap();
        assert!(within("the receipts", ticket.receipts()).await.all_ok());
    }
}

/// How many messages a queue has, in whoever's hand.
async fn messages(queue: &str) -> u32 {
    let raw = raw();
    let asked = raw.get_queue_attributes().queue_url(queue_url(&raw, queue).await);
    let found = asked.attribute_names(Name::All).send().await.unwrap().attributes.unwrap();
    let of = |name| found[&name].parse::<u32>().unwrap();
    of(Name::ApproximateNumberOfMessages) + of(Name::ApproximateNumberOfMessagesNotVisible)
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"]
async fn any_datagram_comes_out_of_its_pack_as_it_was() {
    let (queue, registry, sent) = (unique("packs"), registry(), mixed(3000));
    send_packed(&registry, &queue, sent.values().cloned()).await;
    let count = messages(&queue).await;
    assert!((40..400).contains(&count), "{count} messages of 3000 datagrams, 43 of them alone");
    let mut receiver = registry.receiver(uri(&queue).as_str()).await.unwrap();
    let (mut came, mut deliveries) = (BTreeMap::new(), Deliveries::new());
    while came.len() < sent.len() {
        within("deliveries", receiver.receive(256, &mut deliveries)).await.unwrap();
        while let Some(delivery) = deliveries.lend() {
            let datagram = delivery.view().to_datagram();
            delivery.ack();
            let key = datagram.envelope().key.clone().unwrap();
            assert!(came.insert(key, datagram).is_none(), "it came twice");
        }
    }
    drop(deliveries);
    assert_eq!(within("settling", receiver.settled()).await.unwrap().late, 0);
    assert!(came == sent, "something was altered");
    assert_eq!(messages(&queue).await, 0, "what is done is deleted");
    registry.remove(uri(&queue)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"]
async fn what_nobody_has_done_of_a_pack_comes_to_somebody_else_with_the_rest() {
    let (queue, registry) = (unique("packs"), registry());
    send_packed(&registry, &queue, (0..100).map(|n| Datagram::new(n.to_string()))).await;
    let server = registry.server(uri(&queue).as_str()).await.unwrap();
    let mut receiver = server.receiver().await.unwrap();
    for _ in 0..10 {
        within("the delivery", receiver.next()).await.unwrap().unwrap().ack().unwrap();
    }
    drop(within("the drain", server.drain(Duration::from_secs(20))).await.unwrap());
    assert_eq!(server.statistics().settlements_failed, 10, "they come again with their pack");
    let mut other = registry.receiver(uri(&queue).as_str()).await.unwrap();
    for _ in 0..100 {
        let delivery = within("the delivery", other.next()).await.unwrap().unwrap();
        assert_eq!((delivery.note().attempt, delivery.note().possible_duplicate), (2, true));
        delivery.ack().unwrap();
    }
    within("settling", other.settled()).await.unwrap();
    assert_eq!(messages(&queue).await, 0);
    registry.remove(uri(&queue)).await.unwrap();
}
