//! Fates, lanes and who is told.

use super::*;

/// Admits a datagram for each key; their ticket.
fn admit(outbox: &mut Outbox<Queue>, target: &Arc<Queue>, keys: &[Option<&str>]) -> Ticket {
    let mut batch = Batch::new();
    for key in keys {
        batch.push(match key {
            Some(key) => Datagram::new("x").with_key(key.to_string()),
            None => Datagram::new("x"),
        });
    }
    assert_eq!(outbox.admit(&mut batch, target, MUCH), keys.len());
    batch.take_ticket()
}

fn fates(receipts: &Receipts) -> Vec<Option<Fate>> {
    receipts.iter().map(|receipt| receipt.err().map(SendError::fate)).collect()
}

#[test]
fn what_did_not_leave_is_not_sent_and_what_left_is_in_doubt() {
    let (mut outbox, mut told) = (Outbox::default(), Told::default());
    let ticket = admit(&mut outbox, &target(false), &[None; 3]);
    assert!(outbox.leaves(0) && outbox.leaves(1));
    outbox.came_back(1);
    let receipts = outbox.take(&ticket, &mut told);
    let not_sent = Some(Fate::NotSent);
    assert_eq!(fates(&receipts), [Some(Fate::MaybeSent), not_sent, not_sent]);
    assert!(!outbox.is_idle(), "one is still under way");
    assert!(!outbox.leaves(1) && !outbox.leaves(2), "what was given back goes nowhere");
    outbox.report(0, Ok(()), &mut told);
    assert!(outbox.is_idle() && outbox.bodies.is_empty() && outbox.outcomes.is_empty());
}

#[test]
fn what_is_closed_comes_back_by_whether_it_left() {
    let (mut outbox, mut told) = (Outbox::default(), Told::default());
    let ticket = admit(&mut outbox, &target(false), &[None; 2]);
    assert!(outbox.leaves(0));
    outbox.end(&failure(), &mut told);
    assert!(outbox.is_idle());
    assert_eq!(outbox.unsent().len(), 2);
    let receipts = outbox.take(&ticket, &mut told);
    assert_eq!(fates(&receipts), [Some(Fate::MaybeSent), Some(Fate::NotSent)]);
}

#[test]
fn a_failure_takes_its_key_with_it() {
    let (mut outbox, mut told) = (Outbox::default(), Told::default());
    let (a, b) = (Some("a"), Some("b"));
    let ticket = admit(&mut outbox, &target(true), &[a, b, a, a, None]);
    assert!((0..3).all(|number| outbox.leaves(number)));
    outbox.report(0, Err((Fate::NotSent, failure())), &mut told);
    outbox.report(2, Ok(()), &mut told);
    outbox.report(1, Ok(()), &mut told);
    assert!(!outbox.leaves(3), "it would overtake the failure");
    assert!(outbox.leaves(4));
    outbox.report(4, Ok(()), &mut told);
    let fates = fates(&outbox.take(&ticket, &mut told));
    let (not_sent, maybe) = (Some(Fate::NotSent), Some(Fate::MaybeSent));
    assert_eq!(fates, [not_sent, None, maybe, not_sent, None]);
    let later = admit(&mut outbox, &target(true), &[a]);
    assert!(outbox.leaves(5), "what is admitted after it is known has its own fate");
    outbox.report(5, Ok(()), &mut told);
    assert!(outbox.take(&later, &mut told).all_ok());
}

#[test]
fn a_standard_queue_has_no_lanes() {
    let (mut outbox, mut told) = (Outbox::default(), Told::default());
    let ticket = admit(&mut outbox, &target(false), &[Some("a"); 2]);
    assert!(outbox.leaves(0) && outbox.leaves(1));
    outbox.report(0, Err((Fate::NotSent, failure())), &mut told);
    outbox.report(1, Ok(()), &mut told);
    assert_eq!(fates(&outbox.take(&ticket, &mut told)), [Some(Fate::NotSent), None]);
}

#[test]
fn a_withdrawal_is_a_failure_of_its_key_too() {
    let (mut outbox, mut told) = (Outbox::default(), Told::default());
    let first = admit(&mut outbox, &target(true), &[Some("a")]);
    let second = admit(&mut outbox, &target(true), &[Some("a")]);
    assert!(outbox.leaves(0));
    assert_eq!(fates(&outbox.take(&first, &mut told)), [Some(Fate::MaybeSent)]);
    outbox.report(0, Ok(()), &mut told);
    assert_eq!(fates(&outbox.take(&second, &mut told)), [Some(Fate::NotSent)]);
}

#[test]
fn what_nobody_asks_for_is_counted_when_it_fails() {
    let (mut outbox, mut told) = (Outbox::default(), Told::default());
    let ticket = admit(&mut outbox, &target(false), &[None; 2]);
    assert!(outbox.leaves(0) && outbox.leaves(1));
    outbox.forget(&ticket, &mut told);
    outbox.report(0, Ok(()), &mut told);
    outbox.report(1, Err((Fate::MaybeSent, failure())), &mut told);
    assert_eq!(told.forgotten, 1);
    assert!(outbox.is_idle() && outbox.outcomes.is_empty());
}
