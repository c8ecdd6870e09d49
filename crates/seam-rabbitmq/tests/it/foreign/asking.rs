//! Requests and replies, in AMQP's own terms on one side.

use futures_util::StreamExt;

use super::*;

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_foreign_server_answers_our_requests() {
    let place = Place::new("served", "").await;
    let client = soon(registry().client(place.uri.as_str())).await.unwrap();
    for number in 0..3 {
        let asking = client.request(Datagram::new(format!("{number}")), PATIENCE);
        let serving = async {
            let asked = place.read().await;
            let reply_to = asked.properties.reply_to().as_ref().unwrap().to_string();
            assert!(reply_to.starts_with("amq.rabbitmq.reply-to."), "{reply_to}");
            // As every tutorial does it: text, which any client can repeat.
            let number = asked.properties.correlation_id().as_ref().unwrap();
            assert!(number.as_str().is_ascii(), "{number}");
            let reply = BasicProperties::default()
                .with_correlation_id(number.clone())
                .with_content_type("text/plain".into());
            let body = [asked.data.as_slice(), b"!"].concat();
            publish(&place.channel, &reply_to, reply, &body).await;
        };
        let (reply, ()) = tokio::join!(asking, serving);
        let expected = Datagram::new(format!("{number}!")).with_content_type("text/plain");
        let reply = reply.unwrap();
        assert_eq!(
            (reply.payload(), &reply.envelope().content_type),
            (expected.payload(), &expected.envelope().content_type)
        );
    }
    assert_eq!(client.statistics().late_replies, 0);
    place.end(None).await;
}

/// Asks as a foreign program does, for a reply to come to `reply_to`, which is read by `consumer`.
async fn ask(place: &Place, channel: &Channel, reply_to: &str, consumer: &mut lapin::Consumer) {
    for number in 0..3 {
        let correlation = format!("call-{number}");
        let request = BasicProperties::default()
            .with_reply_to(reply_to.into())
            .with_correlation_id(correlation.as_str().into());
        publish(channel, &place.queue, request, b"who").await;
        let reply = soon(consumer.next()).await.unwrap().unwrap();
        assert_eq!(reply.data, b"who!");
        let found = reply.properties.correlation_id().as_ref().unwrap();
        assert_eq!(found.as_str(), correlation, "as it was asked");
    }
}

/// Answers three requests.
async fn serve(place: &Place) -> Receiver {
    let mut requests = place.receiver().await;
    for _ in 0..3 {
        let request = next(&mut requests).await;
        let mut answer = request.datagram().payload().unwrap().to_vec();
        answer.push(b'!');
        soon(request.reply(Datagram::new(answer))).await.unwrap();
    }
    soon(requests.settled()).await.unwrap();
    requests
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_foreign_client_gets_our_replies_by_direct_reply_to() {
    let place = Place::new("direct", "").await;
    let (_connection, channel) = raw().await;
    let pseudo = "amq.rabbitmq.reply-to";
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let consuming =
        channel.basic_consume(pseudo.into(), "replies".into(), options, FieldTable::default());
    let mut consumer = soon(consuming).await.unwrap();
    let (requests, ()) = tokio::join!(serve(&place), ask(&place, &channel, pseudo, &mut consumer));
    place.end(Some(requests)).await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p seam-rabbitmq -- --include-ignored"]
async fn a_foreign_client_gets_our_replies_in_a_queue_of_its_own_with_reply_any() {
    let place = Place::new("own", "reply_any").await;
    let (_connection, channel) = raw().await;
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let own = soon(channel.queue_declare("".into(), options, FieldTable::default())).await.unwrap();
    let own = own.name().to_string();
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let consuming =
        channel.basic_consume(own.as_str().into(), "own".into(), options, FieldTable::default());
    let mut consumer = soon(consuming).await.unwrap();
    let (requests, ()) = tokio::join!(serve(&place), ask(&place, &channel, &own, &mut consumer));
    place.end(Some(requests)).await;
}
