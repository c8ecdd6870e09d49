//! What is measured against what, the goals, and the tables.

use std::fmt::Display;
use std::io;

use comfy_table::{CellAlignment, Table, presets};
use integration_tests::bare::Over;

use crate::job::Program::{
    self, Bare, BareIdle, Codec, Connect, Echo, Idle, Lent, Owned, Request, Std,
};
use crate::pairs::{self, Effort, Pairs, What};
use crate::plot::Bar;

/// Words that the names of wanted rows hold; without any, all are.
pub(crate) struct Wanted(pub(crate) Vec<String>);

impl Wanted {
    fn holds(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|word| name.contains(&**word))
    }
}

/// A row of the first table: ratio of messages, and of CPU.
struct Row(Over, Program, Program, usize, Option<f64>, Option<f64>);

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const STREAMS: [Row; 42] = [
    Row(Over::Tcp, Codec, Std, 64, None, None),
    Row(Over::Tcp, Codec, Std, KIB, None, None),
    Row(Over::Tcp, Codec, Std, 16 * KIB, None, None),
    Row(Over::Tcp, Codec, Std, MIB, None, None),
    Row(Over::Tcp, Lent, Std, 64, Some(0.90), Some(1.3)),
    Row(Over::Tcp, Lent, Std, KIB, Some(0.95), None),
    Row(Over::Tcp, Lent, Std, 16 * KIB, Some(1.0), None),
    Row(Over::Tcp, Lent, Std, MIB, None, None),
    Row(Over::Tcp, Lent, Codec, 64, Some(2.0), None),
    Row(Over::Tcp, Lent, Codec, KIB, None, None),
    Row(Over::Tcp, Owned, Std, 64, Some(0.50), None),
    Row(Over::Tcp, Owned, Std, KIB, Some(0.85), None),
    Row(Over::Tcp, Owned, Std, 16 * KIB, None, None),
    Row(Over::Tcp, Owned, Std, MIB, None, None),
    Row(Over::Tcp, Connect, Std, 64, Some(0.95), None),
    Row(Over::Tcp, Connect, Std, KIB, Some(1.0), None),
    Row(Over::Tcp, Connect, Std, 16 * KIB, Some(1.0), None),
    Row(Over::Tcp, Connect, Std, MIB, Some(1.0), None),
    Row(Over::Tls, Lent, Bare, 64, Some(0.90), None),
    Row(Over::Tls, Lent, Bare, KIB, Some(0.97), None),
    Row(Over::Tls, Lent, Bare, 16 * KIB, Some(0.97), None),
    Row(Over::Tls, Lent, Bare, MIB, Some(0.97), None),
    Row(Over::Tls, Owned, Bare, 64, None, None),
    Row(Over::Tls, Connect, Bare, 64, None, None),
    Row(Over::Tls, Connect, Bare, KIB, None, None),
    Row(Over::Quic, Lent, Bare, 64, Some(0.95), None),
    Row(Over::Quic, Lent, Bare, KIB, Some(0.97), None),
    Row(Over::Quic, Lent, Bare, 16 * KIB, Some(0.97), None),
    Row(Over::Quic, Lent, Bare, MIB, Some(0.97), None),
    Row(Over::Quic, Owned, Bare, 64, None, None),
    Row(Over::Unix, Lent, Std, 64, Some(0.90), Some(1.3)),
    Row(Over::Unix, Lent, Std, KIB, Some(0.95), None),
    Row(Over::Unix, Lent, Std, 16 * KIB, Some(1.0), None),
    Row(Over::Unix, Lent, Std, MIB, None, None),
    Row(Over::Unix, Owned, Std, 64, Some(0.50), None),
    Row(Over::Unix, Owned, Std, KIB, Some(0.85), None),
    Row(Over::Unix, Owned, Std, 16 * KIB, None, None),
    Row(Over::Unix, Owned, Std, MIB, None, None),
    Row(Over::Unix, Connect, Std, 64, Some(0.95), None),
    Row(Over::Unix, Connect, Std, KIB, Some(1.0), None),
    Row(Over::Unix, Connect, Std, 16 * KIB, Some(1.0), None),
    Row(Over::Unix, Connect, Std, MIB, Some(1.0), None),
];

/// Messages one after the other, over one connection.
pub(crate) async fn streams(effort: &Effort, wanted: &Wanted) -> io::Result<Vec<Bar>> {
    let mut table = table(&[
        "row",
        "bytes",
        "msg/s",
        "against",
        "ratio",
        "goal",
        "CPU s/M",
        "against",
        "ratio",
        "goal",
        "RSS MiB",
        "against",
        "alloc/msg",
        "against",
    ]);
    let mut bars = Vec::new();
    for Row(over, program, other, size, goal, cpu_goal) in STREAMS {
        let name = format!("{over} {program} / {other} {size} B");
        if !wanted.holds(&name) {
            continue;
        }
        eprintln!("{name}");
        let one = What { over, program, size };
        let pairs = Pairs::run(effort, one, other).await?;
        let ratio = pairs.median(|one, other| one.rate() / other.rate());
        table.add_row([
            name.clone(),
            size.to_string(),
            rate(pairs.median(|one, _| one.rate())),
            rate(pairs.median(|_, other| other.rate())),
            format!("{ratio:.2}"),
            shown(">=", goal),
            format!("{:.3}", pairs.median(|one, _| one.cpu())),
            format!("{:.3}", pairs.median(|_, other| other.cpu())),
            format!("{:.2}", pairs.median(|one, other| one.cpu() / other.cpu())),
            shown("<=", cpu_goal),
            format!("{:.1}", pairs.median(|one, _| one.peak())),
            format!("{:.1}", pairs.median(|_, other| other.peak())),
            format!("{:.4}", pairs::allocations(effort, one).await?),
            format!("{:.4}", pairs::allocations(effort, What { program: other, ..one }).await?),
        ]);
        bars.push(Bar { name, ratio, goal });
    }
    print("one connection; no allocation for a message of 64 B is the goal", &table);
    Ok(bars)
}

