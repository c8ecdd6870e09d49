//! The outbox against a plain model: a list of what was admitted, and what is known of each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Wake;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const CREDIT: Credit = Credit { count: 5, bytes: 40 };

/// A datagram that names itself, of at least this many bytes.
fn datagram(number: u64, size: usize) -> Datagram {
    Datagram::new(format!("{number:0size$}"))
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicU64);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Admits datagrams of these sizes, as far as they fit.
    Admit(Vec<usize>),
    /// Gives some to the client.
    Give(usize),
    /// The broker answers for one that the client has: stored, not sent, or in doubt.
    Report(Index, Option<Fate>),
    /// A ticket is answered, whatever is known.
    Take(Index),
    Forget(Index),
    Lose,
    Refuse,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let result = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Fate::NotSent)),
        1 => Just(Some(Fate::MaybeSent)),
    ];
    let step = prop_oneof![
        4 => prop::collection::vec(1_usize..30, 0..5).prop_map(Step::Admit),
        3 => (0_usize..5).prop_map(Step::Give),
        8 => (any::<Index>(), result).prop_map(|(at, result)| Step::Report(at, result)),
        2 => any::<Index>().prop_map(Step::Take),
        1 => any::<Index>().prop_map(Step::Forget),
        1 => Just(Step::Lose),
        1 => Just(Step::Refuse),
    ];
    prop::collection::vec(step, 0..80)
}

/// What is true of a datagram.
struct Known {
    size: usize,
    is_given: bool,
    /// What was answered for it.
    answer: Option<Result<(), Fate>>,
    /// Whether its ticket was answered, or will not be asked for.
    is_over: bool,
    is_forgotten: bool,
}

impl Known {
    /// Whether it counts: until there is an answer, which one that is with the client needs whatever happens.
    fn is_open(&self) -> bool {
        self.answer.is_none()
    }
}

struct Model {
    outbox: Outbox<Queue>,
    all: Vec<Known>,
    tickets: Vec<Ticket>,
    /// Of what is forgotten, how much failed.
    forgotten: u64,
    told: Told,
    target: Arc<Queue>,
}

impl Model {
    fn new() -> Self {
        Self {
            outbox: Outbox::default(),
            all: Vec::new(),
            tickets: Vec::new(),
            forgotten: 0,
            told: Told::default(),
            target: target(false),
        }
    }

    fn number(&self) -> u64 {
        u64::try_from(self.all.len()).unwrap()
    }

    fn known(&mut self, number: u64) -> &mut Known {
        &mut self.all[usize::try_from(number).unwrap()]
    }

