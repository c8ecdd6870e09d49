//! What is measured against what, the goals, and the tables.

use std::io;

use comfy_table::{CellAlignment, Table, presets};

use crate::job::Program;
use crate::pairs::{self, Effort, Pairs};
use crate::plot::Bar;

/// Which rows to run.
pub(crate) struct Wanted {
    pub(crate) words: Vec<String>,
    /// Whether ours can run.
    pub(crate) ours: bool,
}

impl Wanted {
    fn holds(&self, name: &str, one: Program) -> bool {
        let asked = self.words.is_empty() || self.words.iter().any(|word| name.contains(&**word));
        asked && (self.ours || !one.is_ours())
    }
}

/// A row of the first table: ratio of messages, and of CPU.
struct Row(&'static str, Program, Program, usize, Option<f64>, Option<f64>);

use Program::{Codec, Connect, Lent, Owned, Std};

const STREAMS: [Row; 18] = [
    Row("codec / std", Codec, Std, 64, None, None),
    Row("codec / std", Codec, Std, 1 << 10, None, None),
    Row("codec / std", Codec, Std, 16 << 10, None, None),
    Row("codec / std", Codec, Std, 1 << 20, None, None),
    Row("lent / std", Lent, Std, 64, Some(0.90), Some(1.3)),
    Row("lent / std", Lent, Std, 1 << 10, Some(0.95), None),
    Row("lent / std", Lent, Std, 16 << 10, Some(1.0), None),
    Row("lent / std", Lent, Std, 1 << 20, None, None),
    Row("lent / codec", Lent, Codec, 64, Some(2.0), None),
    Row("lent / codec", Lent, Codec, 1 << 10, None, None),
    Row("owned / std", Owned, Std, 64, Some(0.50), None),
    Row("owned / std", Owned, Std, 1 << 10, Some(0.85), None),
    Row("owned / std", Owned, Std, 16 << 10, None, None),
    Row("owned / std", Owned, Std, 1 << 20, None, None),
    Row("connect / std", Connect, Std, 64, Some(0.95), None),
    Row("connect / std", Connect, Std, 1 << 10, Some(1.0), None),
    Row("connect / std", Connect, Std, 16 << 10, Some(1.0), None),
    Row("connect / std", Connect, Std, 1 << 20, Some(1.0), None),
];

/// Messages one after the other, over one connection.
pub(crate) async fn streams(effort: Effort, wanted: &Wanted) -> io::Result<Vec<Bar>> {
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
    for Row(name, one, other, size, goal, cpu_goal) in STREAMS {
        let name = format!("{name} {size} B");
        if !wanted.holds(&name, one) {
            continue;
        }
        eprintln!("{name}");
        let pairs = Pairs::run(effort, one, other, size).await?;
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
            format!("{:.4}", pairs::allocations(effort, one, size).await?),
            format!("{:.4}", pairs::allocations(effort, other, size).await?),
        ]);
        bars.push(Bar { name, ratio, goal });
    }
    print("one connection; no allocation for a message of 64 B is the goal", &table);
    Ok(bars)
}

/// Many tasks on one connection, each awaiting every one of its sends.
pub(crate) async fn tasks(effort: Effort, wanted: &Wanted) -> io::Result<Vec<Bar>> {
    let mut table =
        table(&["tasks", "msg/s", "mpsc msg/s", "ratio", "goal", "CPU s/M", "mpsc CPU s/M"]);
    let mut bars = Vec::new();
    for (count, goal) in [(8, None), (64, None), (512, Some(1.0))] {
        let name = format!("tasks / mpsc, {count} tasks");
        // Without ours, the curve of what it is to be held against.
        let one = if wanted.ours { Program::Tasks(count) } else { Program::Mpsc(count) };
        if !wanted.holds(&name, one) {
            continue;
        }
        eprintln!("{name}");
        let pairs = Pairs::run(effort, one, Program::Mpsc(count), SMALL).await?;
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
pub(crate) async fn trips(effort: Effort, wanted: &Wanted) -> io::Result<()> {
    let mut table = table(&["rtt, µs", "p50", "p99", "p99.9", "CPU s/M"]);
    let one = if wanted.ours { Program::Request } else { Program::Echo };
    if !wanted.holds("rtt", one) {
        return Ok(());
    }
    eprintln!("rtt");
    let pairs = Pairs::run(effort, one, Program::Echo, SMALL).await?;
    let row = |name: &str, value: &dyn Fn(usize) -> f64, cpu: f64| {
        let mut row = vec![name.to_owned()];
        row.extend((0..3).map(|at| format!("{:.2}", value(at))));
        row.push(format!("{cpu:.2}"));
        row
    };
    let ours = |at| pairs.median(|one, _| one.trips()[at]);
    let bare = |at| pairs.median(|_, other| other.trips()[at]);
    let ratio = |at| pairs.median(|one, other| one.trips()[at] / other.trips()[at]);
    let name = if wanted.ours { "request" } else { "bare echo again" };
    table.add_row(row(name, &ours, pairs.median(|one, _| one.cpu())));
    table.add_row(row("bare echo", &bare, pairs.median(|_, other| other.cpu())));
    table.add_row(row("ratio", &ratio, pairs.median(|one, other| one.cpu() / other.cpu())));
    table.add_row(["goal", "<= 1.15", "<= 1.15", "-", "-"]);
    print("round trips of 64 B, both processes on one core", &table);
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
