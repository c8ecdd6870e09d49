//! `docker-compose.yml`, held against the files from which `integration-tests/brokers` starts the same brokers without
//! Docker. So it stays true where no engine runs that could try it. Each rule is shown a file that breaks it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// As much of the file as the rules look at.
#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Option<()>>,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    healthcheck: Option<HealthCheck>,
}

#[derive(Deserialize)]
struct HealthCheck {
    test: Test,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Test {
    Shell(String),
    Program(Vec<String>),
}

/// A rule gives one line for each place where it is broken.
type Rule = fn(&Compose) -> Vec<String>;

#[test]
fn compose_has_the_versions_that_run_natively() {
    check(versions_are_native, "apache/kafka:4.3.1", "apache/kafka:4.3.0");
    check(versions_are_native, "rabbitmq:4.0.5-management", "rabbitmq:management");
    check(versions_are_native, "nsqio/nsq:v1.3.0", "nsqio/nsq");
    check(versions_are_native, "nsqio/nsq:v1.3.0", "nsqio/another:v1.3.0");
}

#[test]
fn compose_has_a_localstack_that_needs_no_account() {
    check(localstack_needs_no_account, "localstack:4.13.1", "localstack:2026.3.0");
    check(localstack_needs_no_account, "localstack:4.13.1", "localstack:latest");
}

#[test]
fn compose_publishes_on_loopback_alone_and_on_the_usual_ports() {
    check(ports_are_usual, "- 127.0.0.1:${SEAM_SQS_PORT", "- ${SEAM_SQS_PORT");
    check(ports_are_usual, "- 127.0.0.1:${SEAM_KAFKA_PORTS", "- 0.0.0.0:${SEAM_KAFKA_PORTS");
    check(ports_are_usual, ":-15672}", ":-15673}");
}

#[test]
fn compose_takes_its_ports_from_the_command_for_brokers() {
    check(ports_can_be_chosen, "SEAM_NSQ_PORTS", "SEAM_NSQD_PORTS");
}

#[test]
fn compose_publishes_each_listener_of_kafka() {
    check(listeners_are_published, "9092-9095}:9092-9095", "9092-9095}:9093-9096");
}

#[test]
fn compose_asks_each_service_whether_it_is_well() {
    check(health_is_checked, "127.0.0.1:4151/ping", "127.0.0.1:4153/ping");
    check(health_is_checked, "healthcheck: *kafka-health", "restart: always");
}

#[test]
fn compose_keeps_data_in_volumes_and_mounts_what_there_is() {
    check(volumes_exist, "- kafka2:/var", "- ./kafka2:/var");
    check(volumes_exist, "\n  rabbitmq:\n  sqs:", "\n  sqs:");
    check(volumes_exist, "/rabbitmq.conf:/etc", "/rabbit.conf:/etc");
}

#[test]
fn compose_mounts_what_the_settings_of_rabbitmq_name() {
    check(settings_are_mounted, ":/seam/definitions.json:", ":/seam/users.json:");
    check(settings_are_mounted, "rabbitmq\n      - tls:/tls:ro", "rabbitmq");
}

/// The file keeps `rule`, and does not once `from` in it is `to`.
#[track_caller]
fn check(rule: Rule, from: &str, to: &str) {
    let text = text("docker-compose.yml");
    let complaints = rule(&parse(&text));
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    assert!(text.contains(from), "the file does not hold {from}");
    let broken = rule(&parse(&text.replace(from, to)));
    assert!(!broken.is_empty(), "{to} is as good as {from}");
}

fn parse(text: &str) -> Compose {
    serde_saphyr::from_str(text).expect("docker-compose.yml is what Compose reads")
}

fn versions_are_native(compose: &Compose) -> Vec<String> {
    // Each: an image, the file that says what runs without Docker, and what stands around the version there.
    let native = [
        ("apache/kafka", "kafka/pom.xml", "kafka_2.13</artifactId>\n      <version>", "<"),
        ("rabbitmq", "rabbitmq/unpack.sh", "version=", "\n"),
        ("localstack/localstack", "sqs/requirements.txt", "\nlocalstack-core==", "\n"),
        ("nsqio/nsq", "nsq/go.mod", "require github.com/nsqio/nsq v", "\n"),
    ];
    complaints(compose, |_, service| {
        let (image, tag) = service.image.split_once(':').unwrap_or((&service.image, ""));
        let Some((_, file, before, after)) = native.iter().find(|(name, ..)| *name == image) else {
            return vec![format!("{image} does not run natively")];
        };
        let version = tag.trim_start_matches('v').trim_end_matches("-management");
        let text = broker_file(file);
        let wanted = text.split_once(before).and_then(|(_, rest)| rest.split(after).next());
        let complaint = format!("{image} is {tag:?}, and natively {wanted:?}");
        if wanted == Some(version) { vec![] } else { vec![complaint] }
    })
}

/// The first release that does is 2026.3, after the 4.x line.
fn localstack_needs_no_account(compose: &Compose) -> Vec<String> {
    let tag = compose.services["sqs"].image.split(':').next_back().unwrap_or_default();
    let major = tag.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major == Some(4) { vec![] } else { vec![format!("LocalStack {tag} may need an account")] }
}

fn ports_are_usual(compose: &Compose) -> Vec<String> {
    let usual: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("kafka", ["9092-9095"].as_slice()),
        ("kafka2", &["9192-9195"]),
        ("kafka3", &["9292-9295"]),
        ("nsq", &["4150-4152"]),
        ("nsqlookupd", &["4160-4161"]),
        ("rabbitmq", &["5672", "5671", "15672"]),
        ("sqs", &["4566"]),
    ]);
    complaints(compose, |name, service| {
        // 127.0.0.1:${VARIABLE:-DEFAULT}:INSIDE
        let default = |port: &String| {
            let port = port.strip_prefix("127.0.0.1:${SEAM_")?;
            Some(port.split_once(":-")?.1.split_once('}')?.0.to_owned())
        };
        let ports: Vec<_> = service.ports.iter().map(default).collect();
        let wanted = usual.get(name).copied().unwrap_or_default();
        let same = ports.iter().map(Option::as_deref).eq(wanted.iter().copied().map(Some));
        if same { vec![] } else { vec![format!("{name} publishes {:?}", service.ports)] }
    })
}

