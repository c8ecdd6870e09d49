//! The matrix of `docs/choosing.md`, held against what the transports say of themselves. Where it differs,
//! `SEAM_WRITE_DOCS=1` has this test write it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use seam::{Capabilities, Capability, Registry, Side, Support};

/// A column: its heading, the form that it is shown with, and others that promise the same.
struct Column {
    heading: &'static str,
    form: &'static str,
    same: &'static [&'static str],
}

const COLUMNS: [Column; 14] = [
    Column { heading: "memory", form: "memory://a", same: &[] },
    Column { heading: "tcp", form: "tcp://localhost/a", same: &[] },
    Column { heading: "tcp, connect", form: "tcp://localhost?wire=connect", same: &[] },
    Column { heading: "tcp, any", form: "tcp://localhost/a?wire=any&role=listen", same: &[] },
    Column { heading: "tls", form: "tls://localhost/a", same: &[] },
    Column { heading: "quic", form: "quic://localhost/a", same: &[] },
    Column { heading: "unix", form: "unix:///s?address=a", same: &[] },
    Column { heading: "kafka", form: "kafka://h/a", same: &["kafka+tls://h/a"] },
    Column {
        heading: "rabbitmq",
        form: "rabbitmq://h/a",
        same: &["rabbitmq+tls://h/a", "amqp://h/v?address=a", "amqps://h/v?address=a"],
    },
    Column { heading: "rabbitmq, classic", form: "rabbitmq://h/a?queue_type=classic", same: &[] },
    Column { heading: "rabbitmq, by key", form: "rabbitmq://h/a?order=key", same: &[] },
    Column { heading: "rabbitmq, exchange", form: "rabbitmq://h/a?exchange=e", same: &[] },
    Column {
        heading: "sqs",
        form: "sqs://r/a",
        same: &["sqs+http://k:s@h/a", "sqs+https://k:s@h/a"],
    },
    Column {
        heading: "sqs, FIFO",
        form: "sqs://r/a.fifo",
        same: &["sqs+http://k:s@h/a.fifo", "sqs+https://k:s@h/a.fifo"],
    },
];

/// What stands before the matrix in the page, and after it.
const BEGIN: &str = "<!-- begin: the matrix, written by a test -->\n";
const END: &str = "<!-- end: the matrix -->\n";

#[test]
fn the_matrix_says_what_the_transports_say() {
    let (page, matrix) = (fs::read_to_string(path()).unwrap(), matrix(&seam::registry()));
    if env::var("SEAM_WRITE_DOCS").is_ok_and(|value| value == "1") {
        fs::write(path(), with_matrix(&page, &matrix)).unwrap();
        return;
    }
    assert_eq!(
        complaint(&page, &matrix),
        None,
        "to write it: SEAM_WRITE_DOCS=1 cargo test -p integration-tests --all-features --test it -- choosing"
    );
}

/// Else a page without a matrix, or with a wrong one, could pass.
#[test]
fn a_matrix_that_is_wrong_or_missing_is_found() {
    let matrix = matrix(&seam::registry());
    let page = with_matrix(&format!("text\n{BEGIN}old\n{END}more\n"), &matrix);
    assert_eq!(page, format!("text\n{BEGIN}{matrix}{END}more\n"));
    assert_eq!(complaint(&page, &matrix), None);
    let wrong = page.replacen("| yes |", "| - |", 1);
    let told = complaint(&wrong, &matrix).unwrap();
    assert!(told.contains("the page: | Envelope | - |"), "{told}");
    assert!(told.contains("the code: | Envelope | yes |"), "{told}");
    let more = page.replacen(END, &format!("| Speed | yes |\n{END}"), 1);
    assert!(complaint(&more, &matrix).unwrap().contains("the code: nothing"));
    assert!(complaint("no matrix", &matrix).is_some());
}

#[test]
fn each_scheme_has_its_column() {
    let shown: BTreeSet<_> =
        COLUMNS.iter().flat_map(forms).map(|form| form.split(':').next().unwrap()).collect();
    let all: BTreeSet<_> = seam::registry().schemes().map(|scheme| scheme.name).collect();
    assert_eq!(shown, all);
}