/// Many tasks on one connection, each awaiting every one of its sends.
pub(crate) async fn tasks(effort: &Effort, wanted: &Wanted) -> io::Result<Vec<Bar>> {
    let mut table =
        table(&["tasks", "msg/s", "mpsc msg/s", "ratio", "goal", "CPU s/M", "mpsc CPU s/M"]);
    let mut bars = Vec::new();
    for (count, goal) in [(8, None), (64, None), (512, Some(1.0))] {
        let name = format!("tcp tasks / mpsc, {count} tasks");
        if !wanted.holds(&name) {
            continue;
        }
        eprintln!("{name}");
        let one = What { over: Over::Tcp, program: Program::Tasks(count), size: SMALL };
        let pairs = Pairs::run(effort, one, Program::Mpsc(count)).await?;
        let ratio = pairs.median(|one, other| one.rate() / other.rate());
        table.add_row([
            count.to_string(),
            rate(pairs.median(|one, _| one.rate())),
            rate(pairs.median(|_, other| other.rate())),
            format!("{ratio:.2}"),
            shown(">=", goal),
            format!("{:.2}", pairs.median(|one, _| one.cpu())),
            format!("{:.2}", pairs.median(|_, other| other.cpu())),
        ]);
        bars.push(Bar { name, ratio, goal });
    }
    print("each task awaits each of its sends of 64 B", &table);
    Ok(bars)
}

/// Round trips, both processes on one core.
pub(crate) async fn trips(effort: &Effort, wanted: &Wanted) -> io::Result<()> {
    let mut table = table(&["rtt, µs", "p50", "p99", "p99.9", "CPU s/M"]);
    for over in Over::EACH {
        let name = format!("{over} rtt");
        if !wanted.holds(&name) {
            continue;
        }
        eprintln!("{name}");
        let one = What { over, program: Request, size: SMALL };
        let pairs = Pairs::run(effort, one, Echo).await?;
        let row = |name: &dyn Display, value: &dyn Fn(usize) -> f64, cpu: f64| {
            let mut row = vec![format!("{over} {name}")];
            row.extend((0..3).map(|at| format!("{:.2}", value(at))));
            row.push(format!("{cpu:.2}"));
            row
        };
        let ours = |at| pairs.median(|one, _| one.trips()[at]);
        let bare = |at| pairs.median(|_, other| other.trips()[at]);
        let ratio = |at| pairs.median(|one, other| one.trips()[at] / other.trips()[at]);
        table.add_row(row(&Request, &ours, pairs.median(|one, _| one.cpu())));
        table.add_row(row(&Echo, &bare, pairs.median(|_, other| other.cpu())));
        table.add_row(row(&"ratio", &ratio, pairs.median(|one, other| one.cpu() / other.cpu())));
        table.add_row(["goal", "<= 1.15", "<= 1.15", "-", "-"]);
    }
    print("round trips of 64 B, both processes on one core", &table);
    Ok(())
}

/// Connections on which nothing happens, and how quickly they were made.
pub(crate) async fn idle(effort: &Effort, wanted: &Wanted) -> io::Result<()> {
    let mut table = table(&["idle", "connections", "made in a second", "KiB each", "goal"]);
    for over in Over::EACH {
        let count = match over {
            // Quinn gives each socket that dials a buffer of 3 MB.
            Over::Quic => effort.idle / 5,
            _ => effort.idle,
        };
        for program in [Idle(count), BareIdle(count)] {
            let name = format!("{over} idle, {program}");
            if !wanted.holds(&name) {
                continue;
            }
            eprintln!("{name}");
            let what = What { over, program, size: SMALL };
            let (made, each) = pairs::idle(effort, what).await?;
            // As E10 of the fault cases has them.
            let goal = match (over, program) {
                (Over::Tcp, Idle(_)) => Some(32.0),
                (Over::Tls, Idle(_)) => Some(64.0),
                (Over::Quic, Idle(_)) => Some(96.0),
                _ => None,
            };
            let each = f64::from(u32::try_from(each).unwrap_or(u32::MAX)) / 1024.0;
            table.add_row([
                name,
                count.to_string(),
                format!("{made:.0}"),
                format!("{each:.1}"),
                shown("<=", goal),
            ]);
        }
    }
    print("memory of the end that listens; both ends share the machine", &table);
    Ok(())
}

const SMALL: usize = 64;

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn print(heading: &str, table: &Table) {
    if !table.is_empty() {
        println!("\n{heading}\n{table}");
    }
}

fn rate(messages: f64) -> String {
    if messages >= 1e6 {
        format!("{:.2}M", messages / 1e6)
    } else {
        format!("{:.1}k", messages / 1e3)
    }
}

fn shown(sign: &str, goal: Option<f64>) -> String {
    goal.map_or("-".to_owned(), |goal| format!("{sign} {goal:.2}"))
}
