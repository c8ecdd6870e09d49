//! Programs that use SQS without this library, both ways.

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::MessageAttributeValue;
use seam_core::{Datagram, Value};

use crate::stage::{queue_url, raw, registry, unique, uri, wide, within};

fn attribute(kind: &str, text: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type(kind).string_value(text).build().unwrap()
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"]
async fn what_a_foreign_program_writes_is_delivered() {
    let (queue, raw) = (unique("foreign"), raw());
    let mut receiver = registry().receiver(uri(&queue)).await.unwrap();
    let blob = MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 1]));
    let sending = raw.send_message().queue_url(queue_url(&raw, &queue).await);
    let sending = sending
        .message_body("<apples>12</apples>")
        .message_attributes("source", attribute("String.custom", "web"))
        .message_attributes("count", attribute("Number", "12"))
        .message_attributes("blob", blob.build().unwrap())
        .message_attributes("content-type", attribute("String", "text/xml"));
    sending.send().await.unwrap();
    let delivery = within("the delivery", receiver.next()).await.unwrap().unwrap();
    let view = delivery.view();
    assert_eq!(view.payload(), Some(&b"<apples>12</apples>"[..]));
    assert_eq!(view.envelope().content_type.as_deref(), Some("text/xml"));
    assert_eq!(view.header("source"), Some(&Value::from("web")));
    assert_eq!(view.header("count"), Some(&Value::I64(12)));
    assert_eq!(view.header("blob"), Some(&Value::Bytes(vec![0, 1].into())));
    assert!(view.envelope().id.is_none() && view.envelope().time.is_none(), "nothing is stamped");
    assert!(delivery.note().native.iter().any(|(name, _)| name == "SentTimestamp"));
    delivery.ack().unwrap();
    within("settling", receiver.settled()).await.unwrap();
    registry().remove(uri(&queue)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"]
async fn what_we_write_a_foreign_program_reads() {
    let (queue, raw) = (unique("ours") + ".fifo", raw());
    let sender = registry().sender(uri(&queue)).await.unwrap();
    sender.send(wide()).await.unwrap();
    let url = queue_url(&raw, &queue).await;
    let receiving = raw.receive_message().queue_url(&url).message_attribute_names("All");
    let receiving = receiving
        .message_system_attribute_names(aws_sdk_sqs::types::MessageSystemAttributeName::All)
        .wait_time_seconds(5);
    let came = receiving.send().await.unwrap().messages.unwrap();
    let message = &came[0];
    assert_eq!(message.body(), Some("12 apples"));
    let attributes = message.message_attributes().unwrap();
    assert_eq!(attributes["kind"].string_value(), Some("shop.Order"));
    assert_eq!(attributes["h0"].string_value(), Some("0"));
    assert_eq!(attributes["h0"].data_type(), "Number");
    assert!(attributes.len() <= 8, "{attributes:?}");
    let group = aws_sdk_sqs::types::MessageSystemAttributeName::MessageGroupId;
    assert_eq!(message.attributes().unwrap()[&group], "customer-7");
    registry().remove(uri(&queue)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"]
async fn a_fifo_queue_stores_an_id_once() {
    let (queue, registry) = (unique("once") + ".fifo", registry());
    let mut receiver = registry.receiver(uri(&queue)).await.unwrap();
    let sender = registry.sender(uri(&queue)).await.unwrap();
    let named = Datagram::new("named").with_id(seam_core::Id::text("order-17").unwrap());
    for datagram in [named.clone(), named, Datagram::new("last")] {
        sender.send(datagram).await.unwrap();
    }
    let mut came = Vec::new();
    while came.last().is_none_or(|last| last != "last") {
        let delivery = within("a delivery", receiver.next()).await.unwrap().unwrap();
        came.push(String::from_utf8(delivery.view().payload().unwrap().to_vec()).unwrap());
        delivery.ack().unwrap();
    }
    assert_eq!(came, ["named", "last"]);
    within("settling", receiver.settled()).await.unwrap();
    registry.remove(uri(&queue)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p seam-sqs -- --include-ignored"]
async fn removing_takes_what_a_crash_left_and_nothing_else() {
    let (queue, raw) = (unique("swept"), raw());
    registry().server(uri(&queue)).await.unwrap();
    let left = format!("{queue}-replies-0123456789abcdef");
    let archive = format!("{queue}-replies-archive");
    for name in [&left, &archive] {
        raw.create_queue().queue_name(name).send().await.unwrap();
    }
    registry().remove(uri(&queue)).await.unwrap();
    for gone in [&queue, &left] {
        assert!(raw.get_queue_url().queue_name(gone).send().await.is_err(), "{gone} is there");
    }
    queue_url(&raw, &archive).await;
    registry().remove(uri(&archive)).await.unwrap();
}
