//! E24 on SQS: keys, files and the standard chain, where all goes well, where it is refused, and where nobody is there.
//! Neither a secret key, nor a session token, nor what is signed with them may be told.

use std::env;

use integration_tests::seed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::secrets_grep::Secrets;
use super::super::stage::Stage;
use super::place::Place;

#[tokio::test]
async fn sqs_secrets_grep_without_a_broker() {
    let (_stage, mut secrets) = (Stage::new().await, Secrets::new(seed()));
    let nobody = "127.0.0.1:1/load?connect_timeout=200ms";
    for scheme in ["sqs+http", "sqs+https"] {
        secrets.text(&format!("{scheme}://AKIDEXAMPLE:$@{nobody}"));
        secrets.text(&format!("{scheme}://AKIDEXAMPLE:$@{nobody}&password_env=SEAM_TEST_SECRET"));
        secrets.file(&format!("{scheme}://AKIDEXAMPLE@{nobody}&password_file=$"));
    }
    secrets.file(&format!("sqs+https://AKIDEXAMPLE:secret@{nobody}&ca=$"));
    for wrong in [
        "sqs+http://AKIDEXAMPLE:$@127.0.0.1:port/load",
        "sqss+http://AKIDEXAMPLE:$@127.0.0.1/load",
        "sqs+http://AKIDEXAMPLE:$@127.0.0.1:1/load?connect_timeout=200ms&nothing=1",
        "sqs+http://AKIDEXAMPLE:$@127.0.0.1:1/load?connect_timeout=200ms&group=mail",
        "sqs+http://AKIDEXAMPLE:$@127.0.0.1:1/no+name?connect_timeout=200ms",
        "sqs+http://:$@127.0.0.1:1/load?connect_timeout=200ms",
        "sqs://AKIDEXAMPLE:$@eu-west-1/load",
        "sqs+http://127.0.0.1:1/load?connect_timeout=200ms&dead_letter=sqs%2Bhttp%3A%2F%2FAKIDEXAMPLE%3A$%40127.0.0.1%3A1%2Fload",
    ] {
        secrets.text(wrong);
    }
    let liar = liar().await;
    secrets.text(&format!("sqs+http://AKIDEXAMPLE:$@{liar}/load?connect_timeout=1s"));
    chain(&mut secrets, nobody);
    secrets.check("E24 sqs_secrets_grep without a broker").await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run sqs -- cargo test -p integration-tests --features sqs -- --include-ignored"]
async fn sqs_secrets_grep() {
    let (_stage, mut secrets) = (Stage::new().await, Secrets::new(seed()));
    let (standard, fifo) = (Place::new("load-e24"), Place::new("load-e24.fifo"));
    let tls = env::var("SEAM_TEST_SQS_TLS_URL").unwrap();
    let (_, tls) = tls.split_once("://").unwrap();
    let ca = env::var("SEAM_TEST_CA_FILE").unwrap().replace('/', "%2F");
    // Whatever the key is, all goes well with it.
    for place in [&standard, &fifo] {
        let path = place.path();
        secrets.text(&format!("sqs+http://AKIDEXAMPLE:$@{path}"));
        secrets.file(&format!("sqs+http://AKIDEXAMPLE@{path}?password_file=$"));
    }
    let (standard, fifo) = (standard.path(), fifo.path());
    let (_, queue) = standard.split_once('/').unwrap();
    secrets.text(&format!("sqs+https://AKIDEXAMPLE:$@{tls}/{queue}?ca={ca}"));
    let late = "connect_timeout=1s";
    secrets.text(&format!("sqs+https://AKIDEXAMPLE:$@{tls}/{queue}?{late}"));
    secrets.text(&format!("sqs+http://AKIDEXAMPLE:$@{standard}?declare=no&{late}"));
    secrets.text(&format!("sqs+http://AKIDEXAMPLE:$@{fifo}?visibility=77s&{late}"));
    chain(&mut secrets, &standard);
    let said = secrets.check("E24 sqs_secrets_grep").await;
    // The client traces each call, and leaves out by itself what it has signed it with.
    assert!(said.contains("aws_sigv4") && said.contains("\"authorization\": ** redacted"));
}

/// Has the standard chain find a secret key and a session token in the environment, and uses them at `at`.
fn chain(secrets: &mut Secrets, at: &str) {
    secrets.environment("AWS_SECRET_ACCESS_KEY");
    secrets.environment("AWS_SESSION_TOKEN");
    secrets.plain("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    secrets.again(&format!("sqs+http://{at}"));
}

/// Where somebody answers all calls with what is not SQS.
async fn liar() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                // Whoever has gone already does not matter.
                let mut some = [0; 4096];
                drop(socket.read(&mut some).await);
                let said = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nno answer";
                drop(socket.write_all(said).await);
            });
        }
    });
    address
}
