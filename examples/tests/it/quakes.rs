//! `quakes` as a process: its table, its ledger, its errors, its signals.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Far beyond what any of this takes.
const DEADLINE: Duration = Duration::from_secs(120);

/// The compiled example.
fn quakes() -> Command {
    let mut path = std::env::current_exe().unwrap();
    // From target/<profile>/deps/it-… to target/<profile>/examples/quakes.
    path.pop();
    path.pop();
    path.extend(["examples", "quakes"]);
    let mut command = Command::new(path.with_extension(std::env::consts::EXE_EXTENSION));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    quakes().args(arguments).output().unwrap()
}

#[track_caller]
fn check_refused(arguments: &[&str], code: i32, line: &str) {
    let output = run(arguments);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("quakes: {line}\n"));
    assert_eq!(output.status.code(), Some(code));
    assert!(output.stdout.is_empty());
}

/// The figure of a row of the table.
fn figure(table: &str, row: &str) -> u64 {
    let line =
        table.lines().find(|line| line.contains(row)).unwrap_or_else(|| panic!("{row}\n{table}"));
    line.split_whitespace().find_map(|word| word.parse().ok()).unwrap()
}

#[test]
fn the_main_job_adds_up() {
    let output = run(&[]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{table}");
    let rows = [
        ("records sent", 1717),
        ("receipted", 1717),
        ("records settled", 1717),
        ("alerts raised", 39),
        ("alerts received", 39),
        ("damaged records", 10),
        ("parked and received", 10),
        ("left unsettled", 0),
    ];
    for (row, count) in rows {
        assert_eq!(figure(&table, row), count, "{row}\n{table}");
    }
    // Twice for each tenth of the records that can be read.
    let retried = figure(&table, "lookups retried");
    assert!((320..=344).contains(&retried), "{table}");
    assert!(table.contains("\nadds up, in "), "{table}");
}

#[test]
fn the_ledger_adds_up_and_a_second_run_has_nothing_left_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let ledger = ledger.to_str().unwrap();
    assert_eq!(run(&["--ledger", ledger]).status.code(), Some(0));
    let checked = run(&["--check", ledger]);
    let line = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{line}");
    assert!(line.starts_with("sent 1717 acknowledged 1717 lost 0 "), "{line}");
    let again = String::from_utf8(run(&["--ledger", ledger]).stdout).unwrap();
    assert_eq!(figure(&again, "records sent"), 0, "{again}");
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    // In between stand the transports that are compiled in.
    let refused = run(&["--via", "memroy://quakes"]);
    let line = String::from_utf8(refused.stderr).unwrap();
    assert!(line.starts_with("quakes: no transport for `memroy://`; this registry has "), "{line}");
    assert!(line.contains("memory, ") && line.contains("tcp"), "{line}");
    assert!(line.ends_with("; did you mean `memory://`?\n"), "{line}");
    assert_eq!(refused.status.code(), Some(2));
    check_refused(
        &["--via", "memory://quakes?cerdit=3"],
        2,
        "invalid endpoint: unknown parameter `cerdit` for `memory`; did you mean `credit`?",
    );
    check_refused(
        &["--via", "nsq://localhost:4150/quakes"],
        2,
        "`nsq://` is not compiled in or not registered; build with feature `nsq` of seam-channel",
    );
    assert_eq!(run(&["--rate", "0"]).status.code(), Some(2));
    assert_eq!(run(&["--only", "nothing"]).status.code(), Some(2));
}

#[test]
fn what_cannot_be_read_or_written_is_one_line_and_exit_code_1() {
    check_refused(
        &["--input", "no-such-file.jsonl"],
        1,
        "cannot read the records of no-such-file.jsonl: No such file or directory (os error 2)",
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("ledger");
    let output = run(&["--ledger", below.to_str().unwrap()]);
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.starts_with("quakes: cannot make the ledger's folder "), "{line}");
    assert_eq!((line.lines().count(), output.status.code()), (1, Some(1)));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    if let Ok(full) = full {
        let output = quakes().stdout(full).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(line.starts_with("quakes: cannot write the result: "), "{line}");
        assert_eq!((line.lines().count(), output.status.code()), (1, Some(1)));
    }
    let empty = run(&["--check", folder.path().join("file").to_str().unwrap()]);
    assert_eq!(empty.status.code(), Some(1));
}

#[cfg(unix)]
#[test]
fn the_first_signal_drains_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let child = start_slowly(folder.path());
    signal(&child, "INT");
    let output = end_of(child);
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert_eq!(figure(&table, "records sent"), figure(&table, "records settled"), "{table}");
    assert_eq!(run(&["--check", folder.path().to_str().unwrap()]).status.code(), Some(0));
}

#[cfg(unix)]
#[test]
fn the_second_signal_stops_and_says_what_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start_slowly(folder.path());
    // Until it ends: the second signal may come before the first was taken.
    let deadline = Instant::now() + DEADLINE;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it goes on after many signals");
        signal(&child, "INT");
        std::thread::yield_now();
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("records sent have no receipt"), "{said}");
}

