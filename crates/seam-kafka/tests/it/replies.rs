//! Requests over a topic of replies: whose a reply is, and where a server writes.

use seam_core::{Connection, Datagram, Error};

use crate::stage::*;

async fn uri(name: &str, more: &str) -> String {
    let (broker, topic) = (variable("SEAM_TEST_KAFKA_URL"), address(name));
    format!("kafka://{broker}/{topic}?partitions=2{more}")
}

/// Answers `count` requests by what was asked, and an exclamation mark.
async fn serve(server: &Connection, count: usize) {
    let mut requests = soon(server.receiver()).await.unwrap();
    for _ in 0..count {
        let request = soon(requests.next()).await.unwrap().unwrap();
        let mut answer = request.datagram().payload().unwrap().to_vec();
        answer.push(b'!');
        soon(request.reply(Datagram::new(answer))).await.unwrap();
    }
    soon(requests.settled()).await.unwrap();
}

async fn ask(client: &Connection, what: &'static str) {
    let reply = client.request(Datagram::new(what), PATIENCE).await.unwrap();
    assert_eq!(reply.payload(), Some(format!("{what}!").as_bytes()));
    assert!(reply.envelope().headers.is_empty(), "nothing is added to a reply");
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn callers_of_one_topic_get_their_own_replies() {
    let uri = uri("asked", "").await;
    let one = soon(registry().client(uri.as_str())).await.unwrap();
    let two = soon(registry().client(uri.as_str())).await.unwrap();
    let server = soon(registry().server(uri.as_str())).await.unwrap();
    // Their requests have the same correlation ids.
    tokio::join!(
        serve(&server, 6),
        async {
            for _ in 0..3 {
                ask(&one, "one").await;
            }
        },
        async {
            for _ in 0..3 {
                ask(&two, "two").await;
            }
        }
    );
    for client in [one, two] {
        assert_eq!(client.statistics().late_replies, 0, "only its own replies came");
    }
    registry().remove(uri.as_str()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_topic_of_replies_can_be_named() {
    let uri = uri("named", &format!("&reply={}", address("answers"))).await;
    let client = soon(registry().client(uri.as_str())).await.unwrap();
    let server = soon(registry().server(uri.as_str())).await.unwrap();
    tokio::join!(serve(&server, 1), ask(&client, "who"));
    registry().remove(uri.as_str()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn a_reply_goes_to_no_other_cluster_and_no_other_topic() {
    let uri = uri("elsewhere", "").await;
    let client = soon(registry().client(uri.as_str())).await.unwrap();
    let sender = soon(client.sender()).await.unwrap();
    let server = soon(registry().server(uri.as_str())).await.unwrap();
    let mut requests = soon(server.receiver()).await.unwrap();
    // Where its replies go can be seen by any server.
    let asked = tokio::spawn(async move {
        client.request(Datagram::new("?"), PATIENCE).await.unwrap();
    });
    let request = soon(requests.next()).await.unwrap().unwrap();
    let ours = request.datagram().envelope().reply_to.clone().unwrap();
    let ours = String::from_utf8(ours.to_vec()).unwrap();
    soon(request.reply(Datagram::new("!"))).await.unwrap();
    soon(asked).await.unwrap();
    let cluster = ours.strip_prefix("seam-kafka:").unwrap().split('/').next().unwrap();
    let others = [
        (ours.replace(cluster, "another"), "another Kafka cluster"),
        (ours.replace(".replies", ".payments"), "another topic"),
        ("payments".to_owned(), "none that this library made"),
    ];
    for (reply_to, complaint) in others {
        let mut forged = Datagram::new("?");
        forged.envelope_mut().reply_to = Some(reply_to.into());
        soon(sender.send(forged)).await.unwrap();
        let request = soon(requests.next()).await.unwrap().unwrap();
        let error = line(soon(request.reply(Datagram::new("!"))).await.unwrap_err());
        assert!(matches!(error, Error::Denied { .. }), "{error}");
        assert!(error.to_string().contains(complaint), "{error}");
        soon(requests.next()).await.unwrap().unwrap().ack().unwrap();
    }
    registry().remove(uri.as_str()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn with_reply_any_a_reply_goes_where_a_foreign_program_asks() {
    let uri = uri("any", "&reply_any").await;
    let inbox = self::uri("inbox", "").await;
    let mut replies = soon(registry().receiver(inbox.as_str())).await.unwrap();
    let topic = inbox.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let sender = soon(registry().sender(uri.as_str())).await.unwrap();
    let mut foreign = Datagram::new("who");
    foreign.envelope_mut().reply_to = Some(topic.into());
    soon(sender.send(foreign)).await.unwrap();
    serve(&soon(registry().server(uri.as_str())).await.unwrap(), 1).await;
    let reply = soon(replies.next()).await.unwrap().unwrap();
    assert_eq!(reply.datagram().payload(), Some(&b"who!"[..]));
    reply.ack().unwrap();
    for uri in [uri, inbox] {
        registry().remove(uri.as_str()).await.unwrap();
    }
}
