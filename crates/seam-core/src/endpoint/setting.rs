//! The value of a parameter, read once according to its [`Kind`].

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::scheme::{Kind, Parameter};
use crate::{Error, Result, Timestamp, Uri};

/// Where a new group begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest datagram that is kept.
    Earliest,
    /// With what is sent from now on.
    Latest,
    /// With the first datagram at or after this time.
    At(Timestamp),
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::At(time) => fmt::Display::fmt(time, f),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Setting {
    Flag,
    Count(usize),
    Bytes(usize),
    Duration(Duration),
    Text(Box<str>),
    Path(PathBuf),
    Uri(Uri),
    Start(Start),
}

impl Setting {
    /// Reads `text` as a value of `parameter`. Errors name it, and show nothing of the value.
    pub(super) fn parse(parameter: &Parameter, text: &str) -> Result<Self> {
        let name = parameter.name;
        let setting = match parameter.kind {
            Kind::Flag => (text == "true")
                .then_some(Self::Flag)
                .ok_or_else(|| format!("`{name}` is a flag; write `{name}`, or leave it out")),
            Kind::Count { min } => parse_count(name, text, min).map(Self::Count),
            Kind::Bytes => parse_bytes(name, text).map(Self::Bytes),
            Kind::Duration => parse_duration(name, text).map(Self::Duration),
            Kind::Text => parse_text(name, text).map(|text| Self::Text(text.into())),
            Kind::Path => parse_text(name, text).map(|text| Self::Path(text.into())),
            Kind::Uri => parse_uri(name, text).map(Self::Uri),
            Kind::Start => parse_start(name, text).map(Self::Start),
            Kind::Choice(words) => parse_choice(name, text, words).map(Self::Text),
        };
        setting.map_err(Error::invalid_endpoint)
    }
}

fn parse_count(name: &str, text: &str, min: usize) -> Result<usize, String> {
    let wrong = || format!("`{name}` must be a whole number of at least {min}");
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    text.parse().ok().filter(|count| *count >= min).ok_or_else(wrong)
}

fn parse_bytes(name: &str, text: &str) -> Result<usize, String> {
    let wrong =
        || format!("`{name}` must be a whole number with B, KiB, MiB or GiB, such as 64KiB");
    let (number, unit) = split_unit(text).ok_or_else(wrong)?;
    let factor: usize = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: Option<usize> = number.parse().ok();
    match number.and_then(|number| number.checked_mul(factor)) {
        Some(0) => Err(format!("`{name}` must be at least 1B")),
        Some(bytes) => Ok(bytes),
        None => Err(format!("`{name}` is more than memory can hold; give less")),
    }
}

