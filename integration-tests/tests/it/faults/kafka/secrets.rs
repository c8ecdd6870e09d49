//! E24 on Kafka: settings that librdkafka gets as they are, users, and brokers that refuse or are not there.

use integration_tests::seed;
use rdkafka::types::{RDKafkaApiKey as Kind, RDKafkaRespErr as Code};

use super::super::secrets_grep::Secrets;
use super::super::stage::Stage;
use super::cluster::Cluster;
use super::pretence::{fail_requests, pretend};

#[tokio::test]
async fn kafka_secrets_grep_without_a_broker() {
    let (_stage, mut secrets) = (Stage::new().await, Secrets::new(seed()));
    let nobody = "127.0.0.1:1/load?connect_timeout=200ms";
    secrets.text(&format!("kafka://anna:$@{nobody}"));
    secrets.text(&format!("kafka+tls://anna:$@{nobody}&sasl=scram-sha-512"));
    secrets.file(&format!("kafka://anna@{nobody}&password_file=$"));
    secrets.text(&format!("kafka://anna:$@{nobody}&password_env=SEAM_TEST_SECRET"));
    secrets.text("kafka://anna:$@127.0.0.1:port/load");
    secrets.text("kafak://anna:$@127.0.0.1/load");
    secrets.text("kafka://anna:$@127.0.0.1/load?nothing=1");
    secrets.text("kafka://:$@127.0.0.1/load");
    secrets
        .text("kafka://127.0.0.1/load?dead_letter=kafka%3A%2F%2Fanna%3A$%40127.0.0.1%3A1%2Fload");
    for setting in [
        "sasl.kerberos.principal",
        "sasl.kerberos.service.name",
        "sasl.kerberos.keytab",
        "sasl.password",
        "sasl.oauthbearer.client.secret",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.key.pem",
        "socket.timeout.ms",
        "no.such.setting",
        "debug",
        "sasl.kerberos.min.time.before.relogin",
    ] {
        secrets.text(&format!("kafka://{nobody}&librdkafka.{setting}=$"));
    }
    let (cluster, uri) = pretend(2);
    for setting in ["ssl.keystore.password", "sasl.kerberos.principal", "ssl.engine.id"] {
        secrets
            .text(&format!("{uri}&send_timeout=1s&connect_timeout=300ms&librdkafka.{setting}=$"));
    }
    let refused = Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    fail_requests(&cluster, &[Kind::Produce, Kind::Fetch], &[refused]);
    fail_requests(&cluster, &[Kind::OffsetCommit], &[Code::RD_KAFKA_RESP_ERR__TRANSPORT]);
    secrets.check("E24 kafka_secrets_grep without a broker").await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test --workspace --all-features -- --include-ignored"]
async fn kafka_secrets_grep() {
    let (_stage, cluster) = (Stage::new().await, Cluster::own().await);
    let mut secrets = Secrets::new(seed());
    let broker = cluster.sasl_url();
    for sasl in ["plain", "scram-sha-256", "scram-sha-512"] {
        let more = format!("{broker}/load?connect_timeout=1s&sasl={sasl}");
        secrets.text(&format!("kafka://seam:$@{more}"));
    }
    let more = format!("{broker}/load?connect_timeout=1s");
    secrets.file(&format!("kafka://seam@{more}&password_file=$"));
    secrets.text(&format!("kafka+tls://seam:$@{more}"));
    secrets
        .text(&format!("kafka://seam:seam@{broker}/load-e24?librdkafka.ssl.keystore.password=$"));
    let plain = cluster.url();
    secrets.text(&format!("kafka://seam:$@{plain}/load?connect_timeout=1s"));
    secrets.text(&format!("kafka://{plain}/load-e24?librdkafka.sasl.kerberos.principal=$"));
    secrets.check("E24 kafka_secrets_grep").await;
}
