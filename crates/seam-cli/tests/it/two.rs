//! Two processes on one address, over TCP.

use std::io::Write;

use seam_conformance::free_port;

use crate::process::{Running, Said, end_of, run, seam};

/// One address, as each side writes it.
pub(crate) struct Pair {
    /// For whoever receives and serves.
    pub(crate) server: String,
    /// For whoever sends and asks.
    pub(crate) client: String,
}

impl Pair {
    /// An address of TCP at a port that is free now.
    pub(crate) fn fresh() -> Self {
        let uri = format!("tcp://127.0.0.1:{}/orders", free_port());
        Self { server: uri.clone(), client: uri }
    }
}

/// The command on the server's side of the pair, running.
fn start(command: &str, pair: &Pair, options: &[&str]) -> Running {
    Running::start(seam(&[&[command, &pair.server], options].concat()))
}

/// What became of both sides once these lines were sent to a receiver.
fn carry(pair: &Pair, send: &[&str], receive: &[&str], input: &[u8]) -> (Said, Said) {
    let receiver = start("receive", pair, receive);
    let sent = run(&[&["send", &pair.client], send].concat(), input);
    (sent, receiver.end())
}

#[test]
fn lines_arrive_in_order_and_both_sides_succeed() {
    let lines: String = (0..10_000).map(|n| format!("order {n}\n")).collect();
    let pair = Pair::fresh();
    let (sent, received) = carry(&pair, &[], &["--count", "10000"], lines.as_bytes());
    assert_eq!((sent.code, received.code), (Some(0), Some(0)), "{sent:?}");
    assert!(received.output == lines, "{} bytes came", received.output.len());
    assert_eq!(received.complaint, "");
}

#[test]
fn what_a_broken_pipe_took_comes_again() {
    let pair = Pair::fresh();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut broken = seam(&["receive", &pair.server]);
    broken.stdout(writer);
    let broken = Running::start(broken);
    let mut sender = seam(&["send", &pair.client]).spawn().unwrap();
    sender.stdin.take().unwrap().write_all(b"one\ntwo\n").unwrap();
    let said = broken.end();
    let wanted = "seam: cannot write the output: Broken pipe (os error 32); \
                  what was not written comes again\n";
    assert_eq!((said.code, said.complaint.as_str()), (Some(1), wanted));
    let received = start("receive", &pair, &["--count", "2"]).end();
    assert_eq!((received.code, received.output.as_str()), (Some(0), "one\ntwo\n"));
    assert_eq!(end_of(sender).code, Some(0));
}

#[cfg(unix)]
#[test]
fn an_echo_answers_until_it_is_told_to_stop() {
    let pair = Pair::fresh();
    let echo = start("serve", &pair, &["--echo"]);
    let said = run(&["request", &pair.client, "hello", "--tag", "7", "--json"], b"");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.output.starts_with(r#"{"tag":7,"payload":"hello""#), "{said:?}");
    crate::process::signal(&echo.child, "TERM");
    let said = echo.end();
    let wanted = "seam: 1 answered, 0 discarded that could not be answered\n";
    assert_eq!((said.code, said.complaint.as_str()), (Some(0), wanted));
}
