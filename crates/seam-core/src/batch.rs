//! Datagrams on their way out, and what became of them.

use std::fmt;

use bytes::Bytes;

use crate::{Confirmation, Datagram, Datagrams, Error, Fate, SendError, View};

/// A reusable container of datagrams on their way out. What it is made of inside may change.
///
/// [`Sender::admit`](crate::Sender::admit) takes datagrams out from the front while there is credit;
/// what is still in it has not been sent. Dropping it drops what it holds, unsent.
///
/// ```
/// use seam_core::{Batch, Datagram};
///
/// let mut batch = Batch::new();
/// batch.push_bytes(7, b"the fast door");
/// batch.push(Datagram::new("the comfortable one").with_key("k"));
/// assert_eq!(batch.len(), 2);
/// ```
#[derive(Default)]
pub struct Batch {
    content: Datagrams,
    /// How many at the front were admitted, and their bytes.
    head: usize,
    gone: usize,
    pub(crate) rejected: Vec<(u32, SendError)>,
    ticket: Span,
}

/// What of a batch a driver has admitted: its own numbers, in order of admission.
#[derive(Default)]
struct Span {
    ranges: Ranges,
    confirmed: Option<Confirmation>,
    /// Whether something was admitted before the last time that is not confirmed.
    open: bool,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a datagram.
    #[inline]
    pub fn push(&mut self, datagram: Datagram) {
        self.content.push(datagram);
    }

    /// Appends a datagram without envelope whose payload is a copy of `payload`. The cheapest way for what is
    /// less than 8 KiB: it is written once, as a link writes it.
    #[inline]
    pub fn push_bytes(&mut self, tag: u16, payload: &[u8]) {
        self.content.push_bytes(tag, payload);
    }

    /// Appends a datagram without envelope that shares `payload`.
    pub fn push_shared(&mut self, tag: u16, payload: Bytes) {
        self.push(Datagram::new(payload).with_tag(tag));
    }

    /// Datagrams not yet admitted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.content.len() - self.head
    }

    /// Whether every datagram was admitted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of payload, keys and headers in it, as credit counts them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.content.total() - self.gone
    }

    /// The datagrams not yet admitted, in order.
    pub fn views(&self) -> impl Iterator<Item = View<'_>> {
        self.content.views(self.head..self.content.len())
    }

    /// Takes out every datagram that was not admitted, in order.
    pub fn take_unsent(&mut self) -> Vec<Datagram> {
        let places = self.head..self.content.len();
        let unsent = places.map(|place| self.content.take(place)).collect();
        self.reset();
        unsent
    }

    /// For drivers: the first datagram not yet admitted.
    #[must_use]
    pub fn front(&self) -> Option<View<'_>> {
        self.views().next()
    }

    /// For drivers: takes the first `count` datagrams out and extends the ticket by the numbers
    /// `first..first + count`, which are the driver's own and mean nothing here.
    ///
    /// # Panics
    ///
    /// If the batch holds fewer.
    pub fn admit(&mut self, count: usize, first: u64) -> impl Iterator<Item = Datagram> + '_ {
        let from = self.advance(count, first);
        Admitted { batch: self, next: from }
    }

    /// For drivers: as [`Batch::admit`], into `into`, which must be empty; all of a batch goes over without any
    /// datagram being touched.
    ///
    /// # Panics
    ///
    /// If the batch holds fewer.
    pub fn admit_into(&mut self, count: usize, first: u64, into: &mut Datagrams) {
        debug_assert!(into.is_empty(), "the driver's buffer would be handed to the user");
        if self.head == 0 && count == self.len() {
            self.extend_ticket(count, first);
            std::mem::swap(&mut self.content, into);
            self.reset();
            self.content.expect_like(into);
        } else {
            let from = self.advance(count, first);
            self.content.move_to(from..from + count, into);
            if self.is_empty() {
                self.reset();
            }
        }
    }

    /// For drivers: what was admitted last has reached `confirmation` already. Where that is true of the whole
    /// ticket, nobody need ask.
    pub fn confirm(&mut self, confirmation: Confirmation) {
        if !self.ticket.open {
            self.ticket.confirmed = Some(confirmation);
        }
    }

    /// For drivers: whether any datagram has a field of its envelope set.
    #[must_use]
    pub fn has_envelopes(&self) -> bool {
        self.content.has_envelopes()
    }

    /// For drivers and tests of drivers: the ticket of what was admitted since the last call.
    #[must_use]
    pub fn take_ticket(&mut self) -> Ticket {
        let Span { ranges, confirmed, .. } = std::mem::take(&mut self.ticket);
        Ticket { ranges, confirmed }
    }

    pub(crate) fn largest(&self) -> usize {
        self.content.longest()
    }

    /// Whether some datagram has no payload, or an empty one.
    pub(crate) fn is_hollow(&self) -> bool {
        self.content.is_hollow()
    }

    /// Takes out each datagram that `check` refuses, and remembers why.
    pub(crate) fn reject(&mut self, check: impl Fn(View<'_>) -> crate::Result<()>) {
        if self.views().all(|view| check(view).is_ok()) {
            return;
        }
        let refused: Vec<u32> = self.rejected.iter().map(|(place, _)| *place).collect();
        for (index, datagram) in (self.ticket.ranges.len()..).zip(self.take_unsent()) {
            match check(datagram.view()) {
                Ok(()) => self.push(datagram),
                Err(error) => {
                    let error = SendError::new(datagram, Fate::NotSent, error);
                    self.rejected.push((shifted(index, &refused), error));
                }
            }
        }
        self.rejected.sort_by_key(|(place, _)| *place);
    }

    /// Moves the head behind `count` more, and says where it was.
    fn advance(&mut self, count: usize, first: u64) -> usize {
        self.extend_ticket(count, first);
        let from = self.head;
        self.head += count;
        self.gone += match self.head == self.content.len() {
            true => self.bytes(),
            false => self.content.size(from..self.head),
        };
        from
    }

    fn extend_ticket(&mut self, count: usize, first: u64) {
        let ticket = &mut self.ticket;
        ticket.open |= ticket.ranges.len() > 0 && ticket.confirmed.is_none();
        ticket.confirmed = None;
        ticket.ranges.push(first, self::count(count));
    }

    fn reset(&mut self) {
        self.content.clear();
        (self.head, self.gone) = (0, 0);
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("len", &self.len()).field("bytes", &self.bytes()).finish()
    }
}