fn forms(column: &Column) -> impl Iterator<Item = &'static str> {
    [column.form].into_iter().chain(column.same.iter().copied())
}

/// What is wrong with the matrix of `page`, by the first line that differs.
fn complaint(page: &str, matrix: &str) -> Option<String> {
    let Some((_, found, _)) = parts(page) else {
        return Some(format!("no matrix between {BEGIN:?} and {END:?}"));
    };
    let (mut found, mut wanted) = (found.lines(), matrix.lines());
    loop {
        match (found.next(), wanted.next()) {
            (None, None) => return None,
            (one, other) if one == other => {}
            (one, other) => {
                let nothing = "nothing";
                let (one, other) = (one.unwrap_or(nothing), other.unwrap_or(nothing));
                return Some(format!("\nthe page: {one}\nthe code: {other}\n"));
            }
        }
    }
}

fn with_matrix(page: &str, matrix: &str) -> String {
    let (before, _, after) = parts(page).expect("the page has a place for the matrix");
    format!("{before}{BEGIN}{matrix}{END}{after}")
}

/// Before the matrix, the matrix, and after it.
fn parts(page: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (matrix, after) = rest.split_once(END)?;
    Some((before, matrix, after))
}

/// What stands in a row for one column.
type Cell = fn(&Capabilities) -> String;

/// The matrix as Markdown.
fn matrix(registry: &Registry) -> String {
    let columns: Vec<_> = COLUMNS.iter().map(|column| promises(registry, column)).collect();
    let mut matrix = String::new();
    let mut row = |name: &str, cells: Vec<String>| {
        writeln!(matrix, "| {name} | {} |", cells.join(" | ")).unwrap();
    };
    row("", COLUMNS.iter().map(|column| column.heading.to_owned()).collect());
    row("---", vec!["---".to_owned(); COLUMNS.len()]);
    row("URI", COLUMNS.iter().map(|column| format!("`{}`", column.form)).collect());
    for capability in Capability::ALL {
        let cell = |promises: &Capabilities| word(promises.support(capability)).to_owned();
        row(&capability.to_string(), columns.iter().map(cell).collect());
    }
    let limits: [(&str, Cell); 7] = [
        ("a receipt says", |all| format!("{:?}", all.confirmation())),
        ("largest payload", |all| bytes(all.limits().payload)),
        ("longest key", |all| of(all, Capability::Envelope, bytes(all.limits().key))),
        ("most headers", |all| of(all, Capability::Envelope, all.limits().headers.to_string())),
        ("all headers", |all| of(all, Capability::Envelope, bytes(all.limits().header_bytes))),
        ("longest delay of a retry", |all| of(all, Capability::Delay, time(all.limits().delay))),
        ("`deliver_at` ahead", |all| of(all, Capability::Schedule, time(all.limits().schedule))),
    ];
    for (name, cell) in limits {
        row(name, columns.iter().map(cell).collect());
    }
    matrix
}

/// What each form of a column promises on either side.
fn promises(registry: &Registry, column: &Column) -> Capabilities {
    let promised = registry.check(column.form, Side::Server).unwrap();
    for form in forms(column) {
        for side in [Side::Client, Side::Server] {
            assert_eq!(registry.check(form, side).unwrap(), promised, "{form}, {side}");
        }
    }
    promised
}

fn word(support: Support) -> &'static str {
    match support {
        Support::Native => "yes",
        Support::Emulated => "ours",
        Support::No => "-",
        Support::AtOpen => "at open",
    }
}

fn bytes(count: usize) -> String {
    for (unit, size) in [("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if count > 0 && count.is_multiple_of(size) {
            return format!("{} {unit}", count / size);
        }
    }
    format!("{count} B")
}

fn time(length: Duration) -> String {
    let seconds = length.as_secs();
    for (unit, size) in [("h", 3600), ("min", 60)] {
        if seconds >= size && seconds.is_multiple_of(size) {
            return format!("{} {unit}", seconds / size);
        }
    }
    format!("{seconds} s")
}

/// The limit of what is promised; none of what is not.
fn of(promises: &Capabilities, capability: Capability, limit: String) -> String {
    match promises.support(capability) {
        Support::No => "-".to_owned(),
        _ => limit,
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/choosing.md")
}
