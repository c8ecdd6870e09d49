//! `kcat`, another program on another version of librdkafka.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::process::{Command, Stdio};

use seam_core::{Timestamp, Value};

use super::*;

/// What kcat says when it is run on the topic with these arguments and this input. It has to end by itself.
fn kcat(place: &Place, arguments: &[&OsStr], input: &[u8]) -> String {
    let mut kcat = Command::new("kcat");
    kcat.args(["-q", "-b", &place.broker, "-t", &place.topic]).args(arguments);
    kcat.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut kcat = kcat.spawn().expect(
        "kcat is missing: `integration-tests/brokers up kafka` installs it on Debian, as `apt-get install kcat` does",
    );
    kcat.stdin.take().unwrap().write_all(input).unwrap();
    let said = kcat.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn what_kcat_writes_is_delivered_as_it_is() {
    let place = Place::new("kcat-in").await;
    let odd = OsString::from_vec(b"\xffname=lost".to_vec());
    let arguments = [
        "-P",
        "-K",
        ":",
        "-Z",
        "-H",
        "unit=apple",
        "-H",
        "unit=pear",
        "-H",
        "empty=",
        "-H",
        "null",
        "-H",
    ];
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).chain([&*odd]).collect();
    kcat(&place, &arguments, b"customer-7:12 apples\ncustomer-8:\n");
    let mut receiver = place.receiver().await;
    for (key, payload) in
        [("customer-7", Datagram::new("12 apples")), ("customer-8", Datagram::empty())]
    {
        let expected = payload
            .with_key(key)
            .with_header("unit", "apple")
            .with_header("unit", "pear")
            .with_header("empty", "")
            .with_header("null", Value::Null);
        let delivery = next(&mut receiver).await;
        assert_eq!(delivery.datagram(), &expected);
        delivery.ack().unwrap();
    }
    place.remove().await;
}

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run kafka -- cargo test -p seam-kafka -- --include-ignored"]
async fn what_is_sent_kcat_prints() {
    let place = Place::new("kcat-out").await;
    let time: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
    let order = Datagram::new("12 apples")
        .with_key("customer-7")
        .with_kind("Order")
        .with_time(time)
        .with_header("unit", "apple")
        .with_header("unit", "pear")
        .with_header("null", Value::Null);
    place.send(&[order, Datagram::empty().with_key("customer-7"), Datagram::new("")]).await;
    // Topic, partition, offset, key and its size, payload and its size, headers.
    let format = "%t %p %o %k %K [%s] %S [%h]\n";
    let arguments = ["-C", "-o", "beginning", "-e", "-f", format].map(OsStr::new);
    let topic = &place.topic;
    let headers = format!("kind=Order,time={time},unit=apple,unit=pear,null=NULL");
    let expected = format!(
        "{topic} 0 0 customer-7 10 [12 apples] 9 [{headers}]\n\
         {topic} 0 1 customer-7 10 [] -1 []\n\
         {topic} 0 2  -1 [] 0 []\n"
    );
    assert_eq!(kcat(&place, &arguments, b""), expected);
    let first = ["-C", "-o", "beginning", "-c", "1", "-f", "%T"].map(OsStr::new);
    assert_eq!(kcat(&place, &first, b""), time.as_millis().to_string());
    place.remove().await;
}