impl Extend<Datagram> for Batch {
    fn extend<I: IntoIterator<Item = Datagram>>(&mut self, datagrams: I) {
        datagrams.into_iter().for_each(|datagram| self.push(datagram));
    }
}

impl FromIterator<Datagram> for Batch {
    fn from_iter<I: IntoIterator<Item = Datagram>>(datagrams: I) -> Self {
        let mut batch = Self::new();
        batch.extend(datagrams);
        batch
    }
}

struct Admitted<'a> {
    batch: &'a mut Batch,
    next: usize,
}

impl Iterator for Admitted<'_> {
    type Item = Datagram;

    fn next(&mut self) -> Option<Datagram> {
        if self.next == self.batch.head {
            return None;
        }
        let datagram = self.batch.content.take(self.next);
        self.next += 1;
        Some(datagram)
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if self.batch.is_empty() {
            self.batch.reset();
        }
    }
}

/// Numbers of a driver, mostly one range; no memory of its own then.
#[derive(Clone, Debug, Default)]
struct Ranges {
    first: (u64, u32),
    more: Vec<(u64, u32)>,
}

impl Ranges {
    fn push(&mut self, first: u64, count: u32) {
        let last = self.more.last_mut().unwrap_or(&mut self.first);
        if last.1 == 0 {
            *last = (first, count);
        } else if last.0 + u64::from(last.1) == first {
            last.1 += count;
        } else {
            self.more.push((first, count));
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        std::iter::once(self.first).chain(self.more.iter().copied()).filter(|(_, count)| *count > 0)
    }

    fn len(&self) -> u32 {
        self.iter().map(|(_, count)| count).sum()
    }
}

/// What a driver admitted and has not receipted: ranges of the driver's own numbers.
#[derive(Clone, Debug, Default)]
pub struct Ticket {
    ranges: Ranges,
    confirmed: Option<Confirmation>,
}

impl Ticket {
    /// Datagrams of this ticket.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.ranges.len()
    }

    /// Whether nothing was admitted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.first.1 == 0
    }

    /// Each range as its first number and its length, in the order of admission.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.ranges.iter()
    }

    /// What the driver said with [`Batch::confirm`], unless more was admitted after it.
    #[must_use]
    pub fn confirmed(&self) -> Option<Confirmation> {
        self.confirmed
    }
}

/// Where a broker put a datagram.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Position {
    /// A place in a partitioned log.
    Offset {
        /// The partition.
        partition: i32,
        /// The offset in it.
        offset: i64,
    },
    /// A number that rises.
    Number(u64),
    /// A name the broker gave.
    Name(Box<str>),
}

/// Proof that a datagram was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// How far it had come.
    pub confirmation: Confirmation,
    /// Where the broker put it, where it says so.
    pub position: Option<Position>,
}

