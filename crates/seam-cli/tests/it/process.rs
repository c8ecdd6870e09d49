//! The command as a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Far beyond what any of this takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The command with these arguments, its three streams piped.
pub(crate) fn seam(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seam"));
    command.args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Everything the command says to this input.
pub(crate) fn run(arguments: &[&str], input: &[u8]) -> Said {
    end_with(seam(arguments), input)
}

/// Everything this command says to this input.
pub(crate) fn end_with(mut command: Command, input: &[u8]) -> Said {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end without reading.
    drop(stdin.write_all(input));
    drop(stdin);
    end_of(child)
}

/// Everything it says until it ends, which is soon.
pub(crate) fn end_of(child: Child) -> Said {
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    let output = end.recv_timeout(DEADLINE).expect("it does not end");
    Said::new(output.unwrap())
}

/// A command whose connection stands.
pub(crate) struct Running {
    pub(crate) child: Child,
    output: Option<JoinHandle<String>>,
    complaint: JoinHandle<String>,
}

impl Running {
    /// Starts the command with `--verbose`, and waits until it says that its connection stands. It catches signals
    /// from before that.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.arg("--verbose").spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (stands, standing) = mpsc::channel();
        // Reads to the end, or the command would wait.
        let complaint = std::thread::spawn(move || {
            let (mut line, mut lines) = (String::new(), String::new());
            while stderr.read_line(&mut line).unwrap() > 0 {
                if line.contains("Connected") {
                    // Said once is enough.
                    let _ = stands.send(());
                }
                if line.starts_with("seam: ") {
                    lines.push_str(&line);
                }
                line.clear();
            }
            lines
        });
        standing.recv_timeout(DEADLINE).expect("it ended, or takes too long to stand");
        // Nor may it wait for somebody to read what it writes.
        let output = child.stdout.take().map(|mut stdout| {
            std::thread::spawn(move || {
                let mut output = String::new();
                stdout.read_to_string(&mut output).unwrap();
                output
            })
        });
        Self { child, output, complaint }
    }

    /// Everything it says until it ends, which is soon; of standard error only the command's own lines.
    pub(crate) fn end(self) -> Said {
        let mut said = end_of(self.child);
        if let Some(output) = self.output {
            said.output = output.join().unwrap();
        }
        said.complaint = self.complaint.join().unwrap();
        said
    }
}

/// What a process said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) complaint: String,
}

impl Said {
    fn new(output: Output) -> Self {
        Self {
            code: output.status.code(),
            output: String::from_utf8(output.stdout).unwrap(),
            complaint: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Holds that the command refuses these arguments with one line and this exit code, and prints nothing.
#[track_caller]
pub(crate) fn check_refused(arguments: &[&str], code: i32, line: &str) {
    let said = run(arguments, b"");
    assert_eq!(said.complaint, format!("seam: {line}\n"));
    assert_eq!((said.code, said.output.as_str()), (Some(code), ""));
}

/// Sends a signal by its name.
#[cfg(unix)]
pub(crate) fn signal(child: &Child, name: &str) {
    // It may have ended meanwhile; what it did is looked at after.
    drop(Command::new("kill").args(["-s", name, &child.id().to_string()]).output());
}
