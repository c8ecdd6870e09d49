//! A bridge between two sockets: nothing is lost, whatever becomes of it.

use std::collections::BTreeSet;

use crate::process::{Running, check_refused, run, seam};
use crate::two::Pair;

fn bridge(from: &Pair, to: &Pair, options: &[&str]) -> Running {
    Running::start(seam(&[&["bridge", &from.server, &to.client], options].concat()))
}

fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| format!("order {number}\n")).collect()
}

#[cfg(unix)]
#[test]
fn what_is_sent_at_one_end_arrives_at_the_other_in_order() {
    let (from, to) = (Pair::fresh(), Pair::fresh());
    let receiver = Running::start(seam(&["receive", &to.server, "--count", "1000"]));
    let bridge = bridge(&from, &to, &[]);
    let sent = run(&["send", &from.client, "--key", "k"], lines(0..1000).as_bytes());
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let received = receiver.end();
    assert_eq!((received.code, received.output), (Some(0), lines(0..1000)));
    crate::process::signal(&bridge.child, "INT");
    let said = bridge.end();
    assert_eq!((said.code, said.output.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.complaint.starts_with("seam: carried 1000 datagrams in "), "{said:?}");
    assert!(said.complaint.ends_with(" s; 0 parked, 0 expired\n"), "{said:?}");
}

#[cfg(unix)]
#[test]
fn a_bridge_that_is_killed_loses_nothing() {
    let (from, to) = (Pair::fresh(), Pair::fresh());
    let receiver = Running::start(seam(&["receive", &to.server]));
    let mut killed = bridge(&from, &to, &[]);
    let client = from.client.clone();
    let sending = std::thread::spawn(move || run(&["send", &client], lines(0..20_000).as_bytes()));
    killed.child.kill().unwrap();
    assert_eq!(killed.end().code, None);
    let next = bridge(&from, &to, &[]);
    let sent = sending.join().unwrap();
    assert_eq!(sent.code, Some(0), "{sent:?}");
    for running in [next, receiver] {
        crate::process::signal(&running.child, "TERM");
        let said = running.end();
        assert_eq!(said.code, Some(0), "{said:?}");
        if !said.output.is_empty() {
            let received: BTreeSet<&str> = said.output.lines().collect();
            let wanted = lines(0..20_000);
            assert_eq!(received, wanted.lines().collect::<BTreeSet<_>>());
        }
    }
}

#[cfg(unix)]
#[test]
fn what_cannot_be_carried_is_parked_or_ends_it() {
    let (from, to, parked) = (Pair::fresh(), Pair::fresh(), Pair::fresh());
    let parking = Running::start(seam(&["receive", &parked.server, "--count", "1", "--json"]));
    // A socket that speaks version 1 carries no key, and no envelope at all.
    let listening = format!("{}?wire=connect", to.server.trim_end_matches("/orders"));
    let receiver = Running::start(seam(&["receive", &listening, "--count", "1"]));
    let arguments = ["bridge", &from.server, &listening, "--park", &parked.client];
    let bridge = Running::start(seam(&arguments));
    let sent = run(&["send", &from.client, "--key", "k"], b"with a key\n");
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let letter = parking.end();
    assert!(
        letter.output.contains("with a key") && letter.output.contains("Envelope"),
        "{letter:?}"
    );
    assert_eq!(run(&["send", &from.client], b"plain\n").code, Some(0));
    let received = receiver.end();
    assert_eq!((received.code, received.output.as_str()), (Some(0), "plain\n"));
    crate::process::signal(&bridge.child, "INT");
    let said = bridge.end();
    assert!(
        said.complaint.contains("carried 1 datagrams in ") && said.complaint.contains("; 1 parked"),
        "{said:?}"
    );
    let receiver = Running::start(seam(&["receive", &listening]));
    let bridge = Running::start(seam(&arguments[..3]));
    let mut sender = seam(&["send", &from.client, "--key", "k"]).spawn().unwrap();
    std::io::Write::write_all(&mut sender.stdin.take().unwrap(), b"kept\n").unwrap();
    let said = bridge.end();
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.complaint.contains("does not support Envelope"), "{said:?}");
    // Nobody took it.
    let taken = Running::start(seam(&["receive", &from.server, "--count", "1"])).end();
    assert_eq!((taken.code, taken.output.as_str()), (Some(0), "kept\n"));
    assert_eq!(crate::process::end_of(sender).code, Some(0));
    crate::process::signal(&receiver.child, "INT");
    assert_eq!(receiver.end().code, Some(0));
}

#[test]
fn wrong_ends_are_refused() {
    let same = "both ends are the same, so it would never end; give two";
    check_refused(&["bridge", "memory://a", "memory://a"], 2, same);
    let unknown =
        "invalid endpoint: unknown parameter `cerdit` for `memory`; did you mean `credit`?";
    check_refused(&["bridge", "memory://a?cerdit=1", "memory://b"], 2, unknown);
    check_refused(&["bridge", "memory://a", "memory://b?cerdit=1"], 2, unknown);
    let park = ["bridge", "memory://a", "memory://b", "--park", "memory://c?cerdit=1"];
    check_refused(&park, 2, unknown);
}