/// What the command does not set would be the same port for two checkouts.
fn ports_can_be_chosen(compose: &Compose) -> Vec<String> {
    let command = broker_file("compose.sh");
    complaints(compose, |name, service| {
        let variables =
            service.ports.iter().filter_map(|port| port.split_once("${")?.1.split_once(":-"));
        let unset = variables.filter(|(variable, _)| !command.contains(&format!(" {variable}=")));
        unset.map(|(variable, _)| format!("{name}: compose.sh does not set {variable}")).collect()
    })
}

fn listeners_are_published(compose: &Compose) -> Vec<String> {
    let start = broker_file("kafka/container.sh");
    let listeners =
        ["PLAINTEXT://:9092", "SSL://:9093", "SASL_PLAINTEXT://:9094", "SASL_SSL://:9095"];
    let mut complaints: Vec<_> = listeners
        .iter()
        .filter(|listener| !start.contains(*listener))
        .map(|listener| format!("kafka does not listen on {listener}"))
        .collect();
    for (name, service) in compose.services.iter().filter(|(name, _)| name.starts_with("kafka")) {
        if !service.ports.iter().all(|port| port.ends_with("}:9092-9095")) {
            complaints.push(format!("{name} publishes {:?}", service.ports));
        }
    }
    complaints
}

fn health_is_checked(compose: &Compose) -> Vec<String> {
    complaints(compose, |name, service| {
        let Some(health) = &service.healthcheck else {
            return vec![format!("{name} has no health check")];
        };
        let test = match &health.test {
            Test::Shell(line) => line.clone(),
            Test::Program(words) => words.join(" "),
        };
        // Where it asks a port of its own, it is one of those that somebody outside may ask.
        let asked = test.split_once("http://127.0.0.1:").map(|(_, rest)| rest);
        let port = asked.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) else { return vec![] };
        let inside = service.ports.iter().filter_map(|published| published.split("}:").nth(1));
        let within = inside.filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse().ok()?..=last.parse().ok()?)
        });
        let known = within.into_iter().any(|range| range.contains(&port));
        if known { vec![] } else { vec![format!("{name} is asked on {port}")] }
    })
}

fn volumes_exist(compose: &Compose) -> Vec<String> {
    complaints(compose, |name, service| {
        let sources = || service.volumes.iter().filter_map(|volume| volume.split(':').next());
        let (files, volumes): (Vec<_>, Vec<_>) =
            sources().partition(|source| source.starts_with('.'));
        let missing = files.into_iter().filter(|file| !root().join(file).is_file());
        let mut complaints: Vec<_> =
            missing.map(|file| format!("{name}: no file {file}")).collect();
        let unknown = volumes.iter().filter(|volume| !compose.volumes.contains_key(**volume));
        complaints.extend(unknown.map(|volume| format!("{name}: no volume {volume}")));
        if !volumes.iter().any(|volume| *volume != "tls") && name != "certificates" {
            complaints.push(format!("{name} keeps its data in no volume"));
        }
        complaints
    })
}

fn settings_are_mounted(compose: &Compose) -> Vec<String> {
    let volumes = &compose.services["rabbitmq"].volumes;
    let mounted: Vec<_> = volumes.iter().filter_map(|volume| volume.split(':').nth(1)).collect();
    let settings = broker_file("rabbitmq/container.conf");
    let paths = settings.lines().filter_map(|line| line.split_once(" = /")).map(|(_, path)| path);
    paths
        .map(|path| format!("/{path}"))
        .filter(|path| !mounted.iter().any(|target| Path::new(path).starts_with(target)))
        .map(|path| format!("rabbitmq: {path} is mounted from nowhere"))
        .collect()
}

fn complaints(compose: &Compose, of: impl Fn(&str, &Service) -> Vec<String>) -> Vec<String> {
    compose.services.iter().flat_map(|(name, service)| of(name, service)).collect()
}

fn broker_file(path: &str) -> String {
    text(&format!("integration-tests/broker/{path}"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
