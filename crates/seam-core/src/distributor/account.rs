//! What is owed for each admission.

use std::collections::VecDeque;
use std::ops::Range;
use std::task::Waker;

use super::content::number;
use super::state::After;
use crate::Confirmation;

/// What is owed for one admission, or for several that were joined.
pub(crate) struct Account {
    pub(crate) first: u64,
    pub(crate) len: usize,
    pub(crate) outbox: u64,
    /// Groups that it went to.
    pub(crate) groups: usize,
    /// What its receipt waits for: groups, or, where sessions tell what they received, datagrams that some
    /// group has not received.
    pub(crate) awaiting: usize,
    /// Groups whose receipt counts.
    pub(crate) counted: u16,
    /// How many from the front were told to be received, while one group counts and tells in order.
    received: usize,
    /// Else, groups that have not told to have received it, for each datagram.
    unreceived: Option<Box<[u16]>>,
    /// Datagrams that are not done in every group.
    pub(crate) undone: usize,
    /// Groups that owe an outcome, for each datagram; `None` where it is one group.
    pub(crate) owed: Option<Box<[u16]>>,
    /// Numbers that were given back to the caller, and so are never delivered again.
    pub(crate) given_back: Vec<u64>,
    /// Numbers whose tickets were dropped: nobody is told any more.
    forgotten: Vec<Range<u64>>,
    /// Who waits for the receipts of which numbers, in their order.
    waiting: Waiting,
}

type Waiting = VecDeque<(Range<u64>, Waker)>;

/// The accounts of a distributor, in the order of their numbers. What is finished goes from the front at once, and
/// from elsewhere once it is the greater part.
#[derive(Default)]
pub(crate) struct Accounts {
    ring: VecDeque<Account>,
    /// How many of them are finished.
    finished: usize,
    /// Memory for those who wait for the next.
    spare: Waiting,
}

/// Finished accounts that may stay between others without being half of all.
const KEPT: usize = 32;

impl Accounts {
    /// Opens an account of `len` datagrams, which `groups` groups owe, `counted` of them to the receipt.
    pub(crate) fn open(
        &mut self,
        (first, len): (u64, usize),
        outbox: u64,
        (groups, counted): (usize, u16),
        awaiting: usize,
    ) {
        let owing = u16::try_from(groups).unwrap_or(u16::MAX);
        self.ring.push_back(Account {
            first,
            len,
            outbox,
            groups,
            awaiting,
            counted,
            received: 0,
            unreceived: None,
            undone: len,
            owed: (owing > 1).then(|| vec![owing; len].into()),
            given_back: Vec::new(),
            forgotten: Vec::new(),
            waiting: std::mem::take(&mut self.spare),
        });
    }

