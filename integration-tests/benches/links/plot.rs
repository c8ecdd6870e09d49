//! A bar for each ratio, as SVG.

use std::fmt::Write;

/// One bar, and where it should reach.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) ratio: f64,
    pub(crate) goal: Option<f64>,
}

const LABEL: f64 = 190.0;
const WIDTH: f64 = 420.0;
const LINE: f64 = 22.0;
/// The ratio at the right edge; longer bars are cut, and say their number all the same.
const MOST: f64 = 2.5;

pub(crate) fn svg(title: &str, bars: &[Bar]) -> String {
    let lines = f64::from(u32::try_from(bars.len()).unwrap_or(u32::MAX));
    let (width, height) = (LABEL + WIDTH + 70.0, LINE * (lines + 2.0));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"16\" font-weight=\"bold\">{title}</text>\n"
    );
    let mut top = LINE * 1.5;
    for bar in bars {
        draw(&mut text, top, bar);
        top += LINE;
    }
    vertical(&mut text, 1.0, LINE * 1.4, top, "black");
    text.push_str("</svg>\n");
    text
}

fn draw(text: &mut String, top: f64, bar: &Bar) {
    let reached = bar.goal.is_none_or(|goal| bar.ratio >= goal);
    let color = if reached { "#4a90c2" } else { "#d98c3f" };
    let length = along(bar.ratio);
    let base = top + LINE * 0.6;
    push(text, format_args!("<text x=\"8\" y=\"{base}\">{}</text>\n", bar.name));
    let thick = LINE * 0.7;
    push(
        text,
        format_args!(
            "<rect x=\"{LABEL}\" y=\"{top}\" width=\"{length:.1}\" height=\"{thick:.1}\" fill=\"{color}\"/>\n"
        ),
    );
    let behind = LABEL + length + 5.0;
    push(text, format_args!("<text x=\"{behind:.1}\" y=\"{base}\">{:.2}</text>\n", bar.ratio));
    if let Some(goal) = bar.goal {
        vertical(text, goal, top, top + thick, "#b03030");
    }
}

fn vertical(text: &mut String, ratio: f64, top: f64, bottom: f64, color: &str) {
    let x = LABEL + along(ratio);
    push(
        text,
        format_args!(
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\" stroke=\"{color}\"/>\n"
        ),
    );
}

fn along(ratio: f64) -> f64 {
    WIDTH * ratio.clamp(0.0, MOST) / MOST
}

fn push(text: &mut String, piece: std::fmt::Arguments<'_>) {
    text.write_fmt(piece).expect("a string takes everything");
}
