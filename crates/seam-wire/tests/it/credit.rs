//! Credit, the end of a session, and datagrams of several numbers. `docs/wire.md` numbers the rules.

use std::time::Duration;

use seam_core::Datagram;
use seam_wire::{EnvelopeLimits, Learned, Outgoing, Receiving, Window, WireError};

use super::peer::{Got, Pair, drain, frames, on_bytes, parcel, plain, sending, wide};

#[test]
fn rule_12_one_slow_number_does_not_stall_the_others() {
    let mut window = Window::new(4, 1 << 20);
    window.span = 10;
    let mut pair = Pair::new(window);
    pair.pass(1, &plain(4));
    pair.receiving.done(2..5);
    pair.ack();
    assert_eq!(pair.sending.credit(), 3);
    pair.pass(2, &plain(3));
    pair.receiving.done(5..8);
    pair.ack();
    assert_eq!(pair.sending.credit(), 3, "up to the span of 10");
    pair.receiving.done(1..2);
    pair.ack();
    assert_eq!(pair.sending.credit(), 4);
}

#[test]
fn rule_12_records_at_their_bound_stop_credit_and_not_settlement() {
    let mut window = Window::new(4, 1 << 20);
    window.records = 2;
    let mut pair = Pair::new(window);
    assert_eq!(pair.sending.credit(), 2);
    pair.pass(1, &plain(2));
    pair.receiving.released(1, 2, Duration::ZERO);
    pair.receiving.released(2, 2, Duration::ZERO);
    pair.ack();
    assert_eq!((pair.sending.acked(), pair.sending.credit()), (2, 0));
    pair.receiving.on_ping(pair.sending.ping(0).seen).unwrap();
    pair.ack();
    assert_eq!(pair.sending.credit(), 2);
}

#[test]
fn rule_12_credit_given_is_never_taken_back() {
    let mut pair = Pair::new(wide());
    pair.receiving.set_window(Window::new(1, 1));
    assert!(!pair.receiving.ack_due());
    pair.pass(1, &plain(100));
    pair.receiving.done(1..100);
    pair.ack();
    assert_eq!(pair.sending.credit(), 0);
    pair.receiving.done(100..101);
    pair.ack();
    assert_eq!(pair.sending.credit(), 1, "the smaller window, once the larger one is used up");
}

#[test]
fn rule_12_more_than_the_credit_is_refused() {
    let mut generous = Pair::new(wide());
    generous.admit(1, &plain(5));
    let bytes = generous.transmitted();
    let mut strict = Pair::new(Window::new(4, 1 << 20));
    assert_eq!(strict.deliver(&bytes), Err(WireError::Credit { number: 5 }));
    let mut strict = Pair::new(Window::new(100, 3));
    assert_eq!(strict.deliver(&bytes), Err(WireError::Credit { number: 4 }));
}

#[test]
fn rule_13_fin_waits_for_every_outcome() {
    let mut pair = Pair::new(wide());
    pair.pass(1, &plain(2));
    pair.receiving.done(1..2);
    pair.ack();
    assert_eq!(pair.sending.fin(), None);
    pair.receiving.on_fin(2).unwrap_err();
    pair.receiving.done(2..3);
    pair.ack();
    assert_eq!(pair.sending.fin(), Some(2));
    pair.receiving.on_fin(1).unwrap_err();
    pair.receiving.on_fin(u64::MAX).unwrap_err();
    pair.receiving.on_fin(2).unwrap();
    assert_eq!(pair.sending.credit(), 0, "nothing is admitted after FIN");
}

#[test]
fn leave_stops_admission_alone() {
    let mut pair = Pair::new(wide());
    pair.admit(1, &plain(2));
    pair.sending.on_leave();
    assert_eq!((pair.sending.credit(), pair.admit(2, &plain(1))), (0, 0));
    let bytes = pair.transmitted();
    pair.deliver(&bytes).unwrap();
    assert_eq!(pair.got.datagrams.len(), 2);
}

#[test]
fn rule_15_fragments_survive_a_resume_between_them() {
    let mut pair = Pair::new(wide());
    let content = [
        Datagram::new(vec![1; 9_000]).with_tag(3),
        Datagram::new("x"),
        Datagram::new(vec![2; 9_000]),
    ];
    assert_eq!(pair.admit(1, &content), 3);
    let bytes = pair.transmitted();
    let first = 8 + frames(&bytes)[0].1.len();
    pair.deliver(&bytes[..first]).unwrap();
    assert!(pair.got.datagrams.is_empty());
    pair.reconnect();
    let bytes = pair.transmitted();
    pair.deliver(&bytes).unwrap();
    let got: Vec<_> = pair.got.datagrams.iter().map(|got| (got.0, got.1.clone())).collect();
    let numbers = [3, 4, 7];
    assert_eq!(got, numbers.into_iter().zip(content).collect::<Vec<_>>());
    pair.receiving.released(3, 2, Duration::ZERO);
    pair.receiving.done(7..8);
    pair.ack();
    assert_eq!((pair.learned.done.clone(), pair.learned.released[0].place), (vec![(1, 2..3)], 0));
    pair.receiving.done(4..5);
    pair.ack();
    assert!(pair.sending.is_idle());
}

#[test]
fn rule_15_reassembly_is_bounded_by_the_largest_message() {
    let mut sending = sending();
    let hello = sending.hello([2; 16]);
    let limits = EnvelopeLimits { slot: 0, ..EnvelopeLimits::default() };
    let mut receiving = Receiving::new(&hello, wide(), 4096, 9_000, limits).unwrap();
    sending.on_welcome(&receiving.welcome(Duration::ZERO, None), &mut Learned::default()).unwrap();
    sending.admit(parcel(1, &[Datagram::new(vec![1; 20_000])]));
    let mut out = Outgoing::new();
    sending.transmit(0, &mut out, usize::MAX);
    let error = on_bytes(&mut receiving, &drain(&mut out), &mut Got::default()).unwrap_err();
    assert!(matches!(error, WireError::TooLarge { limit: 9_010, .. }), "{error}");
}
