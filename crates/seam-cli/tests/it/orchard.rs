//! The command as a third party has it: around a registry of its own, with somebody at the other end.
//!
//! That is the example `orchard`, which gives apples, adds up, and takes what is put into its basket.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::process::{Said, end_of, end_with};

fn orchard(arguments: &[&str]) -> Command {
    // From target/<profile>/seam to target/<profile>/examples/orchard.
    let mut path = PathBuf::from(env!("CARGO_BIN_EXE_seam"));
    path.pop();
    path.extend(["examples", "orchard"]);
    let mut command = Command::new(path.with_extension(std::env::consts::EXE_EXTENSION));
    command.args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str], input: &[u8]) -> Said {
    end_with(orchard(arguments), input)
}

fn apples(numbers: impl Iterator<Item = u32>) -> String {
    numbers.map(|number| format!("apple {number}\n")).collect()
}

#[test]
fn what_is_received_goes_to_standard_output_and_nothing_else_does() {
    let said = run(&["receive", "memory://apples", "--count", "1000"], b"");
    assert_eq!((said.code, said.complaint.as_str()), (Some(0), ""));
    assert_eq!(said.output, apples(1..=1000));
    let said = run(&["receive", "memory://apples", "--count", "2", "--raw"], b"");
    assert_eq!((said.code, said.output.as_str()), (Some(0), "apple 1apple 2"));
    let said = run(&["receive", "memory://apples", "--count", "1", "--json"], b"");
    assert_eq!((said.code, said.output.as_str()), (Some(0), "{\"payload\":\"apple 1\"}\n"));
}

#[test]
fn a_file_is_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("apples");
    let arguments = ["receive", "memory://apples", "--count", "2", "--output"];
    for _ in 0..2 {
        let said = run(&[&arguments[..], &[path.to_str().unwrap()]].concat(), b"");
        assert_eq!((said.code, said.output.as_str(), said.complaint.as_str()), (Some(0), "", ""));
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(kept, "apple 1\napple 2\napple 1\napple 2\n");
}

#[test]
fn many_lines_are_sent_and_settled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    let input: String = (0..50_000).map(|number| format!("{{\"n\":{number}}}\n")).collect();
    std::fs::write(&path, &input).unwrap();
    let arguments = ["send", "memory://basket", "--key-field", "n"];
    let said = run(&[&arguments[..], &["--lines", path.to_str().unwrap()]].concat(), b"");
    assert_eq!((said.code, said.output.as_str()), (Some(0), ""), "{said:?}");
    let wanted = format!("seam: sent 50000 datagrams, {} bytes in ", input.len() - 50_000);
    assert!(said.complaint.starts_with(&wanted), "{said:?}");
    assert!(said.complaint.ends_with(" s; 0 not sent, 0 maybe sent\n"), "{said:?}");
    assert_eq!(run(&arguments, input.as_bytes()).code, Some(0));
}

#[test]
fn a_request_prints_its_reply() {
    let said = run(&["request", "memory://sum", "1 2 3"], b"");
    assert_eq!((said.code, said.output.as_str(), said.complaint.as_str()), (Some(0), "6\n", ""));
    let said = run(&["request", "memory://sum"], b"40\n2\n");
    assert_eq!((said.code, said.output.as_str()), (Some(0), "42\n"));
}

#[cfg(unix)]
#[test]
fn a_broken_pipe_is_one_line() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let said = end_of(orchard(&["receive", "memory://apples"]).stdout(writer).spawn().unwrap());
    let wanted = "seam: cannot write the output: Broken pipe (os error 32); \
                  what was not written comes again\n";
    assert_eq!((said.code, said.complaint.as_str()), (Some(1), wanted));
}

#[cfg(unix)]
#[test]
fn a_signal_while_much_arrives_leaves_nothing_half_printed() {
    use std::io::{BufRead, BufReader, Read};
    let mut child = orchard(&["receive", "memory://apples"]).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    output.read_line(&mut text).unwrap();
    crate::process::signal(&child, "TERM");
    output.read_to_string(&mut text).unwrap();
    let said = end_of(child);
    assert_eq!((said.code, said.complaint.as_str()), (Some(0), ""));
    let printed = u32::try_from(text.lines().count()).unwrap();
    assert!(text == apples(1..=printed), "{printed} lines, and something else");
}
