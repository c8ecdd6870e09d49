//! Nothing is lost where nobody receives, where the output breaks, and where a signal comes.

use crate::process::run;

const HASTY: &str = "memory://orders?send_timeout=100ms";

#[test]
fn what_nobody_receives_is_not_sent_and_kept_for_later() {
    let folder = tempfile::tempdir().unwrap();
    let failed = folder.path().join("failed.jsonl");
    std::fs::write(&failed, "of an earlier run\n").unwrap();
    let name = failed.to_str().unwrap();
    let said = run(&["send", HASTY, "--key", "k", "--failed", name], b"one\n\ntwo");
    assert_eq!((said.code, said.output.as_str()), (Some(1), ""));
    let (summary, complaint) = said.complaint.split_once('\n').unwrap();
    assert!(summary.starts_with("seam: sent 0 datagrams, 0 bytes in 0."), "{summary}");
    assert!(summary.ends_with(" s; 3 not sent, 0 maybe sent"), "{summary}");
    let reason = "admission did not finish within 100ms; see whether a receiver is there and keeps up, \
                  or raise `?send_timeout=`";
    let wanted =
        format!("seam: 3 of 3 datagrams failed; the first: datagram 1: not sent: {reason}\n");
    assert_eq!(complaint, wanted);
    let kept: String = ["one", "", "two"]
        .map(|payload| {
            format!(r#"{{"payload":"{payload}","key":"k","fate":"not_sent","error":"{reason}"}}"#)
                + "\n"
        })
        .concat();
    assert_eq!(std::fs::read_to_string(&failed).unwrap(), kept);
    // What was kept is read again, and kept again.
    let again = folder.path().join("again.jsonl");
    let arguments = ["send", HASTY, "--json", "--lines", name, "--failed", again.to_str().unwrap()];
    assert_eq!(run(&arguments, b"").code, Some(1));
    assert_eq!(std::fs::read_to_string(&again).unwrap(), kept);
}

#[test]
fn nothing_to_send_is_sent() {
    let said = run(&["send", HASTY], b"");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.complaint.starts_with("seam: sent 0 datagrams, 0 bytes in 0.0"), "{said:?}");
}

#[test]
fn a_request_that_nobody_answers_ends_in_its_time() {
    let said = run(&["request", "memory://sum", "--timeout", "100ms", "1 2 3"], b"");
    assert_eq!((said.code, said.output.as_str()), (Some(1), ""));
    let wanted = "seam: not sent: request did not finish within 100ms; \
                  see whether a server is there and replies, or give `request` more time\n";
    assert_eq!(said.complaint, wanted);
}

#[test]
fn fewer_than_were_asked_for_is_a_failure_and_idle_alone_is_none() {
    let said = run(&["receive", "memory://orders", "--idle", "50ms"], b"");
    assert_eq!((said.code, said.output.as_str(), said.complaint.as_str()), (Some(0), "", ""));
    let said = run(&["receive", "memory://orders", "--idle", "50ms", "--count", "2"], b"");
    let wanted = "seam: only 0 of 2 datagrams came\n";
    assert_eq!((said.code, said.complaint.as_str()), (Some(1), wanted));
}

#[cfg(unix)]
mod signals {
    use std::io::Write;
    use std::time::Instant;

    use crate::process::{DEADLINE, Running, seam, signal};

    fn started(arguments: &[&str]) -> Running {
        Running::start(seam(arguments))
    }

    #[test]
    fn the_first_one_ends_receive_and_serve_gracefully() {
        for name in ["INT", "TERM"] {
            for arguments in
                [&["receive", "memory://orders"][..], &["serve", "memory://orders", "--echo"]]
            {
                let running = started(arguments);
                signal(&running.child, name);
                let said = running.end();
                assert_eq!((said.code, said.output.as_str()), (Some(0), ""), "{arguments:?}");
            }
        }
    }

    #[test]
    fn it_ends_send_before_the_end_of_its_input_which_is_no_success() {
        let mut running = started(&["send", "memory://orders"]);
        let open = running.child.stdin.take();
        signal(&running.child, "INT");
        let said = running.end();
        assert_eq!(said.code, Some(1));
        let complaint = "seam: stopped by a signal after line 0, before the end of the input\n";
        assert!(said.complaint.ends_with(complaint), "{said:?}");
        drop(open);
    }

    #[test]
    fn the_second_one_ends_it_at_once() {
        let deadline = Instant::now() + DEADLINE;
        // Where the first one came before the line was read, there was nothing to wait for: once more.
        while code_after_many_signals() != Some(130) {
            assert!(Instant::now() < deadline, "no second signal ends it");
        }
    }

    /// Nobody receives, so that the first signal alone would make it wait for half a minute.
    fn code_after_many_signals() -> Option<i32> {
        let mut running = started(&["send", "memory://orders"]);
        let mut stdin = running.child.stdin.take().unwrap();
        // More than a pipe holds: once it is written, some was read.
        stdin.write_all(&b"order\n".repeat(20_000)).unwrap();
        let deadline = Instant::now() + DEADLINE;
        // Until it ends: signals of one kind that come together are one.
        while running.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it goes on after many signals");
            signal(&running.child, "INT");
            std::thread::yield_now();
        }
        running.end().code
    }
}
