//! E24 on RabbitMQ: users, files and keys, where all goes well, where it is refused, and where nobody is there.

use std::net::SocketAddr;

use integration_tests::seed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::secrets_grep::Secrets;
use super::super::stage::Stage;
use super::broker::Broker;

#[tokio::test]
async fn rabbit_secrets_grep_without_a_broker() {
    let (_stage, mut secrets) = (Stage::new().await, Secrets::new(seed()));
    let nobody = "127.0.0.1:1/load?connect_timeout=200ms";
    for scheme in ["rabbitmq", "rabbitmq+tls"] {
        secrets.text(&format!("{scheme}://anna:$@{nobody}"));
        secrets.text(&format!("{scheme}://anna:$@{nobody}&password_env=SEAM_TEST_SECRET"));
        secrets.file(&format!("{scheme}://anna@{nobody}&password_file=$"));
    }
    for scheme in ["amqp", "amqps"] {
        secrets.text(&format!("{scheme}://anna:$@{nobody}&address=load"));
        secrets.text(&format!("{scheme}://anna:$@127.0.0.1:1"));
    }
    for file in ["cert", "key", "ca"] {
        secrets.file(&format!("rabbitmq+tls://{nobody}&{file}=$"));
        secrets.file(&format!("amqps://{nobody}&address=load&cert=$&key=$&sasl=external"));
    }
    for wrong in [
        "rabbitmq://anna:$@127.0.0.1:port/load",
        "rabitmq://anna:$@127.0.0.1/load",
        "rabbitmq://anna:$@127.0.0.1/load?connect_timeout=200ms&nothing=1",
        "rabbitmq://anna:$@127.0.0.1/load?connect_timeout=200ms&group=mail",
        "rabbitmq://:$@127.0.0.1:1/load?connect_timeout=200ms",
        "rabbitmq://anna:$@127.0.0.1/",
        "amqp://anna:$@127.0.0.1/%2f",
        "rabbitmq://127.0.0.1:1/load?connect_timeout=200ms&dead_letter=rabbitmq%3A%2F%2Fanna%3A$%40127.0.0.1%3A1%2Fload",
    ] {
        secrets.text(wrong);
    }
    let liar = liar().await;
    secrets.text(&format!("rabbitmq://anna:$@{liar}/load?connect_timeout=1s"));
    secrets.check("E24 rabbit_secrets_grep without a broker").await;
}

/// Where somebody asks for user and password, and goes on with what is no AMQP, so that the client answers while its
/// connection fails.
async fn liar() -> SocketAddr {
    let mut said = b"\0\x0a\0\x0a\0\x09\0\0\0\0\0\0\0\x05PLAIN\0\0\0\x05en_US".to_vec();
    let size = u32::try_from(said.len()).unwrap().to_be_bytes();
    said.splice(..0, [1, 0, 0].into_iter().chain(size));
    said.extend(b"\xce\x09no frame at all");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            // Whoever has gone already does not matter.
            drop(socket.write_all(&said).await);
            tokio::spawn(async move { drop(socket.read_to_end(&mut Vec::new()).await) });
        }
    });
    address
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p integration-tests --features rabbitmq -- --include-ignored"]
async fn rabbit_secrets_grep() {
    let (_stage, broker) = (Stage::new().await, Broker::own().await);
    let mut secrets = Secrets::new(seed());
    let plain = broker.address();
    let (_, tls) = broker.tls_authority().split_once('@').unwrap();
    let file = |name: &str| broker.variable(name).replace('/', "%2F");
    let ca = file("SEAM_TEST_CA_FILE");
    // A user that may do everything, so that all goes well with its secret.
    let secret = secrets.text(&format!("rabbitmq://anna:$@{plain}/anna-e24"));
    broker.control(&["add_user", "anna", &secret]).await;
    broker.control(&["set_permissions", "anna", ".*", ".*", ".*"]).await;
    secrets.again(&format!("rabbitmq+tls://anna:{secret}@{tls}/anna-e24?ca={ca}"));
    secrets.again(&format!("amqp://anna:{secret}@{plain}/%2f?address=anna-e24&exchange=e24"));
    secrets.again(&format!("amqp://anna:{secret}@{plain}/nowhere?address=anna-e24"));
    secrets.again(&format!("amqp://anna:{secret}@{plain}/other?address=anna-e24"));
    secrets.again(&format!("rabbitmq://anna:{secret}@{plain}/anna-e24?queue_type=classic"));
    secrets.again(&format!("rabbitmq://anna:{secret}@{tls}/anna-e24?connect_timeout=1s"));
    secrets.again(&format!("rabbitmq+tls://anna:{secret}@{plain}/a?connect_timeout=1s&ca={ca}"));

    let more = "load?connect_timeout=1s";
    secrets.text(&format!("rabbitmq://seam:$@{plain}/{more}"));
    secrets.text(&format!("rabbitmq+tls://seam:$@{tls}/{more}&ca={ca}"));
    secrets.text(&format!("rabbitmq+tls://seam:$@{tls}/{more}"));
    secrets.file(&format!("rabbitmq://seam@{plain}/{more}&password_file=$"));
    secrets.file(&format!("rabbitmq+tls://seam:seam@{tls}/{more}&ca={ca}&cert=$&key=$"));
    let cert = file("SEAM_TEST_CLIENT_CERT_FILE");
    secrets.file(&format!("rabbitmq+tls://{tls}/{more}&ca={ca}&cert={cert}&key=$&sasl=external"));
    secrets.check("E24 rabbit_secrets_grep").await;
    broker.control(&["delete_user", "anna"]).await;
}
