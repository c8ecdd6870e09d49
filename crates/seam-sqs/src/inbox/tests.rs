//! Leases and verdicts, by a clock that the tests move.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const VISIBILITY: Duration = Duration::from_secs(30);

struct Deaf;

impl Harvester for Deaf {
    fn settled(&self, _: &Arc<Board>, _: bool) {}
}

/// An inbox with so many deliveries in hand, received now.
fn in_hand(count: usize) -> (Inbox, Deliveries, Arc<Board>, Instant) {
    let (mut inbox, now) = (Inbox::new(VISIBILITY), Instant::now());
    push(&mut inbox, count, now);
    let (deliveries, board) = hand_out(&mut inbox);
    (inbox, deliveries, board, now)
}

fn push(inbox: &mut Inbox, count: usize, now: Instant) {
    for number in 0..count {
        let datagram = Datagram::new(format!("{number}"));
        inbox.push(arrival(number, Content::One(datagram)), now);
    }
}

fn arrival(number: usize, content: Content) -> Arrival {
    Arrival { handle: format!("handle-{number}").into(), note: Note::default(), content }
}

fn hand_out(inbox: &mut Inbox) -> (Deliveries, Arc<Board>) {
    let mut deliveries = Deliveries::new();
    let most = Most { asked: 99, credit: 99, bytes: 1 << 20 };
    assert!(inbox.hand_out(&most, &mut deliveries, Arc::new(Deaf)));
    let board = inbox.boards[&inbox.tokens].board.clone();
    (deliveries, board)
}

/// Has the inbox see what was published.
fn look(inbox: &mut Inbox, board: &Arc<Board>, now: Instant) -> u64 {
    inbox.mark(board);
    inbox.settle(now);
    inbox.take_untold_late()
}

fn handles(writes: &[Write]) -> Vec<&str> {
    writes.iter().map(|write| &*write.handle).collect()
}

#[test]
fn each_verdict_is_told_in_its_own_way() {
    let (mut inbox, mut deliveries, board, now) = in_hand(4);
    deliveries.lend().unwrap().ack();
    deliveries.lend().unwrap().retry(Duration::ZERO).unwrap();
    deliveries.lend().unwrap().retry(Duration::from_millis(1500)).unwrap();
    drop(deliveries);
    assert_eq!(look(&mut inbox, &board, now), 0);
    let (deletes, kind) = inbox.take_writes(true).unwrap();
    assert_eq!((handles(&deletes), kind), (vec!["handle-0"], Kind::Delete));
    let (changes, kind) = inbox.take_writes(true).unwrap();
    assert_eq!(kind, Kind::Change);
    let mut seconds: Vec<_> = changes.iter().map(|w| (&*w.handle, w.seconds)).collect();
    seconds.sort_unstable();
    assert_eq!(seconds, [("handle-1", 0), ("handle-2", 2), ("handle-3", 0)]);
    assert!(!inbox.is_idle(), "nobody has answered");
    inbox.written(Kind::Delete, 1, Vec::new(), &[]);
    inbox.written(Kind::Change, 3, Vec::new(), &[]);
    assert!(inbox.is_idle() && inbox.held() == (0, 0));
}