/// What became of each datagram of a ticket: a range that went well, and the exceptions.
#[derive(Debug, Default)]
#[must_use = "a datagram that failed comes back in it"]
pub struct Receipts {
    len: u32,
    confirmation: Confirmation,
    failed: Vec<(u32, SendError)>,
    positions: Vec<(u32, Position)>,
}

impl Receipts {
    /// `len` datagrams that all reached `confirmation`.
    pub fn all(len: u32, confirmation: Confirmation) -> Self {
        Self { len, confirmation, failed: Vec::new(), positions: Vec::new() }
    }

    /// For drivers: adds the failure of the datagram at `index`; in rising order of index.
    pub fn fail(&mut self, index: u32, error: SendError) {
        self.failed.push((index, error));
    }

    /// For drivers: adds where the datagram at `index` was put; in rising order of index.
    pub fn place(&mut self, index: u32, position: Position) {
        self.positions.push((index, position));
    }

    /// Datagrams, receipted and failed together.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether the ticket was empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether every datagram has its receipt.
    #[must_use]
    pub fn all_ok(&self) -> bool {
        self.failed.is_empty()
    }

    /// How many have their receipt.
    #[must_use]
    pub fn receipted(&self) -> u32 {
        self.len - count(self.failed.len())
    }

    /// What failed, with the place it had in the batch.
    #[must_use]
    pub fn failed(&self) -> &[(u32, SendError)] {
        &self.failed
    }

    /// Takes what failed, in the order it was pushed.
    #[must_use]
    pub fn into_failed(self) -> Vec<SendError> {
        self.failed.into_iter().map(|(_, error)| error).collect()
    }

    /// The result of the datagram that was pushed as number `index`, from 0.
    ///
    /// # Errors
    ///
    /// The failure of that datagram.
    ///
    /// # Panics
    ///
    /// If the batch held fewer.
    pub fn get(&self, index: u32) -> Result<Receipt, &SendError> {
        assert!(index < self.len, "the ticket has {} datagrams, not {index}", self.len);
        match self.failed.binary_search_by_key(&index, |(at, _)| *at) {
            Ok(at) => Err(&self.failed[at].1),
            Err(_) => Ok(self.receipt(index)),
        }
    }

    /// The result of each datagram, in the order they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = Result<Receipt, &SendError>> {
        (0..self.len).map(|index| self.get(index))
    }

    /// Puts `error` in the place of [`Error::Withdrawn`].
    pub(crate) fn blame(&mut self, error: &Error) {
        self.change(|failed| match failed.error() {
            Error::Withdrawn => failed.because(error.clone()),
            _ => failed,
        });
    }

    /// Puts what `change` makes of each failure in its place.
    pub(crate) fn change(&mut self, change: impl Fn(SendError) -> SendError) {
        let all = std::mem::take(&mut self.failed).into_iter();
        self.failed = all.map(|(index, failed)| (index, change(failed))).collect();
    }

    pub(crate) fn into_one(mut self) -> Result<Receipt, SendError> {
        match self.failed.pop() {
            Some((_, error)) => Err(error),
            None => Ok(self.receipt(0)),
        }
    }

    /// Puts in what was refused before the driver saw it, so that places count from the user's side.
    pub(crate) fn insert_rejected(&mut self, rejected: Vec<(u32, SendError)>) {
        if rejected.is_empty() {
            return;
        }
        let mut rejected = rejected;
        // What was not admitted is in no ticket, and takes no place before what was refused behind it.
        for ((place, _), upto) in rejected.iter_mut().zip(self.len..) {
            *place = upto.min(*place);
        }
        let places: Vec<u32> = rejected.iter().map(|(place, _)| *place).collect();
        self.failed.iter_mut().for_each(|(place, _)| *place = shifted(*place, &places));
        self.positions.iter_mut().for_each(|(place, _)| *place = shifted(*place, &places));
        self.len += count(rejected.len());
        self.failed.extend(rejected);
        self.failed.sort_by_key(|(place, _)| *place);
    }

    fn receipt(&self, index: u32) -> Receipt {
        let position = self.positions.binary_search_by_key(&index, |(at, _)| *at);
        Receipt {
            confirmation: self.confirmation,
            position: position.ok().map(|at| self.positions[at].1.clone()),
        }
    }
}

/// The place of what the driver calls `index`, among those that were refused at these places.
fn shifted(index: u32, refused: &[u32]) -> u32 {
    refused.iter().fold(index, |place, refused| place + u32::from(*refused <= place))
}

