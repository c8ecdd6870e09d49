//! Wrong usage and bad input: one line, the right exit code.

use crate::process::{check_refused, run};

#[test]
fn a_wrong_uri_is_told_before_anything_else() {
    let commands: [&[&str]; 7] = [
        &["send", "--lines", "no-such-file"],
        &["receive", "--output", "no-such-folder/file"],
        &["request"],
        &["serve", "--echo"],
        &["caps"],
        &["caps", "--offline"],
        &["remove"],
    ];
    let registry = seam::registry();
    let mut known: Vec<&str> = registry.schemes().map(|scheme| scheme.name).collect();
    known.sort_unstable();
    let known = known.join(", ");
    let unknown = format!(
        "no transport for `memroy://`; this registry has {known}; did you mean `memory://`?"
    );
    let wrong = [
        ("memroy://a", &*unknown),
        (
            "memory://a?cerdit=3",
            "invalid endpoint: unknown parameter `cerdit` for `memory`; did you mean `credit`?",
        ),
        (
            "nsq://localhost/a",
            "`nsq://` is not compiled in or not registered; build with feature `nsq` of seam-channel",
        ),
        ("orders", "invalid endpoint: no scheme; begin with one, such as memory://orders"),
    ];
    for command in commands {
        for (uri, line) in wrong {
            check_refused(&[command, &[uri]].concat(), 2, line);
        }
    }
}

#[test]
fn wrong_options_are_one_line_that_says_what_is_right() {
    let cases: [(&[&str], &str); 10] = [
        (&["sned"], "unrecognized subcommand 'sned'; tip: a similar subcommand exists: 'send'"),
        (&["send"], "the following required arguments were not provided: <URI>"),
        (
            &["send", "memory://a", "--cuont", "1"],
            "unexpected argument '--cuont' found; tip: a similar argument exists: '--count'",
        ),
        (
            &["receive", "memory://a", "--idle", "3"],
            "`duration` must be a whole number with ms, s, m, h or d, such as 30s",
        ),
        (&["send", "memory://a", "--header", "x"], "write NAME=VALUE, such as source=web"),
        (&["send", "memory://a", "--rate", "0"], "give datagrams per second, such as 100 or 0.5"),
        (
            &["send", "memory://a", "--json", "--key", "k"],
            "the argument '--json' cannot be used with '--key <KEY>'",
        ),
        (&["send", "memory://a", "--tag", "65536"], "65536 is not in 0..=65535"),
        (&["receive", "memory://a", "--count", "0"], "invalid value '0' for '--count <N>'"),
        (&["serve", "memory://a"], "the following required arguments were not provided: --echo"),
    ];
    for (arguments, complaint) in cases {
        let said = run(arguments, b"");
        assert_eq!((said.code, said.output.as_str()), (Some(2), ""), "{said:?}");
        let line = &said.complaint;
        assert!(line.starts_with("seam: ") && line.contains(complaint), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn no_complaint_shows_a_password() {
    let cases: [&[&str]; 4] = [
        &["send", "memory://ann:hunter2@a"],
        &["send", "memory://a", "memory://ann:hunter2@b"],
        &["receive", "nsq://ann:hunter2@h:1/a"],
        &["caps", "memory://a?dead_letter=kafka%3A%2F%2Fann:hunter2%40h:1%2Fa&credit=x"],
    ];
    for arguments in cases {
        let said = run(arguments, b"");
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(!said.complaint.contains("hunter2"), "{said:?}");
    }
}

#[test]
fn files_that_cannot_be_used_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let missing = missing.to_str().unwrap();
    let absent = "No such file or directory (os error 2)";
    for option in ["--lines", "--file"] {
        let line = format!("cannot read {missing}: {absent}");
        check_refused(&["send", "memory://a", option, missing], 1, &line);
    }
    let line = format!("cannot read {missing}: {absent}");
    check_refused(&["request", "memory://a", "--file", missing], 1, &line);
    let below = format!("{missing}/below");
    let line = format!("cannot write {below}: {absent}");
    check_refused(&["send", "memory://a", "--failed", &below], 1, &line);
    check_refused(&["receive", "memory://a", "--output", &below], 1, &line);
}

#[test]
fn the_input_is_never_emptied_to_take_its_own_failures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("failed.jsonl");
    std::fs::write(&path, "{}\n").unwrap();
    let name = path.to_str().unwrap();
    let line = format!("--failed {name} is the input itself; name another file");
    let arguments = ["send", "memory://a", "--json", "--failed", name];
    check_refused(&[&arguments[..], &["--lines", name]].concat(), 2, &line);
    let mut redirected = crate::process::seam(&arguments);
    redirected.stdin(std::fs::File::open(&path).unwrap());
    let said = crate::process::end_of(redirected.spawn().unwrap());
    assert_eq!((said.code, said.complaint), (Some(2), format!("seam: {line}\n")));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}\n");
}

#[test]
fn a_bad_line_is_told_with_its_number() {
    let cases: [(&[&str], &[u8], &str); 4] = [
        (
            &["send", "memory://a?max_message=5B"],
            b"too long\n",
            "standard input, line 1: 8 bytes are over the limit of 5; nothing from this line on was sent",
        ),
        (
            &["send", "memory://a", "--json"],
            b"\nno JSON\n",
            "standard input, line 2: invalid JSON datagram: is no JSON: expected ident at line 1 column 2; \
             nothing from this line on was sent",
        ),
        (
            &["send", "memory://a", "--json"],
            b"\"\xff\"\n",
            "standard input, line 1: is no UTF-8, so no JSON; nothing from this line on was sent",
        ),
        (
            &["send", "memory://a", "--key-field", "net"],
            b"{\"mag\":1}\n",
            "standard input, line 1: it has no field \"net\" to take the key from; \
             nothing from this line on was sent",
        ),
    ];
    for (arguments, input, line) in cases {
        let said = run(arguments, input);
        assert_eq!(said.code, Some(1), "{said:?}");
        let (summary, complaint) = said.complaint.split_once('\n').unwrap();
        assert!(summary.starts_with("seam: sent 0 datagrams, 0 bytes in 0."), "{summary}");
        assert_eq!(complaint, format!("seam: {line}\n"));
    }
}

/// What Kafka's client says of what is wrong is a page; the command says a line.
#[cfg(feature = "kafka")]
#[test]
fn what_is_wrong_with_a_kafka_endpoint_is_one_line_without_secret() {
    for (rest, code, complaint) in [
        ("127.0.0.1:1/orders?connect_timeout=2s", 1, "nobody listens there"),
        ("seam:hunter2@127.0.0.1:1/orders?connect_timeout=2s", 1, "nobody listens there"),
        (
            "b/orders?librdkafka.nonsense=hunter2",
            2,
            "`librdkafka.nonsense`: librdkafka has no such setting",
        ),
        ("b/orders?librdkafka.linger.ms=hunter2", 2, "`librdkafka.linger.ms`: librdkafka does not"),
        ("b/orders?librdkafka.acks=hunter2", 2, "`librdkafka.acks` would break"),
        ("b/or%20ders", 2, "Kafka takes no topic"),
    ] {
        let uri = format!("kafka://{rest}");
        for command in ["send", "receive", "remove"] {
            let said = run(&[command, &uri], b"12 apples\n");
            let text = &said.complaint;
            assert_eq!((text.lines().count(), said.output.as_str()), (1, ""), "{said:?}");
            assert!(text.starts_with("seam: ") && text.contains(complaint), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
            assert_eq!(said.code, Some(code), "{command} {uri}: {text}");
        }
    }
}
