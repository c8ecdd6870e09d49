//! Points in time as datagrams carry them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

/// A point in calendar time, in whole milliseconds, between the years 0000 and 9999.
///
/// Milliseconds are what Kafka, SQS and most logs carry. Text is RFC 3339.
///
/// ```
/// use seam_core::Timestamp;
///
/// let time: Timestamp = "2018-01-31T01:49:59.650Z".parse().unwrap();
/// assert_eq!(time.as_millis(), 1_517_363_399_650);
/// assert_eq!(time.to_string(), "2018-01-31T01:49:59.65Z");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest, 0000-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_167_219_200_000);
    /// The latest, 9999-12-30T22:00:00.999Z, the end of what RFC 3339 holds in every zone.
    pub const MAX: Self = Self(253_402_207_200_999);

    /// The point `millis` milliseconds after 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] outside [`Timestamp::MIN`]..=[`Timestamp::MAX`].
    pub fn from_millis(millis: i64) -> Result<Self> {
        if (Self::MIN.0..=Self::MAX.0).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(Error::invalid("time", format!("{millis} ms is outside the years 0000 to 9999")))
        }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// The point `duration` later, at most [`Timestamp::MAX`]. Parts of a millisecond round up.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis).min(Self::MAX.0))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `from_millisecond` would refuse the last second.
        let nanos = i32::try_from(self.0.rem_euclid(1000) * 1_000_000).map_err(|_| fmt::Error)?;
        let time = jiff::Timestamp::new(self.0.div_euclid(1000), nanos).map_err(|_| fmt::Error)?;
        fmt::Display::fmt(&time, f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            Error::invalid("time", "is not RFC 3339, such as 2026-01-31T12:00:00Z".to_owned())
        })?;
        Self::from_millis(time.as_millisecond())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_written_and_read_again() {
        for end in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(format!("{end}").parse::<Timestamp>().unwrap(), end);
        }
    }
}