/// Several datagrams of one call failed; each comes back with its fate.
#[derive(Debug, thiserror::Error)]
#[error("{} of {} datagrams failed, the first: {}", .failed.len(), total(.failed, *.receipted), first(.failed))]
pub struct SendErrors {
    /// How many have their receipt all the same.
    pub receipted: u64,
    /// The others.
    pub failed: Vec<SendError>,
}

fn total(failed: &[SendError], receipted: u64) -> u64 {
    receipted.saturating_add(u64::from(count(failed.len())))
}

fn first(failed: &[SendError]) -> String {
    failed.first().map_or_else(String::new, ToString::to_string)
}

/// A count for receipts; batches end far below `u32::MAX`.
pub(crate) fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Each datagram of `unsent` with the proof that it was not sent.
pub(crate) fn not_sent(unsent: Vec<Datagram>, error: &Error) -> Vec<SendError> {
    let give = |datagram| SendError::new(datagram, Fate::NotSent, error.clone());
    unsent.into_iter().map(give).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(tags: std::ops::Range<u16>) -> Batch {
        tags.map(|tag| Datagram::new("x").with_tag(tag)).collect()
    }

    #[test]
    fn a_batch_admits_from_the_front_and_counts_its_bytes() {
        let mut batch = tagged(0..5);
        assert_eq!(batch.admit(2, 10).map(|d| d.tag()).collect::<Vec<_>>(), [0, 1]);
        assert_eq!((batch.len(), batch.bytes()), (3, 3));
        let mut rest = Datagrams::new();
        batch.admit_into(3, 12, &mut rest);
        assert_eq!(rest.views(0..3).map(|view| view.tag()).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!((batch.len(), batch.bytes()), (0, 0));
        assert_eq!(batch.take_ticket().ranges().collect::<Vec<_>>(), [(10, 5)]);
        assert!(batch.take_ticket().is_empty());
    }

    #[test]
    fn a_ticket_keeps_ranges_apart() {
        let mut batch = tagged(0..3);
        batch.admit(1, 7).for_each(drop);
        batch.admit(2, 20).for_each(drop);
        assert_eq!(batch.take_ticket().ranges().collect::<Vec<_>>(), [(7, 1), (20, 2)]);
    }

    #[test]
    fn a_ticket_is_confirmed_only_as_a_whole() {
        let mut batch = tagged(0..4);
        batch.admit(1, 0).for_each(drop);
        batch.confirm(Confirmation::Received);
        batch.admit(1, 1).for_each(drop);
        batch.confirm(Confirmation::Received);
        assert_eq!(batch.take_ticket().confirmed(), Some(Confirmation::Received));
        batch.admit(1, 2).for_each(drop);
        batch.admit(1, 3).for_each(drop);
        batch.confirm(Confirmation::Received);
        assert_eq!(batch.take_ticket().confirmed(), None);
    }

    #[test]
    fn places_count_from_the_users_side() {
        let mut batch = tagged(0..6);
        batch.reject(|view| match view.tag() {
            1 | 4 => Err(Error::Expired),
            _ => Ok(()),
        });
        assert_eq!(batch.len(), 4);
        let mut receipts = Receipts::all(4, Confirmation::Written);
        receipts.fail(1, SendError::new(Datagram::empty(), Fate::MaybeSent, Error::Full));
        receipts.fail(3, SendError::new(Datagram::empty(), Fate::MaybeSent, Error::Full));
        receipts.insert_rejected(std::mem::take(&mut batch.rejected));
        let places: Vec<u32> = receipts.failed().iter().map(|(place, _)| *place).collect();
        assert_eq!((receipts.len(), places), (6, vec![1, 2, 4, 5]));
    }

    #[test]
    fn rejection_goes_on_where_admission_stopped() {
        let mut batch = tagged(0..3);
        batch.admit(1, 0).for_each(drop);
        batch.reject(|view| if view.tag() == 2 { Err(Error::Expired) } else { Ok(()) });
        assert_eq!(batch.rejected[0].0, 2);
        batch.reject(|view| if view.tag() == 1 { Err(Error::Expired) } else { Ok(()) });
        assert_eq!(batch.rejected.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_refusal_behind_what_was_not_admitted_has_a_place_in_the_ticket() {
        let mut batch = tagged(0..3);
        batch.reject(|view| if view.tag() == 2 { Err(Error::Expired) } else { Ok(()) });
        batch.admit(1, 0).for_each(drop);
        let mut receipts = Receipts::all(1, Confirmation::Written);
        receipts.insert_rejected(std::mem::take(&mut batch.rejected));
        assert!(receipts.get(0).is_ok());
        assert_eq!(receipts.get(1).unwrap_err().datagram().tag(), 2);
    }
}
