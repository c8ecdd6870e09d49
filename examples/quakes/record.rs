//! The records: real ones, and ten damaged ones among them.

use std::path::Path;

use serde::Deserialize;

use crate::Failure;

/// One line of input, damaged or not.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Counts from 0, over all lines.
    pub(crate) number: u64,
    pub(crate) text: String,
    /// What keeps its order; none in a line that cannot be read.
    pub(crate) network: Option<String>,
}

/// What a worker needs of a record.
#[derive(Debug, Deserialize)]
pub(crate) struct Quake {
    pub(crate) id: String,
    pub(crate) net: String,
    pub(crate) mag: f64,
    pub(crate) place: String,
}

/// From this magnitude on a quake raises an alert.
pub(crate) const STRONG: f64 = 5.0;

const RECORDS: &str = include_str!("../data/earthquakes.jsonl");

/// What goes wrong on the way from an instrument to a file.
const DAMAGED: [&str; 10] = [
    "",
    "{",
    "null",
    "[1517363399650, 0.31]",
    r#"{"id":"uw61345682","net":"uw","mag":"0.31","place":"37km NNE of Amboy, Washington"}"#,
    r#"{"id":"mb80279649","net":"mb","mag":1.35"#,
    r#"{"id":"us2000crkq","mag":5.3,"place":"50km NNW of Sangiang, Indonesia"}"#,
    r#"{"net":"ak","mag":2.3,"place":"81km WNW of Skagway, Alaska"}"#,
    r#"{"id":"nc72961596","net":"nc","mag":null,"place":"18km SW of Toms Place, CA"}"#,
    "id=ci38095576 net=ci mag=1.27",
];

/// Reads `path`, or the records that come with this example, and mixes the damaged ones in.
pub(crate) fn load(path: Option<&Path>) -> Result<Vec<Line>, Failure> {
    let text = match path {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Failure::file("read the records of", path, &error))?,
        None => RECORDS.to_owned(),
    };
    let records: Vec<&str> = text.lines().collect();
    let gap = records.len() / DAMAGED.len() + 1;
    let mut damaged = DAMAGED.iter();
    let mut lines = Vec::new();
    for (at, record) in records.iter().enumerate() {
        if at % gap == gap / 2 {
            lines.extend(damaged.next());
        }
        lines.push(record);
    }
    lines.extend(damaged);
    Ok((0..).zip(lines).map(|(number, text)| Line::new(number, text)).collect())
}

impl Line {
    fn new(number: u64, text: &str) -> Self {
        let network = Quake::read(text.as_bytes()).ok().map(|quake| quake.net);
        Self { number, text: text.to_owned(), network }
    }
}

impl Quake {
    /// Reads a record; the error says what is damaged.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(payload).map_err(|error| format!("damaged record: {error}"))
    }
}
