//! The promise itself: one compiled program, and nothing but its URI differs.

use std::time::SystemTime;

use seam_conformance::free_port;

use crate::quakes::run;

#[test]
#[ignore = "needs brokers: integration-tests/brokers run kafka rabbitmq sqs -- cargo test -p seam-examples --all-features -- --include-ignored"]
fn the_same_program_prints_the_same_on_every_transport() {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let address = format!("quakes-{since:x}");
    let sqs = of("SEAM_TEST_SQS_URL");
    let (_, sqs) = sqs.split_once("://").unwrap();
    let region = of("SEAM_TEST_SQS_REGION");
    let uris = [
        format!("memory://{address}"),
        format!("tcp://127.0.0.1:{}/{address}", free_port()),
        format!("kafka://{}/{address}", of("SEAM_TEST_KAFKA_URL")),
        format!("{}?address={address}", of("SEAM_TEST_RABBITMQ_URL")),
        format!("sqs+http://test:test@{sqs}/{address}?region={region}"),
    ];
    let printed: Vec<_> = uris.iter().map(|uri| print(uri)).collect();
    uris.iter().for_each(|uri| remove(uri, &address));
    for (uri, printed_there) in uris.iter().zip(&printed) {
        assert_eq!(printed_there, &printed[0], "over {uri}");
    }
}

/// All that it prints over `uri`, but for the URI and the time it took.
fn print(uri: &str) -> String {
    let output = run(&["--via", uri]);
    let said = String::from_utf8(output.stderr).unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{printed}");
    let (first, rest) = printed.split_once('\n').unwrap();
    let scheme = uri.split(':').next().unwrap();
    assert!(first.starts_with(&format!("{scheme}://")), "{first}");
    let (table, took) = rest.split_once(", in ").unwrap();
    assert!(
        table.contains("records settled       1717") && table.ends_with("\nadds up"),
        "{table}"
    );
    eprintln!("quakes over {scheme}: {}", took.trim_end());
    table.to_owned()
}

/// Deletes what it has left on a broker.
fn remove(uri: &str, address: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for suffix in ["", "-alerts", "-parked"] {
        let uri = uri.replace(address, &format!("{address}{suffix}"));
        runtime.block_on(seam::registry().remove(uri.as_str())).unwrap();
    }
}

fn of(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: start cargo by `integration-tests/brokers run --`")
    })
}
