//! The judge against a model of lapin: a queue of returns, of which each confirm takes the oldest.

use std::collections::{BTreeSet, VecDeque};

use lapin::BasicProperties;
use lapin::message::Delivery;
use proptest::prelude::*;

use super::*;

/// What the broker makes of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Stored,
    Returned,
    Refused,
    /// Returned, and yet not acknowledged.
    Both,
}

impl Truth {
    fn is_returned(self) -> bool {
        matches!(self, Self::Returned | Self::Both)
    }

    fn is_acked(self) -> bool {
        matches!(self, Self::Stored | Self::Returned)
    }
}

/// What the broker does next.
#[derive(Clone, Debug)]
enum Step {
    /// Returns one.
    Return,
    /// Answers for one of those that are open, whichever that is.
    One(prop::sample::Index),
    /// Answers for all up to one that has the same answer; lapin resolves these in this order, by their rank.
    Upto(prop::sample::Index, Vec<u32>),
    /// Whoever publishes looks, at confirms in any order.
    Look(Vec<u32>),
}

fn truths() -> impl Strategy<Value = Vec<Truth>> {
    let truth = prop_oneof![
        4 => Just(Truth::Stored),
        3 => Just(Truth::Returned),
        1 => Just(Truth::Refused),
        1 => Just(Truth::Both),
    ];
    prop::collection::vec(truth, 1..30)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ranks = || prop::collection::vec(any::<u32>(), 30);
    let step = prop_oneof![
        1 => Just(Step::Return),
        3 => any::<prop::sample::Index>().prop_map(Step::One),
        2 => (any::<prop::sample::Index>(), ranks()).prop_map(|(at, ranks)| Step::Upto(at, ranks)),
        3 => ranks().prop_map(Step::Look),
    ];
    prop::collection::vec(step, 0..60)
}

/// A channel: lapin, and the broker behind it.
struct Channel {
    truths: Vec<Truth>,
    open: BTreeSet<u64>,
    /// Returns that are written come in the order of their publishes, and before any confirm of them.
    unreturned: VecDeque<u64>,
    returns: VecDeque<u64>,
    /// Resolved, and not looked at.
    resolved: Vec<(u64, lapin::Result<Confirmation>)>,
}

impl Channel {
    fn new(truths: Vec<Truth>) -> Self {
        let numbers = || 0..u64::try_from(truths.len()).unwrap();
        let returned = |number: &u64| truths[usize::try_from(*number).unwrap()].is_returned();
        Self {
            open: numbers().collect(),
            unreturned: numbers().filter(returned).collect(),
            returns: VecDeque::new(),
            resolved: Vec::new(),
            truths,
        }
    }

    fn truth(&self, number: u64) -> Truth {
        self.truths[usize::try_from(number).unwrap()]
    }

    /// A frame of the broker: confirms of these, which are all acknowledged, or all not.
    fn confirm(&mut self, mut numbers: Vec<u64>, ranks: &[u32]) {
        let last = numbers.iter().copied().max().unwrap();
        while self.unreturned.front().is_some_and(|number| *number <= last) {
            self.returns.extend(self.unreturned.pop_front());
        }
        numbers.sort_by_key(|number| ranks.get(usize::try_from(*number).unwrap()));
        for number in numbers {
            self.open.remove(&number);
            let message = self.returns.pop_front().map(returned);
            let confirmation = match self.truth(number).is_acked() {
                true => Confirmation::Ack(message),
                false => Confirmation::Nack(message),
            };
            self.resolved.push((number, Ok(confirmation)));
        }
    }

    fn step(&mut self, step: &Step) {
        let open: Vec<_> = self.open.iter().copied().collect();
        match step {
            Step::Look(_) => {}
            Step::Return => self.returns.extend(self.unreturned.pop_front()),
            _ if open.is_empty() => {}
            Step::One(at) => self.confirm(vec![*at.get(&open)], &[]),
            Step::Upto(at, ranks) => {
                let last = *at.get(&open);
                let is_acked = self.truth(last).is_acked();
                let upto = open.into_iter().filter(|number| *number <= last);
                let same = |number: &u64| self.truth(*number).is_acked() == is_acked;
                let numbers = upto.filter(same).collect();
                self.confirm(numbers, ranks);
            }
        }
    }

    /// The channel ends: what is open is rejected, and takes no return with it.
    fn end(&mut self) {
        for number in std::mem::take(&mut self.open) {
            self.resolved.push((number, Err(ended())));
        }
    }
}

fn ended() -> lapin::Error {
    lapin::ErrorKind::InvalidChannelState(lapin::ChannelState::Error, "it ended").into()
}

