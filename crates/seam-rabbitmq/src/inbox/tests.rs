//! The inbox against a model of a broker's channel, which refuses what a broker refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use proptest::prelude::*;
use proptest::sample::Index;
use seam_core::Delivery;

use super::*;

/// Notes on which boards there is something.
#[derive(Default)]
struct Ears(Mutex<Vec<Arc<Board>>>);

impl Harvester for Ears {
    fn settled(&self, board: &Arc<Board>, _: bool) {
        self.0.lock().unwrap().push(board.clone());
    }
}

#[derive(Clone, Copy, Debug)]
enum Verdict {
    Ack,
    Drop,
    Retry(Duration),
}

#[derive(Clone, Debug)]
enum Step {
    /// A delivery comes, of this size, and waits or not.
    Push(usize, Option<Due>),
    HandOut(usize),
    Settle(Index, Verdict),
    /// The verdicts are looked at.
    Look,
    /// The broker is told.
    Write,
    /// What was to be published for a later time is, or is not.
    Delayed(Index, bool),
    /// Time passes.
    Wait(Duration),
    GiveBack,
    /// The channel ends, before or after all verdicts are looked at, and another begins.
    Lose(bool),
}

const SECOND: Duration = Duration::from_secs(1);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let due = prop_oneof![
        6 => Just(None),
        1 => (1_u32..4).prop_map(|after| Some(Due::Here(SECOND * after))),
        1 => (1_u32..4).prop_map(|after| Some(Due::Later(SECOND * after))),
        1 => Just(Some(Due::Behind)),
    ];
    let verdict = prop_oneof![
        5 => Just(Verdict::Ack),
        1 => Just(Verdict::Drop),
        1 => Just(Verdict::Retry(Duration::ZERO)),
        1 => Just(Verdict::Retry(SECOND)),
    ];
    let step = prop_oneof![
        10 => (1_usize..12, due).prop_map(|(size, due)| Step::Push(size, due)),
        5 => (0_usize..6).prop_map(Step::HandOut),
        10 => (any::<Index>(), verdict).prop_map(|(at, verdict)| Step::Settle(at, verdict)),
        4 => Just(Step::Look),
        4 => Just(Step::Write),
        4 => (any::<Index>(), any::<bool>()).prop_map(|(at, is_there)| Step::Delayed(at, is_there)),
        2 => (0_u32..3).prop_map(|after| Step::Wait(SECOND * after)),
        1 => Just(Step::GiveBack),
        1 => any::<bool>().prop_map(Step::Lose),
    ];
    prop::collection::vec(step, 0..120)
}

/// Where a delivery is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Ready,
    /// Handed out at its time.
    Parked,
    /// In somebody's hand.
    Hand,
    /// Settled so, and not looked at.
    Settled(Known),
    /// To be published for a later time; whether by a verdict.
    Away(bool),
    /// To be given back to the broker at its time; whether after a verdict.
    Back(bool),
    /// To be acknowledged, and to be requeued.
    Done,
    Requeued,
    /// The broker has heard of it.
    Told,
}

/// A verdict that can be compared.
type Known = (bool, Option<Duration>);

const CREDIT: usize = 5;
const BYTES: usize = 30;

struct Model {
    inbox: Inbox,
    ears: Arc<Ears>,
    counts: bool,
    last: Option<u32>,
    now: Duration,
    next: u64,
    at: BTreeMap<u64, At>,
    sizes: BTreeMap<u64, usize>,
    /// In the order in which they are handed out.
    ready: Vec<u64>,
    parked: Vec<(Duration, u64)>,
    /// To be published for a later time, and known to whoever does it or not.
    asked: Vec<(u64, Wait, u32)>,
    away: Vec<u64>,
    /// Of those, what nobody has seen, until the broker knows; meanwhile nothing is handed out.
    yielding: BTreeSet<u64>,
    held: Vec<(u64, Delivery)>,
    /// Deliveries of channels that ended.
    stale: Vec<Delivery>,
    late: u64,
}

fn attempts(tag: u64) -> u32 {
    u32::try_from(tag % 3).unwrap()
}