    /// The account of a datagram that is not done.
    pub(crate) fn get(&self, number: u64) -> Option<&Account> {
        let place = self.place_of(number);
        self.ring.get(place).filter(|account| account.first <= number && account.undone > 0)
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Account> {
        let place = self.place_of(number);
        self.ring.get_mut(place).filter(|account| account.first <= number && account.undone > 0)
    }

    /// The place of the first account that does not end before `number`.
    fn place_of(&self, number: u64) -> usize {
        // Mostly the first: what was admitted first is asked for and done first.
        match self.ring.front() {
            None => 0,
            Some(first) if number < first.end() => 0,
            Some(_) => self.ring.partition_point(|account| account.end() <= number),
        }
    }

    /// The first account that a receipt of `numbers` must wait for.
    pub(crate) fn first_open(
        &mut self,
        numbers: &Range<u64>,
        confirm: Confirmation,
    ) -> Option<&mut Account> {
        let mut place = self.place_of(numbers.start);
        while let Some(account) = self.ring.get(place).filter(|a| a.first < numbers.end) {
            if account.undone > 0 && account.is_open(numbers, confirm) {
                return self.ring.get_mut(place);
            }
            place += 1;
        }
        None
    }

    /// The account that was opened last.
    pub(crate) fn last_mut(&mut self) -> Option<&mut Account> {
        self.ring.back_mut().filter(|account| account.undone > 0)
    }

    /// Those that hold any of `numbers`.
    pub(crate) fn of(&self, numbers: Range<u64>) -> impl Iterator<Item = &Account> {
        let place = self.place_of(numbers.start);
        let theirs = self.ring.range(place..).take_while(move |a| a.first < numbers.end);
        theirs.filter(|account| account.undone > 0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Account> {
        self.ring.iter().filter(|account| account.undone > 0)
    }

    /// Wakes whoever waits for any of them.
    pub(crate) fn wake_all(&mut self, after: &mut After) {
        for account in &mut self.ring {
            account.wake_all(after);
        }
    }

    /// One more was finished: lets go of what is not needed any more.
    pub(crate) fn finish(&mut self) {
        self.finished += 1;
        while let Some(account) = self.ring.pop_front_if(|account| account.undone == 0) {
            self.finished -= 1;
            if self.spare.capacity() < account.waiting.capacity() {
                self.spare = account.waiting;
            }
        }
        if self.finished > KEPT && self.finished * 2 > self.ring.len() {
            self.ring.retain(|account| account.undone > 0);
            self.finished = 0;
        }
    }
}

impl Account {
    pub(crate) fn end(&self) -> u64 {
        self.first + number(self.len)
    }

    /// Where in it a number is.
    pub(crate) fn place(&self, number: u64) -> usize {
        usize::try_from(number - self.first).unwrap_or(usize::MAX)
    }

    /// Whether more may be joined to it: one session owes all of it, which has told of nothing out of order.
    pub(crate) fn is_simple(&self) -> bool {
        self.groups == 1 && self.counted == 1 && self.unreceived.is_none()
    }

    /// Adds `count` datagrams, which follow it.
    pub(crate) fn join(&mut self, count: usize) {
        self.len += count;
        self.awaiting += count;
        self.undone += count;
    }

    /// Notes that one group told to have received `count` datagrams from `first` on. Wakes who waited for that,
    /// and says how many those were.
    pub(crate) fn receive(&mut self, first: u64, count: usize, after: &mut After) -> usize {
        let from = self.place(first);
        let count = count.min(self.len.saturating_sub(from));
        if self.counted == 1 && self.unreceived.is_none() && from == self.received {
            self.received += count;
            self.awaiting -= count;
        } else {
            let owed = self.unreceived.get_or_insert_with(|| {
                let told = vec![0; self.received];
                [told, vec![self.counted; self.len - self.received]].concat().into()
            });
            for owed in owed.iter_mut().skip(from).take(count).filter(|owed| **owed > 0) {
                *owed -= 1;
                self.awaiting -= usize::from(*owed == 0);
            }
        }
        self.wake_received(after)
    }

    /// Whether every group told to have received the datagram of this number.
    pub(crate) fn has_received(&self, number: u64) -> bool {
        let place = self.place(number);
        match &self.unreceived {
            Some(owed) => owed.get(place).is_some_and(|owed| *owed == 0),
            None => self.awaiting == 0 || place < self.received,
        }
    }

    /// Whether a receipt of these numbers must wait.
    pub(crate) fn is_open(&self, numbers: &Range<u64>, confirm: Confirmation) -> bool {
        match confirm {
            Confirmation::Settled => true,
            _ => self.awaiting > 0 && !self.has_received_all(numbers),
        }
    }

    fn has_received_all(&self, numbers: &Range<u64>) -> bool {
        let (start, end) = (numbers.start.max(self.first), numbers.end.min(self.end()));
        match self.unreceived {
            Some(_) => (start..end).all(|number| self.has_received(number)),
            None => self.awaiting == 0 || end <= self.first + number(self.received),
        }
    }

    /// Nobody is told any more of what becomes of `numbers`. Says whether somebody waited for them.
    pub(crate) fn forget(&mut self, numbers: &Range<u64>) -> bool {
        match self.forgotten.last_mut() {
            Some(last) if last.end == numbers.start => last.end = numbers.end,
            _ => self.forgotten.push(numbers.clone()),
        }
        let waits = self.waiting.binary_search_by_key(&numbers.start, |(range, _)| range.start);
        waits.is_ok_and(|place| self.waiting.remove(place).is_some())
    }

    pub(crate) fn is_forgotten(&self, number: u64) -> bool {
        self.forgotten.iter().any(|range| range.contains(&number))
    }

    /// Wakes `waker` once the receipts of `numbers` may be there. Says whether it is one more who waits.
    pub(crate) fn wait(&mut self, numbers: Range<u64>, waker: &Waker) -> bool {
        if self.waiting.back().is_none_or(|(last, _)| last.start < numbers.start) {
            self.waiting.push_back((numbers, waker.clone()));
            return true;
        }
        let place = self.waiting.binary_search_by_key(&numbers.start, |(waiting, _)| waiting.start);
        match place {
            Ok(place) => self.waiting[place].1.clone_from(waker),
            Err(place) => self.waiting.insert(place, (numbers, waker.clone())),
        }
        place.is_err()
    }

    /// Wakes whoever waits; says how many those were.
    pub(crate) fn wake_all(&mut self, after: &mut After) -> usize {
        let count = self.waiting.len();
        after.wakers.extend(self.waiting.drain(..).map(|(_, waker)| waker));
        count
    }

    /// Wakes whoever has waited for no more than what was received.
    pub(crate) fn wake_received(&mut self, after: &mut After) -> usize {
        if self.awaiting == 0 {
            return self.wake_all(after);
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        let before = waiting.len();
        if self.unreceived.is_none() {
            let end = self.first + number(self.received);
            while let Some((_, waker)) = waiting.pop_front_if(|(numbers, _)| numbers.end <= end) {
                after.wakers.push(waker);
            }
        } else {
            waiting.retain(|(numbers, waker)| {
                let waits = !self.has_received_all(numbers);
                if !waits {
                    after.wakers.push(waker.clone());
                }
                waits
            });
        }
        self.waiting = waiting;
        before - self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_ring_agrees_with_a_plain_map_and_stays_small() {
        let (mut accounts, mut plain, mut next) = (Accounts::default(), BTreeMap::new(), 0);
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        // The first is never done.
        for round in 0..2000 {
            let len = 1 + random(3);
            accounts.open((next, usize::try_from(len).unwrap()), 1, (1, 1), 1);
            plain.insert(next, len);
            next += len;
            if round % 8 == 7 {
                for _ in 0..8 {
                    let done = plain.keys().nth(1 + usize::try_from(random(4)).unwrap()).copied();
                    let Some(done) = done else { continue };
                    plain.remove(&done);
                    accounts.get_mut(done).unwrap().undone = 0;
                    accounts.finish();
                }
            }
            let number = random(next);
            let held = plain.range(..=number).next_back();
            let held =
                held.filter(|(first, len)| number < **first + **len).map(|(first, _)| *first);
            assert_eq!(accounts.get(number).map(|account| account.first), held);
            assert_eq!(accounts.iter().count(), plain.len());
            assert!(accounts.ring.len() <= 2 * plain.len() + KEPT + 1);
        }
    }

    #[test]
    fn who_waits_is_woken_by_the_last_of_what_it_waits_for() {
        let mut accounts = Accounts::default();
        accounts.open((10, 1), 1, (1, 1), 1);
        let account = accounts.last_mut().unwrap();
        account.join(5);
        for numbers in [12..14, 10..11, 14..16] {
            assert!(account.wait(numbers, Waker::noop()));
        }
        assert!(!account.wait(12..14, Waker::noop()), "it waits already");
        let mut after = After::default();
        assert_eq!(account.receive(10, 3, &mut after), 1);
        assert!(account.is_open(&(12..14), Confirmation::Received));
        assert!(!account.is_open(&(10..12), Confirmation::Received));
        assert_eq!(account.receive(15, 1, &mut after), 0, "out of order");
        assert_eq!(account.receive(13, 1, &mut after), 1);
        assert!(account.has_received(15) && !account.has_received(14));
        assert_eq!(account.receive(13, 2, &mut after), 1, "told twice");
        assert_eq!(account.awaiting, 0);
    }
}
