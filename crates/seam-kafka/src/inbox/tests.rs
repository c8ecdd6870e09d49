//! Watermarks, generations and who has what.

use seam_core::{Datagram, Delivery, Position};

use super::*;

struct Deaf;

impl Harvester for Deaf {
    fn settled(&self, _: &Arc<Board>, _: bool) {}
}

const FRESH: Assigned = Assigned { partition: 0, start: None, seen: 0 };

const NOW: Duration = Duration::from_secs(9);

/// More than any test has.
const MUCH: Most = Most { asked: 999, credit: 999, bytes: 1 << 20 };

/// Records that were read together, each with its offset as payload.
fn run(partition: i32, offsets: Range<i64>) -> Gathered {
    let mut run = Gathered::new(partition, None);
    offsets.for_each(|offset| run.push_plain(offset, None, offset.to_string().as_bytes()));
    run
}

/// The partitions, offsets and attempts of the next batch; each has to hold its own payload.
fn batch(inbox: &mut Inbox, member: u64, into: &mut Deliveries) -> Vec<(i32, i64, u32)> {
    inbox.hand_out(member, &MUCH, into, NOW, Arc::new(Deaf));
    let mut found = Vec::new();
    while let Some(lent) = into.lend() {
        let Some(Position::Offset { partition, offset }) = lent.note().position else { panic!() };
        assert_eq!(lent.view().payload(), Some(offset.to_string().as_bytes()));
        found.push((partition, offset, lent.note().attempt));
        lent.ack();
    }
    found
}

fn filled(offsets: Range<i64>) -> (Inbox, u64) {
    let mut inbox = Inbox::default();
    inbox.assign([FRESH].into_iter());
    let member = inbox.join();
    offsets.for_each(|offset| inbox.push(record(offset)));
    (inbox, member)
}

fn record(offset: i64) -> Gathered {
    let mut one = Gathered::new(0, None);
    one.push(offset, None, Datagram::new("x"));
    one
}

fn take(inbox: &mut Inbox, member: u64, max: usize) -> Deliveries {
    let mut into = Deliveries::new();
    let most = Most { asked: max, credit: 9, bytes: 1 << 20 };
    inbox.hand_out(member, &most, &mut into, NOW, Arc::new(Deaf));
    into
}

/// The board of the only batch that was handed out.
fn board(inbox: &Inbox) -> Arc<Board> {
    inbox.boards.values().next().unwrap().board.clone()
}

#[test]
fn the_watermark_waits_for_the_lowest_that_is_open() {
    let (mut inbox, member) = filled(5..9);
    let mut taken = take(&mut inbox, member, 9);
    let board = board(&inbox);
    let mut held = Vec::new();
    while let Some(lent) = taken.lend() {
        held.push(lent.take());
    }
    held.pop().unwrap().ack().unwrap();
    held.remove(1).ack().unwrap();
    inbox.settle(&board, NOW);
    assert_eq!(inbox.uncommitted(), [(0, 5)]);
    held.remove(0).ack().unwrap();
    inbox.settle(&board, NOW);
    assert_eq!(inbox.uncommitted(), [(0, 7)]);
    held.remove(0).ack().unwrap();
    inbox.settle(&board, NOW);
    assert_eq!(inbox.uncommitted(), [(0, 9)]);
    inbox.committed(&[(0, 9)]);
    assert!(inbox.uncommitted().is_empty() && inbox.in_hand() == 0);
}

#[test]
fn a_settlement_of_an_older_assignment_is_late_and_moves_nothing() {
    let (mut inbox, member) = filled(5..6);
    let mut taken = take(&mut inbox, member, 9);
    let board = board(&inbox);
    let (revoked, count) = inbox.revoke(&[0]);
    assert_eq!((revoked.len(), count), (1, 1));
    inbox.assign([FRESH].into_iter());
    inbox.push(record(5));
    taken.ack_all();
    assert_eq!(inbox.settle(&board, NOW).0, 1);
    assert_eq!(inbox.uncommitted(), [(0, 5)]);
}

#[test]
fn what_is_dropped_holds_the_watermark_and_comes_again() {
    let (mut inbox, member) = filled(5..7);
    let mut taken = take(&mut inbox, member, 9);
    let board = board(&inbox);
    let first = taken.lend().unwrap().take();
    taken.ack_all();
    drop(first);
    inbox.settle(&board, NOW);
    assert_eq!(inbox.uncommitted(), [(0, 5)]);
    let mut again = take(&mut inbox, member, 9);
    assert_eq!(again.lend().unwrap().note().attempt, 2);
}