#[test]
fn acknowledgements_leave_by_ten_and_the_rest_when_it_is_due() {
    let (mut inbox, mut deliveries, board, now) = in_hand(25);
    deliveries.ack_all();
    look(&mut inbox, &board, now);
    let sizes = |inbox: &mut Inbox, is_due| {
        std::iter::from_fn(|| inbox.take_writes(is_due)).map(|(w, _)| w.len()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(&mut inbox, false), [10, 10]);
    assert_eq!(sizes(&mut inbox, true), [5]);
}

#[test]
fn leases_of_all_that_is_held_are_extended_at_a_third() {
    let (mut inbox, _deliveries, _, now) = in_hand(7);
    push(&mut inbox, 6, now);
    assert!(inbox.take_renewals(now + 9 * SECOND).is_empty());
    let (first, then) = (inbox.take_renewals(now + 10 * SECOND), now + 10 * SECOND);
    assert_eq!(first.len(), 10);
    assert_eq!(inbox.take_renewals(then).len(), 3, "the buffer's too");
    assert!(inbox.take_renewals(then).is_empty());
    for renewal in &first {
        assert_eq!(renewal.seconds, 30);
        inbox.renewed(renewal, then, true);
    }
    assert_eq!(
        inbox.expire(now + 30 * SECOND).len(),
        0,
        "three of the buffer are in nobody's hand"
    );
    assert_eq!(inbox.held().0, 10);
}

#[test]
fn a_lease_that_is_not_extended_is_lost_and_its_verdict_late() {
    let (mut inbox, mut deliveries, board, now) = in_hand(2);
    let revoked = inbox.expire(now + 30 * SECOND);
    assert_eq!(revoked.len(), 2);
    deliveries.ack_all();
    assert_eq!(look(&mut inbox, &board, now), 2);
    assert_eq!(inbox.take_late(), 2);
    assert!(inbox.is_idle() && inbox.held() == (0, 0));
}

#[test]
fn an_ack_after_the_process_stood_still_is_late_and_nothing_is_deleted() {
    let (mut inbox, mut deliveries, board, now) = in_hand(2);
    deliveries.lend().unwrap().ack();
    deliveries.lend().unwrap().retry(Duration::ZERO).unwrap();
    drop(deliveries);
    assert_eq!(look(&mut inbox, &board, now + 31 * SECOND), 2);
    assert!(inbox.take_writes(true).is_none());
}

#[test]
fn no_lease_is_longer_than_sqs_allows() {
    let (mut inbox, _deliveries, _, now) = in_hand(1);
    let near = now + LONGEST_LEASE - 21 * SECOND;
    let renewals = inbox.take_renewals(near);
    assert_eq!(renewals[0].seconds, 20);
    inbox.renewed(&renewals[0], near, true);
    assert!(inbox.take_renewals(now + LONGEST_LEASE).is_empty(), "there is nothing to extend");
    assert_eq!(inbox.expire(now + LONGEST_LEASE).len(), 1);
}

#[test]
fn an_ack_that_sqs_refuses_is_late() {
    let (mut inbox, mut deliveries, board, now) = in_hand(1);
    deliveries.ack_all();
    look(&mut inbox, &board, now);
    let (writes, kind) = inbox.take_writes(true).unwrap();
    inbox.written(kind, 1, Vec::new(), &writes);
    assert_eq!((inbox.take_late(), inbox.take_untold_late()), (1, 1));
}

#[test]
fn what_sqs_did_not_do_is_told_again() {
    let (mut inbox, mut deliveries, board, now) = in_hand(1);
    deliveries.ack_all();
    look(&mut inbox, &board, now);
    let (writes, kind) = inbox.take_writes(true).unwrap();
    inbox.written(kind, 1, writes.clone(), &[]);
    assert_eq!(inbox.take_writes(true), Some((writes, kind)));
}

#[test]
fn an_end_revokes_what_is_in_hand_and_gives_all_back() {
    let (mut inbox, _deliveries, board, now) = in_hand(2);
    push(&mut inbox, 1, now);
    assert_eq!(inbox.end(now).len(), 2);
    let (changes, kind) = inbox.take_writes(true).unwrap();
    assert_eq!((changes.len(), kind), (3, Kind::Change));
    assert!(changes.iter().all(|write| write.seconds == 0));
    assert!(inbox.held() == (0, 0) && inbox.in_hand() == 0);
    look(&mut inbox, &board, now);
}

#[test]
fn credit_bounds_what_is_in_hand_and_one_always_fits() {
    let (mut inbox, now) = (Inbox::new(VISIBILITY), Instant::now());
    push(&mut inbox, 5, now);
    let (mut one, mut two) = (Deliveries::new(), Deliveries::new());
    let most = Most { asked: 99, credit: 2, bytes: 1 };
    assert!(inbox.hand_out(&most, &mut one, Arc::new(Deaf)));
    assert_eq!(one.len(), 1);
    assert!(!inbox.hand_out(&most, &mut two, Arc::new(Deaf)));
    let most = Most { bytes: 1 << 20, ..most };
    assert!(inbox.hand_out(&most, &mut two, Arc::new(Deaf)));
    assert_eq!(two.len(), 1);
}

/// An inbox with one pack of so many in hand, received now.
fn pack_in_hand(count: usize) -> (Inbox, Deliveries, Arc<Board>, Instant) {
    let (mut inbox, now) = (Inbox::new(VISIBILITY), Instant::now());
    let parts = (0..count).map(|number| {
        let datagram = Datagram::new(format!("{number}"));
        (crate::mapping::packed(datagram.view()), datagram)
    });
    // As it comes, without the length that stands before it.
    let parts = parts.map(|(packed, datagram)| (packed.slice(1..), datagram));
    inbox.push(arrival(0, Content::Pack(parts.collect())), now);
    let (deliveries, board) = hand_out(&mut inbox);
    (inbox, deliveries, board, now)
}

#[test]
fn a_pack_is_deleted_with_its_last_delivery() {
    let (mut inbox, mut deliveries, board, now) = pack_in_hand(3);
    let mut owned: Vec<_> = std::iter::from_fn(|| Some(deliveries.lend()?.take())).collect();
    owned.pop().unwrap().ack().unwrap();
    owned.pop().unwrap().ack().unwrap();
    assert_eq!(look(&mut inbox, &board, now), 0);
    assert!(inbox.take_writes(true).is_none() && inbox.held().0 == 1);
    assert!(inbox.is_told(), "nobody can be told of a part");
    owned.pop().unwrap().ack().unwrap();
    look(&mut inbox, &board, now);
    let (deletes, kind) = inbox.take_writes(true).unwrap();
    assert_eq!((handles(&deletes), kind, deletes[0].verdicts), (vec!["handle-0"], Kind::Delete, 3));
    inbox.written(kind, 1, Vec::new(), &deletes);
    assert_eq!(inbox.take_late(), 3, "a delete that is refused is three that come again");
    assert!(inbox.is_idle() && inbox.held() == (0, 0));
}

#[test]
fn what_is_asked_for_again_of_a_pack_waits_here_and_comes_alone() {
    let (mut inbox, mut deliveries, board, now) = pack_in_hand(3);
    deliveries.lend().unwrap().ack();
    deliveries.lend().unwrap().retry(7 * SECOND).unwrap();
    // And the third is dropped.
    drop(deliveries);
    assert_eq!(look(&mut inbox, &board, now), 0);
    assert!(inbox.take_writes(true).is_none());
    let mut again = Vec::new();
    for after in [Duration::ZERO, 7 * SECOND] {
        assert_eq!(inbox.next_due(), Some(now + after));
        inbox.unpark(now + after);
        let (mut deliveries, board) = hand_out(&mut inbox);
        assert_eq!(deliveries.len(), 1);
        let delivery = deliveries.lend().unwrap().take();
        let note = delivery.note();
        again.push((delivery.view().payload().unwrap().to_vec(), note.attempt));
        assert!(note.possible_duplicate);
        delivery.ack().unwrap();
        look(&mut inbox, &board, now);
    }
    assert_eq!(again, [(b"2".to_vec(), 2), (b"1".to_vec(), 2)]);
    assert_eq!(inbox.take_writes(true).unwrap().1, Kind::Delete);
}

#[test]
fn a_pack_that_nobody_has_begun_goes_back_whole() {
    let (mut inbox, deliveries, board, now) = pack_in_hand(3);
    drop(deliveries);
    inbox.give_back(now);
    assert_eq!(look(&mut inbox, &board, now), 0);
    let (changes, kind) = inbox.take_writes(true).unwrap();
    assert_eq!((changes.len(), kind, changes[0].seconds), (1, Kind::Change, 0));
    assert!(inbox.held() == (0, 0) && inbox.take_late() == 0);
}

#[test]
fn what_was_done_of_a_pack_that_goes_back_is_late() {
    let (mut inbox, mut deliveries, board, now) = pack_in_hand(3);
    deliveries.lend().unwrap().ack();
    deliveries.lend().unwrap().retry(7 * SECOND).unwrap();
    let last = deliveries.lend().unwrap().take();
    drop(deliveries);
    look(&mut inbox, &board, now);
    inbox.give_back(now);
    assert!(inbox.take_writes(true).is_none(), "one is in a hand");
    last.ack().unwrap();
    assert_eq!(look(&mut inbox, &board, now), 2);
    let (changes, kind) = inbox.take_writes(true).unwrap();
    assert_eq!((handles(&changes), kind), (vec!["handle-0"], Kind::Change));
    assert!(inbox.held() == (0, 0));
}

#[test]
fn the_lease_of_a_pack_is_lost_with_all_it_has() {
    let (mut inbox, mut deliveries, board, now) = pack_in_hand(4);
    deliveries.lend().unwrap().ack();
    deliveries.lend().unwrap().retry(60 * SECOND).unwrap();
    deliveries.lend().unwrap().retry(Duration::ZERO).unwrap();
    let last = deliveries.lend().unwrap().take();
    drop(deliveries);
    look(&mut inbox, &board, now);
    inbox.unpark(now);
    assert_eq!(inbox.expire(now + 30 * SECOND).len(), 1, "the one in a hand");
    assert_eq!((inbox.take_late(), inbox.take_untold_late()), (1, 1), "the one that was done");
    assert!(
        inbox.held() == (0, 0)
            && inbox.ready() == 0
            && inbox.next_due().is_none_or(|due| due < now + 60 * SECOND)
    );
    drop(last);
    assert_eq!(look(&mut inbox, &board, now), 0, "nobody had settled it");
}
