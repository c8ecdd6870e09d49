//! `transports`, `caps` and `remove`.

use crate::process::run;
#[cfg(unix)]
use crate::process::{end_of, seam};

#[test]
fn transports_lists_each_parameter_with_its_unit_side_and_default() {
    let said = run(&["transports"], b"");
    assert_eq!((said.code, said.complaint.as_str()), (Some(0), ""));
    for wanted in [
        "memory://address\n  within one process; nothing outlives it\n",
        "\n  ?send_timeout=  duration, as 30s; default 30s; client\n      after this a datagram without receipt ",
        "\n  ?credit=  number from 1; default 4096\n",
        "\n  ?group=  text; server; needs Groups\n",
        "\n  ?confirm=  received|settled; default received; client\n",
    ] {
        assert!(said.output.contains(wanted), "{wanted}\n{}", said.output);
    }
}

#[test]
fn transports_as_json_has_the_same() {
    let said = run(&["transports", "--json"], b"");
    let schemes: serde_json::Value = serde_json::from_str(&said.output).unwrap();
    let memory = schemes.as_array().unwrap().iter().find(|one| one["scheme"] == "memory").unwrap();
    assert_eq!(memory["form"], "memory://address");
    let parameters = memory["parameters"].as_array().unwrap();
    let timeout = parameters.iter().find(|one| one["name"] == "send_timeout").unwrap();
    assert_eq!(timeout["takes"], "duration, as 30s");
    assert_eq!((&timeout["side"], &timeout["default"]), (&"client".into(), &"30s".into()));
    let group = parameters.iter().find(|one| one["name"] == "group").unwrap();
    assert_eq!((&group["needs"], &group["default"]), (&"groups".into(), &serde_json::Value::Null));
}

#[test]
fn caps_tells_that_nothing_is_billed_by_the_call_where_it_is_asked_for() {
    let costs = "\ncosts             nothing by the call\n";
    let said = run(&["caps", "memory://orders", "--rate", "100"], b"");
    assert!(said.code == Some(0) && said.output.contains(costs), "{}", said.output);
    assert!(!run(&["caps", "memory://orders"], b"").output.contains("costs"));
    let said = run(&["caps", "memory://orders", "--json"], b"");
    let caps: serde_json::Value = serde_json::from_str(&said.output).unwrap();
    assert!(caps["cost"].is_null() && caps.as_object().unwrap().contains_key("cost"));
    let said = run(&["caps", "memory://orders", "--rate=-1"], b"");
    assert_eq!(said.code, Some(2));
    assert!(said.complaint.contains("a number over 0"), "{}", said.complaint);
}

#[test]
fn caps_tells_promises_confirmation_and_limits() {
    for offline in [&[][..], &["--offline"]] {
        let uri = "memory://orders?confirm=settled&max_message=5KiB";
        let said = run(&[&["caps", uri], offline].concat(), b"");
        assert_eq!((said.code, said.complaint.as_str()), (Some(0), ""));
        for wanted in [
            "memory://orders?confirm=settled&max_message=5KiB\n\nreceipts say      settled\n",
            "\nOrder             yes\n",
            "\nStore             no; start the receiver first, or use a broker\n",
            "\npayload           5120 bytes\n",
        ] {
            assert!(said.output.contains(wanted), "{wanted}\n{}", said.output);
        }
        let said = run(&[&["caps", uri, "--json"], offline].concat(), b"");
        let caps: serde_json::Value = serde_json::from_str(&said.output).unwrap();
        assert_eq!(caps["confirmation"], "settled");
        assert_eq!(caps["capabilities"]["ordered_failure"], "native");
        assert_eq!(caps["capabilities"]["store"], "no");
        assert_eq!(caps["limits"]["payload_bytes"], 5120);
        assert_eq!(caps["limits"]["delay_seconds"], 86_400);
    }
}

#[test]
fn remove_of_what_is_not_there_is_no_failure() {
    let said = run(&["remove", "memory://orders"], b"");
    assert_eq!((said.code, said.output.as_str(), said.complaint.as_str()), (Some(0), "", ""));
}

#[cfg(unix)]
#[test]
fn an_output_that_breaks_is_one_line() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    check_broken(writer.into(), "Broken pipe (os error 32)");
    if let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") {
        check_broken(full.into(), "No space left on device (os error 28)");
    }
}

#[cfg(unix)]
#[track_caller]
fn check_broken(output: std::process::Stdio, reason: &str) {
    let said = end_of(seam(&["transports"]).stdout(output).spawn().unwrap());
    let line = format!("seam: cannot write the output: {reason}\n");
    assert_eq!((said.code, said.complaint), (Some(1), line));
}