fn returned(number: u64) -> BasicReturnMessage {
    let id = i64::try_from(number).unwrap();
    let mut delivery = Delivery::mock(0, "".into(), "orders".into(), false, Vec::new());
    delivery.properties = mapping::with_publish_id(BasicProperties::default(), id);
    BasicReturnMessage { delivery, reply_code: 312, reply_text: "NO_ROUTE".into() }
}

/// What was decided, each once, and held against what is true.
struct Court {
    judge: Judge,
    decided: HashMap<u64, bool>,
}

impl Court {
    fn new() -> Self {
        Self { judge: Judge::default(), decided: HashMap::new() }
    }

    fn look(&mut self, channel: &mut Channel, ranks: &[u32]) {
        let mut resolved = std::mem::take(&mut channel.resolved);
        resolved.sort_by_key(|(number, _)| ranks.get(usize::try_from(*number).unwrap()));
        for (number, resolved) in resolved {
            self.judge.note(number, resolved);
        }
        for (number, landing) in self.judge.decide(channel.open.is_empty()) {
            let truth = channel.truth(number);
            let is_right = match &landing {
                Landing::Stored => truth == Truth::Stored,
                Landing::Returned(reason) => truth.is_returned() && reason == "NO_ROUTE",
                Landing::Refused => truth == Truth::Refused,
                // What is in doubt may be anything.
                Landing::Lost(_) => true,
            };
            assert!(is_right, "{number} is {truth:?}, and is called {landing:?}");
            let is_lost = matches!(landing, Landing::Lost(_));
            assert!(self.decided.insert(number, is_lost).is_none(), "{number} is decided twice");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_verdict_is_wrong_and_all_are_given(truths in truths(), steps in steps(), last in any::<Vec<u32>>()) {
        let count = truths.len();
        let (mut channel, mut court) = (Channel::new(truths), Court::new());
        for step in &steps {
            channel.step(step);
            if let Step::Look(ranks) = step {
                court.look(&mut channel, ranks);
            }
        }
        for number in channel.open.clone() {
            channel.confirm(vec![number], &[]);
        }
        court.look(&mut channel, &last);
        prop_assert_eq!(court.decided.len(), count);
        prop_assert!(court.decided.values().all(|is_lost| !is_lost), "nothing was lost");
        prop_assert!(court.judge.returned.is_empty() && court.judge.refused.is_empty());
    }

    #[test]
    fn no_verdict_is_wrong_where_the_channel_ends(truths in truths(), steps in steps(), last in any::<Vec<u32>>()) {
        let (mut channel, mut court) = (Channel::new(truths), Court::new());
        for step in &steps {
            channel.step(step);
            if let Step::Look(ranks) = step {
                court.look(&mut channel, ranks);
            }
        }
        channel.end();
        court.look(&mut channel, &last);
        // As whoever publishes does, which waits for the rest once more.
        court.look(&mut channel, &last);
    }
}

#[test]
fn a_return_in_the_hands_of_another_is_known_by_its_number() {
    let mut judge = Judge::default();
    judge.note(0, Ok(Confirmation::Ack(Some(returned(1)))));
    assert!(judge.decide(false).is_empty(), "the return of 0 may be on its way");
    judge.note(1, Ok(Confirmation::Ack(None)));
    let landed = judge.decide(false);
    assert!(matches!(landed[..], [(0, Landing::Stored), (1, Landing::Returned(_))]), "{landed:?}");
}

#[test]
fn a_doubt_ends_with_the_return_itself() {
    let mut judge = Judge::default();
    judge.note(0, Ok(Confirmation::Ack(Some(returned(1)))));
    assert!(judge.decide(false).is_empty());
    judge.note(1, Ok(Confirmation::Ack(Some(returned(0)))));
    assert_eq!(judge.decide(false).len(), 2);
}

#[test]
fn a_doubt_stays_where_the_channel_broke() {
    let mut judge = Judge::default();
    judge.note(1, Ok(Confirmation::Ack(Some(returned(0)))));
    judge.note(0, Err(ended()));
    // The return of 1 may lie in the queue of the client.
    assert!(matches!(judge.decide(true)[..], [(0, Landing::Returned(_))]));
    assert!(judge.decide(true).is_empty());
}

#[test]
fn an_answer_without_confirms_proves_nothing() {
    let mut judge = Judge::default();
    judge.note(0, Ok(Confirmation::NotRequested));
    assert!(matches!(judge.decide(true)[..], [(0, Landing::Lost(_))]));
}

#[test]
fn what_has_no_number_was_returned_to_somebody_else() {
    let mut judge = Judge::default();
    let mut foreign = returned(0);
    foreign.delivery.properties = BasicProperties::default();
    judge.note(0, Ok(Confirmation::Ack(Some(foreign))));
    assert!(matches!(judge.decide(true)[..], [(0, Landing::Stored)]));
}
