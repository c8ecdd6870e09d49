//! Fates, lanes and who is told.

use seam_core::Datagram;

use super::*;

fn admitted(keys: &[&'static str]) -> (Outbox, Ticket) {
    let mut outbox = Outbox::default();
    let mut batch: Batch = keys.iter().map(|key| Datagram::new("x").with_key(*key)).collect();
    outbox.admit(&mut batch, Lane::Topic, MUCH, all);
    (outbox, batch.take_ticket())
}

fn all(datagrams: &mut dyn Iterator<Item = View<'_>>, _: u64) -> Given {
    Given { count: datagrams.count(), refused: Vec::new() }
}

const MUCH: Credit = Credit { count: 99, bytes: 1 << 20 };

fn stored(offset: i64) -> Result<(i32, i64), (Fate, Error)> {
    Ok((0, offset))
}

#[test]
fn nothing_of_a_key_succeeds_behind_a_failure() {
    let (mut outbox, ticket) = admitted(&["a", "b", "a", "b"]);
    let mut told = Told::default();
    outbox.report(0, Err((Fate::NotSent, Error::Full)), &mut told);
    (1..4).for_each(|number| outbox.report(number, stored(9), &mut told));
    let receipts = outbox.take(&ticket, &mut told);
    let fates: Vec<_> = receipts.failed().iter().map(|(at, e)| (*at, e.fate())).collect();
    assert_eq!(fates, [(0, Fate::NotSent), (2, Fate::MaybeSent)]);
    assert!(outbox.is_idle() && outbox.stretches.is_empty());
}

#[test]
fn what_is_withdrawn_is_in_doubt_until_it_is_reported() {
    let (mut outbox, ticket) = admitted(&["a", "a"]);
    let mut told = Told::default();
    outbox.report(0, stored(7), &mut told);
    assert_eq!(outbox.first_open(&ticket, 0), Some((1, 1)));
    let receipts = outbox.take(&ticket, &mut told);
    assert_eq!(receipts.failed()[0].1.fate(), Fate::MaybeSent);
    assert!(!outbox.is_idle());
    outbox.report(1, stored(8), &mut told);
    assert!(outbox.is_idle() && outbox.stretches.is_empty());
}

#[test]
fn a_doubt_ends_with_the_proof() {
    let (mut outbox, ticket) = admitted(&["a", "a", "a"]);
    let mut told = Told::default();
    outbox.report(0, Err((Fate::MaybeSent, Error::Full)), &mut told);
    outbox.report(1, Err((Fate::NotSent, Error::Full)), &mut told);
    let receipts = outbox.take(&ticket, &mut told);
    let fates: Vec<_> = receipts.failed().iter().map(|(_, error)| error.fate()).collect();
    assert_eq!(fates, [Fate::MaybeSent, Fate::NotSent, Fate::MaybeSent]);
}

#[test]
fn what_is_refused_has_failed_and_what_does_not_fit_stays() {
    let mut outbox = Outbox::default();
    let mut batch: Batch = ["a", "b", "c"].into_iter().map(Datagram::new).collect();
    let give = |_: &mut dyn Iterator<Item = View<'_>>, first| {
        assert_eq!(first, 0);
        Given { count: 2, refused: vec![(1, Error::Full)] }
    };
    outbox.admit(&mut batch, Lane::Topic, MUCH, give);
    assert_eq!((batch.len(), outbox.in_flight, outbox.in_flight_bytes), (1, 1, 1));
    outbox.report(0, stored(7), &mut Told::default());
    let receipts = outbox.take(&batch.take_ticket(), &mut Told::default());
    assert_eq!(receipts.failed().iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1]);
    assert!(outbox.is_idle() && outbox.stretches.is_empty());
}

#[test]
fn a_forgotten_failure_is_told() {
    let (mut outbox, ticket) = admitted(&["a", "a"]);
    let mut told = Told::default();
    outbox.forget(&ticket, &mut told);
    outbox.report(0, stored(7), &mut told);
    outbox.report(1, Err((Fate::MaybeSent, Error::Full)), &mut told);
    assert_eq!(told.forgotten, 1);
}

#[test]
fn a_reply_without_topic_is_for_a_requester_that_is_gone() {
    let mut outbox = Outbox::default();
    let mut batch: Batch = std::iter::once(Datagram::new("!")).collect();
    let gone = || Error::NotFound { what: String::new(), remedy: String::new() };
    outbox.admit(&mut batch, Lane::Reply(3), MUCH, all);
    outbox.report(0, Err((Fate::NotSent, gone())), &mut Told::default());
    let receipts = outbox.take(&batch.take_ticket(), &mut Told::default());
    assert!(matches!(receipts.failed()[0].1.error(), Error::RequesterGone));
}

#[test]
fn one_datagram_fits_any_credit() {
    let (outbox, _) = admitted(&[]);
    assert!(outbox.has_room(Credit { count: 1, bytes: 0 }));
    let (outbox, _) = admitted(&["a"]);
    assert!(!outbox.has_room(Credit { count: 2, bytes: 1 }));
    assert!(outbox.has_room(Credit { count: 2, bytes: 3 }));
}