fn parse_duration(name: &str, text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{name}` must be a whole number with ms, s, m, h or d, such as 30s");
    let (number, unit) = split_unit(text).ok_or_else(wrong)?;
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60 * 1_000,
        "h" => 60 * 60 * 1_000,
        "d" => 24 * 60 * 60 * 1_000,
        _ => return Err(wrong()),
    };
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(factor))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| format!("`{name}` is too long; at most 36500d"))
}

fn split_unit(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn parse_text<'a>(name: &str, text: &'a str) -> Result<&'a str, String> {
    if text.is_empty() {
        return Err(format!("`{name}` is empty; give it a value, or leave it out"));
    }
    Ok(text)
}

fn parse_uri(name: &str, text: &str) -> Result<Uri, String> {
    text.parse().map_err(|error| match error {
        Error::InvalidEndpoint { reason } => format!("`{name}` is not a URI: {reason}"),
        other => format!("`{name}` is not a URI: {other}"),
    })
}

fn parse_start(name: &str, text: &str) -> Result<Start, String> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        time => time.parse().map(Start::At).map_err(|_| {
            format!(
                "`{name}` must be earliest, latest or an RFC 3339 time such as 2026-01-31T12:00:00Z"
            )
        }),
    }
}

fn parse_choice(name: &str, text: &str, words: &[&str]) -> Result<Box<str>, String> {
    if words.contains(&text) {
        return Ok(text.into());
    }
    let (last, others) = words.split_last().unwrap_or((&"", &[]));
    let others =
        if others.is_empty() { String::new() } else { format!("{} or ", others.join(", ")) };
    Err(format!("`{name}` must be {others}{last}"))
}

/// Far enough for every use, near enough that a clock can add it.
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        let hour = Duration::from_secs(3600);
        check("d", Kind::Duration, "250ms", &Setting::Duration(Duration::from_millis(250)));
        check("d", Kind::Duration, "30s", &Setting::Duration(Duration::from_secs(30)));
        check("d", Kind::Duration, "5m", &Setting::Duration(hour / 12));
        check("d", Kind::Duration, "1h", &Setting::Duration(hour));
        check("d", Kind::Duration, "2d", &Setting::Duration(hour * 48));
        check("b", Kind::Bytes, "4096", &Setting::Bytes(4096));
        check("b", Kind::Bytes, "4096B", &Setting::Bytes(4096));
        check("b", Kind::Bytes, "64KiB", &Setting::Bytes(65536));
        check("b", Kind::Bytes, "1MiB", &Setting::Bytes(1 << 20));
        check("b", Kind::Bytes, "1GiB", &Setting::Bytes(1 << 30));
        check("c", Kind::Count { min: 0 }, "0", &Setting::Count(0));
        check("s", Kind::Start, "latest", &Setting::Start(Start::Latest));
    }

    #[test]
    fn wrong_values_name_the_parameter_and_the_right_form() {
        let duration = "`p` must be a whole number with ms, s, m, h or d, such as 30s";
        for text in ["30", "30sec", "1.5s", "s", "", "-1s", "30 s", "30S"] {
            check_refused(Kind::Duration, text, duration);
        }
        check_refused(Kind::Duration, "36501d", "`p` is too long; at most 36500d");
        check_refused(Kind::Duration, "99999999999999999999s", "`p` is too long; at most 36500d");
        let bytes = "`p` must be a whole number with B, KiB, MiB or GiB, such as 64KiB";
        for text in ["64KB", "1M", "1mib", "", "KiB", "1.5MiB"] {
            check_refused(Kind::Bytes, text, bytes);
        }
        check_refused(Kind::Bytes, "0KiB", "`p` must be at least 1B");
        let large = "`p` is more than memory can hold; give less";
        check_refused(Kind::Bytes, "99999999999999999999", large);
        check_refused(Kind::Bytes, "18446744073709551615GiB", large);
        for text in ["0", "", "+5", "ten", "99999999999999999999"] {
            let count = "`p` must be a whole number of at least 1";
            check_refused(Kind::Count { min: 1 }, text, count);
        }
        check_refused(Kind::Flag, "false", "`p` is a flag; write `p`, or leave it out");
        check_refused(Kind::Text, "", "`p` is empty; give it a value, or leave it out");
        check_refused(Kind::Choice(&["a", "b", "c"]), "d", "`p` must be a, b or c");
        check_refused(Kind::Choice(&["a"]), "d", "`p` must be a");
        check_refused(
            Kind::Start,
            "yesterday",
            "`p` must be earliest, latest or an RFC 3339 time such as 2026-01-31T12:00:00Z",
        );
        check_refused(
            Kind::Uri,
            "orders",
            "`p` is not a URI: no scheme; begin with one, such as memory://orders",
        );
    }

    #[track_caller]
    fn check(name: &'static str, kind: Kind, text: &str, setting: &Setting) {
        assert_eq!(Setting::parse(&Parameter::new(name, kind), text).unwrap(), *setting);
    }

    #[track_caller]
    fn check_refused(kind: Kind, text: &str, reason: &str) {
        let error = Setting::parse(&Parameter::new("p", kind), text).unwrap_err();
        assert_eq!(error.to_string(), format!("invalid endpoint: {reason}"), "{text}");
    }
}