impl Model {
    fn new(counts: bool, last: Option<u32>) -> Self {
        let mut inbox = Inbox::default();
        inbox.begin(counts, last);
        Self {
            inbox,
            ears: Arc::default(),
            counts,
            last,
            now: Duration::ZERO,
            next: 1,
            at: BTreeMap::new(),
            sizes: BTreeMap::new(),
            ready: Vec::new(),
            parked: Vec::new(),
            asked: Vec::new(),
            away: Vec::new(),
            yielding: BTreeSet::new(),
            held: Vec::new(),
            stale: Vec::new(),
            late: 0,
        }
    }

    fn count(&self, is: impl Fn(At) -> bool) -> usize {
        self.at.values().filter(|at| is(**at)).count()
    }

    fn in_hand(&self) -> impl Iterator<Item = u64> {
        let in_hand = |at: &At| matches!(at, At::Hand | At::Settled(_));
        self.at.iter().filter(move |(_, at)| in_hand(at)).map(|(tag, _)| *tag)
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Push(size, due) => self.push(*size, *due),
            Step::HandOut(asked) => self.hand_out(*asked),
            Step::Settle(at, verdict) if !self.held.is_empty() => {
                let (tag, delivery) = self.held.swap_remove(at.index(self.held.len()));
                self.settle(tag, delivery, *verdict);
            }
            Step::Look => self.look(),
            Step::Write => self.write(),
            Step::Delayed(at, is_there) if !self.away.is_empty() => {
                let tag = self.away.swap_remove(at.index(self.away.len()));
                self.delayed(tag, *is_there);
            }
            Step::Settle(..) | Step::Delayed(..) => {}
            Step::Wait(after) => {
                self.now += *after;
                self.unpark();
            }
            Step::GiveBack => {
                self.inbox.give_back();
                let given = self.ready.drain(..).chain(self.parked.drain(..).map(|(_, tag)| tag));
                for tag in given.collect::<Vec<_>>() {
                    let is_unseen = matches!(self.at[&tag], At::Ready | At::Parked);
                    match is_unseen && self.last == Some(attempts(tag)) {
                        true => self.give_way(tag),
                        false => drop(self.at.insert(tag, At::Requeued)),
                    }
                }
            }
            Step::Lose(looks_first) => self.lose(*looks_first),
        }
        self.check();
    }

    fn give_way(&mut self, tag: u64) {
        self.asked.push((tag, Wait::No, attempts(tag)));
        self.yielding.insert(tag);
        self.at.insert(tag, At::Away(false));
    }

    fn push(&mut self, size: usize, due: Option<Due>) {
        let tag = self.next;
        self.next += 1;
        let datagram = Datagram::new(format!("{tag:0size$}"));
        let size = datagram.view().size();
        let due = match due {
            Some(Due::Here(after)) => Some(Due::Here(self.now + after)),
            other => other,
        };
        let item = Item { tag, datagram, note: None, attempts: attempts(tag), size };
        self.inbox.push(item, original(tag), due);
        self.sizes.insert(tag, size);
        let at = match due {
            None => {
                self.ready.push(tag);
                At::Ready
            }
            Some(Due::Here(at)) => {
                self.parked.push((at, tag));
                At::Parked
            }
            Some(Due::Later(wait)) => {
                self.asked.push((tag, Wait::AtMost(wait), attempts(tag)));
                At::Away(false)
            }
            Some(Due::Behind) => return self.give_way(tag),
        };
        self.at.insert(tag, at);
    }

    fn hand_out(&mut self, asked: usize) {
        let (mut count, mut bytes): (usize, usize) =
            (self.in_hand().count(), self.in_hand().map(|tag| self.sizes[&tag]).sum());
        let mut expected = Vec::new();
        for tag in self.ready.iter().copied().take(asked) {
            let is_full = count >= CREDIT || (count > 0 && bytes >= BYTES);
            if is_full || !self.yielding.is_empty() {
                break;
            }
            (count, bytes) = (count + 1, bytes + self.sizes[&tag]);
            expected.push(tag);
        }
        self.ready.drain(..expected.len());
        let most = Most { asked, credit: CREDIT, bytes: BYTES };
        let mut into = Deliveries::new();
        let handed = self.inbox.hand_out(&most, &mut into, self.ears.clone());
        assert_eq!(handed, !expected.is_empty());
        for tag in expected {
            let delivery = into.lend().expect("all that fits").take();
            let text = std::str::from_utf8(delivery.datagram().payload().unwrap()).unwrap();
            assert_eq!(text.parse::<u64>().unwrap(), tag, "in order");
            self.at.insert(tag, At::Hand);
            self.held.push((tag, delivery));
        }
        assert!(into.lend().is_none(), "no more than fits");
    }

    fn settle(&mut self, tag: u64, delivery: Delivery, verdict: Verdict) {
        let known = match verdict {
            Verdict::Ack => {
                delivery.ack().unwrap();
                (true, None)
            }
            Verdict::Drop => {
                drop(delivery);
                (false, None)
            }
            Verdict::Retry(after) => {
                delivery.retry(after).unwrap();
                (false, Some(after))
            }
        };
        self.at.insert(tag, At::Settled(known));
    }

    fn look(&mut self) {
        for board in self.ears.0.lock().unwrap().drain(..) {
            self.inbox.mark(&board);
        }
        assert_eq!(self.inbox.settle(), 0, "nothing is late while the channel stands");
        for (tag, at) in &mut self.at {
            let At::Settled((is_done, after)) = *at else { continue };
            let after = after.filter(|after| !self.counts || !after.is_zero());
            *at = match after {
                None if is_done => At::Done,
                None => At::Requeued,
                Some(after) => {
                    let wait = if after.is_zero() { Wait::No } else { Wait::AtLeast(after) };
                    self.asked.push((*tag, wait, attempts(*tag) + 1));
                    At::Away(true)
                }
            };
        }
    }

    /// As the broker takes it: it closes the channel at a tag that it does not know.
    fn write(&mut self) {
        let writes = self.inbox.take_writes();
        for tag in writes.requeues {
            assert_eq!(self.at.insert(tag, At::Told), Some(At::Requeued), "{tag}");
        }
        for (last, is_multiple) in writes.acks {
            assert_eq!(self.at[&last], At::Done, "{last}");
            for (tag, at) in
                self.at.range_mut(..=last).filter(|(tag, _)| is_multiple || **tag == last)
            {
                assert!(matches!(at, At::Done | At::Told), "{last} would settle {tag}, {at:?}");
                *at = At::Told;
            }
        }
        let untold = self.count(|at| matches!(at, At::Done | At::Requeued));
        assert_eq!(untold, 0, "all that is settled is told");
        let at = &self.at;
        self.yielding.retain(|tag| at[tag] != At::Told);
        let mut delays: Vec<_> = writes.delays.iter().collect();
        let mut asked = std::mem::take(&mut self.asked);
        delays.sort_by_key(|delay| delay.tag);
        asked.sort_by_key(|(tag, ..)| *tag);
        assert_eq!(delays.len(), asked.len());
        for (delay, (tag, wait, attempts)) in delays.into_iter().zip(asked) {
            assert_eq!((delay.tag, delay.wait, delay.attempts), (tag, wait, attempts));
            assert_eq!(delay.original.body, original(tag).body, "it goes on as it came");
            self.away.push(tag);
        }
    }

    fn delayed(&mut self, tag: u64, is_there: bool) {
        let again = self.now + SECOND;
        let At::Away(by_verdict) = self.at[&tag] else { panic!("{tag} is not away") };
        self.inbox.delayed(tag, if is_there { Ok(()) } else { Err(again) });
        let at = match is_there {
            true => At::Done,
            false if self.yielding.remove(&tag) => {
                self.ready.push(tag);
                At::Ready
            }
            false => {
                self.parked.push((again, tag));
                At::Back(by_verdict)
            }
        };
        self.at.insert(tag, at);
    }

    fn unpark(&mut self) {
        let next = self.inbox.unpark(self.now);
        let (due, parked) = self.parked.iter().copied().partition(|(at, _)| *at <= self.now);
        self.parked = parked;
        let due: Vec<(Duration, u64)> = due;
        for (_, tag) in due {
            let at = match self.at[&tag] {
                At::Parked => {
                    self.ready.push(tag);
                    At::Ready
                }
                _ => At::Requeued,
            };
            self.at.insert(tag, at);
        }
        assert_eq!(next, self.parked.iter().map(|(at, _)| *at).min());
    }

    fn lose(&mut self, looks_first: bool) {
        if looks_first {
            self.look();
        }
        let settled = |at| matches!(at, At::Done | At::Away(true) | At::Back(true));
        let untold = u64::try_from(self.count(settled)).unwrap();
        assert_eq!(self.inbox.note_untold(), untold);
        // Acknowledged and retried; what was dropped comes again, as it should.
        let counted = |at: At| matches!(at, At::Settled((true, _) | (_, Some(_))));
        let unlooked = u64::try_from(self.count(counted)).unwrap();
        let open: Vec<_> = self.in_hand().collect();
        let (revoked, in_hand) = self.inbox.lose();
        assert_eq!(in_hand, u64::try_from(open.len()).unwrap());
        assert_eq!(revoked.len(), open.len());
        revoked.into_iter().for_each(|(board, range)| board.revoke(range));
        for board in self.ears.0.lock().unwrap().drain(..) {
            self.inbox.mark(&board);
        }
        assert_eq!(self.inbox.settle(), unlooked, "what was settled came too late");
        self.late += untold + unlooked;
        for (_, delivery) in self.held.drain(..) {
            self.stale.push(delivery.ack().unwrap_err().into_parts().0);
        }
        self.at.clear();
        self.next = 1;
        (self.ready, self.parked, self.asked) = Default::default();
        // Whoever publishes them does not know yet, and whose they are is compared before they come here.
        self.away.clear();
        self.yielding.clear();
        self.inbox.begin(self.counts, self.last);
    }

    fn check(&mut self) {
        assert_eq!(self.inbox.in_hand(), self.in_hand().count());
        assert_eq!(
            self.inbox.in_hand_bytes,
            self.in_hand().map(|tag| self.sizes[&tag]).sum::<usize>()
        );
        let is_starved = self.ready.is_empty() || !self.yielding.is_empty();
        assert_eq!(self.inbox.is_starved(), is_starved);
        let untold = self.count(|at| matches!(at, At::Done | At::Requeued | At::Away(_)));
        assert_eq!(self.inbox.is_told(), untold == 0 && self.inbox.marked.is_empty());
        if self.inbox.is_idle() {
            assert_eq!(self.in_hand().count(), 0);
        }
    }

    /// Everything is settled, and told: then nothing is kept.
    fn end(mut self) {
        let all: Vec<_> = self.held.drain(..).collect();
        for (tag, delivery) in all {
            self.settle(tag, delivery, Verdict::Ack);
        }
        self.step(&Step::Look);
        self.step(&Step::Wait(SECOND * 99));
        self.step(&Step::GiveBack);
        self.step(&Step::Write);
        for tag in std::mem::take(&mut self.away) {
            self.delayed(tag, true);
        }
        self.step(&Step::Write);
        assert!(
            self.inbox.is_idle() && self.inbox.slots.is_empty() && self.inbox.boards.is_empty()
        );
        assert!(self.at.values().all(|at| *at == At::Told));
        assert_eq!(self.inbox.lowest, self.next);
        assert_eq!(self.inbox.take_late(), self.late);
        assert!(self.stale.iter().all(|delivery| !delivery.is_current()));
    }
}

