//! The final table.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use crate::args::Only;
use crate::places::Places;
use crate::tally::Tally;

pub(crate) fn render(
    tally: &Tally,
    places: &Places,
    elapsed: Duration,
    only: Option<Only>,
) -> String {
    let figures = tally.figures();
    let size = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let mut row = |name: &str, count: u64| {
        table.add_row(vec![name.to_owned(), count.to_string()]);
    };
    if only != Some(Only::Work) {
        row("records sent", figures.sent);
        row("receipted", figures.receipted);
        row("sent again", figures.resent);
        row("given up", figures.given_up);
    }
    if only != Some(Only::Produce) {
        row("records settled", size(figures.settled.len()));
        row("lookups retried", figures.retried);
        row("possible duplicates", figures.repeated);
        row("alerts raised", size(figures.alerted.len()));
        row("alerts received", size(figures.alerts.len()));
        row("damaged records", size(figures.damaged.len()));
        row("parked and received", size(figures.parked.len()));
        row("left unsettled", figures.left);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    drop(figures);
    let verdict = if tally.adds_up(only) { "adds up" } else { "DOES NOT ADD UP" };
    format!("{}\n{table}\n{verdict}, in {:.1} s", places.via, elapsed.as_secs_f64())
}
