//! Notices where reading has come to a halt although there is something to read.
//!
//! librdkafka has done that more than once (rdkafka issues 413 and 665): the partition is assigned, nobody paused it,
//! and nothing comes. Seeking to where one is has it begin anew, and changes nothing where it was a false alarm.

use std::collections::HashMap;

/// How far one partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) partition: i32,
    /// What the client hands out next.
    pub(crate) next: i64,
    /// Where the partition ends.
    pub(crate) end: i64,
}

/// Where each partition was that had something to read.
#[derive(Debug, Default)]
pub(crate) struct Watch(HashMap<i32, i64>);

impl Watch {
    /// The partitions that had something to read at the last call, and still stand where they stood, with where.
    pub(crate) fn stalled(&mut self, found: impl Iterator<Item = Progress>) -> Vec<(i32, i64)> {
        let behind = found.filter(|found| found.next < found.end);
        let behind: HashMap<i32, i64> = behind.map(|found| (found.partition, found.next)).collect();
        let before = std::mem::replace(&mut self.0, behind);
        let stalled = self.0.iter().filter(|(number, next)| before.get(number) == Some(next));
        stalled.map(|(number, next)| (*number, *next)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(next: i64, end: i64) -> impl Iterator<Item = Progress> {
        [Progress { partition: 0, next: 9, end: 9 }, Progress { partition: 1, next, end }]
            .into_iter()
    }

    #[test]
    fn what_stands_still_with_something_to_read_is_stalled() {
        let mut watch = Watch::default();
        assert_eq!(watch.stalled(found(7, 10)), []);
        assert_eq!(watch.stalled(found(7, 11)), [(1, 7)]);
        assert_eq!(watch.stalled(found(8, 11)), []);
    }

    #[test]
    fn what_is_at_its_end_or_moves_is_not() {
        let mut watch = Watch::default();
        for (next, end) in [(7, 7), (7, 7), (7, 9), (8, 9), (9, 9), (9, 10)] {
            assert_eq!(watch.stalled(found(next, end)), []);
        }
    }
}