#[test]
fn a_partition_stays_with_whoever_has_some_of_it() {
    let (mut inbox, one) = filled(5..8);
    let two = inbox.join();
    let first = take(&mut inbox, one, 1);
    assert!(take(&mut inbox, two, 1).is_empty());
    drop(inbox.leave(one));
    assert_eq!(take(&mut inbox, two, 1).len(), 1);
    drop(first);
}

#[test]
fn reading_stops_at_the_credit_and_one_always_fits() {
    let (inbox, _) = filled(0..0);
    assert!(!inbox.room(1, 0).is_none());
    let (inbox, _) = filled(0..3);
    assert!(inbox.room(3, 1 << 20).is_none() && inbox.room(4, 3).is_none());
    assert_eq!(inbox.room(4, 1 << 20).records, 1);
}

/// Settles every delivery but the first.
fn settle_all_but_the_first(inbox: &mut Inbox, mut taken: Deliveries) -> Delivery {
    let board = board(inbox);
    let first = taken.lend().unwrap().take();
    taken.ack_all();
    drop(taken);
    inbox.settle(&board, NOW);
    first
}

#[test]
fn no_more_than_the_credit_is_handed_out_and_not_committed() {
    let (mut inbox, member) = filled(0..20);
    let taken = take(&mut inbox, member, 9);
    let first = settle_all_but_the_first(&mut inbox, taken);
    assert!(take(&mut inbox, member, 9).is_empty(), "the credit is used up");
    assert_eq!(inbox.blocked(9).len(), 1);
    assert_eq!(inbox.room(9, 1 << 20).records, 9, "others may be read");
    let board = board(&inbox);
    first.ack().unwrap();
    inbox.settle(&board, NOW);
    assert!(inbox.is_crowded(9) && take(&mut inbox, member, 9).is_empty());
    inbox.committed(&[(0, 9)]);
    assert!(!inbox.is_crowded(9));
    assert_eq!(take(&mut inbox, member, 20).len(), 9);
}

#[test]
fn what_comes_again_needs_no_credit() {
    let (mut inbox, member) = filled(0..20);
    let taken = take(&mut inbox, member, 9);
    drop(settle_all_but_the_first(&mut inbox, taken));
    let board = board(&inbox);
    inbox.settle(&board, NOW);
    assert_eq!(take(&mut inbox, member, 9).len(), 1);
}

#[test]
fn what_was_read_together_is_handed_out_together() {
    let mut inbox = Inbox::default();
    let both = (0..2).map(|partition| Assigned { partition, ..FRESH });
    inbox.assign(both);
    let member = inbox.join();
    let mut read = vec![run(0, 5..55), run(0, 55..57), run(1, 7..9)];
    inbox.take_in(&mut read, &mut Vec::new());
    let mut into = Deliveries::new();
    let first = batch(&mut inbox, member, &mut into);
    assert_eq!(first, (5..55).map(|offset| (0, offset, 1)).collect::<Vec<_>>());
    let second = batch(&mut inbox, member, &mut into);
    assert_eq!(second, [(1, 7, 1), (1, 8, 1), (0, 55, 1), (0, 56, 1)], "each has its turn");
}

#[test]
fn what_comes_again_is_what_it_was_and_the_rest_is_let_go_of() {
    let mut inbox = Inbox::default();
    inbox.assign([FRESH].into_iter());
    let (member, mut spare) = (inbox.join(), Vec::new());
    inbox.take_in(&mut vec![run(0, 0..40)], &mut spare);
    let mut taken = Deliveries::new();
    inbox.hand_out(member, &MUCH, &mut taken, NOW, Arc::new(Deaf));
    let board = board(&inbox);
    drop(settle_all_but_the_first(&mut inbox, taken));
    inbox.settle(&board, NOW);
    inbox.take_in(&mut Vec::new(), &mut spare);
    assert_eq!(spare.len(), 1, "its memory is used again");
    let again = batch(&mut inbox, member, &mut Deliveries::new());
    assert_eq!(again, [(0, 0, 2)]);
}

#[test]
fn what_is_never_committed_is_forgotten_once_it_is_done() {
    let (mut inbox, member) = (Inbox::private(), 1);
    inbox.assign([FRESH].into_iter());
    inbox.join();
    (0..30).for_each(|offset| inbox.push(record(offset)));
    for _ in 0..3 {
        let mut taken = take(&mut inbox, member, 9);
        assert_eq!(taken.len(), 9);
        let board = board(&inbox);
        taken.ack_all();
        drop(taken);
        inbox.settle(&board, NOW);
    }
}