    fn open(&self) -> (usize, usize) {
        let open = self.all.iter().filter(|known| known.is_open());
        (open.clone().count(), open.map(|known| known.size).sum())
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Admit(sizes) => self.admit(sizes),
            Step::Give(most) => self.give(*most),
            Step::Report(at, result) => {
                let given =
                    (0..self.number()).filter(|number| self.all[at_usize(*number)].is_given);
                let given: Vec<_> = given.collect();
                if !given.is_empty() {
                    self.report(*at.get(&given), result.map_or(Ok(()), Err));
                }
            }
            Step::Take(at) if !self.tickets.is_empty() => {
                let ticket = self.tickets.remove(at.index(self.tickets.len()));
                self.take(&ticket);
            }
            Step::Forget(at) if !self.tickets.is_empty() => {
                let ticket = self.tickets.remove(at.index(self.tickets.len()));
                self.forget(&ticket);
            }
            Step::Take(_) | Step::Forget(_) => {}
            Step::Lose => {
                self.outbox.lose(&failure(), &mut self.told);
                for number in 0..self.number() {
                    if self.known(number).is_given {
                        self.answer(number, Err(Fate::MaybeSent));
                    }
                }
            }
            Step::Refuse => {
                self.outbox.refuse(&failure(), &mut self.told);
                for number in 0..self.number() {
                    if !std::mem::replace(&mut self.known(number).is_given, true) {
                        self.answer(number, Err(Fate::NotSent));
                    }
                }
            }
        }
        self.check();
    }

    fn admit(&mut self, sizes: &[usize]) {
        let first = self.number();
        let mut batch: Batch = (first..).zip(sizes).map(|(n, size)| datagram(n, *size)).collect();
        let (mut open, mut bytes) = self.open();
        let would_fit = |(open, bytes): (usize, usize)| {
            open < CREDIT.count && (open == 0 || bytes < CREDIT.bytes)
        };
        let fits = self.outbox.fits(&batch, CREDIT);
        let admitted = self.outbox.admit(&mut batch, &self.target, CREDIT);
        for (index, size) in sizes.iter().enumerate() {
            assert_eq!(index < admitted, index <= admitted && would_fit((open, bytes)), "{index}");
            if index < admitted {
                let view = datagram(first + at_u64(index), *size);
                let size = view.view().size();
                (open, bytes) = (open + 1, bytes + size);
                let known = Known {
                    size,
                    is_given: false,
                    answer: None,
                    is_over: false,
                    is_forgotten: false,
                };
                self.all.push(known);
            }
        }
        assert_eq!(fits, admitted == sizes.len(), "what fits is admitted");
        let ticket = batch.take_ticket();
        if !ticket.is_empty() {
            self.tickets.push(ticket);
        }
    }

    fn give(&mut self, most: usize) {
        let waiting = (0..self.number()).filter(|number| {
            let known = &self.all[at_usize(*number)];
            !known.is_given && known.is_open()
        });
        let waiting: Vec<_> = waiting.take(most).collect();
        let unsent = self.outbox.take_unsent(most);
        assert_eq!(unsent.iter().map(|one| one.number).collect::<Vec<_>>(), waiting, "in order");
        for Unsent { number, datagram: taken, target } in unsent {
            let size = taken.payload().unwrap().len();
            assert_eq!(taken, datagram(number, size), "each is itself");
            assert!(Arc::ptr_eq(&target, &self.target));
            self.known(number).is_given = true;
        }
    }

    fn report(&mut self, number: u64, result: Result<(), Fate>) {
        let reported = result.map_err(|fate| (fate, failure()));
        self.outbox.report(number, reported, &mut self.told);
        self.answer(number, result);
    }

    /// The first answer counts.
    fn answer(&mut self, number: u64, result: Result<(), Fate>) {
        let known = self.known(number);
        if known.is_open() {
            known.answer = Some(result);
            let is_news = known.is_forgotten && result.is_err();
            self.forgotten += u64::from(is_news);
        }
    }

    fn take(&mut self, ticket: &Ticket) {
        let receipts = self.outbox.take(ticket, &mut self.told);
        assert_eq!(receipts.len(), ticket.len());
        let mut failed = receipts.into_failed().into_iter();
        for number in numbers(ticket) {
            let known = self.known(number);
            known.is_over = true;
            let fate = match known.answer {
                Some(Ok(())) => continue,
                Some(Err(fate)) => fate,
                None if known.is_given => Fate::MaybeSent,
                None => {
                    known.answer = Some(Err(Fate::NotSent));
                    Fate::NotSent
                }
            };
            let error = failed.next().expect("one for each that is not stored");
            assert_eq!(error.fate(), fate, "{number}");
            let size = error.datagram().payload().unwrap().len();
            assert_eq!(error.datagram(), &datagram(number, size), "it comes back as it was");
        }
        assert!(failed.next().is_none());
    }

    fn forget(&mut self, ticket: &Ticket) {
        self.outbox.forget(ticket, &mut self.told);
        for number in numbers(ticket) {
            let known = self.known(number);
            (known.is_over, known.is_forgotten) = (true, true);
            let has_failed = matches!(known.answer, Some(Err(_)));
            self.forgotten += u64::from(has_failed);
        }
    }

    fn check(&mut self) {
        assert_eq!((self.outbox.open, self.outbox.open_bytes), self.open());
        assert_eq!(self.outbox.is_idle(), self.open().0 == 0);
        assert_eq!(self.told.forgotten, self.forgotten);
        for ticket in &self.tickets {
            for from in 0..=at_usize(ticket.len().into()) {
                let open = numbers(ticket).enumerate().skip(from);
                let mut open = open.filter(|(_, number)| self.all[at_usize(*number)].is_open());
                assert_eq!(self.outbox.first_open(ticket, from), open.next());
            }
        }
        let failed: Vec<_> = self.all.iter().filter(|known| !known.is_over).collect();
        let failed = failed.iter().filter_map(|known| known.answer?.err());
        let unsent = self.outbox.unsent();
        assert_eq!(
            unsent.iter().map(SendError::fate).collect::<Vec<_>>(),
            failed.collect::<Vec<_>>()
        );
    }

    /// Answers everything and asks for everything: then nothing is kept.
    fn end(mut self) {
        self.step(&Step::Lose);
        self.step(&Step::Refuse);
        assert!(self.outbox.is_idle());
        for ticket in std::mem::take(&mut self.tickets) {
            assert!(self.outbox.first_open(&ticket, 0).is_none());
            self.take(&ticket);
        }
        assert!(self.outbox.outcomes.is_empty() && self.outbox.bodies.is_empty());
        assert!(self.outbox.wakers.is_empty());
    }
}