fn original(tag: u64) -> Original {
    Original { properties: None, body: Bytes::from(format!("body of {tag}")) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_broker_is_told_each_verdict_once_and_no_other(
        counts in any::<bool>(),
        last in prop::option::of(0_u32..3),
        steps in steps(),
    ) {
        let mut model = Model::new(counts, last);
        for step in &steps {
            model.step(step);
        }
        model.end();
    }
}

fn filled(tags: Range<u64>) -> Inbox {
    let mut inbox = Inbox::default();
    inbox.begin(true, None);
    for tag in tags {
        let datagram = Datagram::new("x");
        let item = Item { tag, datagram, note: None, attempts: 0, size: 1 };
        inbox.push(item, original(tag), None);
    }
    inbox
}

/// Hands out all, and settles each that `settles`.
fn acknowledge(inbox: &mut Inbox, settles: impl Fn(u64) -> bool) -> Vec<Delivery> {
    let ears = Arc::new(Ears::default());
    let mut into = Deliveries::new();
    inbox.hand_out(&Most { asked: 99, credit: 99, bytes: 1 << 20 }, &mut into, ears.clone());
    let mut kept = Vec::new();
    for tag in 1.. {
        let Some(lent) = into.lend() else { break };
        match settles(tag) {
            true => lent.take().ack().unwrap(),
            false => kept.push(lent.take()),
        }
    }
    for board in ears.0.lock().unwrap().drain(..) {
        inbox.mark(&board);
    }
    inbox.settle();
    kept
}

#[test]
fn without_a_gap_one_acknowledgement_is_for_all() {
    let mut inbox = filled(1..9);
    drop(acknowledge(&mut inbox, |_| true));
    assert!(!inbox.is_told());
    assert_eq!(inbox.take_writes().acks, [(8, true)]);
    assert!(inbox.is_told() && inbox.slots.is_empty());
}

#[test]
fn behind_what_is_open_each_has_its_own() {
    let mut inbox = filled(1..9);
    let kept = acknowledge(&mut inbox, |tag| tag != 3 && tag != 6);
    assert_eq!(
        inbox.take_writes().acks,
        [(2, true), (4, false), (5, false), (7, false), (8, false)]
    );
    assert!(inbox.take_writes().is_empty(), "each is told once");
    assert_eq!(kept.len(), 2);
}

#[test]
fn what_the_broker_schedules_is_no_settlement_that_came_too_late() {
    let mut inbox = filled(1..1);
    let item = Item { tag: 1, datagram: Datagram::new("x"), note: None, attempts: 0, size: 1 };
    inbox.push(item, original(1), Some(Due::Later(SECOND)));
    assert_eq!(inbox.note_untold(), 0);
}

#[test]
fn what_is_published_for_later_is_told_before_all_is_quiet() {
    let mut inbox = filled(1..1);
    let item = Item { tag: 1, datagram: Datagram::new("x"), note: None, attempts: 0, size: 1 };
    inbox.push(item, original(1), Some(Due::Later(SECOND)));
    assert_eq!(inbox.take_writes().delays.len(), 1);
    inbox.delayed(1, Ok(()));
    assert!(!inbox.is_told() && !inbox.is_idle(), "the broker still has the first one");
    assert_eq!(inbox.take_writes().acks, [(1, true)]);
    assert!(inbox.is_idle());
}

#[test]
fn what_is_held_back_goes_with_its_channel_and_no_acknowledgement_covers_it() {
    let mut inbox = filled(1..9);
    let (ears, mut into) = (Arc::new(Ears::default()), Deliveries::new());
    inbox.hand_out(&Most { asked: 6, credit: 99, bytes: 1 << 20 }, &mut into, ears.clone());
    inbox.hold_back();
    for tag in 1..7 {
        let delivery = into.lend().unwrap().take();
        match tag {
            1 | 2 | 5 => delivery.ack().unwrap(),
            _ => drop(delivery),
        }
    }
    for board in ears.0.lock().unwrap().drain(..) {
        inbox.mark(&board);
    }
    inbox.settle();
    let writes = inbox.take_writes();
    assert_eq!(writes.acks, [(2, true), (5, false)]);
    assert!(writes.requeues.is_empty() && writes.delays.is_empty());
    assert!(inbox.is_idle(), "its channel may end");
    let item = Item { tag: 9, datagram: Datagram::new("x"), note: None, attempts: 0, size: 1 };
    inbox.push(item, original(9), None);
    assert!(inbox.is_starved() && inbox.is_idle());
}