/// A run that takes long, of which something has arrived.
#[cfg(unix)]
fn start_slowly(ledger: &Path) -> Child {
    let child = quakes().args(["--rate", "200", "--ledger"]).arg(ledger).spawn().unwrap();
    let deadline = Instant::now() + DEADLINE;
    let has_settled =
        |path: &PathBuf| std::fs::read_to_string(path).is_ok_and(|text| text.contains("settled"));
    let files = || -> Vec<PathBuf> {
        std::fs::read_dir(ledger).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    while !files().iter().any(has_settled) {
        assert!(Instant::now() < deadline, "nothing was settled");
        std::thread::yield_now();
    }
    child
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    // It may have ended meanwhile; what it did is looked at after.
    drop(Command::new("kill").args(["-s", name, &child.id().to_string()]).output());
}

/// Everything it said, once it has ended.
#[cfg(unix)]
fn end_of(child: Child) -> Output {
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    end.recv_timeout(DEADLINE).expect("it does not end").unwrap()
}

/// Workers and producers in processes of their own, over TCP, any of them killed in the middle.
#[cfg(unix)]
mod over_tcp {
    use std::collections::HashSet;

    use seam_conformance::free_port;

    use super::*;

    /// Where the three endpoints of a run are, and its ledger.
    struct Scene {
        via: String,
        folder: tempfile::TempDir,
    }

    impl Scene {
        fn new() -> Self {
            let via = format!("tcp://127.0.0.1:{}/quakes", free_port());
            Self { via, folder: tempfile::tempdir().unwrap() }
        }

        fn start(&self, only: &str, rate: &str) -> Running {
            let mut command = quakes();
            command.args(["--via", &self.via, "--only", only, "--ledger"]).arg(self.folder.path());
            if only == "produce" {
                command.args(["--rate", rate]);
            }
            Running(Some(command.spawn().unwrap()))
        }

        fn ledgers(&self) -> Vec<PathBuf> {
            let entries = std::fs::read_dir(self.folder.path());
            entries.map_or(Vec::new(), |all| all.map(|entry| entry.unwrap().path()).collect())
        }

        /// How many records all workers have settled so far.
        fn settled(&self) -> usize {
            let count = |path: &PathBuf| {
                std::fs::read_to_string(path).unwrap().matches(r#""event":"settled""#).count()
            };
            self.ledgers().iter().map(count).sum()
        }

        fn wait_until_settled(&self, records: usize) {
            let deadline = Instant::now() + DEADLINE;
            while self.settled() < records {
                assert!(Instant::now() < deadline, "{} of {records} settled", self.settled());
                std::thread::sleep(Duration::from_millis(5));
            }
        }

        /// Whether every record was settled, and nothing was lost or went wrong. What a killed producer was not
        /// told it does not know, and sends again unless it was settled.
        #[track_caller]
        fn check(&self) {
            let checked = run(&["--check", self.folder.path().to_str().unwrap()]);
            let line = String::from_utf8(checked.stdout).unwrap();
            assert_eq!(checked.status.code(), Some(0), "{line}");
            assert!(line.starts_with("sent 1717 ") && line.contains(" lost 0 "), "{line}");
            let mut settled = HashSet::new();
            for path in self.ledgers() {
                let text = std::fs::read_to_string(path).unwrap();
                let lines = text.lines().filter(|line| line.contains(r#""event":"settled""#));
                // Producer, key and number, with which each stamp begins.
                let stamps = lines.map(|line| line.split(',').skip(2).take(3).collect::<String>());
                settled.extend(stamps);
            }
            assert_eq!(settled.len(), 1717, "{line}");
        }
    }

    /// A process that is killed, at the latest, when the test is over.
    struct Running(Option<Child>);

    impl Running {
        /// Kills it as it stands.
        fn kill(mut self) {
            let mut child = self.0.take().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
        }

        /// Waits until it has ended by itself, well; what it said.
        #[track_caller]
        fn end(mut self) -> String {
            let output = end_of(self.0.take().unwrap());
            let table = String::from_utf8(output.stdout).unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{table}\n{said}");
            table
        }

        #[track_caller]
        fn stop(self) -> String {
            signal(self.0.as_ref().unwrap(), "TERM");
            self.end()
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            if let Some(mut child) = self.0.take() {
                // It may have ended already.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }

    #[test]
    fn two_processes_add_up() {
        let scene = Scene::new();
        let worker = scene.start("work", "");
        let table = scene.start("produce", "4000").end();
        assert_eq!(figure(&table, "records sent"), 1717, "{table}");
        scene.wait_until_settled(1717);
        worker.stop();
        scene.check();
    }

    #[test]
    fn a_killed_worker_loses_nothing() {
        let scene = Scene::new();
        let mut worker = scene.start("work", "");
        let producer = scene.start("produce", "800");
        for settled in [100, 500, 900] {
            scene.wait_until_settled(settled);
            worker.kill();
            worker = scene.start("work", "");
        }
        producer.end();
        worker.stop();
        scene.check();
    }

    #[test]
    fn a_killed_producer_goes_on_behind_its_last_settled_record() {
        let scene = Scene::new();
        let worker = scene.start("work", "");
        let mut producer = scene.start("produce", "800");
        for settled in [100, 500, 900] {
            scene.wait_until_settled(settled);
            producer.kill();
            producer = scene.start("produce", "800");
        }
        producer.end();
        worker.stop();
        scene.check();
    }
}