fn numbers(ticket: &Ticket) -> impl Iterator<Item = u64> {
    ticket.ranges().flat_map(|(first, count)| first..first + u64::from(count))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn fates_credit_and_order_are_those_of_the_model(steps in steps()) {
        let mut model = Model::new();
        for step in &steps {
            model.step(step);
        }
        model.end();
    }
}

fn admitted(count: u64) -> (Outbox<Queue>, Ticket) {
    let mut outbox = Outbox::default();
    let mut batch: Batch = (0..count).map(|number| datagram(number, 1)).collect();
    outbox.admit(&mut batch, &target(false), MUCH);
    (outbox, batch.take_ticket())
}

#[test]
fn a_ticket_of_several_ranges_is_searched_from_where_it_was_left() {
    let mut outbox = Outbox::default();
    let (mut one, mut other): (Batch, Batch) =
        ((0..5).map(|n| datagram(n, 1)).collect(), (5..6).map(|n| datagram(n, 1)).collect());
    let three = Credit { count: 3, bytes: 1 << 20 };
    outbox.admit(&mut one, &target(false), three);
    outbox.admit(&mut other, &target(false), MUCH);
    outbox.admit(&mut one, &target(false), MUCH);
    let ticket = one.take_ticket();
    assert_eq!(ticket.ranges().collect::<Vec<_>>(), [(0, 3), (4, 2)]);
    outbox.take_unsent(9);
    for (number, first_open) in [(0, Some((1, 1))), (2, Some((1, 1))), (1, Some((3, 4)))] {
        outbox.report(number, Ok(()), &mut Told::default());
        assert_eq!(outbox.first_open(&ticket, 0), first_open);
    }
    assert_eq!(outbox.first_open(&ticket, 4), Some((4, 5)));
    outbox.report(5, Ok(()), &mut Told::default());
    assert_eq!(outbox.first_open(&ticket, 4), None);
    assert_eq!(outbox.first_open(&ticket, 2), Some((3, 4)));
}

#[test]
fn whoever_waits_is_woken_once_by_the_answer() {
    let (mut outbox, _) = admitted(2);
    outbox.take_unsent(9);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    outbox.wait(1, &waker);
    outbox.wait(1, &waker);
    let mut told = Told::default();
    outbox.report(0, Ok(()), &mut told);
    assert!(told.wakers.is_empty());
    outbox.report(1, Ok(()), &mut told);
    assert_eq!(told.wakers.len(), 1);
    told.wakers.into_iter().for_each(Waker::wake);
    assert_eq!(bell.0.load(Ordering::SeqCst), 1);
}

#[test]
fn what_is_withdrawn_is_not_given_to_the_client_and_what_is_there_counts_on() {
    let (mut outbox, ticket) = admitted(3);
    assert_eq!(outbox.take_unsent(1).len(), 1);
    let receipts = outbox.take(&ticket, &mut Told::default());
    let fates: Vec<_> = receipts.failed().iter().map(|(_, error)| error.fate()).collect();
    assert_eq!(fates, [Fate::MaybeSent, Fate::NotSent, Fate::NotSent]);
    assert!(receipts.failed().iter().all(|(_, error)| matches!(error.error(), Error::Withdrawn)));
    assert!(outbox.take_unsent(9).is_empty());
    assert!(!outbox.is_idle(), "the client has one");
    outbox.report(0, Ok(()), &mut Told::default());
    assert!(outbox.is_idle() && outbox.bodies.is_empty() && outbox.outcomes.is_empty());
}

#[test]
fn one_datagram_fits_any_credit() {
    let (mut outbox, _) = admitted(0);
    let mut large: Batch = [datagram(0, 100), datagram(1, 1)].into_iter().collect();
    assert_eq!(outbox.admit(&mut large, &target(false), Credit { count: 1, bytes: 1 }), 1);
    assert_eq!(outbox.admit(&mut large, &target(false), Credit { count: 2, bytes: 1 }), 0);
    assert_eq!(large.len(), 1, "it waits");
}
